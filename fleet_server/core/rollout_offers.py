"""Who of a phase may be offered the version now: in its maintenance window, with room, and not too many in an hour.

House rules: what holds an offer back never fails a device; it waits. A device whose time zone is not known is in no
maintenance window. Offline devices count as unavailable already, so an offer to one makes nothing worse.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fleet_server.core.canary import BoardFacts
from fleet_server.core.policies import Policy
from fleet_server.core.rollouts import DeviceState, RolloutDevice, RolloutView

_HOUR_S = 3600.0
_UNKNOWN = BoardFacts()


@dataclass(frozen=True, slots=True)
class Offers:
    """The devices to offer the version now, and in words what holds others back (empty: nothing)."""

    devices: tuple[str, ...]
    held_back: str = ""


def choose_offers(view: RolloutView, boards: Mapping[str, BoardFacts], now: float) -> Offers:
    """Return who of the phases so far is offered the version at `now` (epoch seconds), in the order of the plan."""
    rollout, policy = view.rollout, view.rollout.policy
    waiting = [
        item for item in view.devices if item.state is DeviceState.WAITING and item.phase <= rollout.phase
    ]  # fmt: skip
    awake = [item for item in waiting if _may_be_disturbed(policy, boards.get(item.device, _UNKNOWN), now)]
    roomy = _with_room(view, boards, awake)
    chosen = roomy[: _rate_left(view, now)]
    told = []
    if len(awake) < len(waiting):
        told.append(f"{len(waiting) - len(awake)} wait for their maintenance window")
        if unknown := sum(boards.get(item.device, _UNKNOWN).utc_offset_s is None for item in waiting):
            told.append(f"the time zone of {unknown} is unknown")
    if len(roomy) < len(awake):
        told.append(f"{len(awake) - len(roomy)} wait until fewer than {policy.max_unavailable} are unavailable")
    if len(chosen) < len(roomy):
        told.append(f"{len(roomy) - len(chosen)} wait for the rate of {policy.offers_per_hour} an hour")
    return Offers(tuple(item.device for item in chosen), ", ".join(told))


def _may_be_disturbed(policy: Policy, board: BoardFacts, now: float) -> bool:
    if not policy.maintenance:
        return True
    offset = board.utc_offset_s
    return offset is not None and any(window.holds(now + offset) for window in policy.maintenance)


def _with_room(view: RolloutView, boards: Mapping[str, BoardFacts], wanted: list[RolloutDevice]) -> list[RolloutDevice]:
    """Leave out online devices beyond the number that may be unavailable at once."""
    limit = view.rollout.policy.max_unavailable
    if limit is None:
        return wanted
    members = [item for item in view.devices if item.state is not DeviceState.SKIPPED]
    away = sum(item.state is DeviceState.OFFERED or not _online(boards, item) for item in members)
    # A share of few devices may round down to none; one at a time is the least that ever comes to an end.
    room = max(limit.allow(len(members)), 1) - away
    found = []
    for item in wanted:
        if not _online(boards, item):
            found.append(item)
        elif room > 0:
            room -= 1
            found.append(item)
    return found


def _online(boards: Mapping[str, BoardFacts], member: RolloutDevice) -> bool:
    return boards.get(member.device, _UNKNOWN).online


def _rate_left(view: RolloutView, now: float) -> int | None:
    rate = view.rollout.policy.offers_per_hour
    if rate is None:
        return None
    lately = sum(item.offered_at > now - _HOUR_S for item in view.devices)
    return max(rate - lately, 0)
