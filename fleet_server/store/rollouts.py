"""Rollouts and how far each of their devices has come."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from fleet_server.store.errors import NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import rollout_devices, rollouts

OPEN_STATES = ("running", "paused")


@dataclass(frozen=True, slots=True)
class StoredRollout:
    """One rollout; `policy` is what was asked for, `phase` the index of the phase under way."""

    id: str
    model: str
    version: int
    group: str
    policy: Mapping[str, Any]
    state: str
    reason: str
    phase: int
    phase_started: int
    created: int
    updated: int
    author: str


@dataclass(frozen=True, slots=True)
class StoredMember:
    """One device of a rollout: what it gets, what it ran before, and how far it has come."""

    rollout: str
    device: str
    phase: int
    variant: str | None
    digest: str | None
    from_version: int | None
    from_variant: str | None
    from_digest: str | None
    state: str
    reason: str = ""
    detail: str = ""
    offered_seq: int | None = None
    offered_at: int | None = None
    ended_at: int | None = None


_read, _read_member = reader(StoredRollout, "n"), reader(StoredMember)


def insert_rollout(connection: Connection, rollout: StoredRollout, members: tuple[StoredMember, ...]) -> None:
    """Add a rollout with its devices."""
    connection.execute(
        insert(rollouts).values(
            id=rollout.id,
            model=rollout.model,
            version=rollout.version,
            group=rollout.group,
            policy=dict(rollout.policy),
            state=rollout.state,
            reason=rollout.reason,
            phase=rollout.phase,
            phase_started=rollout.phase_started,
            created=rollout.created,
            updated=rollout.updated,
            author=rollout.author,
        )
    )
    for member in members:
        connection.execute(insert(rollout_devices).values(rollout=rollout.id, device=member.device, **_state(member)))


def _state(member: StoredMember) -> dict[str, Any]:
    return {
        "phase": member.phase,
        "variant": member.variant,
        "digest": member.digest,
        "from_version": member.from_version,
        "from_variant": member.from_variant,
        "from_digest": member.from_digest,
        "state": member.state,
        "reason": member.reason,
        "detail": member.detail,
        "offered_seq": member.offered_seq,
        "offered_at": member.offered_at,
        "ended_at": member.ended_at,
    }


def get_rollout(connection: Connection, rollout: str) -> StoredRollout:
    """Return a rollout.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = connection.execute(select(rollouts).where(rollouts.c.id == rollout)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no rollout {rollout!r}")
    return _read(row)


def find_open_rollout(connection: Connection, model: str, group: str) -> StoredRollout | None:
    """Return the open rollout of a model in a group, or None."""
    row = connection.execute(
        select(rollouts).where(rollouts.c.model == model, rollouts.c.group == group, rollouts.c.state.in_(OPEN_STATES))
    ).first()
    return None if row is None else _read(row)


def unsettled_rollouts(connection: Connection) -> tuple[StoredRollout, ...]:
    """Return rollouts that are open, or whose devices are still on their way back, the oldest first."""
    returning = select(rollout_devices.c.rollout).where(rollout_devices.c.state == "returning")
    rows = connection.execute(
        select(rollouts).where(rollouts.c.state.in_(OPEN_STATES) | rollouts.c.id.in_(returning)).order_by(rollouts.c.n)
    )
    return tuple(_read(row) for row in rows)


def count_open(connection: Connection) -> int:
    """Return how many rollouts are open."""
    return len(connection.execute(select(rollouts.c.n).where(rollouts.c.state.in_(OPEN_STATES))).fetchall())


def page_rollouts(connection: Connection, request: PageRequest) -> Page[StoredRollout]:
    """Return one page of the rollouts, newest first."""
    return read_page(connection, select(rollouts), rollouts.c.n, request, _read, newest_first=True)


def list_members(connection: Connection, rollout: str) -> tuple[StoredMember, ...]:
    """Return a rollout's devices by phase and id."""
    rows = connection.execute(
        select(rollout_devices)
        .where(rollout_devices.c.rollout == rollout)
        .order_by(rollout_devices.c.phase, rollout_devices.c.device)
    )
    return tuple(_read_member(row) for row in rows)


def save_rollout(connection: Connection, rollout: StoredRollout) -> None:
    """Save a rollout's state."""
    connection.execute(
        update(rollouts)
        .where(rollouts.c.id == rollout.id)
        .values(
            state=rollout.state,
            reason=rollout.reason,
            phase=rollout.phase,
            phase_started=rollout.phase_started,
            updated=rollout.updated,
        )
    )


def save_member(connection: Connection, member: StoredMember) -> None:
    """Save how far a device has come."""
    connection.execute(
        update(rollout_devices)
        .where(rollout_devices.c.rollout == member.rollout, rollout_devices.c.device == member.device)
        .values(**_state(member))
    )
