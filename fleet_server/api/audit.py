"""The audit log: who did what, and whether the log is whole."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query

from fleet_server.api.answers import Answer, ListOf, Time
from fleet_server.api.askers import needs
from fleet_server.api.context import Context, Paging
from fleet_server.core.audit_chain import AuditRow
from fleet_server.core.permissions import Permission
from fleet_server.services.auth import Principal
from fleet_server.store.audit import AuditFilter

router = APIRouter(prefix="/api/v1/audit", tags=["records"])
Auditor = Annotated[Principal, needs(Permission.AUDIT)]
Word = Annotated[str | None, Query(max_length=200)]


class RowShown(Answer):
    """One row; `hash` is over the row before and this one, `at_ms` the exact time that it covers."""

    n: int
    at: Time
    at_ms: int
    actor: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


class VerdictShown(Answer):
    """Whether the log is whole: its rows, how many of them a checkpoint proves, and the first bad or missing one."""

    whole: bool
    rows: int
    proven: int
    bad_row: int | None
    reason: str


def _show(row: AuditRow) -> RowShown:
    try:
        detail = json.loads(row.detail)
    except ValueError:  # altered behind the server's back: the verdict says so, the list shows what is there
        detail = None
    plain = {name: getattr(row, name) for name in ("n", "at", "actor", "action", "subject", "hash")}
    return RowShown.model_validate(
        plain | {"at_ms": row.at, "detail": detail if isinstance(detail, dict) else {"unreadable": row.detail}}
    )


@router.get("")
def list_audit(
    context: Context,
    paging: Paging,
    _asker: Auditor,
    actor: Word = None,
    action: Word = None,
    subject: Word = None,
    oldest_first: Annotated[bool, Query(description="from the first row on, to export all")] = False,
) -> ListOf[RowShown]:
    """List the audit log, newest first."""
    wanted = AuditFilter(actor, action, subject)
    page = context.audit.list_audit(paging, wanted, newest_first=not oldest_first)
    return ListOf(items=[_show(row) for row in page.items], next=page.next)


@router.get("/verdict")
def verify_audit(context: Context, _asker: Auditor) -> VerdictShown:
    """Check every row's hash, and the signed checkpoints."""
    return VerdictShown.model_validate(context.audit.verify())
