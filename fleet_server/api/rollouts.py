"""Rollouts."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from edge_agent.contract.messages import MAX_FEEDBACK_ROWS, Soak
from fleet_server.api.answers import Answer, Body, ListOf, Time
from fleet_server.api.askers import Reader, needs_within
from fleet_server.api.context import Context, Paging
from fleet_server.core.permissions import Permission
from fleet_server.core.rollout_machine import Move
from fleet_server.core.rollout_policy import parse_policy, plain_policy
from fleet_server.core.rollouts import DeviceState, RolloutDevice, RolloutState
from fleet_server.services.auth import Principal
from fleet_server.services.errors import InvalidError
from fleet_server.services.rollouts import Plan, RolloutRequest
from fleet_server.store.rollouts import OPEN_STATES, StoredRollout

router = APIRouter(prefix="/api/v1/rollouts", tags=["rollouts"])
_FAILED = (DeviceState.FAILED, DeviceState.REFUSED)
_SETTLED = (DeviceState.SUCCEEDED, DeviceState.SKIPPED, DeviceState.RETURNED)
SHORT = {"phases", "max_failures", "phase_soak_s", "phase_timeout_s"}
Seconds = Annotated[float, Field(ge=0, le=30 * 24 * 3600)]


class NewSoak(Body):
    """When a new version counts as healthy on a device; times in seconds."""

    min_s: Seconds = 10.0
    max_s: Seconds = 60.0
    min_rows: Annotated[int, Field(ge=0, le=10**9)] = 20
    max_error_ratio: Annotated[float, Field(ge=0, le=1)] = 0.0


class NewSettings(Body):
    """How often devices report, with how many labelled rows, and the threshold that overrules the manifest's."""

    health_s: Annotated[float, Field(ge=1, le=86400)] | None = None
    window_s: Annotated[float, Field(ge=1, le=604800)] | None = None
    window_rows: Annotated[int, Field(ge=1, le=10**9)] | None = None
    feedback_rows: Annotated[int, Field(ge=0, le=MAX_FEEDBACK_ROWS)] | None = None
    threshold: Annotated[float, Field(ge=-1e30, le=1e30)] | None = None


class NewRollout(Body):
    """A version for a group, phase by phase: `"25%"` or a number of devices, counted from the first phase on."""

    model: Annotated[str, Field(max_length=64)]
    version: Annotated[int, Field(ge=1, le=2**31 - 1)]
    group: Annotated[str, Field(max_length=64)]
    # The policy as a document, key by key as in docs/how-to/rollouts.md; an unknown key is an error.
    policy: dict[str, Any] = Field(default_factory=dict)
    # Keys of the policy that most rollouts state; here they win over the document.
    phases: Annotated[list[str], Field(min_length=1, max_length=20)] | None = None
    max_failures: Annotated[int, Field(ge=0, le=10**6)] | None = None
    phase_soak_s: Seconds | None = None
    phase_timeout_s: Annotated[float, Field(gt=0, le=30 * 24 * 3600)] | None = None
    soak: NewSoak | None = None
    settings: NewSettings | None = None
    # Another person than who starts it must approve it first; the server may ask for that of every rollout.
    approval: bool = False
    dry_run: bool = False


class MemberShown(Answer):
    """One device of a rollout."""

    device: str
    variant: str | None
    from_version: int | None
    state: str
    reason: str
    detail: str


class PhaseShown(Answer):
    """One phase: `waiting`, `running` or `done`, and its devices."""

    index: int
    size: str
    state: str
    total: int
    succeeded: int
    failed: int
    pending: int
    devices: list[MemberShown]


class RolloutShown(Answer):
    """A rollout with its phases."""

    id: str
    model: str
    version: int
    group: str
    state: str
    reason: str
    phase: int
    phases: list[PhaseShown]
    policy: dict[str, Any]
    author: str
    created: Time
    updated: Time


class PlannedShown(Answer):
    """What a device would get."""

    device: str
    phase: int
    variant: str | None
    from_version: int | None
    reason: str


class PlanShown(Answer):
    """What a rollout would do."""

    devices: list[PlannedShown]


