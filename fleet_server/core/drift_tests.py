"""Tests of binned counts against reference counts, over windows and columns at once.

House rules: arrays of shape (windows, columns, bins) in, (windows, columns) out. Chi-square and Kolmogorov-Smirnov come
as *scaled* statistics, near normal for a steady column, so that a device's own mean and spread of them are a threshold
whatever the dependence of its rows is: neighbouring rows that resemble each other multiply both statistics by a
constant, which a device's own past knows and a table of the distribution does not.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SMOOTHING = 0.5  # H. Jeffreys' prior for counts, so that an empty bin has a finite weight
# Of Kolmogorov's limit distribution: mean 0.8687, standard deviation 0.2603; of its square root by the delta method.
KS_MEAN, KS_SPREAD = 0.922, 0.140


def population_stability(counts: Floats, reference: Floats) -> Floats:
    """Return the PSI, sum (p - q) ln(p / q), less its expectation under no change, (B - 1)(1/n + 1/m); at least 0.

    Source of the expectation: B. Yurdakul and J. Naranjo (2020), Statistical properties of the population stability
    index, Journal of Risk Model Validation 14(4). Bins that are empty on both sides do not count.
    """
    held = (counts + reference) > 0
    used = held.sum(axis=2)
    n, m = counts.sum(axis=2), reference.sum(axis=2)
    added = _SMOOTHING * used
    p = (counts + _SMOOTHING) / np.maximum(n + added, 1.0)[:, :, None]
    q = (reference + _SMOOTHING) / np.maximum(m + added, 1.0)[:, :, None]
    raw = np.where(held, (p - q) * np.log(p / q), 0.0).sum(axis=2)
    chance = (used - 1) * (1 / np.maximum(n, 1.0) + 1 / np.maximum(m, 1.0))
    found: Floats = np.where((n > 0) & (m > 0), np.maximum(0.0, raw - chance), 0.0)
    return found


def scaled_chi_square(counts: Floats, reference: Floats) -> tuple[Floats, Floats]:
    """Return (statistic / freedom)^(1/4) of Pearson's two-sample chi-square test, and the degrees of freedom.

    The fourth root is near normal even where few directions carry most of the variance, as with rows that resemble
    their neighbours: D. M. Hawkins and R. A. J. Wixley (1986), A note on the transformation of chi-squared variables to
    normality, The American Statistician 40. By the delta method its mean is 1 - 3/(16 freedom) and its variance
    1/(8 freedom) for independent rows.
    """
    n, m = counts.sum(axis=2, keepdims=True), reference.sum(axis=2, keepdims=True)
    both = counts + reference
    difference = counts * m - reference * n  # 0 where a bin is empty on both sides
    statistic = (difference * difference / np.maximum(both, 1.0)).sum(axis=2) / np.maximum(n * m, 1.0)[:, :, 0]
    freedom: Floats = np.maximum((both > 0).sum(axis=2) - 1.0, 0.0)
    return np.sqrt(np.sqrt(statistic / np.maximum(freedom, 1.0))), freedom


def scaled_kolmogorov(counts: Floats, reference: Floats) -> Floats:
    """Return the square root of D sqrt(nm / (n + m)) of the two-sample Kolmogorov-Smirnov test at the bins' edges.

    Where neighbouring rows resemble each other the statistic nears the size of one normal variable, whose square root
    has a lighter upper tail than a normal variable of its mean and spread: the threshold errs on the safe side.
    """
    n, m = counts.sum(axis=2), reference.sum(axis=2)
    apart = counts / np.maximum(n, 1.0)[:, :, None] - reference / np.maximum(m, 1.0)[:, :, None]
    distance = np.abs(np.cumsum(apart, axis=2)).max(axis=2)
    found: Floats = np.sqrt(distance * np.sqrt(n * m / np.maximum(n + m, 1.0)))
    return found
