"""A proposal to make a model anew: when one opens, and what is owed next; pure decisions over what the server knows.

House rules: one open proposal for each model; without a pipeline there is none. A deadline ends in failure with its
reason, never in a rollout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fleet_server.core.pipelines import PipelineOptions
from fleet_server.core.proposal_machine import ProposalMove, ProposalState

MAX_ATTEMPTS = 3
BY_HAND = "by_hand"


@dataclass(frozen=True, slots=True)
class Proposal:
    """One proposal as it stands; times in epoch milliseconds.

    `version` ran when it opened, and is what the retrained one must beat. `cause` is what an alert said, or `by_hand`.
    `pipeline` is the digest of the pipeline's document. `made` is the version that came of it.
    """

    id: str
    model: str
    version: int
    state: ProposalState
    reason: str
    cause: str
    sentence: str
    evidence: Mapping[str, Any]
    pipeline: str
    author: str
    opened: int
    changed: int
    accepted: int | None = None
    attempts: int = 0
    operation: str | None = None
    made: int | None = None
    rollout: str | None = None
    verdict: Mapping[str, Any] | None = None
    fresh: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether a proposal opens, and why or why not."""

    opens: bool
    reason: str


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a model when it asks for a proposal: the open one, the last end (epoch ms), what runs."""

    open_id: str | None = None
    last_ended: int | None = None
    running: int | None = None


def decide_opening(options: PipelineOptions | None, history: History, version: int | None, now: int) -> Opening:
    """Decide whether a proposal opens for what was said of `version` (None: a person asks, and no cool-down holds)."""
    if options is None:
        return Opening(False, "no pipeline is registered with the model")
    if history.open_id is not None:
        return Opening(False, f"the proposal {history.open_id} is open")
    if history.running is None:
        return Opening(False, f"no device of the group {options.group!r} runs the model")
    if version is None:
        return Opening(True, "asked for by hand")
    if version != history.running:
        return Opening(False, f"it is about version {version}, and the group runs version {history.running}")
    if history.last_ended is not None and now < history.last_ended + options.cool_down_s * 1000:
        left_s = (history.last_ended - now) / 1000 + options.cool_down_s
        return Opening(False, f"the last proposal ended less than {options.cool_down_s:g} s ago ({left_s:.0f} s to go)")
    return Opening(True, "what was found is confirmed")


class Ended(StrEnum):
    """How what a proposal waits for has ended, if it has."""

    NOT_YET = "not_yet"
    WELL = "well"
    BADLY = "badly"
    # By a stop of the server, in which nothing was wrong with it.
    CUT_OFF = "cut_off"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a step is decided on; each is looked up for the states that ask for it alone.

    `fresh_rows`: labelled rows at hand. `ended`: how the training, the signing or the rollout stands; `told` is its own
    words. `obstacle` is why a rollout cannot begin now.
    """

    fresh_rows: int = 0
    ended: Ended = Ended.NOT_YET
    told: str = ""
    obstacle: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """The next move (None: nothing is to be done yet) and its reason."""

    move: ProposalMove | None
    reason: str


def decide_step(proposal: Proposal, options: PipelineOptions, facts: Facts, now: int) -> Step:
    """Decide what a proposal's state owes now."""
    late = proposal.accepted is not None and now > proposal.accepted + options.deadline_s * 1000
    match proposal.state:
        case ProposalState.PROPOSED:
            if options.automatic:
                return Step(ProposalMove.ACCEPT, "the pipeline is automatic")
            return Step(None, "waits for a person: edgeloop proposal accept")
        case ProposalState.ACCEPTED:
            return _gather(proposal, options, facts, late=late)
        case ProposalState.TRAINING:
            return _train(proposal, facts)
        case ProposalState.REGISTERED:
            return _sign(facts, late=late)
        case ProposalState.SIGNED:
            if facts.obstacle is None:
                return Step(ProposalMove.ROLL, f"to the group {options.group!r}")
            if late:
                return Step(ProposalMove.FAIL, f"no rollout before the deadline: {facts.obstacle}")
            return Step(None, f"the rollout cannot begin yet: {facts.obstacle}")
        case ProposalState.ROLLING:
            ends = {Ended.WELL: ProposalMove.SUCCEED, Ended.BADLY: ProposalMove.ROLL_BACK}
            return Step(ends.get(facts.ended), facts.told)
        case _:
            return Step(None, proposal.reason)


def _gather(proposal: Proposal, options: PipelineOptions, facts: Facts, *, late: bool) -> Step:
    have = f"{facts.fresh_rows} of {options.min_fresh_rows} labelled rows"
    if proposal.attempts >= MAX_ATTEMPTS:
        return Step(ProposalMove.FAIL, f"the server stopped during each of {MAX_ATTEMPTS} trainings")
    if facts.fresh_rows >= options.min_fresh_rows:
        return Step(ProposalMove.TRAIN, f"{facts.fresh_rows} labelled rows are at hand")
    if late:
        return Step(ProposalMove.FAIL, f"{have} came before the deadline")
    return Step(None, f"waits for feedback: {have}")


def _train(proposal: Proposal, facts: Facts) -> Step:
    match facts.ended:
        case Ended.NOT_YET:
            return Step(None, f"the operation {proposal.operation} is at work")
        case Ended.CUT_OFF:
            return Step(ProposalMove.RETRY, "the server stopped during the training")
        case Ended.WELL | Ended.BADLY:
            # A training that ended well has moved the proposal itself, in the transaction of its verdict.
            return Step(ProposalMove.FAIL, facts.told or "the training ended without a verdict")


def _sign(facts: Facts, *, late: bool) -> Step:
    match facts.ended:
        case Ended.WELL:
            return Step(ProposalMove.SIGN, "signed under the delegation to automatic retraining")
        case Ended.BADLY:
            return Step(ProposalMove.FAIL, facts.told)
        case Ended.NOT_YET | Ended.CUT_OFF:
            if late:
                return Step(ProposalMove.FAIL, "nobody signed it before the deadline")
            return Step(None, facts.told)
