"""Whether one column moved: counts of new rows against the baseline's, as a p-value, a size and a sentence.

House rules: a column drifted only if chance does not explain it (p-value, corrected for the number of columns) *and* it
moved enough to matter (population stability index, or a shift in σ for a group). PSI alone flags most clean windows of
a few hundred rows; a test alone flags what no model feels. χ² and Kolmogorov-Smirnov see the same counts inside of the
training range, each at half of the level; values outside of the range and missing ones have exact tests of their own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.contract.baseline import FeatureBaseline, OutputBaseline
from edge_agent.contract.windows import FeatureCounts
from fleet_server.core.tails import chi_square_tail, excess_tail, kolmogorov_tail

# Under it the chi-square approximation is not trusted: W. G. Cochran (1954), Biometrics 10.
_LEAST_EXPECTED = 5.0
# Added to every category so that an empty one has a finite weight: H. Jeffreys' prior for counts.
_SMOOTHING = 0.5
_STUCK_SHARE = 0.98
_TELLING_SHIFT = 0.1
_TELLING_SPREAD = 1.25
_OFF_THE_SCALE = 10.0


@dataclass(frozen=True, slots=True)
class Moved:
    """How a column moved. `p_value` is this column's own, not yet corrected for the number of columns.

    `psi` is free of what sampling alone adds to it; `shift_sigma` in standard deviations of training (0 for labels).
    """

    psi: float
    p_value: float
    shift_sigma: float
    missing_ratio: float
    outside_ratio: float
    words: str


def population_stability(counts: Sequence[int], baseline: Sequence[int]) -> float:
    """Return the PSI, sum (p - q) ln(p / q), less its expectation under no change, (B - 1)(1/n + 1/m); at least 0.

    Source of the expectation: B. Yurdakul and J. Naranjo (2020), Statistical properties of the population stability
    index, Journal of Risk Model Validation 14(4). Categories that are empty on both sides do not count.

    Raises:
        ValueError: the lengths differ.
    """
    pairs = [(a, b) for a, b in zip(counts, baseline, strict=True) if a or b]
    n, m = sum(a for a, _ in pairs), sum(b for _, b in pairs)
    if not n or not m or len(pairs) < 2:
        return 0.0
    added = _SMOOTHING * len(pairs)
    raw = 0.0
    for a, b in pairs:
        p, q = (a + _SMOOTHING) / (n + added), (b + _SMOOTHING) / (m + added)
        raw += (p - q) * math.log(p / q)
    return max(0.0, raw - (len(pairs) - 1) * (1 / n + 1 / m))


def chi_square_p(counts: Sequence[int], baseline: Sequence[int]) -> float:
    """Return the p-value of Pearson's two-sample χ² test; neighbours are pooled until 5 are expected in each cell."""
    n, m = sum(counts), sum(baseline)
    if not n or not m:
        return 1.0
    least = _LEAST_EXPECTED * (n + m) / min(n, m)
    cells: list[tuple[int, int]] = []
    a = b = 0
    for x, y in zip(counts, baseline, strict=True):
        a, b = a + x, b + y
        if a + b >= least:
            cells.append((a, b))
            a = b = 0
    if cells and (a or b):
        cells[-1] = (cells[-1][0] + a, cells[-1][1] + b)
    if len(cells) < 2:
        return 1.0
    # With expected a' = n(a+b)/(n+m), b' = m(a+b)/(n+m), the sum of both rows' terms is this one.
    statistic = sum((a * m - b * n) ** 2 / (a + b) for a, b in cells) / (n * m)
    return chi_square_tail(statistic, len(cells) - 1)


def kolmogorov_p(counts: Sequence[int], baseline: Sequence[int]) -> float:
    """Return the p-value of the two-sample Kolmogorov-Smirnov test at the bins' edges (ordered bins)."""
    n, m = sum(counts), sum(baseline)
    if not n or not m:
        return 1.0
    largest, a, b = 0.0, 0, 0
    for x, y in zip(counts, baseline, strict=True):
        a, b = a + x, b + y
        largest = max(largest, abs(a / n - b / m))
    return kolmogorov_tail(largest, n, m)


