"""Kills and cuts: whatever ends the agent, in whatever state, it converges with exactly one outcome a document."""

import dataclasses
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.adapters.journal import Journal
from edge_agent.contract.states import EventCode, Reason, Result, UpdateState
from edge_agent.core.update_machine import Update, Verdict
from tests.fakes.agent import QUICK, AgentProcess, FakeBundle, FakeServer, Soak, make_bundle, running_agent
from tests.fakes.broker import RunningBroker, running_broker
from tests.fakes.worker import MODEL_FILE, Behaviour

pytestmark = pytest.mark.system

SLOW_PROOF = Behaviour(tag="2", load_delay_s=1.0)
SLOW_SERVE = Behaviour(tag="2", serve_delay_s=1.0)
SICK = Behaviour(tag="2", errors_per_beat=1)
LONG = Soak(min_s=2, max_s=3, min_rows=5)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningBroker]:
    with running_broker(tmp_path) as found:
        yield found


@pytest.fixture
def server(broker: RunningBroker) -> Iterator[FakeServer]:
    found = FakeServer(f"dev-{os.urandom(4).hex()}", broker.port)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def agent(server: FakeServer, tmp_path: Path) -> Iterator[AgentProcess]:
    with running_agent(tmp_path, server) as found:
        yield found


def install_first(server: FakeServer, behaviour: Behaviour | None = None) -> FakeBundle:
    good = make_bundle(version=1, behaviour=behaviour or Behaviour(tag="1"))
    server.publish(good)
    server.desire(1, good)
    server.outcome(1)
    return good


def assert_ended(server: FakeServer, agent: AgentProcess, result: Result, reason: Reason, version: int) -> None:
    """One outcome of document 2, and what it says is what serves."""
    report = server.outcome(2, 40)
    agent.wait_state(UpdateState.IDLE)
    assert report.outcome is not None
    assert (report.outcome.result, report.outcome.reason) == (result, reason)
    assert [(item.version, item.attested) for item in report.running] == [(version, True)]
    assert agent.ask()["models"] == {"digits": version}
    assert len(server.outcomes(2)) == 1


@pytest.mark.parametrize(
    ("state", "behaviour", "soak"),
    [
        (UpdateState.PROVING, SLOW_PROOF, QUICK),
        (UpdateState.SWITCHING, SLOW_SERVE, QUICK),
        (UpdateState.SOAKING, Behaviour(tag="2"), LONG),
    ],
    ids=lambda value: value.value if isinstance(value, UpdateState) else "",
)
def test_kill_in_a_trial_is_tried_again(
    server: FakeServer, agent: AgentProcess, state: UpdateState, behaviour: Behaviour, soak: Soak
) -> None:
    install_first(server)
    bundle = make_bundle(version=2, behaviour=behaviour)
    server.publish(bundle)
    server.desire(2, bundle, soak=soak)
    agent.wait_state(state, seq=2)
    agent.kill()
    agent.start()
    assert_ended(server, agent, Result.SUCCEEDED, Reason.OK, 2)


def test_kill_while_fetching_goes_on(server: FakeServer, agent: AgentProcess) -> None:
    install_first(server)
    server.answer_gets = False
    bundle = make_bundle(version=2, behaviour=Behaviour(tag="2"), padding=os.urandom(30_000))
    held = frozenset(list(bundle.chunks)[20:-1])
    server.publish(bundle, without=held)
    server.desire(2, bundle)
    agent.wait_status("20 chunks", lambda found: bool(found.progress and found.progress.chunks_done >= 20))
    agent.kill()
    agent.start()
    server.publish(bundle)
    assert_ended(server, agent, Result.SUCCEEDED, Reason.OK, 2)


def test_kill_while_restoring_still_restores(server: FakeServer, agent: AgentProcess) -> None:
    install_first(server, Behaviour(tag="1", reload_delay_s=1.5))
    bundle = make_bundle(version=2, behaviour=SICK)
    server.publish(bundle)
    server.desire(2, bundle, soak=Soak(min_s=20, max_s=20, min_rows=5))
    agent.wait_state(UpdateState.RESTORING, seq=2)
    agent.kill()
    agent.start()
    assert_ended(server, agent, Result.FAILED, Reason.NON_FINITE_OUTPUT, 1)


