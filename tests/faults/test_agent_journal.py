"""A lost journal and a disk that refuses, under the real supervisor: what serves goes on, and nothing is invented."""

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.adapters.journal import Journal
from edge_agent.contract.states import EventCode, Reason, Result, UpdateState
from tests.fakes.agent import AgentProcess, FakeServer, Soak, make_bundle, running_agent
from tests.fakes.broker import RunningBroker, running_broker
from tests.fakes.worker import Behaviour

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as found:
        yield found


@pytest.fixture
def server(broker: RunningBroker) -> Iterator[FakeServer]:
    found = FakeServer(f"dev-{os.urandom(4).hex()}", broker.port)
    found.start()
    found.wait_connected()
    yield found
    found.stop()


@pytest.fixture
def agent(server: FakeServer, tmp_path: Path) -> Iterator[AgentProcess]:
    with running_agent(tmp_path, server) as found:
        yield found


def update(server: FakeServer, seq: int, tag: str = "") -> None:
    bundle = make_bundle(version=seq, behaviour=Behaviour(tag=tag or str(seq)), padding=os.urandom(5000))
    server.publish(bundle)
    server.desire(seq, bundle)


def garble(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100] + os.urandom(path.stat().st_size - 100))


@pytest.mark.parametrize("damage", [Path.unlink, garble])
def test_a_lost_journal_is_rebuilt_and_the_last_good_set_serves(
    server: FakeServer, agent: AgentProcess, damage: Callable[[Path], object]
) -> None:
    for seq in (1, 2):
        update(server, seq)
        assert server.outcome(seq).outcome is not None
    agent.wait_state(UpdateState.IDLE)
    agent.kill()
    agent.start()
    before = agent.wait_state(UpdateState.IDLE).boot
    agent.kill()
    damage(agent.state_dir / "agent.db")
    agent.start()
    server.wait("the event", lambda: any(event.code is EventCode.JOURNAL_REBUILT for event in server.events))
    after = agent.wait_state(UpdateState.IDLE)
    assert after.boot > before
    assert after.desired_seq == 2
    assert agent.ask()["models"] == {"digits": 2}
    update(server, 3)
    report = server.outcome(3)
    assert report.outcome is not None
    assert report.outcome.result is Result.SUCCEEDED
    assert agent.ask()["models"] == {"digits": 3}
    assert {result.outcome.result for result in server.reports if result.outcome} == {Result.SUCCEEDED}


def test_a_journal_lost_in_mid_update_begins_that_update_anew(server: FakeServer, agent: AgentProcess) -> None:
    """What was not committed is not activated by the rebuild; the retained document starts it again."""
    update(server, 1)
    server.outcome(1)
    slow = make_bundle(version=2, behaviour=Behaviour(tag="2", load_delay_s=1.0))
    server.publish(slow)
    server.desire(2, slow)
    agent.wait_state(UpdateState.PROVING)
    agent.kill()
    (agent.state_dir / "agent.db").unlink()
    agent.start()
    assert agent.ask()["models"] == {"digits": 1}
    report = server.outcome(2, 40)
    assert report.outcome is not None
    assert (report.outcome.result, report.outcome.reason) == (Result.SUCCEEDED, Reason.OK)
    assert agent.ask()["models"] == {"digits": 2}


@contextmanager
def nothing_written(agent: AgentProcess) -> Iterator[None]:
    """The kernel refuses each byte that the running supervisor writes (RLIMIT_FSIZE), as a full disk does."""
    assert agent.child is not None
    _, hard = resource.prlimit(agent.child.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(agent.child.pid, resource.RLIMIT_FSIZE, (0, hard))
    yield
    assert agent.child.poll() is None, agent.log()
    resource.prlimit(agent.child.pid, resource.RLIMIT_FSIZE, (hard, hard))


def serves(agent: AgentProcess, models: dict[str, int]) -> bool:
    try:
        return bool(agent.ask()["models"] == models)
    except OSError:
        return False  # a worker is being replaced


def test_a_model_that_crashes_while_the_disk_takes_nothing_is_restored_all_the_same(
    server: FakeServer, agent: AgentProcess
) -> None:
    update(server, 1)
    server.outcome(1)
    sick = make_bundle(version=2, behaviour=Behaviour(tag="2", crash_after_s=1.5))
    server.publish(sick)
    server.desire(2, sick, soak=Soak(min_s=20, max_s=30, min_rows=5))
    agent.wait_state(UpdateState.SOAKING)
    with nothing_written(agent):
        agent.wait_status("the good set", lambda _: serves(agent, {"digits": 1}))
        assert not server.outcomes(2)
    report = server.outcome(2, 40)
    assert report.outcome is not None
    assert (report.outcome.result, report.outcome.reason) == (Result.FAILED, Reason.WORKER_CRASHED)
    assert agent.ask()["models"] == {"digits": 1}


def test_a_disk_that_takes_nothing_stops_no_model_and_the_update_ends_when_it_does(
    server: FakeServer, agent: AgentProcess
) -> None:
    update(server, 1)
    server.outcome(1)
    served = agent.wait_state(UpdateState.IDLE)
    with nothing_written(agent):
        update(server, 2)  # what cannot be kept is not verified, and what is not verified changes nothing
        for _ in range(300):
            answer = agent.ask()
            assert (answer["models"], answer["pid"]) == ({"digits": 1}, served.worker_pid)
        assert not server.outcomes(2)
    report = server.outcome(2, 40)
    assert report.outcome is not None
    assert report.outcome.reason in (Reason.OK, Reason.DISK_FULL)
    update(server, 3)
    report = server.outcome(3, 40)
    assert report.outcome is not None
    assert report.outcome.reason is Reason.OK
    assert agent.ask()["models"] == {"digits": 3}
    agent.kill()
    with Journal.open(agent.state_dir / "agent.db") as journal:
        assert not journal.rebuilt
