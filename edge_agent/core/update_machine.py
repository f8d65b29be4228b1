"""The update of a device from one bundle set to the next: states, moves, and the work that each state owes.

House rules:
- A state is the work still owed; it owes at most one effect, and every effect may be repeated.
- The moves are one table. A missing row is a bug (`NoSuchMoveError`), never a default.
- The journal is written first, the effect runs second. So a power cut repeats an effect and never loses one.
- `wake` says what a restart makes of each state. A cut while a trial ran (proving, switching, soaking) costs that
  trial: from `staged` it is tried again, three times in all, and then the last good set stays and the update failed.
- One update at a time. A newer document waits; the update under way ends cleanly as `superseded` where it still can.
- Every document that was accepted or refused by its sequence number ends in exactly one outcome.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.contract.messages import Desired, Outcome, Proof, Running
from edge_agent.contract.states import Reason, Result, UpdateState

MAX_TRIALS = 3


class NoSuchMoveError(Exception):
    """The table of moves has no such row: a bug of the caller."""


class Move(StrEnum):
    """What happened to an update."""

    ACCEPT = "accept"
    ADOPT = "adopt"
    REFUSE = "refuse"
    FETCHED = "fetched"
    VERIFIED = "verified"
    TRY = "try"
    PROVED = "proved"
    SWITCHED = "switched"
    HEALTHY = "healthy"
    COMMITTED = "committed"
    FAIL = "fail"
    RESTORED = "restored"
    REPORTED = "reported"


class Effect(StrEnum):
    """The work that a state owes."""

    FETCH = "fetch"
    VERIFY = "verify"
    TRY = "try"
    PROVE = "prove"
    SWITCH = "switch"
    SOAK = "soak"
    COMMIT = "commit"
    RESTORE = "restore"
    REPORT = "report"


_S = UpdateState
_FAILABLE = (_S.FETCHING, _S.VERIFYING, _S.STAGED, _S.PROVING, _S.SWITCHING, _S.SOAKING)

MOVES: Mapping[tuple[UpdateState, Move], UpdateState] = {
    (_S.IDLE, Move.ACCEPT): _S.FETCHING,
    (_S.IDLE, Move.ADOPT): _S.COMMITTING,  # the same bundles with other settings: nothing to prove
    (_S.IDLE, Move.REFUSE): _S.REPORTING,
    (_S.FETCHING, Move.FETCHED): _S.VERIFYING,
    (_S.VERIFYING, Move.VERIFIED): _S.STAGED,
    (_S.STAGED, Move.TRY): _S.PROVING,
    (_S.PROVING, Move.PROVED): _S.SWITCHING,
    (_S.SWITCHING, Move.SWITCHED): _S.SOAKING,
    (_S.SOAKING, Move.HEALTHY): _S.COMMITTING,
    (_S.COMMITTING, Move.COMMITTED): _S.REPORTING,
    (_S.RESTORING, Move.RESTORED): _S.REPORTING,
    (_S.REPORTING, Move.REPORTED): _S.IDLE,
    **{(state, Move.FAIL): _S.RESTORING for state in _FAILABLE},
}

OWED: Mapping[UpdateState, Effect] = {
    _S.FETCHING: Effect.FETCH,
    _S.VERIFYING: Effect.VERIFY,
    _S.STAGED: Effect.TRY,
    _S.PROVING: Effect.PROVE,
    _S.SWITCHING: Effect.SWITCH,
    _S.SOAKING: Effect.SOAK,
    _S.COMMITTING: Effect.COMMIT,
    _S.RESTORING: Effect.RESTORE,
    _S.REPORTING: Effect.REPORT,
}

# What a restart finds and continues. The others lost their worker with the process: their trial is spent.
RESUMABLE = frozenset(
    {_S.IDLE, _S.FETCHING, _S.VERIFYING, _S.STAGED, _S.COMMITTING, _S.RESTORING, _S.REPORTING},
)
# From commit on, an update ends as it is, and what is newer waits for that.
SUPERSEDABLE = frozenset(_FAILABLE)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an update ends, before it is reported; `model` is the guilty one where one is known."""

    result: Result
    reason: Reason
    detail: str = ""
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """All that the journal keeps of updates, in one row.

    `target` is the set moved to (absent in idle), `good` the last committed one (absent before the first),
    `waiting` the newest document not begun yet, `highest_seq` of all that were ever taken in, `failed` the last
    target that failed.
    """

    state: UpdateState = UpdateState.IDLE
    target: Desired | None = None
    good: Desired | None = None
    waiting: Desired | None = None
    trial: int = 0
    proofs: tuple[Proof, ...] = ()
    verdict: Verdict | None = None
    outcome: Outcome | None = None
    highest_seq: int = 0
    failed: Desired | None = None


def offer(update: Update, desired: Desired) -> Update:
    """Take in a verified document that is newer than all before; it waits until the update under way has ended.

    Raises:
        ValueError: it is not newer.
    """
    if desired.seq <= update.highest_seq:
        raise ValueError(f"document {desired.seq} is not newer than {update.highest_seq}")
    return dataclasses.replace(update, waiting=desired, highest_seq=desired.seq)


def renumber(update: Update) -> Update:
    """Let documents count anew: the keys that signed their numbers were replaced. What runs and waits stays."""
    return dataclasses.replace(update, highest_seq=0, failed=None)


