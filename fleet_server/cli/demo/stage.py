"""The processes of a demonstration: one server with its broker, and agents, each a real process on this machine.

House rules: everything lives below one folder; every process is started as a user would start it, with its own log
file; what fails is told with the end of that log. Nothing here knows what the demonstration shows.
"""

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

POLL_S = 0.05
_LOG_TAIL_LINES = 25
_never = threading.Event()


class StageError(Exception):
    """A process did not do what it was started for; the message holds the end of its log."""


def wait_until(
    what: str,
    check: Callable[[], Any],
    timeout_s: float,
    also: Callable[[], None] = lambda: None,
    poll_s: float = POLL_S,
) -> Any:
    """Poll `check` until it returns something true, and return that; `also` runs at each turn.

    Raises:
        StageError: it did not within `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    while not (found := check()):
        also()
        if time.monotonic() > deadline:
            raise StageError(f"waited {timeout_s:.0f} s in vain for {what}")
        _never.wait(poll_s)
    return found


@dataclass(slots=True)
class Process:
    """One child process with its log."""

    name: str
    command: list[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=dict)
    child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; its output is appended to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **self.env}
            )

    def check(self) -> None:
        """Raise where the process has ended by itself."""
        if self.child is not None and (status := self.child.poll()) is not None:
            raise StageError(f"{self.name} ended with status {status}:\n{self.tail()}")

    def kill(self) -> None:
        """End the process at once, as a power cut ends it for the process itself (SIGKILL)."""
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            self.child = None

    def stop(self, timeout_s: float = 20.0) -> int:
        """End the process orderly (SIGTERM) and return its status; kill it where that takes too long."""
        if self.child is None:
            return 0
        self.child.send_signal(signal.SIGTERM)
        try:
            status = self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.child.kill()
            status = self.child.wait()
        self.child = None
        return status

    def tail(self) -> str:
        """Return the last lines of the log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])


