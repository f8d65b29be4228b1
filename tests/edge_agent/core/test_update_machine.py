"""The update machine: any order of happenings and power cuts ends well, and every state is accounted for."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.contract import codec
from edge_agent.contract.manifest import Runtime
from edge_agent.contract.messages import Desired, DesiredBundle, Outcome
from edge_agent.contract.states import Reason, Result, UpdateState
from edge_agent.core.update_machine import (
    MAX_TRIALS,
    MOVES,
    OWED,
    RESUMABLE,
    SUPERSEDABLE,
    Effect,
    Move,
    NoSuchMoveError,
    Update,
    Verdict,
    advance,
    begin,
    digests,
    offer,
    owed,
    report,
    running,
    served,
    try_once,
    wake,
)

FAILED = Verdict(Result.FAILED, Reason.UNHEALTHY, "it did")
REFUSED = Verdict(Result.REFUSED, Reason.LOW_MEMORY, "it is")


def desired(seq: int, *versions: int) -> Desired:
    bundles = tuple(
        DesiredBundle(
            f"m{version}", version, "onnx-fp32", f"{version:064x}", f"{version:064x}", "pi4", 1, Runtime.ONNX, 1.0
        )
        for version in versions
    )
    return Desired("dev", seq, 0, bundles)


class CutError(Exception):
    """The power goes."""


class World:
    """A device around the machine: a journal that survives, a worker that does not, and effects that may be cut."""

    def __init__(self, chances: bytes) -> None:
        self._chances = iter(chances)
        self.journal = Update()
        self.reports: list[Outcome] = []
        self.serving: Desired | None = None
        self.trials: set[int] = set()
        self.begun: set[int] = set()

    def save(self, update: Update) -> None:
        """Journal first; the outcome's report is in the same transaction. The power may go before and after."""
        self.may_cut()
        restored = codec.decode(Update, codec.encode(update))
        assert restored == update
        if update.outcome != self.journal.outcome and update.outcome is not None:
            self.reports.append(update.outcome)
        self.journal = update
        self.may_cut()

    def one_in(self, sides: int) -> bool:
        """Throw a die of hypothesis' choosing; when its bytes are used up, nothing happens any more."""
        return next(self._chances, 1) % sides == 0

    def may_cut(self) -> None:
        if self.one_in(6):
            raise CutError

    def restart(self) -> None:
        """What the supervisor does at its start: serve the good set, then go on."""
        woken = wake(self.journal)
        self.serving = served(woken)
        if woken != self.journal:
            self.save(woken)

    def step(self) -> None:
        """Run the effect that the state owes, with a result of the hypothesis' choice."""
        update = self.journal
        assert update.target is not None
        failable = update.state in SUPERSEDABLE
        if failable and self.one_in(6):
            self.save(advance(update, Move.FAIL, verdict=FAILED))
            return
        match owed(update):
            case Effect.FETCH:
                self.save(advance(update, Move.FETCHED))
            case Effect.VERIFY:
                self.save(advance(update, Move.VERIFIED))
            case Effect.TRY:
                self.save(try_once(update))
            case Effect.PROVE:
                self.trials.add(update.trial)
                self.save(advance(update, Move.PROVED))
            case Effect.SWITCH:
                self.serving = update.target
                self.save(advance(update, Move.SWITCHED))
            case Effect.SOAK:
                self.save(advance(update, Move.HEALTHY))
            case Effect.COMMIT:
                self.serving = update.target
                self.save(advance(update, Move.COMMITTED))
            case Effect.RESTORE:
                self.serving = update.good
                self.save(advance(update, Move.RESTORED))
            case Effect.REPORT:
                self.save(report(update, 1))
            case None:
                raise AssertionError(update.state)

    def take(self, document: Desired) -> None:
        if document.seq <= self.journal.highest_seq:
            return
        offered = offer(self.journal, document)
        if offered.state in SUPERSEDABLE:
            verdict = Verdict(Result.FAILED, Reason.SUPERSEDED, "newer")
            self.save(advance(offered, Move.FAIL, verdict=verdict))
        else:
            self.save(offered)

    def begin(self) -> None:
        assert self.journal.waiting is not None
        move = Move.REFUSE if self.one_in(4) else Move.ACCEPT
        new = begin(self.journal, move, REFUSED if move is Move.REFUSE else None)
        assert new.target is not None
        self.save(new)

    @property
    def _is_quiet(self) -> bool:
        return self.journal.state is UpdateState.IDLE and self.journal.waiting is None

    def run(self, documents: list[Desired]) -> None:
        """Go on until the device is idle with nothing waiting and no document left."""
        for _ in range(2000):
            try:
                if documents and (self.one_in(4) or self._is_quiet):
                    self.take(documents[0])
                    documents.pop(0)
                elif self.journal.state is not UpdateState.IDLE:
                    self.step()
                elif self.journal.waiting is not None:
                    self.begin()
                elif not documents:
                    return
            except CutError:
                self.serving = None
                while True:
                    try:
                        self.restart()
                        break
                    except CutError:
                        continue
            if self.journal.target is not None:
                self.begun.add(self.journal.target.seq)
        raise AssertionError(f"never idle: {self.journal.state}")


