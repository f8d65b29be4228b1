"""A window: mergeable counts of what one model version saw and answered on one device in a span of time.

House rules: integers add and the peak of memory is a maximum; nothing in a window is a mean, so windows of any devices
merge exactly. The key of a window is (device, model, version, boot, number): a repeat replaces, a wrong clock harms
nothing.
"""

from bisect import bisect_left
from dataclasses import dataclass

CONFIDENCE_BINS = 10
LATENCY_BUCKETS = 34
LATENCY_FIRST_US = 100.0
# Upper edges in µs: 100, 141, 200, ... each sqrt(2) times the one before; the last bucket has no upper edge.
LATENCY_EDGES_US = tuple(LATENCY_FIRST_US * 2 ** (step / 2) for step in range(LATENCY_BUCKETS - 1))


@dataclass(frozen=True, slots=True)
class FeatureCounts:
    """One input column: counts in the baseline's bins, values outside of the training range, missing and invalid.

    `total` and `squares` are the sum and the sum of squares of (x - mean) / std by the baseline's mean and standard
    deviation (std 0 counts as 1), over the finite values, so that they stay small; a device rounds them to 0.01.
    """

    bins: tuple[int, ...]
    under: int = 0
    over: int = 0
    missing: int = 0
    invalid: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def n(self) -> int:
        """How many finite values were counted."""
        return sum(self.bins) + self.under + self.over


@dataclass(frozen=True, slots=True)
class Feedback:
    """True labels (or values) that came back: how many, how many predictions were right, sum of |error| for values."""

    n: int = 0
    correct: int = 0
    abs_error: float = 0.0


@dataclass(frozen=True, slots=True)
class WindowCounts:
    """The counts themselves, without what they are of. `outputs` counts labels, or bins of the value in regression.

    `memory_mb` is the largest anonymous memory of the worker that was seen in the window, in MiB (0: not measured).
    """

    rows: int
    errors: int
    rejected: int
    features: tuple[FeatureCounts, ...]
    outputs: tuple[int, ...]
    confidence: tuple[int, ...]
    latency: tuple[int, ...]
    feedback: Feedback = Feedback()
    memory_mb: float = 0.0

    def __post_init__(self) -> None:
        if len(self.latency) != LATENCY_BUCKETS:
            raise ValueError(f"a window has {LATENCY_BUCKETS} latency buckets, not {len(self.latency)}")


@dataclass(frozen=True, slots=True)
class Window:
    """One closed window of one device; times in epoch milliseconds of the device's clock."""

    device: str
    boot: int
    number: int
    model: str
    version: int
    digest: str
    started: int
    ended: int
    counts: WindowCounts


def latency_bucket(microseconds: float) -> int:
    """Return the index of the latency bucket for a duration in microseconds."""
    return bisect_left(LATENCY_EDGES_US, microseconds)


def latency_quantile_ms(latency: tuple[int, ...], q: float) -> float:
    """Estimate the q-quantile of latency in ms from buckets, by the upper edge of the bucket; 0.0 without counts."""
    wanted, seen = q * sum(latency), 0
    for index, count in enumerate(latency):
        seen += count
        if count and seen >= wanted:
            return LATENCY_EDGES_US[min(index, LATENCY_BUCKETS - 2)] / 1000.0
    return 0.0


def merge(a: WindowCounts, b: WindowCounts) -> WindowCounts:
    """Add two windows' counts of the same model version.

    Raises:
        ValueError: they are of different shape, so not of one baseline.
    """
    return WindowCounts(
        rows=a.rows + b.rows,
        errors=a.errors + b.errors,
        rejected=a.rejected + b.rejected,
        features=tuple(_merge_feature(x, y) for x, y in zip(a.features, b.features, strict=True)),
        outputs=_add(a.outputs, b.outputs),
        confidence=_add(a.confidence, b.confidence),
        latency=_add(a.latency, b.latency),
        feedback=Feedback(
            a.feedback.n + b.feedback.n,
            a.feedback.correct + b.feedback.correct,
            a.feedback.abs_error + b.feedback.abs_error,
        ),
        memory_mb=max(a.memory_mb, b.memory_mb),
    )


def _merge_feature(a: FeatureCounts, b: FeatureCounts) -> FeatureCounts:
    return FeatureCounts(
        bins=_add(a.bins, b.bins),
        under=a.under + b.under,
        over=a.over + b.over,
        missing=a.missing + b.missing,
        invalid=a.invalid + b.invalid,
        total=a.total + b.total,
        squares=a.squares + b.squares,
    )


def _add(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(x + y for x, y in zip(a, b, strict=True))
