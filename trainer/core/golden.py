"""Golden vectors: which rows a device replays before a model may serve, and how near its answers must be.

The hardest rows come first: those on a threshold and one float32 step beside it, those with missing values, those
nearest to another label, and those with the extremes of the columns. A tolerance
must let another processor or runtime version pass, and must not let another model pass.
"""

import numpy as np

from edge_agent.contract.manifest import OutputSpec, ScoreKind
from trainer.core.adversarial import HardRows
from trainer.core.arrays import Floats, Indices, Singles
from trainer.core.labels import decision_gaps

ROWS = 32
HARD_ROWS = 8
NEAR_TIES = 12
EXTREMES = 12
FLOAT_TOLERANCE = 1e-4
# Another kernel may round an activation to the neighbouring one of 255 steps; this many times what was seen here.
KERNEL_FACTOR = 4.0


def choose_rows(output: OutputSpec, x: Singles, reference: Floats, rows: int = ROWS) -> Indices:
    """Choose at most `rows` rows: smallest decision gaps, extremes of columns, the rest evenly over the table.

    The choice depends on the arguments alone.
    """
    if len(x) <= rows:
        return np.arange(len(x))
    chosen = dict.fromkeys(int(row) for row in np.argsort(decision_gaps(output, reference), kind="stable")[:NEAR_TIES])
    filled = np.where(np.isfinite(x), x, np.nanmean(np.where(np.isfinite(x), x, np.nan), axis=0))
    # A row counts once for each column in which it holds the smallest or the largest value.
    extreme = (filled == filled.min(axis=0)).astype(np.float64) / (filled == filled.min(axis=0)).sum(axis=0)
    extreme += (filled == filled.max(axis=0)) / (filled == filled.max(axis=0)).sum(axis=0)
    for row in np.argsort(-extreme.sum(axis=1), kind="stable"):
        if len(chosen) >= NEAR_TIES + EXTREMES:
            break
        chosen[int(row)] = None
    for row in np.linspace(0, len(x) - 1, 4 * rows).astype(int):
        if len(chosen) >= rows:
            break
        chosen[int(row)] = None
    return np.array(sorted(chosen), dtype=np.intp)


def choose_hard_rows(rows: HardRows, most: int = HARD_ROWS) -> Indices:
    """Choose at most so many of the hard rows that come in service too, evenly: on, below and above thresholds."""
    golden = np.flatnonzero(rows.is_golden)
    if len(golden) <= most:
        return golden
    return golden[np.linspace(0, len(golden) - 1, most).astype(np.intp)]


def score_unit(output: OutputSpec, scores: Floats) -> float:
    """Return the size of a meaningful difference of scores: 1 for probabilities, their standard deviation otherwise."""
    return 1.0 if output.kind is ScoreKind.PROBABILITY else max(float(scores.std()), 1e-6)


def choose_tolerance(output: OutputSpec, scores: Floats, kernel_diff: float) -> tuple[float, float]:
    """Return (atol, rtol) for replays elsewhere.

    `kernel_diff` is the largest difference seen here between two implementations of the same variant.
    """
    unit = score_unit(output, scores)
    return max(FLOAT_TOLERANCE * unit, KERNEL_FACTOR * kernel_diff), FLOAT_TOLERANCE


def is_within(scores: Floats, expected: Floats, atol: float, rtol: float) -> bool:
    """Return whether every |score - expected| <= atol + rtol * |expected|; a score that is not finite is not."""
    return bool((np.abs(scores - expected) <= atol + rtol * np.abs(expected)).all())
