"""What is observed of a rollout's devices besides their states, and how it is boiled down to what a decision reads.

House rules: the canary is every device that was offered the version, the stable arm every one that still waits and
runs a former version of the model. Only what devices signed counts: windows and reports. Time goes in looks: a look is
a whole `look_s` since the first offer, and at any moment within it the same is decided from the same windows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet_server.core.canary_metrics import DeviceSums, measure, pooled_outputs
from fleet_server.core.differences import Cell, DeviceSeries, Difference, compare_arms
from fleet_server.core.policies import Metric, Policy
from fleet_server.core.rollouts import DeviceState, RolloutDevice, RolloutView

# A device's own level is what it showed in as many looks before the first offer.
BEFORE_LOOKS = 24
_LEAST_ROWS_BAD = 20
_DIGITS = 9


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """What paces offers: whether the board is online, and its zone's offset from UTC now (None: unknown zone)."""

    online: bool = True
    utc_offset_s: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Observed:
    """What a decision reads of devices besides their states; by device id, and absent where there is nothing to say.

    `inferences` are rows that the version answered; `bad_at` is since when (epoch seconds) windows or reports show a
    device of either arm to be bad; `look` counts from 1 (0: none yet); `differences` are of the metrics of the policy.
    """

    boards: Mapping[str, BoardFacts] = field(default_factory=dict)
    inferences: Mapping[str, int] = field(default_factory=dict)
    bad_at: Mapping[str, float] = field(default_factory=dict)
    look: int = 0
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceHistory:
    """A device's sums before the first offer, and in each look since (from 1)."""

    before: DeviceSums | None
    looks: Mapping[int, DeviceSums]


def is_canary(member: RolloutDevice) -> bool:
    """Whether it was ever offered the version."""
    return member.state not in (DeviceState.WAITING, DeviceState.SKIPPED)


def is_stable(member: RolloutDevice) -> bool:
    """Whether it still runs a former version while the canary is judged."""
    return member.state is DeviceState.WAITING and member.from_version is not None


def first_offer(view: RolloutView) -> float | None:
    """Return when the first device was offered the version (epoch seconds), or None."""
    return min((member.offered_at for member in view.devices if member.offered_at), default=None)


def look_at(view: RolloutView, now: float) -> int:
    """Return which look it is at `now`: whole looks since the first offer."""
    began = first_offer(view)
    return 0 if began is None else max(0, math.floor((now - began) / view.rollout.policy.look_s))


def compare(
    view: RolloutView, histories: Mapping[str, DeviceHistory], profiles: Mapping[str, str]
) -> tuple[Difference, ...]:
    """Return the differences of the policy's metrics between the arms; `profiles` has each device's."""
    arms = {item.device: is_canary(item) for item in view.devices if is_canary(item) or is_stable(item)}
    seen = {device: histories[device] for device in arms if device in histories}
    references = _references(arms, seen)
    found = []
    for metric in view.rollout.policy.metrics:
        series = [
            made
            for device, history in seen.items()
            if (made := _series(metric, arms[device], profiles.get(device, ""), history, references)) is not None
        ]
        difference = compare_arms(metric, series)
        if difference is not None:
            found.append(_rounded(difference))
    return tuple(found)


def find_bad(policy: Policy, histories: Mapping[str, DeviceHistory], began: float) -> dict[str, float]:
    """Return the devices that have become bad by their rows in error, and the end of the look that first showed it."""
    found = {}
    for device, history in histories.items():
        if history.before is not None and _is_bad(policy, history.before):
            continue
        shown = [look for look, sums in history.looks.items() if _is_bad(policy, sums)]
        if shown:
            found[device] = began + min(shown) * policy.look_s
    return found


def _is_bad(policy: Policy, sums: DeviceSums) -> bool:
    return sums.rows >= _LEAST_ROWS_BAD and sums.errors >= policy.bad_error_ratio * sums.rows


def _references(arms: Mapping[str, bool], seen: Mapping[str, DeviceHistory]) -> dict[int, tuple[int, ...]]:
    """Return the outputs of the stable arm in each look."""
    by_look: dict[int, dict[str, DeviceSums]] = {}
    for device, history in seen.items():
        if not arms[device]:
            for look, sums in history.looks.items():
                by_look.setdefault(look, {})[device] = sums
    return {look: pooled_outputs(devices) for look, devices in by_look.items()}


def _series(
    metric: Metric, canary: bool, profile: str, history: DeviceHistory, references: Mapping[int, tuple[int, ...]]
) -> DeviceSeries | None:
    """Return a device's values; predictions have none before, since another version made those."""
    level = 0.0
    if metric is not Metric.PREDICTION_PSI:
        before = None if history.before is None else measure(metric, history.before)
        if before is None:
            return None
        level = before[0]
    cells = tuple(
        Cell(look, *value)
        for look, sums in sorted(history.looks.items())
        if (value := measure(metric, sums, references.get(look, ()))) is not None
    )
    return DeviceSeries(canary, profile, level, cells) if cells else None


def _rounded(item: Difference) -> Difference:
    """Rounded as it is kept, so that the decision made again from what was kept is the same."""
    numbers = (item.canary_mean, item.stable_mean, item.difference, item.error, item.freedom)
    return Difference(
        item.metric, item.canary_devices, item.stable_devices, *(float(f"{x:.{_DIGITS}g}") for x in numbers)
    )
