"""Rollouts and how far each of their devices has come."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from fleet_server.core.rollout_policy import parse_policy, plain_policy
from fleet_server.core.rollouts import DeviceState, Rollout, RolloutDevice, RolloutState
from fleet_server.store.errors import NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.schema import rollout_devices, rollouts

OPEN_STATES = (RolloutState.RUNNING.value, RolloutState.PAUSED.value, RolloutState.UNAPPROVED.value)
_MEMBER_FIELDS = tuple(field.name for field in dataclasses.fields(RolloutDevice))
_AWAY = select(rollout_devices.c.rollout).where(
    rollout_devices.c.state.not_in((DeviceState.WAITING.value, DeviceState.SKIPPED.value, DeviceState.RETURNED.value))
)
# Asked for with every report of a device: to make this statement takes longer than to run it.
_UNSETTLED = (
    select(rollouts)
    .where(
        rollouts.c.state.in_(OPEN_STATES)
        | (rollouts.c.state.in_((RolloutState.HALTED.value, RolloutState.ABORTED.value)) & rollouts.c.id.in_(_AWAY))
    )
    .order_by(rollouts.c.n)
)


@dataclass(frozen=True, slots=True)
class StoredRollout:
    """One rollout; `options` holds soak, settings and threshold, and whether it covers its whole group (`complete`)."""

    rollout: Rollout
    options: Mapping[str, Any]
    created: int
    updated: int
    author: str


def _read(row: Any) -> StoredRollout:
    rollout = Rollout(
        id=row.id,
        model=row.model,
        version=row.version,
        group=row.group,
        policy=parse_policy(row.policy),
        state=RolloutState(row.state),
        reason=row.reason,
        phase=row.phase,
        phase_started=row.phase_started,
    )
    return StoredRollout(rollout, row.options, row.created, row.updated, row.author)


def _read_member(row: Any) -> RolloutDevice:
    values = {name: getattr(row, name) for name in _MEMBER_FIELDS}
    values["state"] = DeviceState(row.state)
    return RolloutDevice(**values)


def insert_rollout(connection: Connection, stored: StoredRollout, members: tuple[RolloutDevice, ...]) -> None:
    """Add a rollout with its devices."""
    rollout = stored.rollout
    connection.execute(
        insert(rollouts).values(
            id=rollout.id,
            model=rollout.model,
            version=rollout.version,
            group=rollout.group,
            policy=plain_policy(rollout.policy),
            options=dict(stored.options),
            state=rollout.state.value,
            reason=rollout.reason,
            phase=rollout.phase,
            phase_started=rollout.phase_started,
            created=stored.created,
            updated=stored.updated,
            author=stored.author,
        )
    )
    insert_members(connection, rollout.id, members)


def insert_members(connection: Connection, rollout: str, members: tuple[RolloutDevice, ...]) -> None:
    """Add devices to a rollout."""
    if members:
        rows = [{"rollout": rollout, **_member_values(member)} for member in members]
        connection.execute(insert(rollout_devices), rows)


def _member_values(member: RolloutDevice) -> dict[str, Any]:
    return {name: getattr(member, name) for name in _MEMBER_FIELDS} | {"state": member.state.value}


def get_rollout(connection: Connection, rollout: str) -> StoredRollout:
    """Return a rollout.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = connection.execute(select(rollouts).where(rollouts.c.id == rollout)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no rollout {rollout!r}")
    return _read(row)


def open_rollouts(connection: Connection, model: str | None = None) -> tuple[StoredRollout, ...]:
    """Return the running and paused rollouts, or those of a model, the oldest first."""
    query = select(rollouts).where(rollouts.c.state.in_(OPEN_STATES)).order_by(rollouts.c.n)
    if model is not None:
        query = query.where(rollouts.c.model == model)
    return tuple(_read(row) for row in connection.execute(query))


def unsettled_rollouts(connection: Connection) -> tuple[StoredRollout, ...]:
    """Return rollouts that are open, or that owe the return of devices, the oldest first."""
    return tuple(_read(row) for row in connection.execute(_UNSETTLED))


def count_open(connection: Connection) -> int:
    """Return how many rollouts are open."""
    counted = select(func.count()).select_from(rollouts).where(rollouts.c.state.in_(OPEN_STATES))
    return connection.execute(counted).scalar_one()


def page_rollouts(connection: Connection, request: PageRequest) -> Page[StoredRollout]:
    """Return one page of the rollouts, newest first."""
    return read_page(connection, select(rollouts), rollouts.c.n, request, _read, newest_first=True)


def list_members(connection: Connection, rollout: str) -> tuple[RolloutDevice, ...]:
    """Return a rollout's devices by phase and id."""
    rows = connection.execute(
        select(rollout_devices)
        .where(rollout_devices.c.rollout == rollout)
        .order_by(rollout_devices.c.phase, rollout_devices.c.device)
    )
    return tuple(_read_member(row) for row in rows)


def find_member(connection: Connection, rollout: str, device: str) -> RolloutDevice | None:
    """Return a device's part in a rollout, or None."""
    row = connection.execute(
        select(rollout_devices).where(rollout_devices.c.rollout == rollout, rollout_devices.c.device == device)
    ).one_or_none()
    return None if row is None else _read_member(row)


def save_rollout(connection: Connection, rollout: Rollout, updated: int) -> None:
    """Save a rollout's state."""
    connection.execute(
        update(rollouts)
        .where(rollouts.c.id == rollout.id)
        .values(
            state=rollout.state.value,
            reason=rollout.reason,
            phase=rollout.phase,
            phase_started=rollout.phase_started,
            updated=updated,
        )
    )


def save_member(connection: Connection, rollout: str, member: RolloutDevice) -> None:
    """Save how far a device has come."""
    connection.execute(
        update(rollout_devices)
        .where(rollout_devices.c.rollout == rollout, rollout_devices.c.device == member.device)
        .values(**_member_values(member))
    )


def skip_member(connection: Connection, device: str, reason: str) -> None:
    """Take a device out of every rollout that has not settled."""
    for stored in unsettled_rollouts(connection):
        connection.execute(
            update(rollout_devices)
            .where(rollout_devices.c.rollout == stored.rollout.id, rollout_devices.c.device == device)
            .values(state=DeviceState.SKIPPED.value, reason=reason)
        )


def memberships(connection: Connection, device: str, model: str, version: int) -> tuple[RolloutDevice, ...]:
    """Return a device's parts in the rollouts of a version, the newest rollout first."""
    rows = connection.execute(
        select(rollout_devices)
        .join(rollouts, rollouts.c.id == rollout_devices.c.rollout)
        .where(rollout_devices.c.device == device, rollouts.c.model == model, rollouts.c.version == version)
        .order_by(rollouts.c.n.desc())
    )
    return tuple(_read_member(row) for row in rows)
