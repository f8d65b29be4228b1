"""Axes: values stand inside and in order, ticks are few, round and inside."""

import itertools
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trainer.core.axes import Linear, Logarithmic, Scale, padded, padded_ratio, plain

KINDS = pytest.mark.parametrize("kind", [Linear, Logarithmic])
LOWS, RATIOS = st.floats(1e-3, 1e6), st.floats(1.0001, 1e9)


@KINDS
@given(low=LOWS, ratio=RATIOS, most=st.integers(4, 12))
@example(low=1.0, ratio=1e9, most=4)
@example(low=406.0, ratio=1.3, most=4)
@example(low=5.01, ratio=5.05, most=4)
def test_ticks_are_few_and_inside(kind: type[Linear | Logarithmic], low: float, ratio: float, most: int) -> None:
    scale: Scale = kind(low, low * ratio, 0, 100)
    ticks = scale.ticks(most)
    assert 2 <= len(ticks) <= most
    assert list(ticks) == sorted(set(ticks))
    assert low <= ticks[0] <= ticks[-1] <= low * ratio


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-2, 1e6), most=st.integers(4, 12))
def test_linear_ticks_are_evenly_spaced_and_have_few_digits(low: float, width: float, most: int) -> None:
    ticks = Linear(low, low + width, 0, 100).ticks(most)
    steps = {float(f"{after - before:.6g}") for before, after in itertools.pairwise(ticks)}
    assert len(steps) == 1
    mantissa = steps.pop()
    mantissa /= 10 ** math.floor(math.log10(mantissa))
    assert any(mantissa == pytest.approx(nice, rel=1e-4) for nice in (1, 2, 2.5, 5))


@KINDS
@given(low=LOWS, ratio=RATIOS, shares=st.lists(st.floats(-0.5, 1.5), min_size=2))
def test_values_stay_inside_and_in_order(
    kind: type[Linear | Logarithmic], low: float, ratio: float, shares: list[float]
) -> None:
    scale: Scale = kind(low, low * ratio, 300, 20)
    values = sorted(max(low * (1 + (ratio - 1) * share), 1e-9) for share in shares)
    places = [scale.place(value) for value in values]
    assert all(20 <= place <= 300 for place in places)
    assert places == sorted(places, reverse=True)
    assert scale.place(low) == 300
    assert scale.place(low * ratio) == pytest.approx(20)


def test_a_ratio_is_as_far_anywhere_on_a_logarithmic_scale() -> None:
    scale = Logarithmic(1, 1000, 0, 90)
    assert [scale.place(value) for value in (1, 10, 100, 1000)] == pytest.approx([0, 30, 60, 90])


@pytest.mark.parametrize(("kind", "low", "high"), [(Linear, 1, 1), (Linear, 2, 1), (Logarithmic, 0, 1)])
def test_a_scale_ascends(kind: type[Linear | Logarithmic], low: float, high: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        kind(low, high, 0, 1)


@given(values=st.lists(st.floats(1e-3, 1e6), min_size=1))
def test_limits_leave_room_around_every_value(values: list[float]) -> None:
    for low, high in (padded(values, 0.1), padded_ratio(values, 0.1)):
        assert low < min(values) <= max(values) < high


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (-0.0, "0"), (0.05, "0.05"), (1234.5, "1,234.5"), (1e6, "1,000,000"), (-2, "\N{MINUS SIGN}2")],
)
def test_numbers_are_written_plainly(value: float, text: str) -> None:
    assert plain(value) == text
