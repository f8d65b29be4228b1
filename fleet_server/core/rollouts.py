"""A rollout: a version moves through phases of a group, under a policy; its types, and the plan of its phases.

House rules: a phase's size is the cumulative share (or count) of the devices for which a variant fits. Who is in which
phase follows from the rollout's id and the devices' ids and profiles alone, so a restart or a second server plans the
same. Decisions are in `rollout_rules`, moves between states in `rollout_machine`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from edge_agent.contract.topics import check_device_id
from fleet_server.core.policies import Policy
from fleet_server.core.variants import Choice


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
    `failed` stays true for a device that failed or refused, whatever became of it since. `from_digest` None means that
    it ran no version of this model. Times are in epoch seconds, 0 for never: when the state changed, when it was
    offered, when it said anything signed since, when it failed.
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
    offered_at: float = 0.0
    heard_at: float = 0.0
    failed_at: float = 0.0

    def __post_init__(self) -> None:
        check_device_id(self.device)


@dataclass(frozen=True, slots=True)
class RolloutView:
    """A rollout and all its devices: what a decision sees."""

    rollout: Rollout
    devices: tuple[RolloutDevice, ...]


@dataclass(frozen=True, slots=True)
class Prospect:
    """A device that may take part: the variant chosen for it, what it runs of the model now, and its profile."""

    device: str
    choice: Choice
    from_version: int | None = None
    from_digest: str | None = None
    profile: str = ""


def plan_phases(rollout_id: str, profiles: Mapping[str, str], policy: Policy) -> tuple[tuple[str, ...], ...]:
    """Return the devices of each phase; `profiles` has each device's.

    The order is by chance that the rollout's id seeds, so that not always the same devices come first, and every run
    of it has the fleet's mix of profiles as nearly as whole devices allow (systematic sampling): phases and whoever
    waits are alike in hardware. Each phase has one device at least while devices remain; phases before the last leave
    the policy's stable devices alone, but for the very first device. The last phase reaches as far as the policy
    says, not further.
    """
    ordered = _mixed_order(rollout_id, profiles)
    held = 0 if policy.stable is None else policy.stable.reach(len(ordered))
    plan, start = [], 0
    for place, size in enumerate(policy.phases):
        limit = len(ordered) if place == len(policy.phases) - 1 else len(ordered) - held
        # One device is asked at least, be all of them held back.
        end = min(len(ordered), max(min(size.reach(len(ordered)), limit), min(start + 1, max(limit, 1))))
        plan.append(tuple(ordered[start:end]))
        start = end
    return tuple(plan)


def _mixed_order(rollout_id: str, profiles: Mapping[str, str]) -> list[str]:
    """Place the devices of each profile evenly over 0..1, from a start by chance within the first step."""
    by_profile: dict[str, list[str]] = {}
    for device, profile in profiles.items():
        by_profile.setdefault(profile, []).append(device)
    placed = []
    for profile, devices in by_profile.items():
        offset = int.from_bytes(_hash(rollout_id, "profile", profile)[:7]) / 2**56
        shuffled = sorted(devices, key=lambda device: _hash(rollout_id, device))
        placed += [((rank + offset) / len(devices), device) for rank, device in enumerate(shuffled)]
    return [device for _, device in sorted(placed)]


def _hash(*parts: str) -> bytes:
    return hashlib.sha256("/".join(parts).encode()).digest()


def plan_rollout(rollout_id: str, policy: Policy, prospects: Sequence[Prospect]) -> tuple[RolloutDevice, ...]:
    """Return the rollout's devices, by phase and within it in the order of the plan.

    Devices that no variant fits are skipped, shown in the last phase; those beyond the last phase's reach are left out.
    """
    by_id = {prospect.device: prospect for prospect in prospects}
    fitting = {device: item.profile for device, item in by_id.items() if item.choice.candidate is not None}
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


def join_late(prospect: Prospect, rollout: Rollout, now: float) -> RolloutDevice:
    """Return a device's place in a rollout that it came into after the plan was made: in the last phase, waiting."""
    state = DeviceState.SKIPPED if prospect.choice.candidate is None else DeviceState.WAITING
    return replace(_member(prospect, len(rollout.policy.phases) - 1, state), changed_at=now)
