"""The audit log's rows. They are only added to: triggers of the database refuse anything else."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import BigInteger, Column, Connection, Integer, String, Table, Text, insert, select

from fleet_server.core.audit_chain import GENESIS, AuditRow, hash_row
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import metadata

_BLOCK_ROWS = 1000

audit = Table(
    "audit",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row, as it is added; `detail` is JSON text."""

    at: int
    actor: str
    action: str
    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which rows are wanted; None is any."""

    actor: str | None = None
    action: str | None = None
    subject: str | None = None


_read = reader(AuditRow)


def append_entry(connection: Connection, entry: AuditEntry) -> None:
    """Add a row to the chain; the caller's transaction is the only one that writes."""
    n, before = last_row(connection)
    made = hash_row(before, n + 1, entry.at, entry.actor, entry.action, entry.subject, entry.detail)
    connection.execute(
        insert(audit).values(
            n=n + 1,
            at=entry.at,
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
            detail=entry.detail,
            hash=made,
        )
    )


def last_row(connection: Connection) -> tuple[int, str]:
    """Return the number and the hash of the newest row; 0 and `GENESIS` where there is none."""
    row = connection.execute(select(audit.c.n, audit.c.hash).order_by(audit.c.n.desc()).limit(1)).one_or_none()
    return (0, GENESIS) if row is None else (row.n, row.hash)


def page_audit(
    connection: Connection, request: PageRequest, wanted: AuditFilter, *, newest_first: bool = True
) -> Page[AuditRow]:
    """Return one page of the log."""
    query = select(audit)
    for column, value in ((audit.c.actor, wanted.actor), (audit.c.action, wanted.action)):
        if value is not None:
            query = query.where(column == value)
    if wanted.subject is not None:
        query = query.where(audit.c.subject == wanted.subject)
    return read_page(connection, query, audit.c.n, request, _read, newest_first=newest_first)


def all_rows(connection: Connection) -> Iterator[AuditRow]:
    """Yield every row in the order of numbers, a block at a time, so that a long log needs no memory."""
    after: int | None = None
    while True:
        query = select(audit).order_by(audit.c.n).limit(_BLOCK_ROWS)
        block = connection.execute(query if after is None else query.where(audit.c.n > after)).fetchall()
        yield from (_read(row) for row in block)
        if len(block) < _BLOCK_ROWS:
            return
        after = block[-1].n
