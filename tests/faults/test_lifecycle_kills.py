"""SIGKILL in and between every step of an update: the table of `lifecycle_rows`, a row a scenario, on virtual time.

Each row runs the real supervisor (loop, journal, slots, service, uplink) on real files; a kill drops every object at
one exact point. Whatever happens, it ends idle, every document that it took in has exactly one outcome, and what is
reported is what serves.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.contract.messages import Soak
from edge_agent.contract.states import Reason, Result
from tests.fakes.agent_bundles import FakeBundle, make_bundle, pack
from tests.fakes.virtual import cut
from tests.fakes.virtual_device import DEVICE, TOPICS, VirtualDevice
from tests.fakes.worker import MODEL_FILE, Behaviour
from tests.faults.lifecycle_rows import ROWS

SOAK = Soak(min_s=0.5, max_s=3.0, min_rows=5)
REFUSED = {"low_memory"}
MODELS = {
    "healthy": Behaviour(tag="2"),
    "golden": Behaviour(tag="2", load="golden"),
    "aborts": Behaviour(tag="2", load="crash"),
    "swells": Behaviour(tag="2", load="oom"),
    "hangs": Behaviour(tag="2", load="hang"),
    "crashes": Behaviour(tag="2", crash_after_s=0.3),
    "errs": Behaviour(tag="2", errors_per_beat=1),
    "silent": Behaviour(tag="2", silent_after_s=0.2),
    "absent": Behaviour(tag="2"),
    "false": Behaviour(tag="2"),
    "huge": Behaviour(tag="2"),
}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    kind: str
    model: str
    point: str
    times: str
    what: str
    beside: str
    then: str
    serves: int

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.model}-{self.point}-x{self.times}-{self.what}-{self.beside}"


def rows() -> list[Row]:
    words = [line.split() for line in ROWS.splitlines() if line]
    return [Row(*word[:7], int(word[7])) for word in words]


TABLE = rows()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory where there is one: a row is about order, and flushes to a disk are most of its time."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def bundle_of(model: str) -> FakeBundle:
    """Version 2 as the row has it."""
    made = make_bundle(version=2, behaviour=MODELS[model], memory_mb=1e6 if model == "huge" else 16.0)
    return pack(made.files | {MODEL_FILE: b"{}"}, 2) if model == "false" else made


class Scenario:
    """A row, and the device that goes through it."""

    def __init__(self, row: Row, folder: Path) -> None:
        self.row = row
        self.device = VirtualDevice(folder)
        self.newest = 0
        self.served: dict[str, int] = {}

    def desire(self, seq: int, bundle: FakeBundle) -> None:
        """The server wants this from now on; a device that is there hears of it."""
        self.newest = seq
        self.device.server.retained[TOPICS.desired(DEVICE)] = self.device.server.desired(seq, bundle, soak=SOAK)

    def finished(self) -> bool:
        """Whether the newest document was taken in and has ended, and the server knows."""
        device = self.device
        taken = device.updates.update.highest_seq == self.newest
        if not taken or not device.is_idle or not device.server.outcomes(self.newest):
            return False
        self.served = device.served  # asked of the worker, before it goes with its supervisor
        return True

    def install_first(self) -> None:
        good = make_bundle(version=1, behaviour=Behaviour(tag="1"))
        self.device.server.release(good)
        self.desire(1, good)
        assert self.device.live(self.finished)

    def run(self) -> None:
        if self.row.kind == "update":
            self.install_first()
        bundle = bundle_of(self.row.model)
        if self.row.model != "absent":
            self.device.server.release(bundle)
        self.desire(2, bundle)
        lives = 20 if self.row.times == "always" else int(self.row.times)
        for life in range(lives):
            self.arm(first=life == 0)
            settled = self.device.live(self.finished)
            reached = self.device.cutter.act is None
            if self.row.times == "always" and not reached:
                assert life >= 3, "what is cut off always has three trials"
                return
            assert reached, f"the point was not reached in life {life + 1}: {self.device.cutter.passed}"
            if settled:
                return
        self.device.cutter.arm("", cut)
        assert self.device.live(self.finished), "the last life is not cut off"

    def arm(self, *, first: bool) -> None:
        """Let it happen in the coming life, and beside it, in the first, what the row says."""
        point, _, nth = self.row.point.partition(":")
        beside: Callable[[], None] = {
            "-": lambda: None,
            "newer": self.newer,
            "away": self.leave,
            "acks": self.lose_acks,
        }[self.row.beside]

        def act() -> None:
            if first:
                beside()
            if self.row.what == "cut":
                cut()
            self.device.kill_workers()

        self.device.cutter.arm(point, act, int(nth or 1))

    def newer(self) -> None:
        bundle = make_bundle(version=3, behaviour=Behaviour(tag="3"))
        self.device.server.release(bundle)
        self.desire(3, bundle)

    def leave(self) -> None:
        server = self.device.server
        server.away = True
        self.device.world.after(60.0, lambda: setattr(server, "away", False))

    def lose_acks(self) -> None:
        self.device.server.lose_acks = 3


def test_the_table_is_as_large_as_it_says() -> None:
    assert len(TABLE) == len(set(TABLE))
    assert len(TABLE) >= 140
    assert {row.times for row in TABLE} >= {"1", "2", "3", "always"}


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_it_ends_with_one_outcome_and_serves_what_it_reports(row: Row, folder: Path) -> None:
    scenario = Scenario(row, folder)
    scenario.run()
    server, device = scenario.device.server, scenario.device
    outcomes = [(str(one.result), str(one.reason)) for one in server.outcomes(2)]
    assert outcomes == expected(row), device.cutter.passed
    last = server.reports[-1]
    assert scenario.served == ({"digits": row.serves} if row.serves else {})
    assert {item.model: item.version for item in last.running} == scenario.served
    assert all(item.attested for item in last.running)
    if scenario.newest == 3:
        assert [(one.result, one.reason) for one in server.outcomes(3)] == [(Result.SUCCEEDED, Reason.OK)]


def expected(row: Row) -> list[tuple[str, str]]:
    """The outcomes of document 2."""
    if row.then == "none":
        return []
    result = "succeeded" if row.then == "ok" else "refused" if row.then in REFUSED else "failed"
    return [(result, row.then)]
