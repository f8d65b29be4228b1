"""Long-running operations: what was asked for, how far it is, how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, insert, select, update

from fleet_server.store.errors import NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import operations

_LINES_KEPT = 200


class OperationState(StrEnum):
    """What an operation still owes."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


UNFINISHED = (OperationState.QUEUED, OperationState.RUNNING)


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `progress` is its newest lines."""

    id: str
    kind: str
    subject: str
    state: str
    created: int
    updated: int
    request: Mapping[str, Any] = field(default_factory=dict)
    progress: tuple[str, ...] = ()
    result: Mapping[str, Any] | None = None
    error: str | None = None


_read_plain = reader(Operation, "n")


def _read(row: Any) -> Operation:
    plain = _read_plain(row)
    return Operation(
        plain.id,
        plain.kind,
        plain.subject,
        plain.state,
        plain.created,
        plain.updated,
        plain.request,
        tuple(plain.progress),
        plain.result,
        plain.error,
    )


def insert_operation(connection: Connection, operation: Operation) -> None:
    """Add an operation."""
    connection.execute(
        insert(operations).values(
            id=operation.id,
            kind=operation.kind,
            subject=operation.subject,
            state=operation.state,
            request=dict(operation.request),
            progress=list(operation.progress),
            result=operation.result,
            error=operation.error,
            created=operation.created,
            updated=operation.updated,
        )
    )


def get_operation(connection: Connection, operation: str) -> Operation:
    """Return an operation.

    Raises:
        NotFoundError: there is none of this id.
    """
    row = connection.execute(select(operations).where(operations.c.id == operation)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no operation {operation!r}")
    return _read(row)


def unfinished_operations(connection: Connection) -> tuple[Operation, ...]:
    """Return the operations that have not ended, the oldest first."""
    rows = connection.execute(
        select(operations).where(operations.c.state.in_([state.value for state in UNFINISHED])).order_by(operations.c.n)
    )
    return tuple(_read(row) for row in rows)


def page_operations(connection: Connection, request: PageRequest) -> Page[Operation]:
    """Return one page of operations, newest first."""
    return read_page(connection, select(operations), operations.c.n, request, _read, newest_first=True)


def save_operation(connection: Connection, operation: Operation) -> None:
    """Save how far an operation is; only its newest lines are kept."""
    connection.execute(
        update(operations)
        .where(operations.c.id == operation.id)
        .values(
            state=operation.state,
            progress=list(operation.progress[-_LINES_KEPT:]),
            result=None if operation.result is None else dict(operation.result),
            error=operation.error,
            updated=operation.updated,
        )
    )
