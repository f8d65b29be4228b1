"""Models that crash, hang, grow and answer NaN in real workers, beside one that is well, on real sockets.

The service is the real one, with real workers and the real local API; a client asks the model that is well all the
time, on a connection of its own each time. It is never refused, and never answered wrong.
"""

import contextlib
import http.client
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from edge_agent.adapters.worker_process import WorkerInput, WorkerLimits, spawn
from edge_agent.contract.messages import AgentSettings
from edge_agent.contract.states import Reason
from edge_agent.core.control import Load, LoadModel
from edge_agent.supervisor.news import Counted, Guilty, News, NowServing, Proven, ServingLost, TrialFailed
from edge_agent.supervisor.service import Service
from edge_agent.supervisor.worker_phases import ServiceTimes
from tests.fakes import bundles, obedient_bundles
from tests.fakes.bundle_files import FakeBundle
from tests.fakes.obedient_bundles import BAD, CALM

pytestmark = pytest.mark.system

MEMORY_MB = 512.0
HANG_S = 3.0
DEADLINE_S = 120.0


@dataclass
class Asker:
    """A client that asks the good model again and again; resets of what was under way are not counted as refusals."""

    port: int
    stop: threading.Event = field(default_factory=threading.Event)
    answered: int = 0
    reset: int = 0
    wrong: list[str] = field(default_factory=list)

    def run(self) -> None:
        while not self.stop.wait(0.005):
            try:
                status, body = predict(self.port, "good", CALM)
            except (ConnectionResetError, BrokenPipeError, http.client.HTTPException):
                self.reset += 1
            except OSError as error:
                self.wrong.append(repr(error))
            else:
                self.answered += 1
                if status != 200:
                    self.wrong.append(f"{status} {body}")


def predict(port: int, model: str, row: list[float]) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("POST", f"/predict/{model}", json.dumps(row))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


class Board:
    """The real service with real workers; what updates do about a guilty model is done here in a line."""

    def __init__(self, good: FakeBundle) -> None:
        self.good = good
        self.inputs: queue.SimpleQueue[WorkerInput] = queue.SimpleQueue()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self.listener.getsockname()[1])
        command = (sys.executable, "-m", "edge_agent.worker", "--log-level", "error")
        limits = WorkerLimits(command, MEMORY_MB, os.environ)
        times = ServiceTimes(HANG_S, DEADLINE_S, MEMORY_MB)
        self.service = Service(lambda number: spawn(number, limits, (self.listener,), self.inputs.put), times)
        self.news: list[News] = []
        self.models: list[LoadModel] = []
        self.asker = Asker(self.port)
        self._thread = threading.Thread(target=self.asker.run)

    def __enter__(self) -> Self:
        self.want(self.good)
        self.until_settled()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.asker.stop.set()
        self._thread.join(DEADLINE_S)
        self.service.drain_all(time.monotonic())
        self.until(lambda: self.service.is_empty)
        self.listener.close()

    def want(self, *wanted: FakeBundle) -> None:
        self.models = [LoadModel(b.manifest.model, 1, b.manifest.variant, b.digest, str(b.path)) for b in wanted]
        self.service.want(self.load())

    def load(self, *prove: str) -> Load:
        return Load(tuple(self.models), prove, AgentSettings(), "dev-1", 0.1)

    def until(self, true: Callable[[], bool]) -> None:
        """Run the service, as the supervisor's loop does, until something has come about."""
        deadline = time.monotonic() + DEADLINE_S
        while not true():
            assert time.monotonic() < deadline, self.news[-5:]
            self._take(self.service.tick(time.monotonic()))
            with contextlib.suppress(queue.Empty):
                self._take(self.service.handle(self.inputs.get(timeout=0.02), time.monotonic()))

    def _take(self, news: tuple[News, ...]) -> None:
        for item in news:
            if not isinstance(item, Counted):
                self.news.append(item)
            if isinstance(item, Guilty):
                self.models = [model for model in self.models if model.digest != item.digest]
                self.service.want(self.load())

    def until_settled(self) -> None:
        """Wait until the wanted set is served and the worker before, which answers a moment longer, has ended."""
        self.until(lambda: self.service.serves_wanted and self.service.is_settled)

    def found(self, kind: type[News]) -> list[News]:
        return [item for item in self.news if isinstance(item, kind)]

    def assert_good_went_on(self, resets: int) -> None:
        """The good model answers now, and was never refused; `resets` is how many workers ended in the middle of it."""
        before = self.asker.answered
        self.until(lambda: self.asker.answered > before + 5)
        assert self.asker.wrong == []
        assert self.asker.reset <= resets


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> FakeBundle:
    return bundles.logistic(tmp_path_factory.mktemp("good") / "bundle", model="good")


@pytest.fixture
def board(good: FakeBundle) -> Iterator[Board]:
    with Board(good) as made:
        yield made


