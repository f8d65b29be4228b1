"""What the steps of the demonstration share: the processes, the data, the screen, and the figures for the end.

House rules: a step says what it found and requires what must hold; what does not hold ends the demonstration. Every
figure on the screen was measured in this run.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from edge_agent.contract import codec
from edge_agent.contract.card import VERSION_NAME, VersionRecord
from fleet_server.cli.demo.stage import Agent, Server, wait_until
from fleet_server.cli.demo.traffic import HeldOut, Stream, Tally

MODEL = "digits"
SOAK = {"min_s": 2, "max_s": 8, "min_rows": 60, "max_error_ratio": 0.0}
SETTINGS = {"health_s": 2, "window_s": 4, "window_rows": 400}


class StepFailedError(Exception):
    """Something that the demonstration promises did not hold."""


@dataclass(slots=True)
class Show:
    """One run of the demonstration."""

    folder: Path
    console: Console
    progress: Progress
    task: TaskID
    server: Server
    agents: Mapping[str, Agent]
    versions: dict[int, Path] = field(default_factory=dict)
    summary: list[tuple[str, str]] = field(default_factory=list)
    heldout: HeldOut | None = None

    @property
    def data(self) -> HeldOut:
        """The rows to stream; they come with the first trained version."""
        if self.heldout is None:
            raise StepFailedError("there are no held-out rows before a version is trained")
        return self.heldout

    def now(self, text: str) -> None:
        """Show what is being done."""
        self.progress.update(self.task, description=text)

    def say(self, text: str) -> None:
        """Print one line of the story."""
        self.console.print(f"  {text}")

    def note(self, name: str, value: str) -> None:
        """Keep a figure for the closing summary."""
        self.summary.append((name, value))

    def require(self, holds: bool, otherwise: str) -> None:
        """End the demonstration where something does not hold.

        Raises:
            StepFailedError: it does not.
        """
        if not holds:
            raise StepFailedError(otherwise)

    def command(self, *words: str) -> str:
        """Run a command of this project as a user does, and return what it prints.

        Raises:
            StepFailedError: it ended with another status than 0.
        """
        env = {**os.environ, "EDGELOOP_CONTEXT": str(self.server.context)}
        done = subprocess.run(
            [sys.executable, "-m", *words],
            capture_output=True,
            text=True,
            check=False,
            env=env,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise StepFailedError(f"`{' '.join(words)}` ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return done.stdout

    def train(self, recipe: str, seed: int) -> tuple[int, VersionRecord]:
        """Fit a recipe, prove its variants, push the version to the server; return its number and record."""
        folder = self.folder / f"{recipe}-{seed}"
        self.now(f"training {recipe} (seed {seed}), building and proving its variants")
        started = time.monotonic()
        self.command("trainer", "fit", recipe, "--seed", str(seed), "--out", str(folder))
        took_s = time.monotonic() - started
        self.now("pushing the version to the server")
        self.command("fleet_server.cli", "model", "push", str(folder))
        number = max(item["version"] for item in self.server.items(f"/models/{MODEL}/versions"))
        self.versions[number] = folder
        record = self.record_of(number)
        self.say(f"trained and proven in {took_s:.1f} s, now version {number}: {record.card.estimator[:80]}")
        return number, record

    def record_of(self, version: int) -> VersionRecord:
        """Return the record of a version that was trained in this run."""
        return codec.decode(VersionRecord, (self.versions[version] / VERSION_NAME).read_bytes())

    def data_of(self, version: int) -> HeldOut:
        """Return the held-out rows of a version that was trained in this run."""
        return HeldOut.read(self.versions[version] / "heldout.csv")

    def roll_out(self, version: int, phases: Iterable[str]) -> str:
        """Start a rollout to all devices and return its id."""
        body = {"model": MODEL, "version": version, "group": "all", "phases": list(phases)}
        made = self.server.ask(
            "POST", "/rollouts", json={**body, "soak": SOAK, "settings": SETTINGS, "max_failures": 0}
        )
        return str(made["id"])

    def follow(self, rollout: str, until: str, timeout_s: float = 150.0) -> dict[str, Any]:
        """Wait for a rollout's end and return it; require that its state is `until`."""

        def ended() -> dict[str, Any] | None:
            found: dict[str, Any] = self.server.ask("GET", f"/rollouts/{rollout}")
            parts = [f"phase {item['index'] + 1}: {item['succeeded']}/{item['total']}" for item in found["phases"]]
            self.now(f"rollout of version {found['version']} {found['state']} · {' · '.join(parts)}")
            return found if found["state"] in {"succeeded", "halted", "aborted", "paused"} else None

        found: dict[str, Any] = wait_until("the rollout to end", ended, timeout_s, self.check, poll_s=0.25)
        self.require(
            found["state"] == until,
            f"the rollout of version {found['version']} is {found['state']} instead of {until}: "
            f"{found.get('reason')}\n{json.dumps(found['phases'], indent=1)}",
        )
        return found

    def check(self) -> None:
        """Raise where one of the processes has ended by itself."""
        self.server.process.check()
        for agent in self.agents.values():
            agent.process.check()

    def keep_running(self) -> None:
        """Watch the processes until Ctrl-C, or until one of them ends."""
        with suppress(KeyboardInterrupt):
            while True:
                self.check()
                threading.Event().wait(1.0)

    def serving(self, version: int, devices: Iterable[str], timeout_s: float = 30.0) -> None:
        """Wait until these devices say that they serve this version, and are idle."""
        for device in devices:
            self.agents[device].wait_serving(MODEL, version, timeout_s)

    @contextmanager
    def traffic(self, rate_hz: float, **changes: Callable[..., Any]) -> Any:
        """Stream held-out rows to every agent meanwhile; yields the tally of each device."""
        with ExitStack() as stack:
            tallies: dict[str, Tally] = {}
            for place, (device, agent) in enumerate(self.agents.items()):
                offset = place * len(self.data.rows) // len(self.agents)
                options = {"change": changes[device]} if device in changes else {}
                url = agent.status()["api_url"]
                stream = stack.enter_context(Stream(url, MODEL, self.data, rate_hz, offset, **options))
                tallies[device] = stream.tally
            yield tallies


def table(title: str, *columns: str) -> Table:
    """Return an empty table in the style of the demonstration."""
    made = Table(title=title, title_justify="left", title_style="bold", pad_edge=False, box=None, header_style="dim")
    for place, column in enumerate(columns):
        made.add_column(column, justify="left" if place == 0 else "right")
    return made
