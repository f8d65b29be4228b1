"""Groups (label queries) and the version that each group has come to, model by model."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from fleet_server.store.errors import ConflictError, NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import groups, rollouts, targets


@dataclass(frozen=True, slots=True)
class Group:
    """A named query over devices; `accept_auto`: what automatic retraining made and signed may come to it."""

    name: str
    query: str
    created: int
    accept_auto: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """The version of a model that a group's devices should run since a rollout succeeded."""

    group: str
    model: str
    version: int
    rollout: str
    set_at: int


_read, _read_target = reader(Group), reader(Target)


def insert_group(connection: Connection, group: Group) -> None:
    """Add a group."""
    if connection.execute(select(groups.c.name).where(groups.c.name == group.name)).one_or_none() is not None:
        raise ConflictError(f"there is a group {group.name!r} already")
    connection.execute(
        insert(groups).values(name=group.name, query=group.query, created=group.created, accept_auto=group.accept_auto)
    )


def get_group(connection: Connection, name: str) -> Group:
    """Return a group.

    Raises:
        NotFoundError: there is none of this name.
    """
    row = connection.execute(select(groups).where(groups.c.name == name)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no group {name!r}")
    return _read(row)


def all_groups(connection: Connection) -> tuple[Group, ...]:
    """Return every group by name."""
    return tuple(_read(row) for row in connection.execute(select(groups).order_by(groups.c.name)))


def page_groups(connection: Connection, request: PageRequest) -> Page[Group]:
    """Return one page of the groups by name."""
    return read_page(connection, select(groups), groups.c.name, request, _read)


def delete_group(connection: Connection, name: str) -> None:
    """Remove a group that no open rollout moves.

    Raises:
        NotFoundError: there is none of this name.
        ConflictError: a rollout of it is open.
    """
    get_group(connection, name)
    open_one = connection.execute(
        select(rollouts.c.id).where(rollouts.c.group == name, rollouts.c.state.in_(("running", "paused")))
    ).first()
    if open_one is not None:
        raise ConflictError(f"the rollout {open_one[0]} of the group {name!r} is open: abort it first")
    connection.execute(delete(groups).where(groups.c.name == name))


def all_targets(connection: Connection) -> tuple[Target, ...]:
    """Return every target, the newest first."""
    rows = connection.execute(select(targets).order_by(targets.c.set_at.desc(), targets.c.rollout.desc()))
    return tuple(_read_target(row) for row in rows)


def save_target(connection: Connection, target: Target) -> None:
    """Set a group's version of a model."""
    connection.execute(delete(targets).where(targets.c.group == target.group, targets.c.model == target.model))
    connection.execute(
        insert(targets).values(
            group=target.group,
            model=target.model,
            version=target.version,
            rollout=target.rollout,
            set_at=target.set_at,
        )
    )


def delete_targets(connection: Connection, model: str, version: int) -> tuple[str, ...]:
    """Take a version of a model from the groups that have come to it; return their names."""
    here = (targets.c.model == model) & (targets.c.version == version)
    names = tuple(row[0] for row in connection.execute(select(targets.c.group).where(here).order_by(targets.c.group)))
    connection.execute(delete(targets).where(here))
    return names
