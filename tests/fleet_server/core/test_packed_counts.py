"""Counts as rows: what was packed comes back, merged arrays are merged counts, and what is no row is refused."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.windows import LATENCY_BUCKETS, FeatureCounts, Feedback, WindowCounts, merge
from fleet_server.core.count_arrays import CountArrays, read_arrays
from fleet_server.core.packed_counts import UnreadableCountsError, pack_counts, shape_of, unpack_counts

COUNT = st.integers(0, 300) | st.integers(0, 2**63 - 1)
SUM = st.integers(-(10**8), 10**8).map(lambda units: units / 100) | st.floats(allow_nan=False)
FEATURE = st.builds(
    FeatureCounts, st.lists(COUNT, min_size=1, max_size=6).map(tuple), COUNT, COUNT, COUNT, COUNT, SUM, SUM
)
WINDOWS = st.builds(
    WindowCounts,
    COUNT,
    COUNT,
    COUNT,
    st.lists(FEATURE, max_size=5).map(tuple),
    st.lists(COUNT, max_size=4).map(tuple),
    st.lists(COUNT, max_size=10).map(tuple),
    st.lists(COUNT, min_size=LATENCY_BUCKETS, max_size=LATENCY_BUCKETS).map(tuple),
    st.builds(Feedback, COUNT, COUNT, st.floats(0, 1e9)),
    st.floats(0, 1e6),
)


def usual(chance: np.random.Generator, rows: int = 400, features: int = 30) -> WindowCounts:
    columns = tuple(
        FeatureCounts(
            tuple(int(item) for item in chance.multinomial(rows - 3, [0.05] * 20)),
            1,
            2,
            3,
            4,
            round(float(chance.normal(0, 20)), 2),
            round(float(chance.normal(rows, 20)), 2),
        )
        for _ in range(features)
    )
    latency = (0,) * 9 + (rows,) + (0,) * (LATENCY_BUCKETS - 10)
    return WindowCounts(rows, 1, 2, columns, (rows // 2, rows // 2), (0,) * 9 + (rows,), latency, Feedback(9, 8), 31.5)


@given(WINDOWS)
def test_what_was_packed_comes_back(counts: WindowCounts) -> None:
    assert unpack_counts(pack_counts(counts)) == counts


@given(st.binary(max_size=200))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(UnreadableCountsError):
        unpack_counts(data)


def test_every_cut_row_is_refused() -> None:
    packed = pack_counts(usual(np.random.default_rng(1)))
    for size in range(len(packed)):
        with pytest.raises(UnreadableCountsError):
            unpack_counts(packed[:size])


def test_a_window_of_thirty_features_is_small() -> None:
    assert len(pack_counts(usual(np.random.default_rng(2)))) < 1200


def test_negative_and_endless_counts_are_refused() -> None:
    counts = usual(np.random.default_rng(3))
    for broken in (replace(counts, rows=-1), replace(counts, outputs=(-1, 5)), replace(counts, errors=2**63)):
        with pytest.raises(UnreadableCountsError, match="negative or over"):
            pack_counts(broken)


def test_arrays_merge_as_counts_do() -> None:
    chance = np.random.default_rng(4)
    held = [usual(chance, int(rows)) for rows in chance.integers(100, 90_000, size=12)]
    found, fits = read_arrays([pack_counts(item) for item in held], shape_of(held[0]))
    assert fits.all()
    owner = np.array([0, 1, 2] * 4)
    merged = found.merged(owner, 4)
    for place in range(3):
        assert_same(merged, place, reduce(merge, held[place::3]))
    assert merged.rows[3] == 0
    assert_same(found.plus(found), 5, merge(held[5], held[5]))


def test_rows_of_another_shape_count_nothing_and_are_told() -> None:
    chance = np.random.default_rng(5)
    held = [usual(chance), usual(chance, features=29), usual(chance)]
    found, fits = read_arrays([pack_counts(item) for item in held], shape_of(held[0]))
    assert fits.tolist() == [True, False, True]
    assert found.rows.tolist() == [400, 0, 400]


def assert_same(found: CountArrays, place: int, counts: WindowCounts) -> None:
    assert found.rows[place] == counts.rows
    assert found.outputs[place].tolist() == list(counts.outputs)
    assert found.confidence[place].tolist() == list(counts.confidence)
    assert found.floats[place].tolist() == [counts.feedback.abs_error, counts.memory_mb]
    for column, item in enumerate(counts.features):
        assert found.bins[place, column].tolist() == list(item.bins)
        assert found.extras[place, column].tolist() == [item.under, item.over, item.missing, item.invalid]
        assert found.moments[place, :, column] == pytest.approx([item.total, item.squares])