@dataclass(slots=True)
class Server:
    """The fleet server as `edgeloop up` starts it, and an HTTP client for its REST API."""

    process: Process
    context: Path
    url: str = ""
    client: httpx.Client | None = None

    @classmethod
    def at(cls, folder: Path, port: int = 0, broker: str = "auto", host: str = "127.0.0.1") -> "Server":
        """Describe a server whose data stand in `folder`; port 0 is any free one. Beyond loopback it speaks TLS.

        It makes its own release keys.
        """
        context = folder / "context.json"
        command = [sys.executable, "-m", "fleet_server.cli", "up", "--data-dir", str(folder / "data")]
        command += ["--port", str(port), "--broker", broker, "--host", host, "--tryout-keys"]
        process = Process("fleet server", command, folder / "server.log", {"EDGELOOP_CONTEXT": str(context)})
        return cls(process, context)

    def start(self, timeout_s: float = 60.0) -> None:
        """Start the server and wait until its API answers."""
        self.context.unlink(missing_ok=True)
        self.process.start()
        wait_until("the fleet server", self._answers, timeout_s, self.process.check)

    def _answers(self) -> bool:
        try:
            found = json.loads(self.context.read_text())
            verify = ssl.create_default_context(cafile=found["ca"]) if found.get("ca") else True
            answer = httpx.get(f"{found['url']}/healthz", timeout=5, verify=verify)
        except (OSError, ValueError, httpx.TransportError):
            return False
        if answer.status_code != httpx.codes.OK:
            return False
        self.close()
        self.url = found["url"]
        headers = {"Authorization": f"Bearer {found['api_key']}"}
        self.client = httpx.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=30, verify=verify)
        return True

    def ask(self, method: str, path: str, **arguments: Any) -> Any:
        """Call the REST API and return its JSON.

        Raises:
            StageError: the server refused; the message is its problem's.
        """
        if self.client is None:
            raise StageError("the fleet server is not running")
        answer = self.client.request(method, path, **arguments)
        if answer.is_error:
            raise StageError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def items(self, path: str, **params: Any) -> list[dict[str, Any]]:
        """Return every item of a list, page by page."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            page = self.ask("GET", path, params={**params, **({"cursor": cursor} if cursor else {})})
            found += page["items"]
            cursor = page.get("next")
            if not cursor:
                return found

    def close(self) -> None:
        """Close the HTTP client."""
        if self.client is not None:
            self.client.close()
            self.client = None


@dataclass(slots=True)
class Agent:
    """One edge agent with its own state folder and configuration."""

    device: str
    profile: str
    folder: Path
    runtimes: tuple[str, ...]
    max_rate_kib_s: int = 0
    feedback: bool = False
    process: Process = field(init=False)

    def __post_init__(self) -> None:
        command = [sys.executable, "-m", "edge_agent", "run", "--config", str(self.config)]
        self.process = Process(self.device, command, self.folder / "agent.log")

    @property
    def config(self) -> Path:
        """The agent's configuration file."""
        return self.folder / "agent.toml"

    @property
    def state(self) -> Path:
        """The agent's state folder."""
        return self.folder / "state"

    def write_config(self) -> None:
        """Write the configuration file from this description."""
        self.folder.mkdir(parents=True, exist_ok=True)
        runtimes = ", ".join(f'"{runtime}"' for runtime in self.runtimes)
        self.config.write_text(
            f'profile = "{self.profile}"\nsimulated = true\nstate_dir = "{self.state}"\nruntimes = [{runtimes}]\n\n'
            f"[api]\nport = 0\n\n[mqtt]\nreconnect_max_s = 5\n\n[fetch]\nmax_rate_kib_s = {self.max_rate_kib_s}\n\n"
            f"[telemetry]\nfeedback = {str(self.feedback).lower()}\n"
        )

    def enrol(self, url: str, token: str) -> None:
        """Enrol with a token, as a user does with `edge-agent enroll`."""
        self.write_config()
        command = [sys.executable, "-m", "edge_agent", "enroll", "--config", str(self.config)]
        command += ["--server", url, "--token", token, "--id", self.device]
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise StageError(f"{self.device} could not enrol: {done.stderr.strip()}")

    def start(self, timeout_s: float = 30.0) -> None:
        """Start the agent and wait until it is connected to the broker."""
        (self.state / "status.json").unlink(missing_ok=True)
        self.process.start()
        self.wait(f"{self.device} to connect", lambda status: bool(status.get("broker_connected")), timeout_s)

    def status(self) -> dict[str, Any]:
        """Return what the agent says of itself; empty while it has said nothing."""
        try:
            found = json.loads((self.state / "status.json").read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def wait(self, what: str, check: Callable[[dict[str, Any]], bool], timeout_s: float) -> dict[str, Any]:
        """Wait until `check` holds of the agent's status, and return it."""

        def checked() -> dict[str, Any] | None:
            status = self.status()
            return status if status and check(status) else None

        try:
            found: dict[str, Any] = wait_until(what, checked, timeout_s, self.process.check)
        except StageError as error:
            raise StageError(
                f"{error}\nstatus: {self.status()}\nlog of {self.device}:\n{self.process.tail()}"
            ) from error
        return found

    def wait_serving(self, model: str, version: int, timeout_s: float) -> None:
        """Wait until the agent serves this version of a model, and no update is under way."""

        def settled(status: dict[str, Any]) -> bool:
            return self.versions().get(model) == version and not status.get("progress")

        self.wait(f"{self.device} to serve {model} {version}", settled, timeout_s)

    def versions(self) -> dict[str, int]:
        """Return the version of each model that the agent serves now."""
        return {item["model"]: item["version"] for item in self.status().get("running", [])}

    def variants(self) -> dict[str, str]:
        """Return the variant of each model that the agent serves now."""
        return {item["model"]: item["variant"] for item in self.status().get("running", [])}
