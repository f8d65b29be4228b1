"""Labelled rows that devices send where they may: taken in, listed for a retraining, and forgotten on request."""

from dataclasses import dataclass

import structlog
from sqlalchemy import Connection

from edge_agent.contract.feedback import FeedbackRows
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock
from fleet_server.store import devices, feedback, models
from fleet_server.store.database import Database
from fleet_server.store.errors import NotFoundError
from fleet_server.store.feedback import FeedbackTotals, StoredFeedback
from fleet_server.store.pages import Page, PageRequest

_log = structlog.get_logger(__name__)
_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class FeedbackRules:
    """How many labelled rows are kept of a model, and for how many days."""

    kept_rows: int
    days: int


def take_feedback(connection: Connection, message: FeedbackRows, received: int, rules: FeedbackRules) -> None:
    """Save the signed rows of an active device for a model that the server knows; a repeat replaces."""
    if devices.find_active(connection, message.device) is None:
        return
    try:
        models.get_version(connection, message.model, message.version)
    except NotFoundError as error:
        _log.warning("feedback_refused", device=message.device, model=message.model, error=str(error))
        return
    feedback.save_feedback(connection, message, received, rules.kept_rows)


def expire_feedback(connection: Connection, now: int, rules: FeedbackRules) -> None:
    """Delete what is older than it is kept."""
    feedback.expire_feedback(connection, now - rules.days * _DAY_MS)


class Feedback:
    """Shows and forgets labelled rows."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def list_rows(
        self, model: str, request: PageRequest, device: str | None = None, since: int | None = None
    ) -> Page[tuple[StoredFeedback, ...]]:
        """Return one page of messages as their rows, newest first.

        Raises:
            NotFoundError: there is no such model.
        """
        with self._database.read() as connection:
            models.get_model(connection, model)
            return feedback.page_feedback(connection, model, request, device, since)

    def totals(self) -> tuple[FeedbackTotals, ...]:
        """Return what is kept and what was dropped, by model."""
        with self._database.read() as connection:
            return feedback.feedback_totals(connection)

    def forget(self, model: str, device: str | None, before: int | None, actor: str) -> int:
        """Delete rows of a model and return how many; one device's alone, or those received before a time.

        Raises:
            NotFoundError: there is no such model.
        """
        with self._database.write() as connection:
            models.get_model(connection, model)
            count = feedback.forget_feedback(connection, model, device, before)
            detail = {"rows": count, "device": device, "before": before}
            record_audit(connection, self._clock(), actor, "feedback_forgotten", model, detail)
        return count
