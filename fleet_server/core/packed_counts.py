"""A window's counts as one binary row: what the database keeps, a fifth of JSON's size and read in bulk.

House rules: a row says its own shape, so that it can be read without the bundle that it came from. All numbers are
little-endian. A row is `HEAD`, the bins of each feature (2 bytes each), and a body, deflated (RFC 1950) where that
makes it a fifth smaller. The body: 5 whole numbers of 8 bytes (rows, errors, rejected, feedback n, feedback correct);
2 doubles (sum of |error|, memory in MiB); for each feature its total, then for each its squares; then the counts of
the features, for each `width` bins (padded with 0), under, over, missing and invalid; then the rest, outputs,
confidence and latency. Features and rest are each in the least width of 1, 2, 4 or 8 bytes that holds their largest.
"""

import struct
import sys
import zlib
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from edge_agent.contract.windows import LATENCY_BUCKETS, FeatureCounts, Feedback, WindowCounts

VERSION = 1
# Version, flags, features, bins of the widest feature, outputs, confidence bins.
HEAD = struct.Struct("<BBHHHH")
SCALARS = struct.Struct("<5Q2d")
# Of a feature's counts after its bins: under, over, missing, invalid.
EXTRA = 4
_DEFLATED = 1
_WIDE_MOMENTS = 2
_WIDTH_SHIFT, _REST_SHIFT = 4, 6
_CODES = "BHIQ"
_WORTH = 0.8
_LARGEST = 2**63 - 1
# A device rounds its sums to hundredths, which are whole numbers of 4 bytes; other sums are kept as doubles.
_MOMENT_UNITS = 100


class UnreadableCountsError(ValueError):
    """These bytes are no counts, or these counts cannot be kept; the text says why."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many counts there are of what: bins of each feature, outputs, confidence bins."""

    bins: tuple[int, ...]
    outputs: int
    confidence: int

    @property
    def width(self) -> int:
        """Bins of the widest feature."""
        return max(self.bins, default=0)

    @property
    def stride(self) -> int:
        """Counts of one feature: its padded bins, under, over, missing, invalid."""
        return self.width + EXTRA

    @property
    def of_features(self) -> int:
        """Counts of all features."""
        return len(self.bins) * self.stride

    @property
    def length(self) -> int:
        """Counts of a whole window, without its scalars."""
        return self.of_features + self.outputs + self.confidence + LATENCY_BUCKETS


@dataclass(frozen=True, slots=True)
class Layout:
    """A row's form: its shape, the widths of a count of features and of the rest, whether its sums are doubles.

    `body_bytes` is the size of its body opened.
    """

    shape: Shape
    count_bytes: int
    rest_bytes: int
    wide_moments: bool
    body_bytes: int


def shape_of(counts: WindowCounts) -> Shape:
    """Return the shape of counts."""
    return Shape(tuple(len(item.bins) for item in counts.features), len(counts.outputs), len(counts.confidence))


def pack_counts(counts: WindowCounts) -> bytes:
    """Return counts as one row.

    Raises:
        UnreadableCountsError: a count is negative or over 2**63 - 1, or there are more columns or bins than 65,535.
    """
    shape = shape_of(counts)
    feedback = counts.feedback
    scalars = (counts.rows, counts.errors, counts.rejected, feedback.n, feedback.correct)
    values = _flatten(counts, shape.width)
    largest = max(values)
    if min(*values, *scalars) < 0 or max(largest, *scalars) > _LARGEST:
        raise UnreadableCountsError("a count of a window is negative or over 2**63 - 1")
    features, rest = values[: shape.of_features], values[shape.of_features :]
    sizes = _size_of(features), _size_of(rest)
    moments = [item.total for item in counts.features] + [item.squares for item in counts.features]
    units = _units(moments)
    body = SCALARS.pack(*scalars, feedback.abs_error, counts.memory_mb)
    body += _little(array("d", moments) if units is None else array("i", units))
    body += _little(array(_CODES[sizes[0]], features)) + _little(array(_CODES[sizes[1]], rest))
    flags = sizes[0] << _WIDTH_SHIFT | sizes[1] << _REST_SHIFT | (_WIDE_MOMENTS if units is None else 0)
    deflated = zlib.compress(body, 1)
    if len(deflated) <= _WORTH * len(body):
        flags, body = flags | _DEFLATED, deflated
    try:
        head = HEAD.pack(VERSION, flags, len(shape.bins), shape.width, shape.outputs, shape.confidence)
        return head + _little(array("H", shape.bins)) + body
    except (struct.error, OverflowError) as error:
        raise UnreadableCountsError(f"a window of more than 65,535 columns or bins: {error}") from error


