"""Decisions: recorded in the transaction of what they change, then announced."""

from typing import Any

from sqlalchemy import Connection

from fleet_server.services.announcements import Announcer
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import iso
from fleet_server.store.database import Database
from fleet_server.store.decisions import StoredDecision, insert_decision, page_decisions
from fleet_server.store.pages import Page, PageRequest


def plain_decision(decision: StoredDecision) -> dict[str, Any]:
    """Return a decision as the API shows it."""
    return {
        "at": iso(decision.at),
        "kind": decision.kind,
        "rollout": decision.rollout,
        "model": decision.model,
        "version": decision.version,
        "reason": decision.reason,
        "author": decision.author,
        "policy": dict(decision.policy),
        "evidence": dict(decision.evidence),
    }


def record_decision(connection: Connection, decision: StoredDecision, announcer: Announcer) -> None:
    """Save, audit and announce a decision."""
    insert_decision(connection, decision)
    record_audit(
        connection,
        decision.at,
        decision.author,
        f"decided_{decision.kind}",
        decision.rollout or f"{decision.model}@{decision.version}",
        {"model": decision.model, "version": decision.version, "reason": decision.reason},
    )
    announcer.announce("decision", plain_decision(decision))


class Decisions:
    """Reads the log of decisions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_decisions(
        self, request: PageRequest, rollout: str | None = None, model: str | None = None
    ) -> Page[StoredDecision]:
        """Return one page of decisions, newest first."""
        with self._database.read() as connection:
            return page_decisions(connection, request, rollout, model)
