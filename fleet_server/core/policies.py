"""The policy of a rollout: one typed document that says how far, how fast, on what evidence, and when it stops.

House rules: every field changes an outcome. An unknown key is an error that names it. Times are in seconds, shares in
0..1 unless they are written with `%`. What a field does is said at it; how evidence is weighed is in
`rollout_evidence`, who may be offered the version now in `rollout_offers`.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fleet_server.core.sprt import Sprt

MAX_PHASES = 20
MAX_MAINTENANCE = 50
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES = 24 * 60


class PolicyError(ValueError):
    """A policy makes no sense; the message names the key and what was expected."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A percentage of some devices, or a number of them."""

    amount: float
    percent: bool

    def __post_init__(self) -> None:
        if self.percent and not 0 <= self.amount <= 100:
            raise PolicyError(f"{self.amount:g}% is out of range: from 0% to 100%")
        if not self.percent and (self.amount < 0 or self.amount != int(self.amount)):
            raise PolicyError(f"{self.amount:g} is no number of devices: whole numbers from 0")

    def __str__(self) -> str:
        return f"{self.amount:g}%" if self.percent else f"{self.amount:g}"

    def reach(self, devices: int) -> int:
        """Return how many of `devices` are meant, at most all; percentages round up."""
        return min(devices, math.ceil(self._exact(devices)))

    def allow(self, devices: int) -> int:
        """Return how many of `devices` are allowed; percentages round down, a number is itself."""
        return math.floor(self._exact(devices))

    def _exact(self, devices: int) -> float:
        # Rounded, so that 7 % of 100 is 7 although 0.07 * 100 is a little more in binary.
        return round(devices * self.amount / 100, 9) if self.percent else self.amount


class Metric(StrEnum):
    """What is measured on each device, before and since; see `canary_metrics` for how."""

    ERROR_RATIO = "error_ratio"
    REJECTED_RATIO = "rejected_ratio"
    LATENCY_P95 = "latency_p95"
    MEMORY = "memory"
    PREDICTION_PSI = "prediction_psi"
    ACCURACY = "accuracy"
    ABS_ERROR = "abs_error"


@dataclass(frozen=True, slots=True)
class MetricRule:
    """How much worse than stable a metric may be, and whether more rolls back or is only recorded (`dry_run`).

    `margin` is absolute for ratios, PSI and accuracy, and a share (0.25: a quarter more) for latency, memory and
    absolute error.
    """

    margin: float
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf:
            raise PolicyError(f"a margin is 0 or more, not {self.margin}")


class Silence(StrEnum):
    """What a device that was offered the version and says nothing counts as."""

    MISSING = "missing"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class MaintenanceWindow:
    """When devices may be offered a version, by their own clock; `end_minute` before `start_minute` is over midnight.

    Minutes count from midnight; `days` (0 is Monday) are those on which it begins.
    """

    start_minute: int
    end_minute: int
    days: frozenset[int] = frozenset(range(7))

    def __post_init__(self) -> None:
        if not 0 <= self.start_minute < _DAY_MINUTES or not 0 <= self.end_minute <= _DAY_MINUTES:
            raise PolicyError("a maintenance window begins and ends within 00:00 and 24:00")
        if self.start_minute == self.end_minute or not self.days or not self.days <= set(range(7)):
            raise PolicyError("a maintenance window has a length, and days among " + ", ".join(WEEKDAYS))

    def holds(self, local_s: float) -> bool:
        """Whether a local time (epoch seconds plus the zone's offset) lies within."""
        days, rest = divmod(local_s, 86400.0)
        today, minute = (int(days) + 3) % 7, rest / 60  # 1 January 1970 was a Thursday
        if self.start_minute < self.end_minute:
            return today in self.days and self.start_minute <= minute < self.end_minute
        if minute >= self.start_minute:
            return today in self.days
        return minute < self.end_minute and (today - 1) % 7 in self.days


def default_metrics() -> dict[Metric, MetricRule]:
    """Return the rules of a policy that names none; that answers differ is what a new version is for: dry run."""
    return {
        Metric.ERROR_RATIO: MetricRule(0.005),
        Metric.REJECTED_RATIO: MetricRule(0.01),
        Metric.LATENCY_P95: MetricRule(0.5),
        Metric.MEMORY: MetricRule(0.5),
        Metric.ACCURACY: MetricRule(0.02),
        Metric.ABS_ERROR: MetricRule(0.1),
        Metric.PREDICTION_PSI: MetricRule(0.25, dry_run=True),
    }


