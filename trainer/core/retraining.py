"""Whether a retrained model is better than the running one: a paired comparison that knows that rows are a sequence.

House rules: both models answer the same rows, so that only the rows on which they differ count. Rows in the order of
time are no independent draws (an error lasts for hours): the interval is by blocks of rows, never by single rows.
"""

import numpy as np
from scipy.stats import t as student

from edge_agent.contract.retraining import Comparison, GateTerms
from trainer.core.arrays import Column, Floats

RESAMPLES = 2000
LEAST_ROWS = 30
_SIGNIFICANT = 2.0
_RUN_OF_LAGS = 5


def label_gains(truth: Column, running: Column, retrained: Column) -> Floats:
    """Return for each row 1 where only the retrained model is right, -1 where only the running one is, else 0."""
    gains: Floats = (retrained == truth).astype(np.float64) - (running == truth).astype(np.float64)
    return gains


def value_gains(truth: Floats, running: Floats, retrained: Floats) -> Floats:
    """Return for each row how much smaller its absolute error is, in shares of the running model's mean."""
    before, after = np.abs(running - truth), np.abs(retrained - truth)
    mean = float(before.mean())
    gains: Floats = (before - after) / mean if mean > 0 else -after
    return gains


def block_length(gains: Floats) -> int:
    """Return how many rows of a sequence belong together in a circular block bootstrap.

    Twice what Politis and White (2004), "Automatic block-length selection for the dependent bootstrap", as corrected by
    Patton, Politis and White (2009), choose for the least error of the variance: an interval wants longer blocks, and
    errors that last for hours were held for gains in a simulation otherwise. At most an eighth of the rows.
    """
    n = len(gains)
    centred = gains - gains.mean()
    variance = float(centred @ centred) / n
    if variance == 0:
        return 1
    most = max(1, int(np.ceil(min(3 * np.sqrt(n), n / 3))))
    lags = min(most + _RUN_OF_LAGS, n - 1)
    covariance = np.array([float(centred[: n - k] @ centred[k:]) / n for k in range(lags + 1)])
    small = np.abs(covariance[1:] / variance) < _SIGNIFICANT * np.sqrt(np.log10(n) / n)
    settled = next((k for k in range(len(small) - _RUN_OF_LAGS + 1) if small[k : k + _RUN_OF_LAGS].all()), None)
    chosen = most if settled is None else min(_chosen(covariance, min(2 * max(settled, 1), lags), n), most)
    return int(np.clip(2 * chosen, 1, max(1, n // 8)))


def _chosen(covariance: Floats, reach: int, n: int) -> int:
    """Return the length that Politis and White choose: a flat-top window over the lags within `reach`."""
    k = np.arange(1, reach + 1)
    weighted = np.clip(2 * (1 - k / reach), 0, 1) * covariance[1 : reach + 1]
    spread, slope = covariance[0] + 2 * float(weighted.sum()), 2 * float((k * weighted).sum())
    return n if spread <= 0 else max(1, int(np.ceil((1.5 * (slope / spread) ** 2 * n) ** (1 / 3))))


def lower_bound(gains: Floats, confidence: float, seed: int) -> tuple[float, int]:
    """Return the lower end of the mean gain's one-sided confidence interval, and the length of its blocks.

    The standard error is of a circular block bootstrap (Politis and Romano, 1992), freed of its bias by the
    blocks' share of the rows; the quantile is Student's with a degree of freedom less than there are blocks.
    """
    n, block = len(gains), block_length(gains)
    blocks = int(np.ceil(n / block))
    sums = np.concatenate([[0.0], np.cumsum(np.concatenate([gains, gains[: block - 1]]))])
    starts = np.random.default_rng(seed).integers(0, n, (RESAMPLES, blocks))
    means = (sums[block:] - sums[:-block])[starts].sum(axis=1) / (blocks * block)
    error = float(means.std(ddof=1)) / np.sqrt(1 - block / n)
    return float(gains.mean() - student.ppf(confidence, blocks - 1) * error), block


def compare(gains: Floats, running: float, retrained: float, confidence: float, seed: int) -> Comparison:
    """Return both models' metrics on the rows, and the gain with its lower bound."""
    lower, block = lower_bound(gains, confidence, seed)
    return Comparison(len(gains), running, retrained, float(gains.mean()), lower, block)


def judge_retraining(newest: Comparison, backtest: Comparison, terms: GateTerms) -> tuple[bool, str]:
    """Return whether the retrained model wins, and why, with the figures.

    It wins where it is better on rows that neither model was trained on by the margin, surely better at all, and no
    worse than tolerated where the base data are.
    """
    told = (
        f"on the {newest.rows} newest rows it gains {_points(newest.gain)} (at least {_points(newest.lower)}, "
        f"{terms.confidence:.0%} sure)"
    )
    before = f"on {backtest.rows} rows of the back-test {_points(backtest.gain)}"
    if newest.rows < LEAST_ROWS:
        return False, f"only {newest.rows} newest rows to judge by, {LEAST_ROWS} are needed"
    if newest.gain < terms.margin:
        return False, f"{told}, and {_points(terms.margin)} are asked"
    if newest.lower <= 0:
        return False, f"{told}: that may be chance"
    if backtest.gain < -terms.tolerance:
        return False, f"{told}, but {before}, and a loss of {_points(terms.tolerance)} is tolerated"
    return True, f"{told}; {before}"


def _points(share: float) -> str:
    return f"{share * 100:+.2f} points"
