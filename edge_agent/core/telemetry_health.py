"""Health figures out of counts: population stability index, ratios, confidence. For dashboards, never evidence.

House rules: tallies of one table in, numbers out; a figure that cannot be known yet is 0.
"""

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.baseline import Baseline
from edge_agent.contract.windows import LATENCY_BUCKETS
from edge_agent.core.telemetry import INVALID, MISSING, OVER, UNDER, CountingTable, Tally

MIN_ROWS_FOR_PSI = 200
_FLOOR = 1e-4


def training_counts(baseline: Baseline, table: CountingTable) -> NDArray[np.float64]:
    """Return the baseline's counts as (features, bins), padded with zeros to the table's width."""
    counts = np.zeros((table.features, max(table.bins)))
    for index, feature in enumerate(baseline.features):
        counts[index, : len(feature.counts)] = feature.counts
    return counts


def max_psi(training: NDArray[np.float64], table: CountingTable, tallies: tuple[Tally, ...]) -> float:
    """Return the largest debiased PSI of any feature over the tallies together; 0 under 200 rows.

    PSI = sum (p - q) ln(p / q) over bins. Of equal distributions it is about chi-squared, (B - 1)(1/n + 1/m) in the
    mean (B. Yurdakul, "Statistical Properties of Population Stability Index", 2018), which is taken off here. Values
    under and over the training range count in the first and the last bin. Shares are floored at 0.0001.
    """
    merged = _merged(tallies)
    last = np.array(table.bins) - 1
    live = merged[:, :UNDER].astype(np.float64)
    live[:, 0] += merged[:, UNDER]
    live[np.arange(table.features), last] += merged[:, OVER]
    n, m = live.sum(axis=1), training.sum(axis=1)
    known = (n >= MIN_ROWS_FOR_PSI) & (m > 0)
    if not known.any():
        return 0.0
    real = np.arange(live.shape[1]) <= last[:, None]
    p = np.maximum(live / np.maximum(n, 1)[:, None], _FLOOR)
    q = np.maximum(training / np.maximum(m, 1)[:, None], _FLOOR)
    psi = np.where(real, (p - q) * np.log(p / q), 0.0).sum(axis=1)
    debiased = psi - last * (1 / np.maximum(n, 1) + 1 / np.maximum(m, 1))
    return max(0.0, float(debiased[known].max()))


def missing_and_range_ratio(tallies: tuple[Tally, ...]) -> tuple[float, float]:
    """Return the shares of missing values among all, and of values outside of the training range among finite ones."""
    merged = _merged(tallies).sum(axis=0)
    under, over, missing, invalid = (int(merged[slot]) for slot in (UNDER, OVER, MISSING, INVALID))
    finite = int(merged[:UNDER].sum()) + under + over
    seen = finite + missing + invalid
    return (missing / seen if seen else 0.0), ((under + over) / finite if finite else 0.0)


def mean_confidence(tallies: tuple[Tally, ...]) -> float:
    """Return the mean of the largest probability; 0 where scores are no probabilities."""
    counted = sum(int(tally.confidence.sum()) for tally in tallies)
    return sum(tally.confidence_sum for tally in tallies) / counted if counted else 0.0


def latency_counts(tallies: tuple[Tally, ...]) -> tuple[int, ...]:
    """Return the latency buckets of the tallies together."""
    return tuple(sum(tally.latency[bucket] for tally in tallies) for bucket in range(LATENCY_BUCKETS))


def _merged(tallies: tuple[Tally, ...]) -> NDArray[np.int64]:
    total = tallies[0].counts.copy()
    for tally in tallies[1:]:
        total += tally.counts
    return total