@dataclass(frozen=True, slots=True)
class Policy:
    """Under which rules a rollout moves on, stops and goes back.

    How far: `phases` are cumulative; `stable` devices are held back on what they run until the last phase.
    When a device is done: it attested the version, `min_soak_s` ago at least, and answered `min_inferences` rows.
    Onward: `promotion` is the sequential test that lets a phase go on (None: each phase must be complete);
    `phase_soak_s` is how long it must have stood then. A phase without a verdict by `phase_timeout_s` pauses.
    Back: more newly bad devices than `max_failures`; or evidence against the stable arm, with false rollbacks in at
    most `alpha` of rollouts: `metrics` on device means every `look_s`, and newly bad devices, which are those with
    `bad_error_ratio` of their rows in error as well. `silent_s` after an offer without a signed report, a device is
    `silent`, which is bad or merely missing.
    Pace: `maintenance` windows in a device's time zone, at most `max_unavailable` devices offline or updating,
    `offers_per_hour`, and nothing before `start_at` (epoch seconds).
    """

    phases: tuple[Amount, ...]
    max_failures: Amount = Amount(0, percent=False)
    phase_soak_s: float = 0.0
    phase_timeout_s: float = 3600.0
    stable: Amount | None = None
    min_soak_s: float = 0.0
    min_inferences: int = 0
    promotion: Sprt | None = field(default_factory=Sprt)
    alpha: float = 0.01
    look_s: float = 3600.0
    bad_error_ratio: float = 0.5
    metrics: Mapping[Metric, MetricRule] = field(default_factory=default_metrics)
    silent_s: float | None = None
    silent: Silence = Silence.MISSING
    maintenance: tuple[MaintenanceWindow, ...] = ()
    max_unavailable: Amount | None = None
    offers_per_hour: int | None = None
    start_at: float | None = None

    def __post_init__(self) -> None:
        _check_phases(self.phases)
        if not 0 <= self.phase_soak_s < math.inf or not 0 < self.phase_timeout_s < math.inf:
            raise PolicyError("phase_soak_s is 0 or more seconds, phase_timeout_s more than 0")
        if not 0 <= self.min_soak_s < math.inf or self.min_inferences < 0:
            raise PolicyError("min_soak_s and min_inferences are 0 or more")
        if not 0 < self.alpha < 1 or not 1 <= self.look_s < math.inf or not 0 < self.bad_error_ratio <= 1:
            raise PolicyError("alpha is within 0..1, look_s 1 or more seconds, bad_error_ratio above 0 and at most 1")
        if self.silent_s is not None and not 0 < self.silent_s < math.inf:
            raise PolicyError("silent_s is more than 0 seconds")
        if self.offers_per_hour is not None and self.offers_per_hour < 1:
            raise PolicyError("offers_per_hour is 1 or more")
        if self.max_unavailable is not None and not self.max_unavailable.amount:
            raise PolicyError("max_unavailable of 0 would offer the version to nobody")
        if len(self.maintenance) > MAX_MAINTENANCE:
            raise PolicyError(f"a policy has at most {MAX_MAINTENANCE} maintenance windows")
        if self.stable is not None and len(self.phases) == 1:
            raise PolicyError("stable devices are held back until the last of several phases; here is one only")
        if self.start_at is not None and not 0 <= self.start_at < 1e11:
            raise PolicyError("start_at is a time of this era")


def _check_phases(phases: tuple[Amount, ...]) -> None:
    if not 1 <= len(phases) <= MAX_PHASES:
        raise PolicyError(f"a rollout has 1 to {MAX_PHASES} phases, not {len(phases)}")
    for size in phases:
        if not size.amount:
            raise PolicyError(f"a phase of {size} is none: above 0%, or whole numbers from 1")
    for before, after in itertools.pairwise(phases):
        if before.percent == after.percent and before.amount >= after.amount:
            raise PolicyError(f"phases are cumulative and must rise: {before} is followed by {after}")
