"""A rollout: a version moves through phases of a group, under a policy; its types, and the plan of its phases.

House rules: a phase's size is the cumulative share (or count) of the devices for which a variant fits. Who is in which
phase follows from the rollout's id and the devices' ids alone, so a restart or a second server plans the same.
Decisions are in `rollout_rules`, moves between states in `rollout_machine`.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.contract.topics import check_device_id
from fleet_server.core.variants import Choice

MAX_PHASES = 20


class RolloutState(StrEnum):
    """The work that a rollout still owes; halted and aborted owe the return of every device that was offered it.

    `unapproved` waits for another person's word and owes nothing; no device is offered anything by then.
    """

    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    ABORTED = "aborted"
    SUCCEEDED = "succeeded"
    UNAPPROVED = "unapproved"


class DeviceState(StrEnum):
    """Where one device stands in a rollout. `skipped`: no variant fits it, and it is never offered anything."""

    WAITING = "waiting"
    OFFERED = "offered"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    RETURNING = "returning"
    RETURNED = "returned"
    SKIPPED = "skipped"


SETTLED = frozenset({DeviceState.SUCCEEDED, DeviceState.FAILED, DeviceState.REFUSED, DeviceState.SKIPPED})


@dataclass(frozen=True, slots=True)
class PhaseSize:
    """How far a phase reaches: a percentage of the devices, or a number of them, counted from the first phase on."""

    amount: float
    percent: bool

    def __post_init__(self) -> None:
        if self.percent and not 0 < self.amount <= 100:
            raise ValueError(f"a phase of {self.amount:g}% is out of range: above 0% and at most 100%")
        if not self.percent and (self.amount < 1 or self.amount != int(self.amount)):
            raise ValueError(f"a phase of {self.amount:g} devices is none: whole numbers from 1")

    def __str__(self) -> str:
        return f"{self.amount:g}%" if self.percent else f"{self.amount:g}"

    def reach(self, devices: int) -> int:
        """Return how many of `devices` the phases up to this one hold; percentages round up."""
        # Rounded first, so that 7 % of 100 is 7 although 0.07 * 100 is a little more in binary.
        wanted = math.ceil(round(devices * self.amount / 100, 9)) if self.percent else int(self.amount)
        return min(devices, wanted)


@dataclass(frozen=True, slots=True)
class Policy:
    """Under which rules a rollout moves on.

    `max_failures`: more devices than these failing or refusing halts it. `phase_soak_s`: how long a phase must stay
    settled before the next. `phase_timeout_s`: a phase not settled by then pauses the rollout; it never promotes.
    """

    phases: tuple[PhaseSize, ...]
    max_failures: int = 0
    phase_soak_s: float = 0.0
    phase_timeout_s: float = 3600.0

    def __post_init__(self) -> None:
        if not 1 <= len(self.phases) <= MAX_PHASES:
            raise ValueError(f"a rollout has 1 to {MAX_PHASES} phases, not {len(self.phases)}")
        for before, after in zip(self.phases, self.phases[1:], strict=False):
            if before.percent == after.percent and before.amount >= after.amount:
                raise ValueError(f"phases are cumulative and must rise: {before} is followed by {after}")
        if self.max_failures < 0:
            raise ValueError("max_failures is 0 or more")
        if not 0 <= self.phase_soak_s < math.inf or not 0 < self.phase_timeout_s < math.inf:
            raise ValueError("phase_soak_s is 0 or more seconds, phase_timeout_s more than 0")


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout as it stands. `phase` counts from 0; `phase_started` is in epoch seconds."""

    id: str
    model: str
    version: int
    group: str
    policy: Policy
    state: RolloutState = RolloutState.RUNNING
    reason: str = ""
    phase: int = 0
    phase_started: float = 0.0

    @property
    def last_phase(self) -> bool:
        """Whether no phase follows the present one."""
        return self.phase >= len(self.policy.phases) - 1