def begin(update: Update, move: Move, verdict: Verdict | None = None) -> Update:
    """Begin with the waiting document: `ACCEPT`, `ADOPT`, or `REFUSE` with its verdict.

    Raises:
        NoSuchMoveError: nothing waits, or an update is under way.
    """
    if update.waiting is None or move not in (Move.ACCEPT, Move.ADOPT, Move.REFUSE):
        raise NoSuchMoveError(f"{move} with nothing waiting in {update.state}")
    if (move is Move.REFUSE) != (verdict is not None):
        raise NoSuchMoveError("a refusal has a verdict, and nothing else has one at its beginning")
    fresh = dataclasses.replace(update, target=update.waiting, waiting=None, trial=0, proofs=(), verdict=verdict)
    return _moved(fresh, move)


def advance(update: Update, move: Move, *, proofs: tuple[Proof, ...] = (), verdict: Verdict | None = None) -> Update:
    """Make a move of the update under way; `FAIL` carries the verdict, `PROVED` the proofs.

    Raises:
        NoSuchMoveError: the state has no such move, or the verdict is missing.
    """
    moved = _moved(update, move)
    match move:
        case Move.FAIL:
            if verdict is None or verdict.result is not Result.FAILED:
                raise NoSuchMoveError("a failure carries a verdict that says so")
            return dataclasses.replace(moved, verdict=verdict, failed=update.target)
        case Move.TRY:
            return dataclasses.replace(moved, trial=update.trial + 1)
        case Move.PROVED:
            return dataclasses.replace(moved, proofs=proofs)
        case Move.COMMITTED:
            return dataclasses.replace(moved, good=update.target, verdict=Verdict(Result.SUCCEEDED, Reason.OK))
        case _:
            return moved


def report(update: Update, ts: int) -> Update:
    """End the update: its outcome at `ts` (epoch ms) is set, and the device is idle again.

    Raises:
        NoSuchMoveError: not in `reporting`.
    """
    moved = _moved(update, Move.REPORTED)
    target, verdict = update.target, update.verdict
    if target is None or verdict is None:
        raise NoSuchMoveError("reporting without a target or a verdict")
    outcome = Outcome(target.seq, verdict.result, verdict.reason, verdict.detail, ts, verdict.model, update.proofs)
    return dataclasses.replace(moved, target=None, trial=0, proofs=(), verdict=None, outcome=outcome)


def wake(update: Update) -> Update:
    """Return what the update is after a restart of the supervisor."""
    if update.state in RESUMABLE:
        return update
    if update.trial < MAX_TRIALS:
        return dataclasses.replace(update, state=UpdateState.STAGED, proofs=())
    return _interrupted(update)


def recovered(good: Desired | None, proofs: tuple[Proof, ...], highest_seq: int) -> Update:
    """Return the update of a device that knows only its last committed set and the greatest sequence number it saw.

    The commit is reported again, since its report may be lost. The newest document is taken in again, since what was
    done about it is lost; older ones stay refused.
    """
    if good is None:
        return Update(highest_seq=max(0, highest_seq - 1))
    return Update(
        state=UpdateState.REPORTING,
        target=good,
        good=good,
        proofs=proofs,
        verdict=Verdict(Result.SUCCEEDED, Reason.OK),
        highest_seq=max(good.seq, highest_seq - 1),
    )


def try_once(update: Update) -> Update:
    """Begin a trial of the staged set, or fail where all trials are spent.

    Raises:
        NoSuchMoveError: not in `staged`.
    """
    return advance(update, Move.TRY) if update.trial < MAX_TRIALS else _interrupted(update)


def owed(update: Update) -> Effect | None:
    """Return the one effect that the state owes, if any."""
    return OWED.get(update.state)


def served(update: Update) -> Desired | None:
    """Return the set that the device should serve in this state; `None` before the first."""
    return update.target if update.state in (UpdateState.SOAKING, UpdateState.COMMITTING) else update.good


def running(update: Update, disabled: frozenset[str] = frozenset()) -> tuple[Running, ...]:
    """List what serves, without disabled digests; attested is what was proven and soaked on this device."""
    now = served(update)
    bundles = () if now is None else now.bundles
    attested = {bundle.digest for bundle in (update.good.bundles if update.good else ())}
    if update.state is UpdateState.COMMITTING:  # the soak was healthy: what is owed is only the writing down
        attested |= {bundle.digest for bundle in bundles}
    return tuple(
        Running(bundle.model, bundle.version, bundle.variant, bundle.digest, bundle.digest in attested)
        for bundle in bundles
        if bundle.digest not in disabled
    )


def digests(desired: Desired | None) -> frozenset[str]:
    """Return the digests of a set."""
    return frozenset() if desired is None else frozenset(bundle.digest for bundle in desired.bundles)


def _interrupted(update: Update) -> Update:
    detail = f"the agent was cut off in all of {MAX_TRIALS} trials, the last time while {update.state}"
    return advance(update, Move.FAIL, verdict=Verdict(Result.FAILED, Reason.INTERRUPTED, detail))


def _moved(update: Update, move: Move) -> Update:
    try:
        state = MOVES[update.state, move]
    except KeyError as error:
        raise NoSuchMoveError(f"there is no move {move} from {update.state}") from error
    return dataclasses.replace(update, state=state)
