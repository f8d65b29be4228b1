"""Whether a model's answers became wrong: true labels that came back, against what the model card promised.

House rules: a device's window is one observation, the mean loss of its answers there, whatever the number of labels:
wrong answers come in runs, and a run is one piece of evidence. The test may be looked at after every window. Under the
promise (plus the policy's margin) each window multiplies a bet's wealth by 1 + λ (loss - limit), of expectation 1 at
most; wealth that fell below its start begins anew, since the model may have been good for a year before. The mean of
the wealth of five bets over 1 / alpha is rarer than one look in 1 / alpha. Sources: I. Waudby-Smith and A. Ramdas
(2024), Estimating means of bounded random variables by betting, Journal of the Royal Statistical Society B 86; J. Shin,
A. Ramdas and A. Rinaldo (2024), E-detectors: a nonparametric framework for sequential change detection, New England
Journal of Statistics in Data Science 2.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fleet_server.core.drift_machine import Evidence
from fleet_server.core.drift_policy import DriftPolicy

# What share of its wealth each bet risks on a window without any loss: small ones find small rises, large ones fast.
_RISKS = (0.1, 0.25, 0.5, 0.75, 0.9)
# An error of a value counts up to so many times the limit, so that a loss lies within 0..1.
_VALUE_SPAN = 4.0
# Wealth beyond this many times the threshold is not kept, so that a model that recovers is seen to.
_CAP = 10.0
_DECAY = 0.9
_LEAST_LOSS = 0.001


@dataclass(frozen=True, slots=True)
class Promise:
    """What the card says of the held-out rows: accuracy for labels (`of_labels`), mean absolute error for values."""

    of_labels: bool
    value: float
    rows: int

    def limit(self, margin: float) -> float:
        """Return the largest mean loss, in the units of `loss`, that keeps the promise.

        For labels the card's own uncertainty is added: two standard errors of a share of its held-out rows.
        """
        if not self.of_labels:
            return 1 / _VALUE_SPAN
        wrong = 1 - self.value
        error = 2 * math.sqrt(max(wrong * (1 - wrong), 1e-4) / max(1, self.rows))
        return min(0.95, max(_LEAST_LOSS, wrong + margin + error))

    def loss(self, n: int, correct: int, abs_error: float, margin: float) -> float:
        """Return the mean loss of a window within 0..1."""
        if self.of_labels:
            return min(1.0, max(0.0, 1 - correct / n))
        worst = _VALUE_SPAN * self.value * (1 + margin)
        return min(1.0, max(0.0, abs_error / n / worst)) if math.isfinite(abs_error) and worst > 0 else 1.0


@dataclass(frozen=True, slots=True)
class Truth:
    """The wealth of each bet, the windows and labels seen, and the recent figure: accuracy, or mean absolute error."""

    wealth: tuple[float, ...] = (1.0,) * len(_RISKS)
    windows: int = 0
    labels: int = 0
    recent: float | None = None

    @property
    def mean(self) -> float:
        """The evidence: by how much the bets multiplied their stake."""
        return sum(self.wealth) / len(self.wealth)


@dataclass(frozen=True, slots=True)
class Labelled:
    """What came back for one window of a device: labels, how many answers were right, the sum of |error|."""

    n: int
    correct: int
    abs_error: float


def promise_of(metrics: Mapping[str, float], rows: int) -> Promise | None:
    """Return what a model card promises, or None where it has neither accuracy nor a mean absolute error."""
    if "accuracy" in metrics:
        return Promise(of_labels=True, value=metrics["accuracy"], rows=rows)
    if metrics.get("mae", 0.0) > 0:
        return Promise(of_labels=False, value=metrics["mae"], rows=rows)
    return None


def watch_truth(truth: Truth, promise: Promise, windows: Iterable[Labelled], policy: DriftPolicy) -> Truth:
    """Take labelled windows into the evidence, one after the other; those without labels say nothing."""
    wealth, seen, labels, recent = list(truth.wealth), truth.windows, truth.labels, truth.recent
    limit, cap = promise.limit(policy.accuracy_margin), _CAP / policy.accuracy_alpha
    bets = [risk / limit for risk in _RISKS]
    for item in windows:
        if item.n <= 0:
            continue
        loss = promise.loss(item.n, item.correct, item.abs_error, policy.accuracy_margin)
        wealth = [min(cap, max(1.0, held) * (1 + bet * (loss - limit))) for held, bet in zip(wealth, bets, strict=True)]
        figure = item.correct / item.n if promise.of_labels else item.abs_error / item.n
        recent = figure if recent is None else _DECAY * recent + (1 - _DECAY) * figure
        seen, labels = seen + 1, labels + item.n
    return Truth(tuple(wealth), seen, labels, recent)


def weigh_truth(truth: Truth, policy: DriftPolicy) -> Evidence:
    """Return what the evidence says now."""
    if not truth.windows:
        return Evidence.FEW
    if truth.mean >= 1 / policy.accuracy_alpha:
        return Evidence.CONFIRMED
    return Evidence.SUSPECT if truth.mean >= 1 / math.sqrt(policy.accuracy_alpha) else Evidence.CLEAR
