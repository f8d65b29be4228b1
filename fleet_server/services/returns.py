"""Devices on their way back from halted and aborted rollouts, whose way ends otherwise than where it led.

House rules: all within the caller's transaction. Without these a rollout would wait for ever for what cannot come.
"""

from dataclasses import replace

from sqlalchemy import Connection

from fleet_server.core.rollouts import DeviceState, Rollout
from fleet_server.store import assignments, rollouts


def overtake_returns(connection: Connection, rollout: Rollout, device: str, now: int) -> None:
    """End the device's way back in older rollouts of the model: it may never run what those would return it to."""
    for other in rollouts.unsettled_rollouts(connection):
        if other.rollout.model != rollout.model or other.rollout.id == rollout.id:
            continue
        member = rollouts.find_member(connection, other.rollout.id, device)
        if member is not None and member.state is DeviceState.RETURNING:
            ended = replace(
                member, state=DeviceState.RETURNED, detail=f"overtaken by {rollout.id}", changed_at=now / 1000
            )
            rollouts.save_member(connection, other.rollout.id, ended)


def end_return(connection: Connection, device: str, model: str, version: int, now: int) -> None:
    """End a device's way back to a version that has just failed on it: it will not be given that again."""
    for stored in rollouts.unsettled_rollouts(connection):
        member = rollouts.find_member(connection, stored.rollout.id, device)
        if member is None or member.state is not DeviceState.RETURNING:
            continue
        if (stored.rollout.model, member.from_version) == (model, version):
            detail = f"version {version}, which it ran before, has failed on it"
            ended = replace(member, state=DeviceState.RETURNED, detail=detail, changed_at=now / 1000)
            rollouts.save_member(connection, stored.rollout.id, ended)


def is_bad(connection: Connection, device: str, model: str, version: int | None) -> bool:
    """Whether a version has failed on a device."""
    return any((item.model, item.version) == (model, version) for item in assignments.list_bad(connection, device))