@dataclass(frozen=True, slots=True)
class RolloutDevice:
    """One device of a rollout: what it is offered, what it ran before, and how it stands.

    `offered_seq` and `return_seq` are the numbers of the desired documents that offered and returned it (0: none yet).
    `failed` stays true for a device that failed or refused, whatever became of it since. `changed_at` is in epoch
    seconds. `from_digest` None means that it ran no version of this model.
    """

    device: str
    phase: int
    state: DeviceState = DeviceState.WAITING
    variant: str | None = None
    digest: str | None = None
    from_version: int | None = None
    from_digest: str | None = None
    offered_seq: int = 0
    return_seq: int = 0
    reason: str = ""
    detail: str = ""
    changed_at: float = 0.0
    failed: bool = False

    def __post_init__(self) -> None:
        check_device_id(self.device)


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout and all its devices: what a decision sees."""

    rollout: Rollout
    devices: tuple[RolloutDevice, ...]


@dataclass(frozen=True, slots=True)
class Prospect:
    """A device that may take part: the variant chosen for it, and what it runs of the model now."""

    device: str
    choice: Choice
    from_version: int | None = None
    from_digest: str | None = None


def parse_phase_size(text: str) -> PhaseSize:
    """Parse `"25%"` or `"3"`.

    Raises:
        ValueError: neither a percentage nor a number of devices.
    """
    stripped = text.strip()
    try:
        amount = float(stripped.removesuffix("%"))
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise ValueError(f"{text[:40]!r} is no phase: write a percentage like 25% or a number of devices like 3")
    return PhaseSize(amount, stripped.endswith("%"))


def parse_policy(
    phases: Sequence[str], max_failures: int = 0, phase_soak_s: float = 0.0, phase_timeout_s: float = 3600.0
) -> Policy:
    """Build a policy from its texts and numbers.

    Raises:
        ValueError: one of them is out of range.
    """
    return Policy(tuple(parse_phase_size(text) for text in phases), max_failures, phase_soak_s, phase_timeout_s)


def plan_phases(rollout_id: str, devices: Sequence[str], policy: Policy) -> tuple[tuple[str, ...], ...]:
    """Return the devices of each phase.

    Devices are ordered by SHA-256 of the rollout's and their own id, so that not always the same ones come first. Each
    phase has one device at least while devices remain. The last phase reaches as far as the policy says, not further.
    """
    ordered = sorted(set(devices), key=lambda device: hashlib.sha256(f"{rollout_id}/{device}".encode()).digest())
    plan, start = [], 0
    for size in policy.phases:
        end = min(len(ordered), max(size.reach(len(ordered)), start + 1))
        plan.append(tuple(ordered[start:end]))
        start = end
    return tuple(plan)


def plan_rollout(rollout_id: str, policy: Policy, prospects: Sequence[Prospect]) -> tuple[RolloutDevice, ...]:
    """Return the rollout's devices, by phase and within it in the order of the plan.

    Devices that no variant fits are skipped, shown in the last phase; those beyond the last phase's reach are left out.
    """
    by_id = {prospect.device: prospect for prospect in prospects}
    fitting = [device for device, prospect in by_id.items() if prospect.choice.candidate is not None]
    planned = tuple(
        _member(by_id[device], phase, DeviceState.WAITING)
        for phase, devices in enumerate(plan_phases(rollout_id, fitting, policy))
        for device in devices
    )
    last = len(policy.phases) - 1
    skipped = (_member(item, last, DeviceState.SKIPPED) for item in by_id.values() if item.choice.candidate is None)
    return planned + tuple(skipped)


def _member(prospect: Prospect, phase: int, state: DeviceState) -> RolloutDevice:
    candidate = prospect.choice.candidate
    return RolloutDevice(
        device=prospect.device,
        phase=phase,
        state=state,
        variant=candidate.variant if candidate else None,
        digest=candidate.digest if candidate else None,
        from_version=prospect.from_version,
        from_digest=prospect.from_digest,
        reason="" if candidate else "no_variant_fits",
        detail=prospect.choice.reason,
    )
