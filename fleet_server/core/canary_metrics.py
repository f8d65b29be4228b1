"""What is measured on one device in one interval: merged counts in, one number for each metric out; larger is worse.

House rules: a metric without rows (or labels) to rest on is absent, never zero. Latency, memory and absolute error are
taken as logarithms, so that a margin is a share and a slow board weighs like a fast one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edge_agent.contract.windows import LATENCY_BUCKETS, LATENCY_EDGES_US
from fleet_server.core.drift_rules import population_stability
from fleet_server.core.policies import Metric

# A tail of 5 % of fewer rows is no row at all.
_LEAST_ROWS_P95 = 20
_LEAST_ROWS_PSI = 50
_LEAST_ERROR = 1e-12
_LOGARITHMIC = frozenset({Metric.LATENCY_P95, Metric.MEMORY, Metric.ABS_ERROR})


@dataclass(frozen=True, slots=True)
class DeviceSums:
    """What a device counted in some span of time, without its inputs; `memory_mb` is the largest of the span."""

    rows: int = 0
    errors: int = 0
    rejected: int = 0
    outputs: tuple[int, ...] = ()
    latency: tuple[int, ...] = (0,) * LATENCY_BUCKETS
    memory_mb: float = 0.0
    labels: int = 0
    correct: int = 0
    abs_error: float = 0.0

    def __add__(self, other: "DeviceSums") -> "DeviceSums":
        return DeviceSums(
            self.rows + other.rows,
            self.errors + other.errors,
            self.rejected + other.rejected,
            _add(self.outputs, other.outputs),
            _add(self.latency, other.latency),
            max(self.memory_mb, other.memory_mb),
            self.labels + other.labels,
            self.correct + other.correct,
            self.abs_error + other.abs_error,
        )


def measure(metric: Metric, sums: DeviceSums, reference: tuple[int, ...] = ()) -> tuple[float, float] | None:
    """Return a metric's value and the rows (or labels) that it rests on, or None where there are too few.

    `reference` holds the outputs of the stable arm that predictions are compared with.
    """
    match metric:
        case Metric.ERROR_RATIO:
            return _ratio(sums.errors, sums.rows)
        case Metric.REJECTED_RATIO:
            return _ratio(sums.rejected, sums.rows + sums.rejected)
        case Metric.LATENCY_P95:
            value = _log_p95(sums.latency)
            return None if value is None else (value, sums.rows)
        case Metric.MEMORY:
            return None if sums.memory_mb <= 0 else (math.log(sums.memory_mb), max(sums.rows, 1))
        case Metric.PREDICTION_PSI:
            return _psi(sums.outputs, reference)
        case Metric.ACCURACY:
            # Values have no right ones among them: where not one prediction was, their error speaks.
            return _ratio(sums.labels - sums.correct, sums.labels) if sums.correct or not sums.abs_error else None
        case Metric.ABS_ERROR:
            if not sums.labels or not sums.abs_error:
                return None
            return math.log(max(sums.abs_error / sums.labels, _LEAST_ERROR)), sums.labels


def scaled_margin(metric: Metric, margin: float) -> float:
    """Return a policy's margin on the scale of `measure`: a share of a logarithmic metric is ln(1 + margin)."""
    return math.log1p(margin) if metric in _LOGARITHMIC else margin


def shown_change(metric: Metric, change: float) -> float:
    """Return a change on the scale of `measure` as people read it: a share of a logarithmic metric."""
    return math.expm1(min(change, 50.0)) if metric in _LOGARITHMIC else change


def pooled_outputs(devices: Mapping[str, DeviceSums]) -> tuple[int, ...]:
    """Return the outputs of all of these together."""
    total: tuple[int, ...] = ()
    for sums in devices.values():
        total = _add(total, sums.outputs)
    return total


def _ratio(part: int, whole: int) -> tuple[float, float] | None:
    return (part / whole, whole) if whole else None


def _log_p95(latency: tuple[int, ...]) -> float | None:
    """Return ln of the 0.95 quantile in µs, by interpolation within its bucket (whose edges are a factor apart)."""
    n = sum(latency)
    if n < _LEAST_ROWS_P95:
        return None
    wanted, seen = 0.95 * n, 0
    step = math.log(LATENCY_EDGES_US[1] / LATENCY_EDGES_US[0])
    for index, count in enumerate(latency):
        if count and seen + count >= wanted:
            upper = math.log(LATENCY_EDGES_US[0]) + index * step
            return upper - step * (1 - (wanted - seen) / count)
        seen += count
    return None


def _psi(outputs: tuple[int, ...], reference: tuple[int, ...]) -> tuple[float, float] | None:
    n = sum(outputs)
    if n < _LEAST_ROWS_PSI or len(outputs) != len(reference) or sum(reference) < _LEAST_ROWS_PSI:
        return None
    return population_stability(outputs, reference), n


def _add(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """Add counts; those of another shape (of a model with other outputs) begin anew."""
    if len(a) != len(b):
        return b or a
    return tuple(x + y for x, y in zip(a, b, strict=True))
