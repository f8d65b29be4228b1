"""Decisions and events: the two logs."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from fleet_server.api.answers import Answer, ListOf
from fleet_server.api.askers import Reader
from fleet_server.api.context import Context, Paging
from fleet_server.services.decisions import plain_decision
from fleet_server.services.events import plain_event

router = APIRouter(prefix="/api/v1", tags=["records"])
Name = Annotated[str | None, Query(max_length=64)]


class DecisionShown(Answer):
    """A decision with its evidence, policy and author."""

    at: str
    kind: str
    rollout: str | None
    model: str
    version: int
    reason: str
    author: str
    policy: dict[str, Any]
    evidence: dict[str, Any]


class EventShown(Answer):
    """An event of a device or of the server."""

    at: str
    source: str
    code: str
    device: str | None
    model: str | None
    detail: str
    fields: dict[str, str]


@router.get("/decisions")
def list_decisions(
    context: Context, paging: Paging, _asker: Reader, rollout: Name = None, model: Name = None
) -> ListOf[DecisionShown]:
    """List decisions, newest first."""
    page = context.decisions.list_decisions(paging, rollout, model)
    items = [DecisionShown.model_validate(plain_decision(item)) for item in page.items]
    return ListOf(items=items, next=page.next)


@router.get("/events")
def list_events(context: Context, paging: Paging, _asker: Reader, device: Name = None) -> ListOf[EventShown]:
    """List events, newest first."""
    page = context.events.list_events(paging, device)
    return ListOf(items=[EventShown.model_validate(plain_event(item)) for item in page.items], next=page.next)