def judge_feature(baseline: FeatureBaseline, counts: FeatureCounts) -> Moved:
    """Compare one input column with its baseline."""
    n, m = counts.n, sum(baseline.counts)
    p_shape = chi_square_p(counts.bins, baseline.counts)
    if not baseline.categories:  # the order of categories means nothing
        p_shape = _union(p_shape, kolmogorov_p(counts.bins, baseline.counts))
    p_range = _union(excess_tail(counts.under, n, 0, m), excess_tail(counts.over, n, 0, m))
    p_missing = excess_tail(counts.missing, n + counts.missing, baseline.missing, m + baseline.missing)
    seen = (*counts.bins, counts.under, counts.over, counts.missing)
    known = (*baseline.counts, 0, 0, baseline.missing)
    all_rows = n + counts.missing
    return Moved(
        psi=population_stability(seen, known),
        p_value=_union(p_shape, p_range, p_missing),
        shift_sigma=counts.total / n if n and baseline.std > 0 and not baseline.categories else 0.0,
        missing_ratio=counts.missing / all_rows if all_rows else 0.0,
        outside_ratio=(counts.under + counts.over) / n if n else 0.0,
        words=_describe(baseline, counts),
    )


def judge_output(baseline: OutputBaseline, outputs: Sequence[int]) -> Moved:
    """Compare what the model answered with the held-out rows' answers: values in bins, or labels without an order."""
    p_value = chi_square_p(outputs, baseline.counts)
    if baseline.edges:
        p_value = _union(p_value, kolmogorov_p(outputs, baseline.counts))
    n, m = sum(outputs), sum(baseline.counts)
    words = "has no answers yet"
    if n and m:
        shares = [(a / n, b / m) for a, b in zip(outputs, baseline.counts, strict=True)]
        place = max(range(len(shares)), key=lambda index: abs(shares[index][0] - shares[index][1]))
        now, then = shares[place]
        what = "bin" if baseline.edges else "label"
        words = f"answers {what} {place} in {now:.0%} of the rows, {then:.0%} before"
    return Moved(population_stability(outputs, baseline.counts), p_value, 0.0, 0.0, 0.0, words)


def _union(*p_values: float) -> float:
    """Return the p-value of the union of tests: the least times their number (Bonferroni)."""
    return min(1.0, len(p_values) * min(p_values))


def _describe(baseline: FeatureBaseline, counts: FeatureCounts) -> str:
    """Say in words what happened, the most telling first."""
    n = counts.n
    told = []
    if counts.missing and counts.missing / (n + counts.missing) > 0.01:
        told.append(f"is missing in {counts.missing / (n + counts.missing):.0%} of the rows")
    if n and baseline.categories:
        told += _describe_categories(baseline, counts)
    elif n:
        told += _describe_level(baseline, counts)
        for count, side in ((counts.under, "below"), (counts.over, "above")):
            if count / n > 0.01:
                told.append(f"lies {side} the training range in {count / n:.0%} of the rows")
    return ", ".join(told) or "changed its shape"


def _describe_categories(baseline: FeatureBaseline, counts: FeatureCounts) -> list[str]:
    told, n, m = [], counts.n, sum(baseline.counts)
    if counts.over / n > 0.01:
        told.append(f"is of an unknown category in {counts.over / n:.0%} of the rows")
    shares = [(a / n, b / m) for a, b in zip(counts.bins, baseline.counts, strict=True)] if m else []
    if shares:
        place = max(range(len(shares)), key=lambda index: abs(shares[index][0] - shares[index][1]))
        now, then = shares[place]
        told.append(f"is {baseline.categories[place]:g} in {now:.0%} of the rows, {then:.0%} before")
    return told


def _describe_level(baseline: FeatureBaseline, counts: FeatureCounts) -> list[str]:
    n = counts.n
    if baseline.std <= 0:
        return ["was constant in training"] if counts.under + counts.over else []
    told = []
    shift = counts.total / n
    if abs(shift) >= _OFF_THE_SCALE:  # of a column that hardly varied in training: the figure itself tells nothing
        return [f"{'rose' if shift > 0 else 'fell'} by more than {_OFF_THE_SCALE:.0f} σ"]
    if abs(shift) >= _TELLING_SHIFT:
        told.append(f"{'rose' if shift > 0 else 'fell'} by about {abs(shift):.1f} σ")
    spread = math.sqrt(max(0.0, counts.squares / n - shift * shift))
    fullest = max((*counts.bins, counts.under, counts.over))
    if fullest >= _STUCK_SHARE * n and max(baseline.counts) < 0.9 * sum(baseline.counts):
        told.append("is stuck near one value")
    elif spread > _TELLING_SPREAD:
        told.append(f"spreads {spread:.1f} times as wide")
    elif spread < 1 / _TELLING_SPREAD:
        told.append(f"spreads {spread:.1f} times as wide, narrower")
    return told
