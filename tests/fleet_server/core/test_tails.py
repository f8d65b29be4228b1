"""Tail probabilities against SciPy's and against known values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from fleet_server.core.tails import chi_square_tail, excess_tail, kolmogorov_tail


@given(st.floats(0.001, 2000), st.integers(1, 300))
def test_chi_square_tail(statistic: float, freedom: int) -> None:
    expected = float(stats.chi2.sf(statistic, freedom))
    assert chi_square_tail(statistic, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-12)


def test_chi_square_table() -> None:
    # NIST/SEMATECH e-Handbook of Statistical Methods, table 1.3.6.7.4
    for statistic, freedom, tail in [(3.841, 1, 0.05), (30.144, 19, 0.05), (36.191, 19, 0.01)]:
        assert chi_square_tail(statistic, freedom) == pytest.approx(tail, rel=2e-3)
    assert chi_square_tail(0.0, 3) == 1.0
    with pytest.raises(ValueError, match="1 degree"):
        chi_square_tail(1.0, 0)


@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_excess_tail_is_fishers_exact_test(n: int, m: int, data: st.DataObject) -> None:
    count, known = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    expected = float(stats.hypergeom.sf(count - 1, n + m, count + known, n))
    assert excess_tail(count, n, known, m) == pytest.approx(expected, rel=1e-6, abs=1e-13)


def test_excess_tail_of_many_rows_is_finite_and_quick() -> None:
    assert excess_tail(50_000, 100_000, 0, 1437) < 1e-200
    assert excess_tail(60, 100_000, 0, 1437) > 0.1
    expected = float(stats.hypergeom.sf(1_999, 101_437, 2_040, 100_000))
    assert excess_tail(2_000, 100_000, 40, 1437) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ValueError, match="no counts"):
        excess_tail(5, 4, 0, 10)


@given(st.floats(0.01, 1.0), st.integers(20, 5000), st.integers(20, 5000))
def test_kolmogorov_tail(distance: float, n: int, m: int) -> None:
    root = (n * m / (n + m)) ** 0.5
    expected = float(special.kolmogorov((root + 0.12 + 0.11 / root) * distance))
    assert kolmogorov_tail(distance, n, m) == pytest.approx(expected, rel=1e-8, abs=1e-11)


def test_kolmogorov_tail_without_rows_or_distance() -> None:
    assert kolmogorov_tail(0.0, 10, 10) == 1.0
    assert kolmogorov_tail(0.5, 0, 10) == 1.0
