"""The agent as it is installed: its own command, the real worker, a real model, a real broker."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.contract.manifest import MANIFEST_NAME
from edge_agent.contract.messages import Soak
from edge_agent.contract.states import Presence, Reason, Result
from tests.fakes import bundles
from tests.fakes.agent import AgentProcess, FakeBundle, FakeServer, pack, running_agent
from tests.fakes.broker import running_broker

pytestmark = pytest.mark.system

SUPERVISOR_RSS_MB = 35.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FakeServer]:
    with running_broker(tmp_path) as broker:
        found = FakeServer(f"dev-{os.urandom(4).hex()}", broker.port)
        found.start()
        yield found
        found.stop()


@pytest.fixture
def agent(server: FakeServer, tmp_path: Path) -> Iterator[AgentProcess]:
    with running_agent(tmp_path, server, real=True) as found:
        yield found


def packed(folder: Path, version: int) -> FakeBundle:
    names = [MANIFEST_NAME, *sorted(path.name for path in folder.iterdir() if path.name != MANIFEST_NAME)]
    return pack({name: (folder / name).read_bytes() for name in names}, version)


def predict(url: str, rows: list[list[float]]) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"{url}/predict", json.dumps({"rows": rows}).encode())
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def test_real_model_is_served_a_nan_model_is_taken_back(
    server: FakeServer, agent: AgentProcess, tmp_path: Path
) -> None:
    good = packed(bundles.logistic(tmp_path / "good").path, 1)
    server.publish(good)
    server.desire(1, good, health_s=1)
    report = server.outcome(1, 60)
    assert report.outcome is not None
    assert (report.outcome.result, report.outcome.detail) == (Result.SUCCEEDED, "")
    assert report.outcome.proofs[0].label_agreement == 1.0
    found = agent.wait_status("a worker", lambda status: status.worker_pid is not None)
    features = len(bundles.logistic(tmp_path / "again").manifest.input.features)
    status, answer = predict(found.api_url, [[0.1] * features])
    assert (status, answer["version"]) == (200, 1)
    server.wait("health with the row counted", lambda: any(health["infer_n"] == 1 for health in server.healths))
    assert agent.child is not None
    assert resident_mb(agent.child.pid) <= SUPERVISOR_RSS_MB

    bad = packed(bundles.nan_producing(tmp_path / "bad", below=-100.0).path, 2)
    server.publish(bad)
    server.desire(2, bad, soak=Soak(min_s=30, max_s=60, min_rows=5))
    agent.wait_status("version 2", lambda status: [item.version for item in status.running] == [2])
    assert predict(found.api_url, [[-1000.0] * features])[0] == 500
    report = server.outcome(2, 60)
    assert report.outcome is not None
    assert (report.outcome.result, report.outcome.reason) == (Result.FAILED, Reason.NON_FINITE_OUTPUT)
    assert "1 of 1" in report.outcome.detail
    status, answer = predict(found.api_url, [[-1000.0] * features])
    assert (status, answer["version"]) == (200, 1)
    assert agent.stop() == 0
    server.wait("the goodbye", lambda: server.statuses[-1].state is Presence.STOPPED)


def test_status_and_doctor_speak_of_the_running_agent(server: FakeServer, agent: AgentProcess) -> None:
    agent.wait_status("connected", lambda status: status.broker_connected)

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "edge_agent", *words, "--config", str(agent.folder / "agent.toml")]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    shown = run("status", "--json")
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["device"] == server.device
    assert server.device in run("status").stdout
    assert run("doctor").returncode == 0
    assert "another agent runs" in run("run").stderr
    agent.kill()
    stopped = run("status")
    assert (stopped.returncode, "does not run" in stopped.stdout) == (3, True)
