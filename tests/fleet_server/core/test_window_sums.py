"""Windows added up from their packed form: the same as adding up the windows, whatever their layouts."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract.windows import LATENCY_BUCKETS, FeatureCounts, Feedback, WindowCounts
from fleet_server.core.canary_metrics import DeviceSums
from fleet_server.core.packed_counts import UnreadableCountsError, pack_counts
from fleet_server.core.window_sums import add_up, hold_sums, read_held

COUNT = st.integers(0, 300) | st.integers(0, 2**40)
MOMENT = st.integers(-500, 500).map(lambda units: units / 100) | st.floats(-1e9, 1e9)
FEATURE = st.builds(
    FeatureCounts, st.lists(COUNT, min_size=1, max_size=4).map(tuple), COUNT, COUNT, COUNT, COUNT, MOMENT, MOMENT
)
WINDOWS = st.builds(
    WindowCounts,
    COUNT,
    COUNT,
    COUNT,
    st.lists(FEATURE, max_size=3).map(tuple),
    st.tuples(COUNT, COUNT),
    st.lists(COUNT, max_size=10).map(tuple),
    st.lists(COUNT, min_size=LATENCY_BUCKETS, max_size=LATENCY_BUCKETS).map(tuple),
    st.builds(Feedback, COUNT, COUNT, st.integers(0, 1000).map(float)),
    st.floats(0, 1e6),
)
PLAIN = WindowCounts(7, 1, 2, (), (4, 3), (), (7,) + (0,) * (LATENCY_BUCKETS - 1), Feedback(5, 4, 0.5), 31.5)


def sums(counts: WindowCounts) -> DeviceSums:
    told = counts.feedback
    first = (counts.rows, counts.errors, counts.rejected, counts.outputs, counts.latency, counts.memory_mb)
    return DeviceSums(*first, told.n, told.correct, told.abs_error)


@given(st.lists(st.tuples(st.integers(0, 2), WINDOWS), max_size=6))
@settings(max_examples=25)
def test_they_are_what_their_windows_are_together(rows: list[tuple[int, WindowCounts]]) -> None:
    expected: dict[int, DeviceSums] = {}
    for owner, counts in rows:
        expected[owner] = expected[owner] + sums(counts) if owner in expected else sums(counts)
    found = add_up((owner, pack_counts(counts)) for owner, counts in rows)
    assert found == expected
    assert {owner: read_held(hold_sums(item)) for owner, item in found.items()} == expected


def test_what_no_window_counts_in_truth_does_not_wrap() -> None:
    hostile = pack_counts(replace(PLAIN, rows=2**63 - 1, outputs=(2**63 - 1, 0)))
    found = add_up([(0, hostile)] * 10)[0]
    assert found.rows == found.outputs[0] == 10 * 2**40
    assert (found.errors, found.outputs[1]) == (10, 0)


def test_outputs_of_another_shape_begin_anew() -> None:
    other = replace(PLAIN, outputs=(1, 2, 4))
    assert add_up([(0, pack_counts(PLAIN)), (0, pack_counts(other))])[0].outputs == (1, 2, 4)


def test_a_row_that_is_none_is_told() -> None:
    with pytest.raises(UnreadableCountsError):
        add_up([(0, b"\x01\x02")])
