"""Proposals: opened by what is found in the field or by hand, accepted, trained, signed, rolled out, ended.

House rules: a move, its decision and its audit row are one transaction; what a state owes may be done twice. What a
training found comes in through `win` and `lose`, in the transaction of what follows from it.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection

from edge_agent.contract import codec
from edge_agent.contract.messages import Soak
from fleet_server.core.drift_findings import DriftAlert
from fleet_server.core.pipelines import Pipeline
from fleet_server.core.proposal_machine import ProposalMove, ProposalMoveError, ProposalState, next_state
from fleet_server.core.proposals import BY_HAND, Facts, History, Opening, Proposal, Step, decide_opening, decide_step
from fleet_server.services.announcements import Announcer
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock
from fleet_server.services.errors import InvalidError
from fleet_server.services.operations import Operations, RetrainRequest
from fleet_server.services.pipelines import Pipelines, policy_of
from fleet_server.services.proposal_facts import ProposalFacts, running_version
from fleet_server.services.proposal_records import record_proposal
from fleet_server.services.rollouts import RolloutRequest, Rollouts
from fleet_server.store import proposals
from fleet_server.store.database import Database
from fleet_server.store.errors import ConflictError, NotFoundError
from fleet_server.store.models import Version
from fleet_server.store.pages import Page, PageRequest

_log = structlog.get_logger(__name__)
AUTHOR = "retraining"


@dataclass(frozen=True, slots=True)
class Ask:
    """Who opens a proposal, for what, and why in a sentence."""

    author: str
    cause: str
    sentence: str
    evidence: Mapping[str, Any]
    version: int | None = None


class Proposals:
    """Opens, moves and shows proposals; `turn` does what they owe."""

    def __init__(
        self,
        database: Database,
        pipelines: Pipelines,
        operations: Operations,
        rollouts: Rollouts,
        announcer: Announcer,
        clock: Clock,
        sign: Callable[[str], None],
    ) -> None:
        self._database = database
        self._pipelines = pipelines
        self._operations = operations
        self._rollouts = rollouts
        self._announcer = announcer
        self._clock = clock
        self._sign = sign
        self._facts = ProposalFacts(operations)

    def consider(self, connection: Connection, alert: DriftAlert) -> None:
        """Open a proposal for what was found, where the model's pipeline asks for one, in the caller's transaction."""
        evidence = {"group": alert.group, "state": str(alert.state), **dict(alert.evidence)}
        ask = Ask("monitor", str(alert.cause), alert.sentence, evidence, alert.version)
        opening, _ = self._open(connection, alert.model, ask)
        _log.info("proposal_considered", model=alert.model, opens=opening.opens, reason=opening.reason)

    def open_by_hand(self, model: str, sentence: str, author: str) -> Proposal:
        """Open a proposal without any finding.

        Raises:
            ConflictError: the model has an open one, no pipeline, or runs nowhere.
        """
        with self._database.write() as connection:
            opening, made = self._open(connection, model, Ask(author, BY_HAND, sentence, {}))
        if made is None:
            raise ConflictError(f"no proposal opens for {model!r}: {opening.reason}")
        return made

    def _open(self, connection: Connection, model: str, ask: Ask) -> tuple[Opening, Proposal | None]:
        now, found = self._clock(), self._pipelines.find(connection, model)
        options = None if found is None else found[1].options
        held = proposals.find_open(connection, model)
        history = History(
            None if held is None else held.id,
            proposals.last_ended(connection, model),
            None if options is None else running_version(connection, model, options.group),
        )
        opening = decide_opening(options, history, ask.version, now)
        if not opening.opens or found is None or history.running is None:
            return opening, None
        made = Proposal(
            id="pr-" + secrets.token_hex(6),
            model=model,
            version=history.running,
            state=ProposalState.PROPOSED,
            reason=ask.sentence,
            cause=ask.cause,
            sentence=ask.sentence,
            evidence=ask.evidence,
            pipeline=found[0],
            author=ask.author,
            opened=now,
            changed=now,
        )
        proposals.save_proposal(connection, made)
        record_proposal(connection, self._announcer, made, "propose_retraining", ask.author, ask.evidence)
        return opening, made

    def accept(self, proposal: str, author: str) -> Proposal:
        """Let a proposal's training begin.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: its state does not allow this.
        """
        return self._by_person(proposal, ProposalMove.ACCEPT, f"accepted by {author}", author)

    def decline(self, proposal: str, reason: str, author: str) -> Proposal:
        """End a proposal before its rollout, with a reason; a training at work is cancelled.

        Raises:
            NotFoundError: there is none of this id.
            ConflictError: its state does not allow this.
        """
        moved = self._by_person(proposal, ProposalMove.DECLINE, f"declined by {author}: {reason}", author)
        self._operations.cancel_quietly(moved.operation, author)
        return moved

    def _by_person(self, identity: str, move: ProposalMove, reason: str, author: str) -> Proposal:
        with self._database.write() as connection:
            held = proposals.get_proposal(connection, identity)
            try:
                return self._move(connection, held, move, reason, author)
            except ProposalMoveError as error:
                raise ConflictError(str(error)) from error

    def win(self, connection: Connection, proposal: str, verdict: Mapping[str, Any], made: Version) -> None:
        """Save that a training won and which version it is, in the transaction that registers it.

        Raises:
            ConflictError: the proposal was declined meanwhile.
        """
        held = proposals.get_proposal(connection, proposal)
        if held.state is not ProposalState.TRAINING:
            raise ConflictError(f"the proposal {proposal} is {held.state} meanwhile: what it made is not registered")
        changed = replace(held, verdict=verdict, made=made.version)
        self._move(connection, changed, ProposalMove.WIN, str(verdict["reason"]), AUTHOR)

    def lose(self, proposal: str, verdict: Mapping[str, Any]) -> None:
        """Save that a training lost, with the figures."""
        with self._database.write() as connection:
            held = proposals.get_proposal(connection, proposal)
            if held.state is ProposalState.TRAINING:  # declined meanwhile, it stays so
                changed = replace(held, verdict=verdict)
                self._move(connection, changed, ProposalMove.LOSE, str(verdict["reason"]), AUTHOR)

    def gathered(self, proposal: str, fresh: Mapping[str, Any]) -> None:
        """Save which fresh rows a training takes."""
        with self._database.write() as connection:
            held = proposals.get_proposal(connection, proposal)
            proposals.save_proposal(connection, replace(held, fresh=fresh))
            record_audit(connection, self._clock(), AUTHOR, "fresh_rows_gathered", proposal, fresh)

    def show(self, proposal: str) -> tuple[Proposal, Pipeline]:
        """Return a proposal and the pipeline that it goes by.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._database.read() as connection:
            found = proposals.get_proposal(connection, proposal)
        return found, self._pipelines.read(found.pipeline)

    def list_proposals(self, request: PageRequest, model: str | None = None) -> Page[Proposal]:
        """Return one page of proposals, newest first."""
        with self._database.read() as connection:
            return proposals.page_proposals(connection, request, model)

    def turn(self) -> None:
        """Do what open proposals owe now; one's trouble is not the others'.

        Raises:
            fleet_server.store.errors.UnavailableError: the database cannot be read or written now.
        """
        with self._database.read() as connection:
            waiting = proposals.open_proposals(connection)
        for held in waiting:
            self._step(held)

    def _step(self, held: Proposal) -> None:
        pipeline = self._pipelines.read(held.pipeline)
        if held.state is ProposalState.REGISTERED:
            self._sign(held.model)
        if held.state is ProposalState.SIGNED:
            held, facts = self._roll_out(held, pipeline)
        else:
            with self._database.read() as connection:
                facts = self._facts.look(connection, held)
        step = decide_step(held, pipeline.options, facts, self._clock())
        told = step.reason != held.reason and held.state is not ProposalState.PROPOSED
        if step.move is not None or told:
            with self._database.write() as connection:
                self._do(connection, held, step, pipeline)

    def _do(self, connection: Connection, held: Proposal, step: Step, pipeline: Pipeline) -> None:
        if proposals.get_proposal(connection, held.id).state is not held.state:
            return  # moved meanwhile: the next turn sees it
        if step.move is None:
            proposals.save_proposal(connection, replace(held, reason=step.reason))
            return
        if step.move is ProposalMove.TRAIN:
            request = RetrainRequest(held.id, pipeline.options.training_s)
            operation = self._operations.queue_retraining(connection, held.model, request, AUTHOR)
            held = replace(held, operation=operation, attempts=held.attempts + 1)
        self._move(connection, held, step.move, step.reason, AUTHOR)

    def _roll_out(self, held: Proposal, pipeline: Pipeline) -> tuple[Proposal, Facts]:
        """Begin the rollout of what was made, or find the one that a former turn began; else say what is in the way."""
        author, version, options = f"{AUTHOR}:{held.id}", int(held.made or 0), pipeline.options
        with self._database.read() as connection:
            found = proposals.find_rollout_by(connection, held.model, version, author)
            before = proposals.last_options(connection, held.model, held.version, options.group)
        if found is None:
            # Devices go on as they were told with the version before: how they soak, and what they send.
            soak = codec.from_plain(Soak, before["soak"]) if "soak" in before else None
            settings = dict(before.get("settings", {}))
            try:
                policy = policy_of(options.policy)
                request = RolloutRequest(held.model, version, options.group, policy, soak, settings)
                stored, _ = self._rollouts.create(request, author)
            except (ConflictError, NotFoundError, InvalidError) as error:
                return held, Facts(obstacle=str(error))
            found = stored.rollout.id
        return replace(held, rollout=found), Facts()

    def _move(self, connection: Connection, held: Proposal, move: ProposalMove, reason: str, author: str) -> Proposal:
        now = self._clock()
        state = next_state(held.state, move)
        accepted = now if move is ProposalMove.ACCEPT else held.accepted
        moved = replace(held, state=state, reason=reason, changed=now, accepted=accepted)
        proposals.save_proposal(connection, moved)
        record_proposal(connection, self._announcer, moved, f"retraining_{state}", author, moved.verdict or {})
        return moved
