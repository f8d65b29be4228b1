"""Updates of a device end to end: real supervisor process, real Mosquitto, fake worker."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.contract.states import EventCode, Presence, Reason, Result, UpdateState
from tests.fakes.agent import AgentProcess, FakeServer, Soak, make_bundle, running_agent
from tests.fakes.broker import RunningBroker, running_broker
from tests.fakes.worker import Behaviour

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    with running_broker(tmp_path_factory.mktemp("broker")) as found:
        yield found


@pytest.fixture
def server(broker: RunningBroker, request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    found = FakeServer(f"dev-{os.urandom(4).hex()}", broker.port)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def agent(server: FakeServer, tmp_path: Path) -> Iterator[AgentProcess]:
    with running_agent(tmp_path, server) as found:
        yield found


def test_first_bundle_is_fetched_proven_served_and_attested(server: FakeServer, agent: AgentProcess) -> None:
    bundle = make_bundle(padding=os.urandom(40_000))
    server.publish(bundle)
    server.desire(1, bundle)
    report = server.outcome(1)
    assert report.outcome is not None
    assert (report.outcome.result, report.outcome.reason) == (Result.SUCCEEDED, Reason.OK)
    assert [(item.model, item.version, item.attested) for item in report.running] == [("digits", 1, True)]
    assert report.outcome.proofs[0].digest == bundle.desired.digest
    assert report.progress is None
    assert agent.ask()["models"] == {"digits": 1}
    assert server.statuses[-1].state is Presence.READY
    codes = [event.code for event in server.events]
    assert codes[0] is EventCode.BOOTED
    server.wait("the event", lambda: EventCode.UPDATE_SUCCEEDED in [event.code for event in server.events])


def test_failed_proof_leaves_the_good_set_serving(server: FakeServer, agent: AgentProcess) -> None:
    good = make_bundle(version=1)
    server.publish(good)
    server.desire(1, good)
    server.outcome(1)
    pid = agent.ask()["pid"]
    for seq, (load, reason) in enumerate(
        [
            ("fail", Reason.LOAD_FAILED),
            ("golden", Reason.GOLDEN_MISMATCH),
            ("crash", Reason.WORKER_CRASHED),
            ("oom", Reason.OUT_OF_MEMORY),
            ("hang", Reason.WORKER_HUNG),
        ],
        start=2,
    ):
        bad = make_bundle(version=seq, behaviour=Behaviour(tag=load, load=load))
        server.publish(bad)
        server.desire(seq, bad)
        report = server.outcome(seq)
        assert report.outcome is not None
        assert (report.outcome.result, report.outcome.reason) == (Result.FAILED, reason)
        assert [(item.version, item.attested) for item in report.running] == [(1, True)]
    assert agent.ask() == {"models": {"digits": 1}, "thresholds": {"digits": None}, "pid": pid}


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (Behaviour(errors_per_beat=1), Reason.NON_FINITE_OUTPUT),
        (Behaviour(crash_after_s=0.4), Reason.WORKER_CRASHED),
        (Behaviour(silent_after_s=0.4), Reason.WORKER_HUNG),
        (Behaviour(stuck_after_s=0.4), Reason.WORKER_HUNG),
    ],
    ids=["errors", "crash", "silent", "stuck"],
)
def test_sick_soak_restores_the_good_set(
    server: FakeServer, agent: AgentProcess, behaviour: Behaviour, reason: Reason
) -> None:
    good, sick = make_bundle(version=1), make_bundle(version=2, behaviour=behaviour)
    server.publish(good)
    server.publish(sick)
    server.desire(1, good)
    server.outcome(1)
    server.desire(2, sick, soak=Soak(min_s=20, max_s=20, min_rows=5))
    report = server.outcome(2)
    assert report.outcome is not None
    assert (report.outcome.result, report.outcome.reason) == (Result.FAILED, reason)
    assert [(item.version, item.attested) for item in report.running] == [(1, True)]
    assert agent.ask()["models"] == {"digits": 1}
    assert len(server.outcomes(2)) == 1


def test_empty_set_stops_serving_models(server: FakeServer, agent: AgentProcess) -> None:
    bundle = make_bundle()
    server.publish(bundle)
    server.desire(1, bundle)
    server.outcome(1)
    server.desire(2)
    report = server.outcome(2)
    assert report.outcome is not None
    assert report.outcome.result is Result.SUCCEEDED
    assert report.running == ()
    assert agent.ask()["models"] == {}


def test_first_installation_that_fails_restores_the_empty_set(server: FakeServer, agent: AgentProcess) -> None:
    bad = make_bundle(behaviour=Behaviour(errors_per_beat=1))
    server.publish(bad)
    server.desire(1, bad, soak=Soak(min_s=20, max_s=20, min_rows=5))
    report = server.outcome(1)
    assert report.outcome is not None
    assert report.outcome.result is Result.FAILED
    assert report.running == ()
    assert agent.ask()["models"] == {}


def test_threshold_alone_changes_without_a_new_worker(server: FakeServer, agent: AgentProcess) -> None:
    bundle = make_bundle()
    server.publish(bundle)
    server.desire(1, bundle)
    server.outcome(1)
    before = agent.ask()
    server.desire(2, make_bundle(threshold=0.7))
    report = server.outcome(2)
    assert report.outcome is not None
    assert report.outcome.result is Result.SUCCEEDED
    assert report.running[0].attested
    assert agent.ask() == {**before, "thresholds": {"digits": 0.7}}


def test_no_request_fails_while_versions_are_switched(server: FakeServer, agent: AgentProcess) -> None:
    bundles = [make_bundle(version=number, behaviour=Behaviour(tag=str(number))) for number in (1, 2)]
    for bundle in bundles:
        server.publish(bundle)
    server.desire(1, bundles[0])
    server.outcome(1)
    server.desire(2, bundles[1])
    seen: list[int] = []
    while not server.outcomes(2):
        seen.append(agent.ask()["models"]["digits"])
    assert seen[0] == 1  # every request was answered: a refused or reset one would have raised
    assert seen[-1] == 2
    assert agent.ask()["models"] == {"digits": 2}


def test_download_resumes_where_a_kill_left_it(server: FakeServer, agent: AgentProcess) -> None:
    bundle = make_bundle(padding=os.urandom(60_000))
    held = frozenset(list(bundle.chunks)[40:-1])
    server.answer_gets = False
    server.publish(bundle, without=held)
    server.desire(1, bundle)
    status = agent.wait_status("40 chunks", lambda found: bool(found.progress and found.progress.chunks_done >= 40))
    assert status.progress is not None
    assert status.progress.chunks_total == len(bundle.chunks) - 1
    agent.kill()
    stored = {path.name for path in (agent.state_dir / "chunks").iterdir()}
    agent.start()
    agent.wait_status("resumed", lambda found: bool(found.progress and found.progress.chunks_done >= 40))
    for digest in stored:
        server.publish_chunk(digest, b"")  # what is on disk must not be asked for again
    for digest in held:
        server.publish_chunk(digest, bundle.chunks[digest])
    report = server.outcome(1)
    assert report.outcome is not None
    assert report.outcome.result is Result.SUCCEEDED


def test_chunks_that_are_not_retained_are_asked_for(server: FakeServer, agent: AgentProcess) -> None:
    bundle = make_bundle(padding=os.urandom(20_000))
    for digest in bundle.chunks:
        server.publish_chunk(digest, b"")  # bundles share small files: what another test left is cleared
    server.publish(bundle, without=frozenset(bundle.chunks))
    server.desire(1, bundle)
    report = server.outcome(1)
    assert report.outcome is not None
    assert report.outcome.result is Result.SUCCEEDED
    assert {digest for get in server.gets for digest in get.digests} == set(bundle.chunks)


def test_wrong_bytes_on_a_chunk_topic_are_passed_over(server: FakeServer, agent: AgentProcess) -> None:
    bundle = make_bundle()
    for digest in bundle.chunks:
        server.publish_chunk(digest, b"not it")
    server.publish(bundle, without=frozenset(bundle.chunks))  # known to the server, which repairs
    server.desire(1, bundle)
    report = server.outcome(1)
    assert report.outcome is not None
    assert report.outcome.result is Result.SUCCEEDED


def test_newer_document_supersedes_a_download(server: FakeServer, agent: AgentProcess) -> None:
    server.answer_gets = False
    slow, quick = make_bundle(version=1, behaviour=Behaviour(tag="slow")), make_bundle(version=2)
    server.publish(quick)
    server.desire(1, slow)
    agent.wait_state(UpdateState.FETCHING)
    server.desire(2, quick)
    report = server.outcome(2)
    assert report.outcome is not None
    assert report.outcome.result is Result.SUCCEEDED
    (superseded,) = server.outcomes(1)
    assert superseded.outcome is not None
    assert superseded.outcome.reason is Reason.SUPERSEDED


def test_unfit_and_untrusted_documents_are_refused(server: FakeServer, agent: AgentProcess) -> None:
    good, huge = make_bundle(), make_bundle(version=2, memory_mb=1e6)
    server.publish(good)
    server.desire(1, good)
    server.outcome(1)
    server.desire(5, good, forged=True)
    server.wait("an event", lambda: any(event.fields.get("reason") == "bad_signature" for event in server.events))
    server.desire(2, huge)
    report = server.outcome(2)
    assert report.outcome is not None
    assert (report.outcome.result, report.outcome.reason) == (Result.REFUSED, Reason.LOW_MEMORY)
    assert report.running[0].version == 1
    server.desire(1, huge)
    server.wait("an event", lambda: any(event.fields.get("reason") == "rolled_back" for event in server.events))


def test_worker_that_dies_is_replaced(server: FakeServer, agent: AgentProcess) -> None:
    bundle = make_bundle()
    server.publish(bundle)
    server.desire(1, bundle)
    server.outcome(1)
    first = agent.ask()["pid"]
    os.kill(first, 9)
    second = agent.wait_status("another", lambda found: found.worker_pid not in (None, first)).worker_pid
    assert agent.ask()["pid"] == second
    server.wait("the event", lambda: EventCode.WORKER_CRASHED in [event.code for event in server.events])
    server.wait("the event", lambda: EventCode.WORKER_RESTARTED in [event.code for event in server.events])


def test_model_that_no_longer_loads_is_disabled_and_the_others_serve(server: FakeServer, agent: AgentProcess) -> None:
    broken = make_bundle("broken", behaviour=Behaviour(reload="fail"))
    good = make_bundle("good")
    for bundle in (broken, good):
        server.publish(bundle)
    server.desire(1, broken, good)
    server.outcome(1)
    os.kill(agent.ask()["pid"], 9)
    server.wait("the event", lambda: any(event.code is EventCode.MODEL_DISABLED for event in server.events))
    agent.wait_status("one model", lambda found: [item.model for item in found.running] == ["good"])
    assert agent.ask()["models"] == {"good": 1}


def test_stop_drains_says_so_and_ends_with_status_0(server: FakeServer, agent: AgentProcess) -> None:
    bundle = make_bundle()
    server.publish(bundle)
    server.desire(1, bundle, health_s=1)
    server.outcome(1)
    server.wait("health", lambda: bool(server.healths))
    assert agent.stop() == 0
    server.wait("the goodbye", lambda: server.statuses[-1].state is Presence.STOPPED)
    server.wait("the last window", lambda: [window.digest for window in server.windows] == [bundle.desired.digest])
