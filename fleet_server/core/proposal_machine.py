"""Moves between a proposal's states: one table; a missing row is an error, never a default.

House rules: a state is the work still owed, and what a state owes may be done twice.
"""

from collections.abc import Mapping
from enum import StrEnum


class ProposalState(StrEnum):
    """What a proposal still owes.

    `proposed`: a person's word, or the pipeline's own. `accepted`: enough fresh rows, then a training. `training`: the
    end of an operation. `registered`: a signature. `signed`: a rollout. `rolling`: that rollout's end. The others owe
    nothing more: `lost` missed the gate, `failed` did not come to it or beyond it.
    """

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    TRAINING = "training"
    REGISTERED = "registered"
    SIGNED = "signed"
    ROLLING = "rolling"
    DONE = "done"
    DECLINED = "declined"
    LOST = "lost"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"


class ProposalMove(StrEnum):
    """What moves a proposal: two are a person's word, the others what came of what it owed."""

    ACCEPT = "accept"
    DECLINE = "decline"
    TRAIN = "train"
    RETRY = "retry"
    WIN = "win"
    LOSE = "lose"
    SIGN = "sign"
    ROLL = "roll"
    SUCCEED = "succeed"
    ROLL_BACK = "roll_back"
    FAIL = "fail"


class ProposalMoveError(ValueError):
    """A move is not allowed in the state that a proposal is in."""


_S, _M = ProposalState, ProposalMove
MOVES: Mapping[tuple[ProposalState, ProposalMove], ProposalState] = {
    (_S.PROPOSED, _M.ACCEPT): _S.ACCEPTED,
    (_S.PROPOSED, _M.DECLINE): _S.DECLINED,
    (_S.ACCEPTED, _M.TRAIN): _S.TRAINING,
    (_S.ACCEPTED, _M.FAIL): _S.FAILED,
    (_S.ACCEPTED, _M.DECLINE): _S.DECLINED,
    (_S.TRAINING, _M.RETRY): _S.ACCEPTED,
    (_S.TRAINING, _M.WIN): _S.REGISTERED,
    (_S.TRAINING, _M.LOSE): _S.LOST,
    (_S.TRAINING, _M.FAIL): _S.FAILED,
    (_S.TRAINING, _M.DECLINE): _S.DECLINED,
    (_S.REGISTERED, _M.SIGN): _S.SIGNED,
    (_S.REGISTERED, _M.FAIL): _S.FAILED,
    (_S.REGISTERED, _M.DECLINE): _S.DECLINED,
    (_S.SIGNED, _M.ROLL): _S.ROLLING,
    (_S.SIGNED, _M.FAIL): _S.FAILED,
    (_S.SIGNED, _M.DECLINE): _S.DECLINED,
    # A rollout that was begun is steered by its own verbs, and brings the proposal to its end.
    (_S.ROLLING, _M.SUCCEED): _S.DONE,
    (_S.ROLLING, _M.ROLL_BACK): _S.ROLLED_BACK,
}
ENDED = frozenset(ProposalState) - {state for state, _ in MOVES}


def next_state(state: ProposalState, move: ProposalMove) -> ProposalState:
    """Return the state after a move.

    Raises:
        ProposalMoveError: the table has no such move.
    """
    found = MOVES.get((state, move))
    if found is None:
        allowed = ", ".join(sorted(move for held, move in MOVES if held is state)) or "nothing more"
        raise ProposalMoveError(f"a proposal that is {state} cannot {move}; allowed: {allowed}")
    return found
