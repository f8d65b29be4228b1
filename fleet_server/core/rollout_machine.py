"""Moves between a rollout's states: one table; a missing row is an error, never a default."""

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from fleet_server.core.rollouts import Rollout, RolloutState


class Move(StrEnum):
    """What moves a rollout: an approver's word, then four of an operator's, the others a decision's (pause is both)."""

    APPROVE = "approve"
    PAUSE = "pause"
    RESUME = "resume"
    ABORT = "abort"
    PROMOTE = "promote"
    ADVANCE = "advance"
    HALT = "halt"
    SUCCEED = "succeed"


class MoveError(ValueError):
    """A move is not allowed in the state that a rollout is in."""


_RUNNING, _PAUSED, _HALTED, _ABORTED, _SUCCEEDED, _UNAPPROVED = RolloutState

_TABLE: Mapping[tuple[RolloutState, Move], RolloutState] = {
    (_UNAPPROVED, Move.APPROVE): _RUNNING,
    (_UNAPPROVED, Move.ABORT): _ABORTED,
    (_RUNNING, Move.PAUSE): _PAUSED,
    (_RUNNING, Move.ABORT): _ABORTED,
    (_RUNNING, Move.PROMOTE): _RUNNING,
    (_RUNNING, Move.ADVANCE): _RUNNING,
    (_RUNNING, Move.HALT): _HALTED,
    (_RUNNING, Move.SUCCEED): _SUCCEEDED,
    (_PAUSED, Move.RESUME): _RUNNING,
    (_PAUSED, Move.ABORT): _ABORTED,
    (_PAUSED, Move.PROMOTE): _RUNNING,
    (_PAUSED, Move.HALT): _HALTED,
}
# Moves to the next phase; from the last phase a promotion is the operator's word that the rollout is done.
_ONWARD = frozenset({Move.PROMOTE, Move.ADVANCE})
# What has a phase's clock begin.
_BEGIN = frozenset({Move.RESUME, Move.APPROVE})


def allowed_moves(state: RolloutState) -> frozenset[Move]:
    """Return the moves that the table has for a state."""
    return frozenset(move for found, move in _TABLE if found is state)


def move_rollout(rollout: Rollout, move: Move, now: float, reason: str = "") -> Rollout:
    """Return the rollout after a move; a new, approved or resumed phase has its clock begin at `now` (epoch seconds).

    Raises:
        MoveError: the table has no such move, or there is no phase to advance to.
    """
    target = _TABLE.get((rollout.state, move))
    if target is None:
        allowed = ", ".join(sorted(allowed_moves(rollout.state))) or "nothing more"
        raise MoveError(f"rollout {rollout.id} is {rollout.state}: it cannot {move}; allowed: {allowed}")
    if move in _ONWARD:
        if not rollout.last_phase:
            return replace(rollout, state=target, reason=reason, phase=rollout.phase + 1, phase_started=now)
        if move is Move.ADVANCE:
            raise MoveError(f"rollout {rollout.id} is in its last phase: there is none to advance to")
        target = RolloutState.SUCCEEDED
    started = now if move in _BEGIN else rollout.phase_started
    return replace(rollout, state=target, reason=reason, phase_started=started)
