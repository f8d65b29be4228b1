"""Rollouts: planned, moved on by what devices report, and taken back where they fail.

House rules: a rollout's state, its devices, their desired documents and the decision are one transaction. What a
verdict owes may be done twice. One device's trouble is that device's failure, never the others'.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from sqlalchemy import Connection

from edge_agent.contract import codec
from edge_agent.contract.messages import AgentSettings, Soak
from edge_agent.contract.topics import check_name
from fleet_server.core.rollout_machine import Move, MoveError, move_rollout
from fleet_server.core.rollout_policy import Policy, plain_policy
from fleet_server.core.rollouts import (
    Prospect,
    Rollout,
    RolloutDevice,
    RolloutState,
    plan_rollout,
)
from fleet_server.services.announcements import Announcer
from fleet_server.services.assignments import Assigner
from fleet_server.services.clock import Clock
from fleet_server.services.decisions import record_decision
from fleet_server.services.errors import DeniedError, InvalidError
from fleet_server.services.groups import members_of
from fleet_server.services.listings import check_rollable
from fleet_server.store import assignments, groups, models, rollouts
from fleet_server.store.database import Database
from fleet_server.store.decisions import StoredDecision
from fleet_server.store.errors import ConflictError
from fleet_server.store.pages import Page, PageRequest
from fleet_server.store.rollouts import StoredRollout

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RolloutRequest:
    """What is asked for; `settings` and `threshold` go into the devices' documents with the version."""

    model: str
    version: int
    group: str
    policy: Policy
    soak: Soak | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    threshold: float | None = None
    approval: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a rollout would do: its devices, and why each got its variant or none."""

    rollout: Rollout
    members: tuple[RolloutDevice, ...]
    complete: bool


class Rollouts:
    """Creates, shows and moves rollouts; `fleet_server.services.controller` turns them."""

    def __init__(
        self,
        database: Database,
        assigner: Assigner,
        announcer: Announcer,
        clock: Clock,
        wake: Callable[[], None],
        *,
        approvals: bool = False,
    ) -> None:
        self._approvals = approvals
        self._wake = wake
        self._database = database
        self._assigner = assigner
        self._announcer = announcer
        self._clock = clock

    def plan(self, request: RolloutRequest) -> Plan:
        """Say which devices would get what, and change nothing.

        Raises:
            NotFoundError: there is no such version or group.
            InvalidError: the group has no device, or a setting is out of range.
            ConflictError: the version is not signed, yanked, or automatic and the group takes none.
        """
        with self._database.read() as connection:
            return self._plan(connection, request)

    def create(self, request: RolloutRequest, author: str) -> tuple[StoredRollout, tuple[RolloutDevice, ...]]:
        """Begin a rollout.

        Raises:
            NotFoundError: there is no such version or group.
            InvalidError: the group has no device, or a setting is out of range.
            ConflictError: a rollout of the model to one of these devices is open, or the version is not signed.
        """
        now = self._clock()
        with self._database.write() as connection:
            plan = self._plan(connection, request)
            _refuse_overlap(connection, plan)
            options = _options(request) | {"complete": plan.complete}
            if request.approval or self._approvals:
                waiting = replace(plan.rollout, state=RolloutState.UNAPPROVED, reason="waits for approval")
                plan = replace(plan, rollout=waiting)
            stored = StoredRollout(plan.rollout, options, now, now, author)
            rollouts.insert_rollout(connection, stored, plan.members)
            self.record(connection, plan.rollout, "start", f"{len(plan.members)} devices planned", author, {})
        self._announce(plan.rollout)
        _log.info("rollout_started", rollout=plan.rollout.id, model=request.model, version=request.version)
        return stored, plan.members

    def _plan(self, connection: Connection, request: RolloutRequest) -> Plan:
        models.get_version(connection, request.model, request.version)
        group = groups.get_group(connection, request.group)
        check_rollable(connection, request.model, request.version, group)
        _check_settings(request)
        boards = members_of(connection, group)
        if not boards:
            raise InvalidError(f"no device is in the group {group.name!r} (query {group.query!r})")
        running = {item.device: item for item in assignments.all_assignments(connection, request.model)}
        prospects = []
        for board in boards:
            before = running.get(board.id)
            prospects.append(
                Prospect(
                    board.id,
                    self._assigner.choose(connection, board, request.model, request.version),
                    before.version if before else None,
                    before.digest if before else None,
                    board.profile,
                )
            )
        identity, now = "ro-" + secrets.token_hex(6), self._clock() / 1000
        rollout = Rollout(identity, request.model, request.version, group.name, request.policy, phase_started=now)
        members = tuple(replace(item, changed_at=now) for item in plan_rollout(identity, request.policy, prospects))
        return Plan(rollout, members, len(members) == len(boards))

    def approve(self, rollout: str, approver: str) -> tuple[StoredRollout, tuple[RolloutDevice, ...]]:
        """Let a rollout begin that waits for it; it takes two people.

        Raises:
            NotFoundError: there is none of this id.
            DeniedError: who approves is who started it.
            ConflictError: it does not wait for approval.
        """
        stored, _ = self.show(rollout)
        if stored.author == approver:
            raise DeniedError(f"{approver} started this rollout: another person approves it")
        return self.move(rollout, Move.APPROVE, approver)

    def move(self, rollout: str, move: Move, author: str) -> tuple[StoredRollout, tuple[RolloutDevice, ...]]:
        """Move a rollout by an operator's word.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: its state does not allow this.
        """
        now = self._clock()
        with self._database.write() as connection:
            stored = rollouts.get_rollout(connection, rollout)
            try:
                moved = move_rollout(stored.rollout, move, now / 1000, f"{move} by {author}")
            except MoveError as error:
                raise ConflictError(str(error)) from error
            rollouts.save_rollout(connection, moved, now)
            if moved.state is RolloutState.SUCCEEDED:
                settle_target(connection, replace(stored, rollout=moved), now)
            self.record(connection, moved, move, moved.reason, author, {})
            members = rollouts.list_members(connection, rollout)
        self._announce(moved)
        return replace(stored, rollout=moved, updated=now), members

    def show(self, rollout: str) -> tuple[StoredRollout, tuple[RolloutDevice, ...]]:
        """Return a rollout and its devices.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._database.read() as connection:
            return rollouts.get_rollout(connection, rollout), rollouts.list_members(connection, rollout)

    def list_rollouts(self, request: PageRequest) -> Page[tuple[StoredRollout, tuple[RolloutDevice, ...]]]:
        """Return one page of the rollouts with their devices, newest first."""
        with self._database.read() as connection:
            page = rollouts.page_rollouts(connection, request)
            items = tuple((item, rollouts.list_members(connection, item.rollout.id)) for item in page.items)
        return Page(items, page.next)

    def record(
        self,
        connection: Connection,
        rollout: Rollout,
        kind: str,
        reason: str,
        author: str,
        evidence: Mapping[str, Any],
    ) -> None:
        """Save what was decided of a rollout, with its evidence and policy."""
        decision = StoredDecision(
            at=self._clock(),
            kind=kind,
            model=rollout.model,
            version=rollout.version,
            reason=reason,
            author=author,
            rollout=rollout.id,
            policy=plain_policy(rollout.policy),
            evidence=evidence,
        )
        record_decision(connection, decision, self._announcer)

    def _announce(self, rollout: Rollout) -> None:
        announce_rollout(self._announcer, rollout)
        self._wake()


