"""The audit log: who did what to what, recorded in the transaction of the thing itself."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from fleet_server.store.audit import AuditEntry, append_entry


def record_audit(
    connection: Connection, at: int, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Record that `actor` did `action` (past tense, as `device_enrolled`) to `subject` at `at` (epoch ms).

    `detail` has JSON's own types and no secret. What is recorded here is saved or lost together with the change.
    """
    append_entry(connection, AuditEntry(at, actor, action, subject, dict(detail or {})))