def show(stored: StoredRollout, members: tuple[RolloutDevice, ...]) -> RolloutShown:
    """Return a rollout as it is shown."""
    rollout = stored.rollout
    return RolloutShown.model_validate(
        {
            "id": rollout.id,
            "model": rollout.model,
            "version": rollout.version,
            "group": rollout.group,
            "state": rollout.state.value,
            "reason": rollout.reason,
            "phase": rollout.phase,
            "phases": [
                _phase(stored, index, str(size), [member for member in members if member.phase == index])
                for index, size in enumerate(rollout.policy.phases)
            ],
            "policy": plain_policy(rollout.policy) | dict(stored.options),
            "author": stored.author,
            "created": stored.created,
            "updated": stored.updated,
        }
    )


def _phase(stored: StoredRollout, index: int, size: str, members: list[RolloutDevice]) -> PhaseShown:
    pending = sum(member.state not in (*_SETTLED, *_FAILED) for member in members)
    if index > stored.rollout.phase or stored.rollout.state is RolloutState.UNAPPROVED:
        state = "waiting"
    else:
        open_phase = index == stored.rollout.phase and stored.rollout.state in OPEN_STATES
        state = "running" if pending or open_phase else "done"
    return PhaseShown(
        index=index,
        size=size,
        state=state,
        total=len(members),
        succeeded=sum(member.state is DeviceState.SUCCEEDED for member in members),
        failed=sum(member.failed for member in members),
        pending=pending,
        devices=[MemberShown.model_validate(member) for member in members],
    )


def _request(body: NewRollout) -> RolloutRequest:
    try:
        policy = parse_policy(body.policy | body.model_dump(include=SHORT, exclude_none=True))
        soak = None if body.soak is None else Soak(**body.soak.model_dump())
    except ValueError as error:
        raise InvalidError(str(error)) from error
    settings = {} if body.settings is None else body.settings.model_dump(exclude_none=True)
    threshold = settings.pop("threshold", None)
    return RolloutRequest(body.model, body.version, body.group, policy, soak, settings, threshold, body.approval)


def _plan(plan: Plan) -> PlanShown:
    devices = [
        PlannedShown(
            device=member.device,
            phase=member.phase,
            variant=member.variant,
            from_version=member.from_version,
            reason=member.detail,
        )
        for member in plan.members
    ]
    return PlanShown(devices=devices)


@router.post("", status_code=201, responses={200: {"model": PlanShown, "description": "what a dry run would do"}})
def start_rollout(
    body: NewRollout,
    context: Context,
    asker: Annotated[Principal, needs_within(Permission.ROLLOUTS)],
    response: Response,
) -> RolloutShown | PlanShown:
    """Begin a rollout, or with `dry_run` say which devices would get what."""
    asker.require_within(group=body.group, model=body.model)
    request = _request(body)
    if body.dry_run:
        response.status_code = 200
        return _plan(context.rollouts.plan(request))
    return show(*context.rollouts.create(request, asker.name))


@router.get("")
def list_rollouts(context: Context, paging: Paging, _asker: Reader) -> ListOf[RolloutShown]:
    """List rollouts, newest first."""
    page = context.rollouts.list_rollouts(paging)
    return ListOf(items=[show(*item) for item in page.items], next=page.next)


@router.get("/{rollout}")
def show_rollout(rollout: str, context: Context, _asker: Reader) -> RolloutShown:
    """Show a rollout."""
    return show(*context.rollouts.show(rollout))


@router.post("/{rollout}/approve")
def approve_rollout(
    rollout: str, context: Context, asker: Annotated[Principal, needs_within(Permission.APPROVE)]
) -> RolloutShown:
    """Approve a rollout that waits for it: another person than who started it."""
    found, _ = context.rollouts.show(rollout)
    asker.require_within(group=found.rollout.group, model=found.rollout.model)
    return show(*context.rollouts.approve(rollout, asker.name))


@router.post("/{rollout}/{verb}")
def move_rollout(
    rollout: str,
    verb: Literal["pause", "resume", "abort", "promote"],
    context: Context,
    asker: Annotated[Principal, needs_within(Permission.ROLLOUTS)],
) -> RolloutShown:
    """Pause, resume, abort or promote a rollout."""
    found, _ = context.rollouts.show(rollout)
    asker.require_within(group=found.rollout.group, model=found.rollout.model)
    return show(*context.rollouts.move(rollout, Move(verb), asker.name))
