"""The loop with everything real: server, broker, agents, models. What an operator relies on when things break."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.contract import codec
from edge_agent.contract.card import VERSION_NAME, VersionRecord
from edge_agent.contract.manifest import MANIFEST_NAME, parse_manifest
from fleet_server.cli.demo.stage import wait_until
from fleet_server.cli.demo.traffic import HeldOut, LocalApi, Stream, Tally, send
from tests.fakes.fleet import Fleet, running_fleet
from tests.system.conftest import Trained

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(tmp_path) as made:
        yield made


def test_every_variant_agrees_with_the_estimator_on_the_devices(fleet: Fleet, trained: Trained) -> None:
    folder = trained("digits-mlp", 1)
    fleet.add("onnx-fp32", "pi4", ("onnx",))
    fleet.add("tflite-any", "pi3", ("tflite",))
    fleet.add("small-onnx", "pi-zero2w", ("onnx",))
    fleet.add("small-tflite", "pi-zero2w", ("tflite",))
    fleet.wait_rollout(fleet.roll_out(fleet.push(folder), ["100%"]), "succeeded")
    data = HeldOut.read(folder / "heldout.csv")
    seen = set()
    for agent in fleet.agents.values():
        tally = Tally()
        api = LocalApi(agent.status()["api_url"])
        send(api, "digits", data, range(len(data.rows)), tally)
        api.close()
        variant = agent.variants()["digits"]
        seen.add(variant)
        assert tally.answered == len(data.rows), tally.last_failure
        assert tally.agreement >= (0.98 if variant.endswith("int8") else 0.999), variant
    assert {"onnx-fp32", "onnx-int8", "tflite-int8"} <= seen


def test_beyond_loopback_everything_goes_by_tls(tmp_path: Path, trained: Trained) -> None:
    with running_fleet(tmp_path, host="0.0.0.0") as fleet:
        assert fleet.server.url.startswith("https://")
        version = fleet.push(trained("digits-mlp", 1))
        agent = fleet.add("board")
        enrolment = json.loads((agent.state / "identity.json").read_text())
        assert "BEGIN CERTIFICATE" in json.dumps(enrolment)
        fleet.wait_rollout(fleet.roll_out(version, ["100%"]), "succeeded")
        agent.wait_serving("digits", version, 20)


def test_a_device_carries_several_models_and_an_update_of_one_leaves_the_other(fleet: Fleet, trained: Trained) -> None:
    digits, cancer = trained("digits-mlp", 1), trained("breast-cancer", 1)
    agent = fleet.add("board")
    for folder, model in ((digits, "digits"), (cancer, "breast-cancer")):
        version = fleet.push(folder, model)
        fleet.wait_rollout(fleet.roll_out(version, ["100%"], model=model), "succeeded")
    second = fleet.push(trained("digits-mlp", 2))
    other = HeldOut.read(cancer / "heldout.csv")
    with Stream(agent.status()["api_url"], "breast-cancer", other, rate_hz=50) as stream:
        fleet.wait_rollout(fleet.roll_out(second, ["100%"]), "succeeded")
    assert agent.versions() == {"digits": second, "breast-cancer": 1}
    assert (stream.tally.failed, stream.tally.model_errors) == (0, 0), stream.tally.last_failure
    assert stream.tally.agreement == 1.0


def test_the_loop_runs_on_the_broker_to_try_out(tmp_path: Path, trained: Trained) -> None:
    with running_fleet(tmp_path, broker="iotcore") as fleet:
        first, second = fleet.push(trained("digits-mlp", 1)), fleet.push(trained("digits-mlp", 2))
        for name in ("one", "two", "three"):
            fleet.add(name)
        for version in (first, second):
            fleet.wait_rollout(fleet.roll_out(version, ["1", "100%"]), "succeeded")
        assert [agent.versions() for agent in fleet.agents.values()] == [{"digits": second}] * 3


def test_no_request_fails_while_versions_switch_back_and_forth(fleet: Fleet, trained: Trained) -> None:
    data = HeldOut.read(trained("digits-mlp", 1) / "heldout.csv")
    first, second = fleet.push(trained("digits-mlp", 1)), fleet.push(trained("digits-mlp", 2))
    agent = fleet.add("board")
    fleet.wait_rollout(fleet.roll_out(first, ["100%"]), "succeeded")
    url = agent.status()["api_url"]
    with Stream(url, "digits", data, rate_hz=200) as fast, Stream(url, "digits", data, rate_hz=15) as slow:
        for version in (second, first, second):
            fleet.wait_rollout(fleet.roll_out(version, ["100%"]), "succeeded")
            agent.wait_serving("digits", version, 30)
    for tally in (fast.tally, slow.tally):
        assert (tally.failed, tally.model_errors) == (0, 0), tally.last_failure
        assert tally.versions == {first, second}
    assert fast.tally.answered > 500


def test_a_server_killed_in_the_middle_of_a_rollout_finishes_it(fleet: Fleet, trained: Trained) -> None:
    version = fleet.push(trained("digits-mlp", 1))
    for name in ("one", "two", "three"):
        fleet.add(name)
    rollout = fleet.roll_out(version, ["1", "2", "100%"])
    wait_until("the first phase to begin", lambda: fleet.rollout(rollout)["phases"][0]["pending"], 20)
    fleet.server.process.kill()
    fleet.server.start()
    found = fleet.wait_rollout(rollout, "succeeded")
    assert [phase["succeeded"] for phase in found["phases"]] == [1, 1, 1]
    for agent in fleet.agents.values():
        agent.wait_serving("digits", version, 20)


def test_a_device_serves_without_broker_and_catches_up(fleet: Fleet, trained: Trained) -> None:
    data = HeldOut.read(trained("digits-mlp", 1) / "heldout.csv")
    first, second = fleet.push(trained("digits-mlp", 1)), fleet.push(trained("digits-mlp", 2))
    agent = fleet.add("board")
    fleet.wait_rollout(fleet.roll_out(first, ["100%"]), "succeeded")
    fleet.server.close()
    fleet.server.process.stop()
    agent.wait("the broker's end to be seen", lambda status: not status["broker_connected"], 30)
    tally = Tally()
    api = LocalApi(agent.status()["api_url"])
    send(api, "digits", data, range(len(data.rows)), tally)
    api.close()
    assert tally.answered == len(data.rows), tally.last_failure
    agent.wait("a window to be spooled", lambda status: status["spool_n"] > 0, 30)
    fleet.server.start()
    wait_until(
        "the spooled windows to arrive",
        lambda: sum(item["rows"] for item in fleet.server.items("/windows", device="board")) >= len(data.rows),
        60,
    )
    fleet.wait_rollout(fleet.roll_out(second, ["100%"]), "succeeded")
    agent.wait_serving("digits", second, 30)


def test_an_agent_killed_again_and_again_during_an_update_converges(fleet: Fleet, trained: Trained) -> None:
    first, second = fleet.push(trained("digits-mlp", 1)), fleet.push(trained("digits-mlp", 2))
    agent = fleet.add("board")
    fleet.wait_rollout(fleet.roll_out(first, ["100%"]), "succeeded")
    rollout = fleet.roll_out(second, ["100%"])
    for state in ("proving", "soaking"):
        agent.wait(state, lambda status, state=state: (status.get("progress") or {}).get("state") == state, 60)
        agent.process.kill()
        agent.start()
    fleet.wait_rollout(rollout, "succeeded")
    agent.wait_serving("digits", second, 30)


@pytest.mark.parametrize("count", [1, 4, 16])
def test_the_server_sends_an_artifact_once_for_any_number_of_agents(fleet: Fleet, trained: Trained, count: int) -> None:
    folder = trained("digits-mlp", 1)
    for number in range(count):
        fleet.add(f"board-{number}")
    before = _chunk_bytes(fleet)
    fleet.wait_rollout(fleet.roll_out(fleet.push(folder), ["100%"]), "succeeded", 240)
    published = _chunk_bytes(fleet) - before
    record = codec.decode(VersionRecord, (folder / VERSION_NAME).read_bytes())
    variants = {agent.variants()["digits"] for agent in fleet.agents.values()}
    assert len(variants) == 1
    (entry,) = (entry for entry in record.variants if entry.variant in variants)
    manifest = parse_manifest((folder / "variants" / entry.variant / MANIFEST_NAME).read_bytes())
    assert 0 < published <= 1.05 * manifest.cost.packed_size, json.dumps({"published": published})


def _chunk_bytes(fleet: Fleet) -> int:
    """Bytes that the server published on chunk topics; the broker's tests hold the counter against subscribers."""
    assert fleet.server.client is not None
    metrics = fleet.server.client.get(f"{fleet.server.url}/metrics").text
    (line,) = (line for line in metrics.splitlines() if line.startswith("edgeloop_chunk_bytes_published_total"))
    return int(float(line.split()[-1]))


def test_the_local_api_answers_many_clients_while_a_worker_is_replaced(fleet: Fleet, trained: Trained) -> None:
    data = HeldOut.read(trained("digits-mlp", 1) / "heldout.csv")
    version = fleet.push(trained("digits-mlp", 1))
    agent = fleet.add("board")
    fleet.wait_rollout(fleet.roll_out(version, ["100%"]), "succeeded")
    tallies = [Tally() for _ in range(8)]

    def drive(tally: Tally) -> None:
        api = LocalApi(agent.status()["api_url"])
        send(api, "digits", data, range(100), tally)
        api.close()

    threads = [threading.Thread(target=drive, args=(tally,)) for tally in tallies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [tally.answered for tally in tallies] == [100] * 8
