"""What each device is assigned, model by model, and which versions were found bad on it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from fleet_server.store.rows import reader
from fleet_server.store.schema import assignments, bad_versions


@dataclass(frozen=True, slots=True)
class Assignment:
    """The version and variant of one model that a device is to run; `options` holds soak, settings, threshold."""

    device: str
    model: str
    version: int
    variant: str
    digest: str
    set_at: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadVersion:
    """A version that failed on a device: never assigned to it again."""

    device: str
    model: str
    version: int
    reason: str
    detail: str
    at: int


_read, _read_bad = reader(Assignment), reader(BadVersion)


def list_assignments(connection: Connection, device: str) -> tuple[Assignment, ...]:
    """Return what a device is assigned, by model."""
    rows = connection.execute(select(assignments).where(assignments.c.device == device).order_by(assignments.c.model))
    return tuple(_read(row) for row in rows)


def all_assignments(connection: Connection, model: str | None = None) -> tuple[Assignment, ...]:
    """Return every assignment, or those of one model."""
    query = select(assignments).order_by(assignments.c.device, assignments.c.model)
    if model is not None:
        query = query.where(assignments.c.model == model)
    return tuple(_read(row) for row in connection.execute(query))


def save_assignment(connection: Connection, assignment: Assignment) -> None:
    """Set what a device is assigned for one model."""
    delete_assignment(connection, assignment.device, assignment.model)
    connection.execute(
        insert(assignments).values(
            device=assignment.device,
            model=assignment.model,
            version=assignment.version,
            variant=assignment.variant,
            digest=assignment.digest,
            options=dict(assignment.options),
            set_at=assignment.set_at,
        )
    )


def delete_assignment(connection: Connection, device: str, model: str) -> None:
    """Take a model from a device."""
    connection.execute(delete(assignments).where(assignments.c.device == device, assignments.c.model == model))


def save_bad(connection: Connection, bad: BadVersion) -> None:
    """Remember that a version failed on a device."""
    connection.execute(
        delete(bad_versions).where(
            bad_versions.c.device == bad.device,
            bad_versions.c.model == bad.model,
            bad_versions.c.version == bad.version,
        )
    )
    connection.execute(
        insert(bad_versions).values(
            device=bad.device,
            model=bad.model,
            version=bad.version,
            reason=bad.reason,
            detail=bad.detail,
            at=bad.at,
        )
    )


def forget_bad(connection: Connection, device: str, model: str, version: int) -> None:
    """Allow a version on a device again: somebody rolls it out anew."""
    connection.execute(
        delete(bad_versions).where(
            bad_versions.c.device == device, bad_versions.c.model == model, bad_versions.c.version == version
        )
    )


def list_bad(connection: Connection, device: str | None = None) -> tuple[BadVersion, ...]:
    """Return every version that failed on a device, or on any."""
    query = select(bad_versions)
    if device is not None:
        query = query.where(bad_versions.c.device == device)
    return tuple(_read_bad(row) for row in connection.execute(query))
