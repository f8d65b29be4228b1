"""A real broker dies in mid-rollout, with and without what it had kept; an old backup comes back into a fleet."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from fleet_server.cli.demo.stage import wait_until
from tests.fakes.fleet import Fleet, running_fleet
from tests.system.conftest import Trained

pytestmark = [pytest.mark.system, pytest.mark.timeout(400)]


def broker_of(fleet: Fleet) -> int:
    """The process id of the server's Mosquitto; 0 while there is none."""
    server = fleet.server.process.child
    assert server is not None
    for path in Path(f"/proc/{server.pid}/task").glob("*/children"):
        for word in path.read_text().split():
            with suppress(FileNotFoundError):
                if Path(f"/proc/{word}/comm").read_text().strip() == "mosquitto":
                    return int(word)
    return 0


def kill_broker(fleet: Fleet, *, forgets: bool) -> None:
    """Kill the broker; the server starts another, on what was kept or on nothing."""
    pid = broker_of(fleet)
    os.kill(pid, signal.SIGKILL)
    if forgets:
        (fleet.folder / "server" / "data" / "mosquitto" / "mosquitto.db").unlink(missing_ok=True)
    wait_until("another broker", lambda: broker_of(fleet) not in (0, pid), 30)


def edgeloop(fleet: Fleet, *words: str) -> None:
    passphrase = {"EDGELOOP_BACKUP_PASSPHRASE": "correct horse battery staple"}
    command = [sys.executable, "-m", "fleet_server.cli", *words, "--data", str(fleet.folder / "server" / "data")]
    done = subprocess.run(
        command, env={**os.environ, **passphrase}, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr


def wait_phase(fleet: Fleet, rollout: str, state: str) -> None:
    """Wait until the device of the first phase is in a state."""
    wait_until(f"a device to be {state}", lambda: fleet.rollout(rollout)["phases"][0][state], 60)


def test_a_rollout_outlives_its_broker_and_all_that_it_kept(tmp_path: Path, trained: Trained) -> None:
    with running_fleet(tmp_path) as fleet:
        first, second = (fleet.push(trained("digits-mlp", seed)) for seed in (1, 2))
        for name in ("one", "two"):
            fleet.add(name)
        for version, forgets in ((first, True), (second, False)):
            rollout = fleet.roll_out(version, ["1", "100%"])
            wait_phase(fleet, rollout, "pending")
            kill_broker(fleet, forgets=forgets)
            fleet.wait_rollout(rollout, "succeeded")
            kinds = [item["kind"] for item in fleet.server.items("/decisions", rollout=rollout)]
            assert kinds == ["succeed", "offer", "advance", "offer", "start"]
            for agent in fleet.agents.values():
                agent.wait_serving("digits", version, 30)


def test_an_old_backup_comes_back_into_a_fleet_that_went_on(tmp_path: Path, trained: Trained) -> None:
    """Backed up while one of two devices has the version; restored when both have; the same wave ends, forwards."""
    backup = tmp_path / "fleet.backup"
    with running_fleet(tmp_path) as fleet:
        first, second = (fleet.push(trained("digits-mlp", seed)) for seed in (1, 2))
        for name in ("one", "two"):
            fleet.add(name)
        fleet.wait_rollout(fleet.roll_out(first, ["100%"]), "succeeded")
        rollout = fleet.roll_out(second, ["1", "100%"], phase_soak_s=3600)
        wait_phase(fleet, rollout, "succeeded")
        edgeloop(fleet, "server", "backup", str(backup), "--verify")
        fleet.server.ask("POST", f"/rollouts/{rollout}/promote")
        for agent in fleet.agents.values():
            agent.wait_serving("digits", second, 60)
        fleet.server.close()
        fleet.server.process.stop()
        edgeloop(fleet, "server", "restore", str(backup), "--force")
        fleet.server.start()
        wait_until("the other device to be heard", lambda: fleet.rollout(rollout)["phases"][1]["succeeded"], 60)
        found = fleet.rollout(rollout)
        assert (found["state"], found["phase"]) == ("running", 0)
        for _ in found["phases"]:
            fleet.server.ask("POST", f"/rollouts/{rollout}/promote")
        assert fleet.rollout(rollout)["state"] == "succeeded"
        for agent in fleet.agents.values():
            agent.wait("a newer document", lambda status: status["desired_seq"] > 1_000_000, 60)
            agent.wait_serving("digits", second, 30)
        lines = [line for agent in fleet.agents.values() for line in agent.process.log.read_text().splitlines()]
        assert not [line for line in lines if "desired_refused" in line]
        assert sum("move=switched" in line for line in lines) == 2 * 2  # to version 1, to version 2, and never back
        fleet.wait_rollout(fleet.roll_out(first, ["100%"]), "succeeded")  # documents are taken as newer
