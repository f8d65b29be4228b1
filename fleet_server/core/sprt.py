"""Promotion: a sequential test of whether few enough devices go bad, over those that finished their soak.

House rules: it lets a rollout go on and never takes it back, since bad devices may have a cause that the whole fleet
shares; that is weighed against the stable arm elsewhere. Source: A. Wald (1945), Sequential tests of statistical
hypotheses, Annals of Mathematical Statistics 16(2).
"""

import math
from dataclasses import dataclass
from enum import StrEnum


class SprtState(StrEnum):
    """What the devices so far say: few enough are bad, too many are, or it cannot be told yet."""

    GOOD = "good"
    OPEN = "open"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Sprt:
    """Tells a version that is bad on `p0` of the devices from one that is bad on `p1` of them.

    A version that is bad on `p1` of them is promoted with a probability of at most about `beta`; one that is bad on
    `p0` is held up with at most about `alpha`. With the defaults 31 clean devices promote.
    """

    p0: float = 0.01
    p1: float = 0.10
    alpha: float = 0.05
    beta: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.p0 < self.p1 < 1:
            raise ValueError(f"promotion tells p0 from a larger p1, both within 0..1, not {self.p0:g} from {self.p1:g}")
        if not 0 < self.alpha < 0.5 or not 0 < self.beta < 0.5:
            raise ValueError("alpha and beta of a promotion are within 0..0.5")

    @property
    def promote_below(self) -> float:
        """The log-likelihood ratio at and under which the version is good: ln(beta / (1 - alpha))."""
        return math.log(self.beta / (1 - self.alpha))

    @property
    def reject_above(self) -> float:
        """The log-likelihood ratio at and over which it is bad: ln((1 - beta) / alpha)."""
        return math.log((1 - self.beta) / self.alpha)

    @property
    def clean_needed(self) -> int:
        """How many devices without a bad one are enough to promote."""
        return math.ceil(self.promote_below / math.log((1 - self.p1) / (1 - self.p0)))

    def log_ratio(self, devices: int, bad: int) -> float:
        """Return the log-likelihood ratio of `p1` against `p0` for `bad` of `devices`."""
        good = (devices - bad) * math.log((1 - self.p1) / (1 - self.p0))
        return bad * math.log(self.p1 / self.p0) + good

    def judge(self, devices: int, bad: int) -> SprtState:
        """Return what `bad` of `devices` say."""
        ratio = self.log_ratio(devices, bad)
        if ratio <= self.promote_below:
            return SprtState.GOOD
        return SprtState.BAD if ratio >= self.reject_above else SprtState.OPEN
