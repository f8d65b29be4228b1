"""Windows merge by addition: in any order, in any grouping, and to what one window over all rows would hold."""

import random
from bisect import bisect_left
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract import codec
from edge_agent.contract.envelope import PayloadType, deflate, seal
from edge_agent.contract.window_packing import pack_window
from edge_agent.contract.windows import (
    CONFIDENCE_BINS,
    LATENCY_BUCKETS,
    LATENCY_EDGES_US,
    FeatureCounts,
    Feedback,
    Window,
    WindowCounts,
    latency_bucket,
    latency_quantile_ms,
    merge,
)

EDGES = (-1.0, 0.0, 0.5)


def counted(rows: Sequence[tuple[float, float]]) -> WindowCounts:
    """One feature and a latency a row, counted the plain way; quarters add exactly in binary."""
    bins, latency, confidence = [0] * (len(EDGES) + 1), [0] * LATENCY_BUCKETS, [0] * CONFIDENCE_BINS
    for x, microseconds in rows:
        bins[bisect_left(EDGES, x)] += 1
        latency[latency_bucket(microseconds)] += 1
        confidence[abs(int(x * 4)) % CONFIDENCE_BINS] += 1
    values = [x for x, _ in rows]
    feature = FeatureCounts(tuple(bins), total=sum(values), squares=sum(x * x for x in values))
    right = sum(x > 0 for x in values)
    return WindowCounts(
        rows=len(rows),
        errors=sum(x < -1 for x in values),
        rejected=0,
        features=(feature,),
        outputs=(len(rows) - right, right),
        confidence=tuple(confidence),
        latency=tuple(latency),
        feedback=Feedback(len(rows), right, sum(abs(x) for x in values)),
    )


ROWS = st.lists(st.tuples(st.integers(-12, 12).map(lambda n: n / 4), st.floats(0, 1e9)), max_size=30)


@given(a=ROWS, b=ROWS)
def test_a_merge_equals_counting_the_union(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> None:
    """Two devices' windows say together what one device would have said."""
    assert merge(counted(a), counted(b)) == counted(a + b)


@given(a=ROWS, b=ROWS, c=ROWS)
def test_order_and_grouping_do_not_matter(a: list, b: list, c: list) -> None:  # type: ignore[type-arg]  # as above
    """Merging commutes and associates."""
    x, y, z = counted(a), counted(b), counted(c)
    assert merge(x, y) == merge(y, x)
    assert merge(merge(x, y), z) == merge(x, merge(y, z))


@given(rows=ROWS)
def test_an_empty_window_changes_nothing(rows: list[tuple[float, float]]) -> None:
    """The neutral element."""
    assert merge(counted(rows), counted([])) == counted(rows)


def test_windows_of_different_baselines_do_not_merge() -> None:
    """Another number of bins, features or classes is another baseline."""
    one = counted([])
    for other in (
        WindowCounts(0, 0, 0, (), (0, 0), (0,) * CONFIDENCE_BINS, (0,) * LATENCY_BUCKETS),
        WindowCounts(0, 0, 0, (FeatureCounts((0,)),), (0, 0), (0,) * CONFIDENCE_BINS, (0,) * LATENCY_BUCKETS),
        WindowCounts(0, 0, 0, one.features, (0,), (0,) * CONFIDENCE_BINS, (0,) * LATENCY_BUCKETS),
        WindowCounts(0, 0, 0, one.features, (0, 0), (), (0,) * LATENCY_BUCKETS),
    ):
        with pytest.raises(ValueError, match="zip"):
            merge(one, other)


def test_a_window_with_other_buckets_is_refused() -> None:
    """The number of latency buckets is part of the contract."""
    with pytest.raises(ValueError, match="34 latency buckets, not 2"):
        WindowCounts(0, 0, 0, (), (), (), (0, 0))


@given(microseconds=st.floats(0, 1e12))
def test_a_latency_lies_within_its_bucket(microseconds: float) -> None:
    """A bucket holds what is at most its upper edge and above the one before."""
    index = latency_bucket(microseconds)
    assert index == LATENCY_BUCKETS - 1 or microseconds <= LATENCY_EDGES_US[index]
    assert index == 0 or microseconds > LATENCY_EDGES_US[index - 1]


@given(durations=st.lists(st.floats(100.0, LATENCY_EDGES_US[-1]), min_size=1, max_size=60), q=st.floats(0.01, 1.0))
def test_a_quantile_is_within_a_step_above_the_exact_one(durations: list[float], q: float) -> None:
    """The estimate errs upwards, by a factor of sqrt(2) at most."""
    buckets = [0] * LATENCY_BUCKETS
    for duration in durations:
        buckets[latency_bucket(duration)] += 1
    ordered = sorted(durations)
    exact = next(value for seen, value in enumerate(ordered, start=1) if seen >= q * len(ordered))
    estimate = latency_quantile_ms(tuple(buckets), q) * 1000
    assert exact <= estimate * (1 + 1e-9)
    assert estimate <= exact * 2**0.5 * (1 + 1e-9)


def test_no_rows_have_no_latency() -> None:
    """Zero, not an error, where nothing was counted."""
    assert latency_quantile_ms((0,) * LATENCY_BUCKETS, 0.99) == 0.0


def wide_window(decimals: int, rows: int = 1000, features: int = 30, bins: int = 20) -> Window:
    """A window such as a tabular model of 30 columns makes, its moments rounded to a number of decimals.

    The counts of quantile bins are as even as chance makes them, which is the hardest case for a compressor.
    """
    chance = random.Random(7)
    columns = []
    for _ in range(features):
        counts = [0] * bins
        for _ in range(rows):
            counts[chance.randrange(bins)] += 1
        values = [chance.gauss(0, 1) for _ in range(rows)]
        total, squares = round(sum(values), decimals), round(sum(x * x for x in values), decimals)
        columns.append(FeatureCounts(tuple(counts), 3, 2, 0, 0, total, squares))
    latency = [0] * LATENCY_BUCKETS
    for _ in range(rows):
        latency[latency_bucket(chance.lognormvariate(5.5, 0.4))] += 1
    confidence = (0, 0, 0, 1, 9, 20, 60, 110, 250, 550)
    counted_ = WindowCounts(rows, 0, 2, tuple(columns), (340, 330, 330), confidence, tuple(latency))
    return Window("pi-4-workshop", 17, 4711, "breast-cancer", 3, "ab" * 32, 1763800000000, 1763803600000, counted_)


@pytest.mark.parametrize(("decimals", "packed_limit", "sealed_limit"), [(17, 1850, 2700), (2, 1400, 2100)])
def test_a_wide_window_of_an_older_agent_is_not_large(decimals: int, packed_limit: int, sealed_limit: int) -> None:
    """30 features of 20 bins over 1,000 rows, in JSON."""
    packed = deflate(codec.encode(wide_window(decimals)))
    sealed = seal(PayloadType.WINDOW, packed, "0" * 16, bytes(64))
    assert len(packed) <= packed_limit
    assert len(sealed) <= sealed_limit


@pytest.mark.parametrize("rows", [1000, 10_000])
def test_a_wide_window_stays_small_on_the_wire(rows: int) -> None:
    """30 features of 20 bins: what an hour of telemetry costs on a metered link."""
    packed = pack_window(wide_window(2, rows))
    sealed = seal(PayloadType.PACKED_WINDOW, packed, "0" * 16, bytes(64))
    assert len(packed) <= 1200
    assert len(sealed) <= 1800
