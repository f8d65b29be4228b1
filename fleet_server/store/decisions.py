"""The log of decisions: what was decided, on which evidence, under which policy, by whom. It is only added to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, select

from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import decisions


@dataclass(frozen=True, slots=True)
class StoredDecision:
    """One decision; `author` is `controller`, or the operator's key."""

    at: int
    kind: str
    model: str
    version: int
    reason: str
    author: str
    rollout: str | None = None
    policy: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)


_read = reader(StoredDecision, "n")


def insert_decision(connection: Connection, decision: StoredDecision) -> None:
    """Add a decision."""
    connection.execute(
        insert(decisions).values(
            at=decision.at,
            kind=decision.kind,
            rollout=decision.rollout,
            model=decision.model,
            version=decision.version,
            reason=decision.reason,
            author=decision.author,
            policy=dict(decision.policy),
            evidence=dict(decision.evidence),
        )
    )


def page_decisions(
    connection: Connection, request: PageRequest, rollout: str | None = None, model: str | None = None
) -> Page[StoredDecision]:
    """Return one page of decisions, newest first."""
    query = select(decisions)
    if rollout is not None:
        query = query.where(decisions.c.rollout == rollout)
    if model is not None:
        query = query.where(decisions.c.model == model)
    return read_page(connection, query, decisions.c.n, request, _read, newest_first=True)


def decision_reasons(connection: Connection, rollout: str, kind: str) -> tuple[str, ...]:
    """Return the reasons of a rollout's decisions of one kind, the oldest first."""
    query = select(decisions.c.reason).where(decisions.c.rollout == rollout, decisions.c.kind == kind)
    return tuple(connection.execute(query.order_by(decisions.c.n)).scalars())
