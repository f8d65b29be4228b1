"""Labelled rows of devices. They are what a device saw, so seeing the fleet is not enough to see them."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from fleet_server.api.answers import Answer, ListOf, Time
from fleet_server.api.askers import Reader, needs
from fleet_server.api.context import Context, Paging
from fleet_server.api.telemetry import Name, Since, read_since
from fleet_server.core.permissions import Permission
from fleet_server.services.auth import Principal
from fleet_server.store.feedback import StoredFeedback

router = APIRouter(prefix="/api/v1", tags=["feedback"])
Learner = Annotated[Principal, needs(Permission.DATA)]
Before = Annotated[str | None, Query(max_length=40, description="ISO 8601, when the server received it")]


class RowShown(Answer):
    """One row: inputs in the order of `columns` (null where missing), what was true, what was answered."""

    inputs: list[float | None]
    truth: Any
    prediction: Any


class FeedbackShown(Answer):
    """One message of a device."""

    device: str
    model: str
    version: int
    digest: str
    received: Time
    columns: list[str]
    rows: list[RowShown]


class TotalsShown(Answer):
    """What is kept of a model, and how many rows were dropped: over the cap, or too old."""

    model: str
    rows: int
    devices: int
    oldest: Time | None
    newest: Time | None
    capped: int
    expired: int


class ForgottenShown(Answer):
    """How many rows were deleted."""

    rows: int


@router.get("/feedback")
def show_feedback(context: Context, _asker: Reader) -> ListOf[TotalsShown]:
    """Say how many labelled rows are kept of each model, and how many were dropped."""
    return ListOf(items=[TotalsShown.model_validate(item) for item in context.feedback.totals()], next=None)


@router.get("/models/{model}/feedback")
def list_feedback(
    context: Context, paging: Paging, _asker: Learner, model: str, device: Name = None, since: Since = None
) -> ListOf[FeedbackShown]:
    """List a model's labelled rows, one item a message, newest first."""
    page = context.feedback.list_rows(model, paging, device, read_since(since))
    return ListOf(items=[_message(rows) for rows in page.items if rows], next=page.next)


@router.delete("/models/{model}/feedback")
def forget_feedback(
    context: Context, asker: Learner, model: str, device: Name = None, before: Before = None
) -> ForgottenShown:
    """Delete a model's labelled rows: all, one device's, or those received before a time."""
    return ForgottenShown(rows=context.feedback.forget(model, device, read_since(before, "before"), asker.name))


def _message(rows: tuple[StoredFeedback, ...]) -> FeedbackShown:
    first = rows[0]
    plain = {name: getattr(first, name) for name in ("device", "model", "version", "digest", "received")}
    shown = [{"inputs": r.row.inputs, "truth": r.row.truth, "prediction": r.row.prediction} for r in rows]
    return FeedbackShown.model_validate(plain | {"columns": first.columns, "rows": shown})
