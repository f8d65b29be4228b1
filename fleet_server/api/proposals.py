"""Proposals to make a model anew: shown, opened by hand, accepted, declined."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from fleet_server.api.answers import Answer, Body, ListOf, Time
from fleet_server.api.askers import Reader, needs_within
from fleet_server.api.context import Context, Paging
from fleet_server.core.permissions import Permission
from fleet_server.core.proposals import Proposal
from fleet_server.services.auth import Principal
from fleet_server.services.proposal_records import plain_proposal

router = APIRouter(prefix="/api/v1", tags=["retraining"])
Asker = Annotated[Principal, needs_within(Permission.PUBLISH)]
Reason = Annotated[str, Field(min_length=1, max_length=500)]


class NewProposal(Body):
    """Why the model shall be made anew."""

    reason: Reason


class Declined(Body):
    """Why it shall not."""

    reason: Reason


class ProposalShown(Answer):
    """A proposal: why it opened, how it stands, and what came of it.

    `version` is what ran when it opened; `made` the version that came of it; `verdict` what the trainer measured;
    `fresh` which rows it took.
    """

    id: str
    model: str
    version: int
    state: str
    reason: str
    cause: str
    sentence: str
    evidence: dict[str, Any]
    pipeline: str
    author: str
    opened: Time
    changed: Time
    operation: str | None
    made: int | None
    rollout: str | None
    verdict: dict[str, Any] | None
    fresh: dict[str, Any]


def _show(proposal: Proposal) -> ProposalShown:
    return ProposalShown.model_validate(plain_proposal(proposal))


@router.get("/proposals")
def list_proposals(
    context: Context,
    paging: Paging,
    _asker: Reader,
    model: Annotated[str | None, Query(max_length=64)] = None,
) -> ListOf[ProposalShown]:
    """List proposals, newest first."""
    page = context.retraining.proposals.list_proposals(paging, model)
    return ListOf(items=[_show(item) for item in page.items], next=page.next)


@router.get("/proposals/{proposal}")
def show_proposal(proposal: str, context: Context, _asker: Reader) -> ProposalShown:
    """Show a proposal."""
    return _show(context.retraining.proposals.show(proposal)[0])


@router.post("/models/{model}/proposals", status_code=201)
def open_proposal(model: str, body: NewProposal, context: Context, asker: Asker) -> ProposalShown:
    """Propose to make a model anew, without any finding; the pipeline says what follows."""
    _, pipeline = context.retraining.pipelines.show(model)
    asker.require_within(group=pipeline.options.group, model=model)
    return _show(context.retraining.proposals.open_by_hand(model, body.reason, asker.name))


@router.post("/proposals/{proposal}/accept")
def accept_proposal(proposal: str, context: Context, asker: Asker) -> ProposalShown:
    """Let a proposal's training begin; where it wins, it is signed and rolled out."""
    _require(context, proposal, asker)
    return _show(context.retraining.proposals.accept(proposal, asker.name))


@router.post("/proposals/{proposal}/decline")
def decline_proposal(proposal: str, body: Declined, context: Context, asker: Asker) -> ProposalShown:
    """End a proposal before its rollout, with a reason."""
    _require(context, proposal, asker)
    return _show(context.retraining.proposals.decline(proposal, body.reason, asker.name))


def _require(context: Context, proposal: str, asker: Principal) -> None:
    held, pipeline = context.retraining.proposals.show(proposal)
    asker.require_within(group=pipeline.options.group, model=held.model)
