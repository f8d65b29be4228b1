"""A window in few bytes: JSON for what it is of, deflated with a dictionary, then its counts in bits.

House rules: what JSON says of a window and what this says are the same, but that sums are in hundredths, the precision
that a device rounds them to. After the length of the head in two bytes, and the head, come lists of `bits`:

- the number of columns; the number of bins of each; `under`, `over`, `missing`, `invalid` of each;
- what is in the bins of each column, less what the rows and those four let expect;
- how the bins of each column are written: 0 for differences from their mean, as even bins are small that way; 1 for
  differences from the bin before, the first from the mean, as smooth ones are; then the bins, a list a column;
- totals; squares, less one for each finite value, which is what standardised values let expect;
- outputs, confidence and latency, each after its length.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edge_agent.contract import codec
from edge_agent.contract.bits import SUM_BITS, BitReader, BitWriter, unzigzag, zigzag
from edge_agent.contract.envelope import deflate, inflate
from edge_agent.contract.windows import FeatureCounts, Feedback, Window, WindowCounts

_LENGTH_BYTES = 2
_HUNDREDTHS = 100
_MAX_COUNT = 2**63 - 1
_FLAWS = ("under", "over", "missing", "invalid")
_NONE = Feedback()
# What most heads have in common. It is a part of the wire, and never changes.
_DICTIONARY = (
    b'{"device":"","boot":1,"number":1,"model":"","version":1,"digest":"","started":17,"ended":17,"rows":10000,'
    b'"errors":0,"rejected":0,"feedback":{"n":0,"correct":0,"abs_error":0.0},"memory_mb":'
)


@dataclass(frozen=True, slots=True)
class _Head:
    """What a window says besides its lists."""

    device: str
    boot: int
    number: int
    model: str
    version: int
    digest: str
    started: int
    ended: int
    rows: int
    errors: int
    rejected: int
    feedback: Feedback = _NONE
    memory_mb: float = 0.0


def pack_window(window: Window) -> bytes:
    """Return the payload of a window; sums are rounded to 0.01."""
    counts = window.counts
    head = _Head(
        window.device,
        window.boot,
        window.number,
        window.model,
        window.version,
        window.digest,
        window.started,
        window.ended,
        counts.rows,
        counts.errors,
        counts.rejected,
        counts.feedback,
        counts.memory_mb,
    )
    packed = deflate(codec.encode(head), _DICTIONARY)
    return len(packed).to_bytes(_LENGTH_BYTES, "big") + packed + _pack_counts(counts)


def unpack_window(payload: bytes) -> Window:
    """Return the window of a payload.

    Raises:
        codec.MalformedError: too large, cut short, followed by more, or not of this form.
    """
    end = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES], "big")
    head = codec.decode(_Head, inflate(payload[_LENGTH_BYTES:end], _DICTIONARY))
    counts = _unpack_counts(head, BitReader(payload[end:]))
    place = (head.device, head.boot, head.number, head.model, head.version, head.digest, head.started, head.ended)
    return Window(*place, counts)


def _pack_counts(counts: WindowCounts) -> bytes:
    features, bits = counts.features, BitWriter()
    bits.write([len(features)])
    bits.write(len(one.bins) for one in features)
    for name in _FLAWS:
        bits.write(getattr(one, name) for one in features)
    bits.write(zigzag(sum(one.bins) - _expected(counts.rows, one)) for one in features)
    both = [(_differences(one.bins, smooth=False), _differences(one.bins, smooth=True)) for one in features]
    chosen = [int(sum(smooth) < sum(even)) for even, smooth in both]
    bits.write(chosen)
    for pair, place in zip(both, chosen, strict=True):
        bits.write(pair[place])
    bits.write((zigzag(round(one.total * _HUNDREDTHS)) for one in features), SUM_BITS)
    bits.write((zigzag(round((one.squares - one.n) * _HUNDREDTHS)) for one in features), SUM_BITS)
    for several in (counts.outputs, counts.confidence, counts.latency):
        bits.write([len(several)])
        bits.write(several)
    return bits.to_bytes()


def _unpack_counts(head: _Head, bits: BitReader) -> WindowCounts:
    (columns,) = bits.read(1)
    sizes = bits.read(columns)
    under, over, missing, invalid = (bits.read(columns) for _ in _FLAWS)
    bare = [FeatureCounts((), *found) for found in zip(under, over, missing, invalid, strict=True)]
    inside = [unzigzag(more) + _expected(head.rows, one) for more, one in zip(bits.read(columns), bare, strict=True)]
    chosen = bits.read(columns)
    bins = [
        _bins(bits.read(size), total, smooth=smooth == 1)
        for size, total, smooth in zip(sizes, inside, chosen, strict=True)
    ]
    totals, squares = ([unzigzag(number) for number in bits.read(columns, SUM_BITS)] for _ in range(2))
    features = tuple(
        replace(one, bins=found, total=total / _HUNDREDTHS, squares=_squares(one, found, square))
        for one, found, total, square in zip(bare, bins, totals, squares, strict=True)
    )
    outputs, confidence, latency = (tuple(bits.read(*bits.read(1))) for _ in range(3))
    bits.end()
    try:
        return WindowCounts(
            head.rows,
            head.errors,
            head.rejected,
            features,
            outputs,
            confidence,
            latency,
            head.feedback,
            head.memory_mb,
        )
    except ValueError as error:
        raise codec.MalformedError(f"Window: {error}") from error


def _expected(rows: int, one: FeatureCounts) -> int:
    return rows - one.under - one.over - one.missing - one.invalid


def _squares(bare: FeatureCounts, bins: Sequence[int], more: int) -> float:
    return (more + _HUNDREDTHS * (sum(bins) + bare.under + bare.over)) / _HUNDREDTHS


def _differences(bins: Sequence[int], *, smooth: bool) -> list[int]:
    """Return the counts of bins as zigzag-coded differences."""
    mean = sum(bins) // max(1, len(bins))
    before = [mean, *bins[:-1]] if smooth else [mean] * len(bins)
    return [zigzag(count - other) for count, other in zip(bins, before, strict=True)] if bins else []


def _bins(differences: Sequence[int], total: int, *, smooth: bool) -> tuple[int, ...]:
    """Return the counts of bins that hold `total` together.

    Raises:
        codec.MalformedError: they do not.
    """
    mean = total // max(1, len(differences))
    found, before = [], mean
    for number in differences:
        found.append(before + unzigzag(number))
        before = found[-1] if smooth else mean
    if sum(found) != total or any(not 0 <= count <= _MAX_COUNT for count in found):
        raise codec.MalformedError("Window: the counts of a column contradict each other")
    return tuple(found)