def announce_rollout(announcer: Announcer, rollout: Rollout) -> None:
    """Announce how a rollout stands now."""
    announcer.announce(
        "rollout",
        {
            "id": rollout.id,
            "model": rollout.model,
            "version": rollout.version,
            "group": rollout.group,
            "state": rollout.state,
            "reason": rollout.reason,
            "phase": rollout.phase,
        },
    )


def settle_target(connection: Connection, stored: StoredRollout, now: int) -> None:
    """Make a succeeded rollout's version the target of its group, where the rollout was meant for the whole group."""
    rollout = stored.rollout
    if stored.options.get("complete"):
        groups.save_target(connection, groups.Target(rollout.group, rollout.model, rollout.version, rollout.id, now))


def _refuse_overlap(connection: Connection, plan: Plan) -> None:
    mine = {member.device for member in plan.members}
    for other in rollouts.open_rollouts(connection, plan.rollout.model):
        shared = mine & {member.device for member in rollouts.list_members(connection, other.rollout.id)}
        if shared:
            raise ConflictError(
                f"the rollout {other.rollout.id} of {plan.rollout.model!r} is {other.rollout.state} and has "
                f"{len(shared)} of these devices ({min(shared)}): let it end, or abort it"
            )


def _options(request: RolloutRequest) -> dict[str, Any]:
    options: dict[str, Any] = {"settings": dict(request.settings)}
    if request.soak is not None:
        options["soak"] = codec.to_plain(request.soak)
    if request.threshold is not None:
        options["threshold"] = request.threshold
    return options


def _check_settings(request: RolloutRequest) -> None:
    try:
        check_name(request.model)
        codec.from_plain(AgentSettings, dict(request.settings), unknown="refuse", at="settings")
    except ValueError as error:
        raise InvalidError(str(error)) from error