def bad_request(board: Board) -> threading.Thread:
    """Begin a prediction of the bad model that does not return; its worker's end ends it."""

    def ask() -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            predict(board.port, "bad", BAD)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_set_with_a_bad_model_fails_its_trial_while_the_good_one_serves(board: Board, tmp_path: Path) -> None:
    pid = board.service.pid
    hostile = {
        "crashing": (bundles.crashing(tmp_path / "crashing", model="bad"), Reason.WORKER_CRASHED),
        "broken": (bundles.broken(tmp_path / "broken", model="bad"), Reason.LOAD_FAILED),
        "bomb": (bundles.memory_bomb(tmp_path / "bomb", model="bad"), Reason.OUT_OF_MEMORY),
        "nan": (bundles.nan_producing(tmp_path / "nan", model="bad", below=100.0), Reason.NON_FINITE_OUTPUT),
        "wrong": (bundles.logistic(tmp_path / "wrong", model="bad", golden_shift=0.5), Reason.GOLDEN_MISMATCH),
    }
    before = list(board.models)
    for bundle, reason in hostile.values():
        board.models = [*before, LoadModel("bad", 1, bundle.manifest.variant, bundle.digest, str(bundle.path))]
        board.news.clear()
        board._take(board.service.begin_trial(board.load(bundle.digest), time.monotonic()))
        board.until(lambda: bool(board.found(TrialFailed) or board.found(Proven)))
        (failed,) = board.found(TrialFailed)
        assert isinstance(failed, TrialFailed)
        assert failed.reason is reason
    assert board.service.pid == pid
    board.models = before
    board.assert_good_went_on(resets=0)


@pytest.mark.parametrize("how", ["crash", "hang"])
def test_a_model_that_ends_its_worker_three_times_is_left_out(board: Board, how: str, tmp_path: Path) -> None:
    bad = obedient_bundles.endless_on_demand(tmp_path / "bad", model="bad")
    board.want(board.good, bad)
    board.until_settled()
    for end in range(1, 4):
        thread = bad_request(board)
        if how == "crash":
            crash_at_work(board)
        board.until(lambda end=end: len(board.found(ServingLost)) == end)  # type: ignore[misc]
        thread.join(DEADLINE_S)
        board.until_settled()
    (guilty,) = board.found(Guilty)
    assert isinstance(guilty, Guilty)
    assert guilty.digest == bad.digest
    reasons = {lost.reason for lost in board.found(ServingLost) if isinstance(lost, ServingLost)}
    assert reasons == {Reason.WORKER_CRASHED if how == "crash" else Reason.WORKER_HUNG}
    board.assert_good_went_on(resets=3)
    assert predict(board.port, "bad", CALM)[0] == 404


def crash_at_work(board: Board) -> None:
    """A segmentation fault while the bad model computes, as its worker says of itself."""
    served = board.found(NowServing)
    assert served
    aged = [0.0]

    def at_work() -> bool:
        with contextlib.suppress(queue.Empty):
            event = board.inputs.get(timeout=0.02)
            oldest = getattr(getattr(event, "answer", None), "oldest_request_s", 0.0)
            aged[0] = max(aged[0], oldest)
            board._take(board.service.handle(event, time.monotonic()))
        return aged[0] > 0.1

    board.until(at_work)
    assert board.service.pid is not None
    os.kill(board.service.pid, signal.SIGSEGV)


def test_a_model_that_ends_the_worker_that_loads_it_is_left_out_after_two_ends(board: Board, tmp_path: Path) -> None:
    bad = bundles.crashing(tmp_path / "bad", model="bad")
    pid = board.service.pid
    assert pid is not None
    board.want(board.good, bad)
    board.until(lambda: bool(board.found(Guilty)))
    assert [item.digest for item in board.found(Guilty) if isinstance(item, Guilty)] == [bad.digest]
    assert len(board.found(ServingLost)) == 2
    assert board.service.pid == pid, "the worker that serves was never touched"
    board.assert_good_went_on(resets=0)


def test_a_prediction_that_wants_too_much_is_an_error_and_no_end(board: Board, tmp_path: Path) -> None:
    bad = obedient_bundles.greedy_on_demand(tmp_path / "bad", model="bad")
    nan = bundles.nan_producing(tmp_path / "nan", model="nan", below=-100.0)
    board.want(board.good, bad, nan)
    board.until_settled()
    pid = board.service.pid
    answers: list[tuple[int, str]] = []

    def ask() -> None:
        for _ in range(5):
            answers.append(predict(board.port, "bad", BAD))
            answers.append(predict(board.port, "nan", [-1000.0, 0.0]))
        answers.append(predict(board.port, "bad", CALM))

    thread = threading.Thread(target=ask)
    thread.start()
    board.until(lambda: not thread.is_alive())
    assert [status for status, _ in answers] == [500] * 10 + [200]
    assert "memory" in answers[0][1]
    assert "finite" in answers[1][1]
    assert board.service.pid == pid
    assert not board.found(ServingLost)
    board.assert_good_went_on(resets=0)
