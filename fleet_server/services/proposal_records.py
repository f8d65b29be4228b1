"""What is written down of a proposal's moves: a decision with its evidence, an audit row, word to who watches."""

from collections.abc import Mapping
from typing import Any

import structlog
from sqlalchemy import Connection

from fleet_server.core.proposals import Proposal
from fleet_server.services.announcements import Announcer
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import iso
from fleet_server.services.decisions import record_decision
from fleet_server.store.decisions import StoredDecision

_log = structlog.get_logger(__name__)


def record_proposal(
    connection: Connection, announcer: Announcer, held: Proposal, kind: str, author: str, evidence: Mapping[str, Any]
) -> None:
    """Record that a proposal has come to its state, by a decision of this kind, in the caller's transaction."""
    version = held.version if held.made is None else held.made
    proof = {"proposal": held.id, "cause": held.cause, **evidence}
    decision = StoredDecision(held.changed, kind, held.model, version, held.reason, author, None, {}, proof)
    record_decision(connection, decision, announcer)
    detail = {"model": held.model, "reason": held.reason, "made": held.made, "rollout": held.rollout}
    record_audit(connection, held.changed, author, f"proposal_{held.state}", held.id, detail)
    announcer.announce("proposal", plain_proposal(held))
    _log.info("proposal_moved", proposal=held.id, model=held.model, state=held.state.value, reason=held.reason)


def plain_proposal(held: Proposal) -> dict[str, Any]:
    """Return a proposal as the API shows it."""
    return {
        "id": held.id,
        "model": held.model,
        "version": held.version,
        "state": held.state.value,
        "reason": held.reason,
        "cause": held.cause,
        "sentence": held.sentence,
        "evidence": dict(held.evidence),
        "pipeline": held.pipeline,
        "author": held.author,
        "opened": iso(held.opened),
        "changed": iso(held.changed),
        "operation": held.operation,
        "made": held.made,
        "rollout": held.rollout,
        "verdict": None if held.verdict is None else dict(held.verdict),
        "fresh": dict(held.fresh),
    }
