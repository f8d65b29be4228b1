"""Packed windows: what goes in comes out, and nothing that is cut, lengthened or contradicts itself is taken."""

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_agent.contract import codec
from edge_agent.contract.bits import SUM_BITS, BitReader, BitWriter, unzigzag, zigzag
from edge_agent.contract.window_packing import pack_window, unpack_window
from edge_agent.contract.windows import LATENCY_BUCKETS, FeatureCounts, Feedback, Window, WindowCounts
from tests.fakes.words import DEVICES, DIGESTS, NAMES

COUNTS = st.integers(0, 10**6) | st.integers(0, 2**50)
SMALL = st.integers(0, 9)
HUNDREDTHS = st.integers(-(10**12), 10**12).map(lambda number: number / 100)


def features(counts: st.SearchStrategy[int]) -> st.SearchStrategy[FeatureCounts]:
    """Columns of up to 25 bins, their sums in hundredths as a device has them."""
    bins = st.lists(counts, max_size=25).map(tuple)
    return st.builds(FeatureCounts, bins, SMALL, SMALL, SMALL, SMALL, HUNDREDTHS, HUNDREDTHS)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    counts = draw(st.sampled_from([SMALL, st.integers(400, 600), COUNTS]))
    several = st.lists(counts, max_size=12).map(tuple)
    found = WindowCounts(
        rows=draw(COUNTS),
        errors=draw(COUNTS),
        rejected=draw(COUNTS),
        features=tuple(draw(st.lists(features(counts), max_size=6))),
        outputs=draw(several),
        confidence=draw(several),
        latency=tuple(draw(st.lists(counts, min_size=LATENCY_BUCKETS, max_size=LATENCY_BUCKETS))),
        feedback=Feedback(draw(COUNTS), draw(COUNTS), draw(st.floats(0, 1e9))),
        memory_mb=draw(st.floats(0, 1e6)),
    )
    times = draw(st.tuples(COUNTS, COUNTS))
    return Window(draw(DEVICES), draw(COUNTS), draw(COUNTS), draw(NAMES), draw(COUNTS), draw(DIGESTS), *times, found)


@given(windows())
def test_a_window_comes_back_as_it_went(window: Window) -> None:
    """All counts exactly; sums as a device rounds them, to the precision of a double."""
    found = unpack_window(pack_window(window))
    for ours, theirs in zip(window.counts.features, found.counts.features, strict=True):
        assert theirs.squares == pytest.approx(ours.squares, rel=1e-9, abs=max(0.005, ours.n * 1e-14))
        assert theirs.total == ours.total
    plain = [
        dataclasses.replace(
            one,
            counts=dataclasses.replace(
                one.counts, features=tuple(dataclasses.replace(item, squares=0.0) for item in one.counts.features)
            ),
        )
        for one in (window, found)
    ]
    assert plain[0] == plain[1]


def some_window(**changes: object) -> Window:
    columns = (
        FeatureCounts((10, 20, 30, 30), 4, 5, 1, 0, -3.25, 98.5),
        FeatureCounts((99, 0), 0, 0, 0, 1, 3.5, 1e76),
    )
    counts = WindowCounts(100, 1, 2, columns, (60, 39), (0, 1, 99), (100,) + (0,) * 33, Feedback(3, 2, 0.5), 41.5)
    window = Window("pi-kitchen", 17, 5, "digits", 3, "a1" * 32, 1, 2, counts)
    return dataclasses.replace(window, counts=dataclasses.replace(counts, **changes))  # type: ignore[arg-type]  # by tests


def test_sums_of_absurd_values_are_carried_too() -> None:
    """The square of a 32-bit number times many rows: larger than any integer of 64 bits."""
    assert unpack_window(pack_window(some_window())).counts.features[1].squares == pytest.approx(1e76)


def test_every_prefix_and_every_addition_is_refused() -> None:
    packed = pack_window(some_window())
    for length in range(len(packed)):
        with pytest.raises(codec.MalformedError):
            unpack_window(packed[:length])
    for more in (b"\0", b"\x80", b"rest"):
        with pytest.raises(codec.MalformedError):
            unpack_window(packed + more)


@given(st.binary(max_size=200), st.integers(0, 400))
@example(b"", 0)
def test_garbage_is_malformed_and_nothing_else(junk: bytes, at: int) -> None:
    """Whatever stands in it: an error that the door knows, soon, and without much memory."""
    packed = pack_window(some_window())
    for data in (junk, packed[: at % len(packed)] + junk):
        try:
            unpack_window(data)
        except codec.MalformedError:
            continue


def test_bins_that_contradict_their_sum_are_refused() -> None:
    """A column says twice what it holds; a device that lies about one of both is not believed."""
    packed = pack_window(some_window())
    refused = 0
    for place in range(len(packed) * 8):
        changed = bytearray(packed)
        changed[place // 8] ^= 1 << (place % 8)
        try:
            unpack_window(bytes(changed))
        except codec.MalformedError:
            refused += 1
    assert refused > len(packed) * 4


def test_a_number_below_zero_cannot_be_packed() -> None:
    with pytest.raises(ValueError, match="cannot be packed"):
        pack_window(some_window(outputs=(-1,)))


@given(st.lists(st.lists(COUNTS, max_size=30), max_size=5))
def test_lists_of_numbers_come_back(lists: list[list[int]]) -> None:
    writer = BitWriter()
    for numbers in lists:
        writer.write(numbers)
    writer.write([7 << 300], SUM_BITS)
    reader = BitReader(writer.to_bytes())
    assert [reader.read(len(numbers)) for numbers in lists] == lists
    assert reader.read(1, SUM_BITS) == [7 << 300]
    reader.end()


@given(st.integers())
def test_zigzag_turns_back(number: int) -> None:
    assert unzigzag(zigzag(number)) == number
    assert zigzag(number) >= 0
