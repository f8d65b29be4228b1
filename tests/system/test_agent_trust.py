"""Trust end to end: real supervisor, verifier and Mosquitto; what is refused leaves the model answering."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.contract.states import Reason, Result
from tests.fakes.agent import AgentProcess, FakeServer, make_bundle, running_agent
from tests.fakes.agent_bundles import FakeBundle
from tests.fakes.broker import running_broker
from tests.fakes.worker import Behaviour

pytestmark = pytest.mark.system


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    with running_broker(tmp_path) as broker:
        found = FakeServer(f"dev-{os.urandom(4).hex()}", broker.port)
        found.start()
        yield found
        found.stop()


@pytest.fixture
def agent(server: FakeServer, tmp_path: Path) -> Iterator[AgentProcess]:
    with running_agent(tmp_path, server) as found:
        yield found


def bundles(server: FakeServer) -> list[FakeBundle]:
    made = [make_bundle(version=number, behaviour=Behaviour(tag=str(number))) for number in (1, 2)]
    for bundle in made:
        server.publish(bundle)
    return made


def assert_followed(server: FakeServer, seq: int) -> None:
    report = server.outcome(seq)
    assert report.outcome is not None
    assert (report.outcome.result, report.outcome.reason) == (Result.SUCCEEDED, Reason.OK)
    assert report.trust.director_targets == seq
    assert report.trust.refused is None


def test_what_is_refused_changes_nothing_and_what_is_sound_follows(server: FakeServer, agent: AgentProcess) -> None:
    first, second = bundles(server)
    server.order(1, first)  # the director's pack comes first, and waits for the releases
    server.release(first)
    assert_followed(server, 1)
    pid = agent.ask()["pid"]
    server.desire(2, second, forged=True)
    server.wait("bad signature", lambda: server.reports[-1].trust.refused is Reason.BAD_SIGNATURE)
    del server.image.targets.targets["digits/2/onnx-fp32"]
    server.image.publish()
    server.publish_image()
    server.order(3, second)
    server.wait("not released", lambda: server.reports[-1].trust.refused is Reason.NOT_RELEASED)
    assert server.reports[-1].trust.director_targets == 1
    assert server.reports[-1].desired_seq == 1
    assert agent.ask() == {"models": {"digits": 1}, "thresholds": {"digits": None}, "pid": pid}
    server.release(second)  # the order that was refused is looked at again, since the other repository has changed
    assert_followed(server, 3)
    assert agent.ask()["models"] == {"digits": 2}
    del server.image.targets.targets["digits/2/onnx-fp32"]
    server.image.publish()
    server.publish_image()  # a yank of what runs: the device goes on until another order comes
    server.wait("the yank", lambda: server.reports[-1].trust.refused is Reason.NOT_RELEASED)
    assert agent.ask()["models"] == {"digits": 2}
    agent.kill()
    server.reports.clear()
    agent.start()
    server.wait(
        "the same after a restart", lambda: server.reports[-1:] != [] and server.reports[-1].trust.refused is not None
    )
    assert server.reports[-1].trust.director_targets == 3
    server.order(4, first)
    assert_followed(server, 4)
    assert agent.ask()["models"] == {"digits": 1}


def test_a_verifier_that_is_killed_is_started_again(server: FakeServer, agent: AgentProcess) -> None:
    first, second = bundles(server)
    server.desire(1, first)
    assert_followed(server, 1)
    server.desire(2, second)
    os.kill(verifier_of(agent), signal.SIGKILL)
    assert_followed(server, 2)
    assert "verifier_failed" in agent.log()
    assert agent.ask()["models"] == {"digits": 2}


def test_numbers_that_ran_ahead_begin_anew_with_new_keys(server: FakeServer, agent: AgentProcess) -> None:
    """Whoever stole the director's keys drove its numbers up; a new root lifts them, once and no further."""
    first, second = bundles(server)
    server.desire(2**31, first)
    assert_followed(server, 2**31)
    server.release(second)
    server.order(5, second)
    server.wait("rolled back", lambda: server.reports[-1].trust.refused is Reason.ROLLED_BACK)
    for role in ("timestamp", "snapshot", "targets"):
        server.director.rotate(role)
    server.order(5, second)
    assert_followed(server, 5)
    server.reports.clear()
    agent.kill()
    agent.start()  # verifies what is kept once more
    server.wait("the held versions", lambda: bool(server.reports) and server.reports[-1].trust.director_root == 4)
    server.order(6, first)
    assert_followed(server, 6)
    assert server.outcomes(5)[0].outcome == server.reports[0].outcome
    assert agent.ask()["models"] == {"digits": 1}


def verifier_of(agent: AgentProcess) -> int:
    """Wait for the agent's verifier to run, and return its process."""
    assert agent.child is not None
    threads, deadline, pause = Path(f"/proc/{agent.child.pid}/task"), time.monotonic() + 30, threading.Event()
    while time.monotonic() < deadline:
        for listed in threads.glob("*/children"):
            for child in listed.read_text().split():
                if b"edge_agent.verifier" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        pause.wait(0.002)
    raise AssertionError("no verifier ran")