def open_packed(packed: bytes) -> tuple[Layout, bytes]:
    """Return the layout of a row and its opened body.

    Raises:
        UnreadableCountsError: it is no such row.
    """
    if len(packed) < HEAD.size:
        raise UnreadableCountsError(f"{len(packed)} bytes are too few for counts")
    start = HEAD.size + 2 * int.from_bytes(packed[2:4], "little")
    layout = _read_head(packed[:start])
    body = packed[start:]
    if packed[1] & _DEFLATED:
        body = _inflate(body, layout.body_bytes)
    if len(body) != layout.body_bytes:
        raise UnreadableCountsError(f"a body of {layout.body_bytes} bytes was expected, not {len(body)}")
    return layout, body


@lru_cache(maxsize=1024)
def _read_head(head: bytes) -> Layout:
    version, flags, features, width, outputs, confidence = HEAD.unpack_from(head)
    if version != VERSION:
        raise UnreadableCountsError(f"counts of form {version}, not {VERSION}")
    bins = struct.unpack_from(f"<{features}H", head, HEAD.size) if len(head) == HEAD.size + 2 * features else ()
    shape = Shape(bins, outputs, confidence)
    if len(bins) != features or shape.width != width:
        raise UnreadableCountsError("the head of these counts is cut or contradicts itself")
    size, rest, wide = 2 ** (flags >> _WIDTH_SHIFT & 3), 2 ** (flags >> _REST_SHIFT & 3), bool(flags & _WIDE_MOMENTS)
    body_bytes = SCALARS.size + 2 * features * (8 if wide else 4)
    body_bytes += shape.of_features * size + (shape.length - shape.of_features) * rest
    return Layout(shape, size, rest, wide, body_bytes)


def unpack_counts(packed: bytes) -> WindowCounts:
    """Return the counts of a row, as they were packed.

    Raises:
        UnreadableCountsError: it is no such row.
    """
    layout, body = open_packed(packed)
    shape, features = layout.shape, len(layout.shape.bins)
    rows, errors, rejected, n, correct, abs_error, memory_mb = SCALARS.unpack_from(body)
    code, size = ("d", 8) if layout.wide_moments else ("i", 4)
    end = SCALARS.size + 2 * features * size
    sums = struct.unpack(f"<{2 * features}{code}", body[SCALARS.size : end])
    moments = sums if layout.wide_moments else tuple(item / _MOMENT_UNITS for item in sums)
    form = f"<{shape.of_features}{_code(layout.count_bytes)}"
    form += f"{shape.length - shape.of_features}{_code(layout.rest_bytes)}"
    values = struct.unpack(form, body[end:])
    columns = []
    for index, bins in enumerate(shape.bins):
        start = index * shape.stride
        under, over, missing, invalid = values[start + shape.width : start + shape.stride]
        total, squares = moments[index], moments[features + index]
        columns.append(
            FeatureCounts(values[start : start + bins], under, over, missing, invalid, float(total), float(squares))
        )
    rest = values[shape.of_features :]
    ends = shape.outputs, shape.outputs + shape.confidence
    return WindowCounts(
        rows,
        errors,
        rejected,
        tuple(columns),
        rest[: ends[0]],
        rest[ends[0] : ends[1]],
        rest[ends[1] :],
        Feedback(n, correct, abs_error),
        memory_mb,
    )


def _flatten(counts: WindowCounts, width: int) -> list[int]:
    values: list[int] = []
    for item in counts.features:
        values += item.bins
        values += (0,) * (width - len(item.bins))
        values += (item.under, item.over, item.missing, item.invalid)
    return [*values, *counts.outputs, *counts.confidence, *counts.latency]


def _size_of(values: list[int]) -> int:
    largest = max(values, default=0)
    return next(index for index in range(len(_CODES)) if largest < 256 ** (2**index))


def _code(size_bytes: int) -> str:
    return _CODES[size_bytes.bit_length() - 1]


def _units(moments: Iterable[float]) -> list[int] | None:
    """Return sums as hundredths, or None where one of them is none."""
    found = []
    for moment in moments:
        units = round(moment * _MOMENT_UNITS) if abs(moment) < 2**24 else 2**31
        if units / _MOMENT_UNITS != moment:
            return None
        found.append(units)
    return found


def _little(values: "array[int] | array[float]") -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _inflate(data: bytes, size: int) -> bytes:
    opened = zlib.decompressobj()
    try:
        body = opened.decompress(data, size + 1)
    except zlib.error as error:
        raise UnreadableCountsError(f"deflated counts that do not open: {error}") from error
    if not opened.eof:
        raise UnreadableCountsError("deflated counts that are cut or too long")
    return body
