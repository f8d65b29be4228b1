"""The server dies at every store and wire call of a wave, one run for each: the same wave resumes, nothing is half.

A cut is an exception that nothing catches, before a transaction, at its end before the commit, and after it; before and
after each thing that the broker is told. What was committed, and what the broker has acknowledged, is all that is left.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Connection

from fleet_server.core.rollout_inputs import read_inputs
from fleet_server.core.rollout_policy import parse_policy
from fleet_server.core.rollout_rules import decide_rollout
from fleet_server.core.rollouts import RolloutState
from fleet_server.services.rollouts import RolloutRequest
from fleet_server.store.decisions import page_decisions
from fleet_server.store.desired import find_desired, list_outbox
from fleet_server.store.pages import PageRequest
from fleet_server.store.rollouts import page_rollouts
from tests.fakes.server_app import Board, Served, served
from tests.fakes.server_broker import MemoryWire

DEVICES = ("pi-0", "pi-1")
# Every n-th point is cut: 1 is all of them.
STRIDE = int(os.environ.get("EDGELOOP_CUT_STRIDE", "1"))


class PowerCut(BaseException):
    """The process is gone from here on."""


@dataclass
class Cuts:
    """Counts the points that a run passes, and cuts at one of them."""

    at: int = -1
    passed: int = 0

    def here(self) -> None:
        self.passed += 1
        if self.passed - 1 == self.at:
            raise PowerCut


@dataclass
class CutWire(MemoryWire):
    """The broker in memory, whose connection is cut with its server."""

    cuts: Cuts = field(default_factory=Cuts)

    def ship(self, cohort: str, parcel: bytes, read: Callable[[str], bytes]) -> None:
        self.cuts.here()
        super().ship(cohort, parcel, read)
        self.cuts.here()

    def publish(self, device: str, pack: bytes) -> None:
        self.cuts.here()
        super().publish(device, pack)
        self.cuts.here()

    def publish_trust(self, repository: str, pack: bytes) -> None:
        self.cuts.here()
        super().publish_trust(repository, pack)
        self.cuts.here()

    def take_down(self, cohort: str, digests: Collection[str]) -> None:
        self.cuts.here()
        super().take_down(cohort, digests)
        self.cuts.here()


def arm(fleet: Served, cuts: Cuts) -> None:
    """Have every transaction that writes pass three points."""
    database = fleet.server._database
    real = database.write

    @contextmanager
    def write() -> Iterator[Connection]:
        cuts.here()
        with real() as connection:
            yield connection
            cuts.here()
        cuts.here()

    database.write = write  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server with two versions, and two boards that run the first."""
    folder = tmp_path_factory.mktemp("prepared")
    with served(folder) as fleet:
        fleet.upload("v1", b"one")
        fleet.upload("v2", b"two")
        fleet.group()
        boards = [fleet.enrol(name) for name in DEVICES]
        fleet.roll(1, phases=["100%"])
        for board in boards:
            board.succeed()
    return folder


@dataclass
class Wave:
    """A rollout of version 2 in two phases, driven through as many lives of the server as it takes."""

    folder: Path
    cuts: Cuts
    version: int = 2
    fails: bool = False
    wire: CutWire = field(init=False)
    boards: list[Board] = field(default_factory=list)
    lives: int = 0

    def run(self) -> None:
        self.wire = CutWire(cuts=self.cuts)
        for _ in range(6):
            self.lives += 1
            with served(self.folder, self.wire) as fleet:
                try:
                    self._live(fleet)
                    self._check(fleet)
                except PowerCut:
                    continue
                return
        raise AssertionError("it does not come to an end")

    def _live(self, fleet: Served) -> None:
        self.wire.generation += 1
        fleet.clock.ms += self.lives * 1000
        if not self.boards:
            self.boards = [self._board(fleet, name) for name in DEVICES]
        arm(fleet, self.cuts)
        for board in self.boards:
            board.fleet = fleet
            board.repeat()
        with fleet.server._database.read() as connection:
            found = page_rollouts(connection, PageRequest(None, 10)).items
        if len(found) == 1:
            policy = parse_policy({"phases": ["1", "100%"], "max_failures": 0})
            fleet.server.context.rollouts.create(RolloutRequest("digits", self.version, "all", policy), "operator")
        for _ in range(6):
            fleet.turn()
            for board in self.boards:
                if board.id in self.wire.desired and board.desired().seq > board.desired_seq:
                    self._obey(board)

    def _obey(self, board: Board) -> None:
        if self.fails and any(item.version == self.version for item in board.desired().bundles):
            board.fail(model="digits")
        else:
            board.succeed()

    def _board(self, fleet: Served, name: str) -> Board:
        report = fleet.server.context.devices.show(name).reported
        assert report is not None
        return Board(name, fleet, seq=report.seq, running=report.running, desired_seq=report.desired_seq)

    def _check(self, fleet: Served) -> None:
        with fleet.server._database.read() as connection:
            stored = page_rollouts(connection, PageRequest(None, 10)).items[0]
            decisions = page_decisions(connection, PageRequest(None, 100), stored.rollout.id).items
            kinds = [item.kind for item in reversed(decisions)]
            state = RolloutState.HALTED if self.fails else RolloutState.SUCCEEDED
            assert stored.rollout.state is state
            wanted = ["start", "offer", "halt", "roll_back"]
            assert kinds == (wanted if self.fails else ["start", "offer", "advance", "offer", "succeed"])
            assert list_outbox(connection) == ()
            for board in self.boards:
                last = find_desired(connection, board.id)
                assert last is not None
                assert last.published_seq == last.seq == self.wire.desired[board.id].seq
            for item in decisions:
                if item.author == "controller":
                    view, now, observed = read_inputs(
                        item.evidence["inputs"], parse_policy(item.policy), stored.rollout.id
                    )
                    again = decide_rollout(view, now, observed)
                    assert (again.verdict, again.reason) == (item.kind, item.reason)
                    assert (list(again.devices), dict(again.figures)) == (
                        item.evidence["devices"],
                        item.evidence["figures"],
                    )
        running = {bundle.version for board in self.boards for bundle in board.running}
        assert running == ({1} if self.fails else {2})
        self._check_history()

    def _check_history(self) -> None:
        """No device is sent an older document, nor two documents of one number, nor a version out of turn."""
        for board in self.boards:
            mine = [item for item in self.wire.history if item.device == board.id]
            assert [item.seq for item in mine] == sorted(item.seq for item in mine)
            by_seq = {item.seq: item for item in mine}
            assert all(by_seq[item.seq].bundles == item.bundles for item in mine)
            versions = [item.bundles[0].version for item in by_seq.values()]
            assert versions in (([1], [2, 1], [1, 2, 1]) if self.fails else ([2], [1, 2]))


def run_wave(prepared: Path, folder: Path, at: int, *, fails: bool = False) -> Wave:
    shutil.copytree(prepared, folder)
    wave = Wave(folder, Cuts(at), fails=fails)
    wave.run()
    shutil.rmtree(folder)
    return wave


@pytest.mark.parametrize("fails", [False, True], ids=["it succeeds", "it fails"])
def test_a_wave_survives_a_cut_at_every_point(prepared: Path, tmp_path: Path, *, fails: bool) -> None:
    whole = run_wave(prepared, tmp_path / "whole", -1, fails=fails)
    assert whole.lives == 1
    assert whole.cuts.passed > 40
    for at in range(0, whole.cuts.passed, STRIDE):
        cut = run_wave(prepared, tmp_path / f"cut-{at}", at, fails=fails)
        assert cut.lives == 2, at