def _at(update: Update, state: UpdateState) -> Update:
    """The row that a cut in a state too short to be hit leaves in the journal."""
    match state:
        case UpdateState.VERIFYING | UpdateState.STAGED:
            return dataclasses.replace(update, state=state, trial=0, proofs=())
        case UpdateState.COMMITTING:
            return dataclasses.replace(update, state=state)
        case UpdateState.REPORTING:
            verdict = Verdict(Result.SUCCEEDED, Reason.OK)
            return dataclasses.replace(update, state=state, good=update.target, verdict=verdict)
        case _:
            raise AssertionError(state)


@pytest.mark.parametrize(
    "state", [UpdateState.VERIFYING, UpdateState.STAGED, UpdateState.COMMITTING, UpdateState.REPORTING]
)
def test_cut_in_a_short_state_goes_on(server: FakeServer, agent: AgentProcess, state: UpdateState) -> None:
    install_first(server)
    bundle = make_bundle(version=2, behaviour=Behaviour(tag="2"))
    server.publish(bundle)
    server.desire(2, bundle, soak=LONG)
    agent.wait_state(UpdateState.SOAKING, seq=2)
    agent.kill()
    with Journal.open(agent.state_dir / "agent.db") as journal:
        journal.save(_at(journal.load(), state))
    if state is UpdateState.VERIFYING:  # nothing is in place yet, or half
        folder = agent.state_dir / "bundles" / bundle.desired.digest
        shutil.move(folder, folder.with_name(f".staging-{folder.name}"))
    agent.start()
    assert_ended(server, agent, Result.SUCCEEDED, Reason.OK, 2)


def test_three_trials_cut_off_keep_the_good_set(server: FakeServer, agent: AgentProcess) -> None:
    install_first(server)
    bundle = make_bundle(version=2, behaviour=Behaviour(tag="2"))
    server.publish(bundle)
    server.desire(2, bundle, soak=Soak(min_s=20, max_s=20, min_rows=5))
    for _ in range(3):
        agent.wait_state(UpdateState.SOAKING, seq=2)
        agent.kill()
        agent.start()
    assert_ended(server, agent, Result.FAILED, Reason.INTERRUPTED, 1)


def test_device_without_a_broker_serves_and_catches_up(
    broker: RunningBroker, server: FakeServer, agent: AgentProcess
) -> None:
    install_first(server)
    broker.stop()
    agent.wait_status("offline", lambda found: not found.broker_connected)
    os.kill(agent.ask()["pid"], 9)
    agent.wait_status("crash and restart in the spool", lambda found: found.spool_n >= 2)
    agent.kill()
    agent.start()
    assert agent.ask()["models"] == {"digits": 1}
    agent.kill()
    server.events.clear()
    broker.start()
    server.wait_connected()
    agent.start()
    codes = {"worker_crashed", "worker_restarted", "booted"}
    server.wait("the events of that time", lambda: codes <= {event.code for event in server.events})
    agent.wait_status("empty spool", lambda found: found.broker_connected and found.spool_n == 0)


def test_crash_of_the_supervisor_leaves_no_worker_behind(server: FakeServer, agent: AgentProcess) -> None:
    install_first(server)
    before = agent.wait_status("a worker", lambda found: found.worker_pid is not None)
    agent.kill()
    agent.start()
    agent.ask()
    assert before.worker_pid is not None
    stat = Path(f"/proc/{before.worker_pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"  # nobody may reap it here


def test_a_bundle_that_rots_on_disk_is_left_out_and_fetched_anew(server: FakeServer, agent: AgentProcess) -> None:
    good = install_first(server)
    agent.kill()
    (agent.state_dir / "bundles" / good.desired.digest / MODEL_FILE).write_bytes(b"rot")
    agent.start()
    server.wait("the event", lambda: any(event.code is EventCode.MODEL_DISABLED for event in server.events))
    assert agent.ask()["models"] == {}
    server.desire(2, good)
    assert_ended(server, agent, Result.SUCCEEDED, Reason.OK, 1)
