"""A real fleet for system tests: one server with its broker and a few agents, all processes of this machine."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet_server.cli.demo.stage import Agent, Server, wait_until

MODEL = "digits"
SOAK = {"min_s": 1, "max_s": 2, "min_rows": 10, "max_error_ratio": 0.0}
SETTINGS = {"health_s": 2, "window_s": 5, "window_rows": 400}


class Fleet:
    """A server and its agents below one folder."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", broker: str = "auto") -> None:
        self.folder = folder
        self.server = Server.at(folder / "server", broker=broker, host=host)
        self.agents: dict[str, Agent] = {}

    def add(self, device: str, profile: str = "pi4", runtimes: tuple[str, ...] = ("onnx",), **labels: str) -> Agent:
        """Enrol and start one more agent."""
        agent = Agent(device, profile, self.folder / device, runtimes)
        token = self.server.ask("POST", "/tokens", json={"labels": labels})["token"]
        agent.enrol(self.server.url, token)
        agent.start()
        self.agents[device] = agent
        wait_until(f"{device} to report", lambda: self.device(device)["capabilities"], 30)
        return agent

    def device(self, device: str) -> dict[str, Any]:
        """What the server knows of a device."""
        found: dict[str, Any] = self.server.ask("GET", f"/devices/{device}")
        return found

    def push(self, folder: Path, model: str = MODEL) -> int:
        """Push a version folder with the operator's command; return the version's number."""
        env = {**os.environ, "EDGELOOP_CONTEXT": str(self.server.context)}
        command = [sys.executable, "-m", "fleet_server.cli", "model", "push", str(folder)]
        subprocess.run(command, env=env, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        return max(int(item["version"]) for item in self.server.items(f"/models/{model}/versions"))

    def roll_out(self, version: int, phases: list[str], group: str = "all", **policy: Any) -> str:
        """Start a rollout and return its id."""
        body = {"model": MODEL, "version": version, "group": group, "phases": phases, "soak": SOAK}
        return str(self.server.ask("POST", "/rollouts", json={**body, "settings": SETTINGS, **policy})["id"])

    def rollout(self, rollout: str) -> dict[str, Any]:
        """What the server says of a rollout."""
        found: dict[str, Any] = self.server.ask("GET", f"/rollouts/{rollout}")
        return found

    def wait_rollout(self, rollout: str, state: str, timeout_s: float = 120) -> dict[str, Any]:
        """Wait until a rollout is in a state, and return it."""

        def reached() -> dict[str, Any] | None:
            found = self.rollout(rollout)
            return found if found["state"] == state else None

        found: dict[str, Any] = wait_until(f"rollout {rollout} to be {state}", reached, timeout_s)
        return found

    def strike(self) -> None:
        """End every process."""
        for agent in self.agents.values():
            agent.process.stop()
        self.server.close()
        self.server.process.stop()


@contextmanager
def running_fleet(folder: Path, host: str = "127.0.0.1", broker: str = "auto") -> Iterator[Fleet]:
    """A fleet with a server that runs and a group `all`; every process is ended at the end."""
    fleet = Fleet(folder, host, broker)
    try:
        fleet.server.start()
        fleet.server.ask("POST", "/groups", json={"name": "all", "query": ""})
        yield fleet
    finally:
        fleet.strike()


def train(recipe: str, seed: int, folder: Path) -> Path:
    """Fit a recipe with the trainer's command into `folder`, and return it."""
    command = [sys.executable, "-m", "trainer", "fit", recipe, "--seed", str(seed), "--out", str(folder)]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return folder