@given(st.binary(max_size=300), st.lists(st.lists(st.integers(1, 4), unique=True, max_size=3), min_size=1, max_size=4))
@settings(max_examples=200)
def test_any_happenings_and_cuts_end_idle_with_one_report_a_document(chances: bytes, sets: list[list[int]]) -> None:
    world = World(chances)
    world.run([desired(seq, *versions) for seq, versions in enumerate(sets, start=1)])
    world.serving = served(wake(world.journal))
    seqs = [outcome.desired_seq for outcome in world.reports]
    assert (world.journal.state, world.journal.target, world.journal.verdict) == (UpdateState.IDLE, None, None)
    assert sorted(set(seqs)) == sorted(seqs)
    assert set(seqs) == world.begun
    assert len(sets) in seqs  # the newest always ends with an outcome
    good = [outcome.desired_seq for outcome in world.reports if outcome.result is Result.SUCCEEDED]
    assert (world.journal.good.seq if world.journal.good else None) == (good[-1] if good else None)
    assert world.serving == world.journal.good
    assert world.trials <= set(range(1, MAX_TRIALS + 1))
    assert {item.digest for item in running(world.journal)} == digests(world.journal.good)
    assert all(item.attested for item in running(world.journal))


def test_every_state_but_idle_owes_one_effect_and_has_a_way_out() -> None:
    for state in UpdateState:
        leaving = [move for (source, move) in MOVES if source is state]
        assert leaving, f"{state} has no way out"
        assert (state in OWED) is (state is not UpdateState.IDLE)
    assert len(set(OWED.values())) == len(OWED)


def test_every_state_is_resumable_or_costs_a_trial() -> None:
    lost = set(UpdateState) - RESUMABLE
    assert lost == {UpdateState.PROVING, UpdateState.SWITCHING, UpdateState.SOAKING}
    for state in lost:
        cut = Update(state=state, target=desired(1, 1), highest_seq=1, trial=1)
        assert wake(cut).state is UpdateState.STAGED
        assert wake(cut).trial == 1
        spent = wake(dataclasses.replace(cut, trial=MAX_TRIALS))
        assert spent.state is UpdateState.RESTORING
        assert spent.verdict is not None
        assert spent.verdict.reason is Reason.INTERRUPTED


@pytest.mark.parametrize("state", list(UpdateState))
@pytest.mark.parametrize("move", list(Move))
def test_a_missing_row_is_an_error(state: UpdateState, move: Move) -> None:
    update = Update(state=state, target=desired(1, 1), highest_seq=1)
    if (state, move) in MOVES:
        return
    with pytest.raises(NoSuchMoveError):
        advance(update, move, verdict=FAILED)


def test_an_older_document_is_never_taken_in() -> None:
    update = offer(Update(), desired(3, 1))
    for seq in (1, 2, 3):
        with pytest.raises(ValueError, match="not newer"):
            offer(update, desired(seq, 1))


def test_unsoaked_bundles_are_not_attested() -> None:
    good, target = desired(1, 1, 2), desired(2, 2, 3)
    soaking = Update(state=UpdateState.SOAKING, target=target, good=good, highest_seq=2, trial=1)
    assert [(item.version, item.attested) for item in running(soaking)] == [(2, True), (3, False)]


def test_a_first_installation_that_fails_leaves_the_empty_set() -> None:
    update = begin(offer(Update(), desired(1, 1)), Move.ACCEPT)
    update = report(advance(advance(update, Move.FAIL, verdict=FAILED), Move.RESTORED), 1)
    assert update.good is None
    assert running(update) == ()
    assert update.failed == desired(1, 1)
