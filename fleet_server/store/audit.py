"""The audit log's rows. They are only added to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, BigInteger, Column, Connection, Integer, String, Table, insert

from fleet_server.store.schema import metadata

audit = Table(
    "audit",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(100), nullable=False),
    Column("action", String(64), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", JSON(none_as_null=True), nullable=False),
    sqlite_autoincrement=True,
)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row, as it is added."""

    at: int
    actor: str
    action: str
    subject: str
    detail: Mapping[str, Any]


def append_entry(connection: Connection, entry: AuditEntry) -> None:
    """Add a row."""
    connection.execute(
        insert(audit).values(
            at=entry.at, actor=entry.actor, action=entry.action, subject=entry.subject, detail=dict(entry.detail)
        )
    )
