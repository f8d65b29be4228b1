"""Works on builds, one at a time: the trainer compiles and proves in a box, the result is registered like an upload.

House rules: whatever a foreign model does, it does to a child process with limits and a deadline; a failure carries the
trainer's own words; a build that was at work when the server stopped has failed, one that waited goes on waiting.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import structlog

from edge_agent.contract.card import VERSION_NAME
from fleet_server.builds.sandbox import Limits, Sandbox
from fleet_server.services.errors import ServiceError
from fleet_server.services.models import Models
from fleet_server.services.operations import Operations
from fleet_server.store.errors import StoreError
from fleet_server.store.operations import Operation, OperationState

_log = structlog.get_logger(__name__)
_POLL_S = 0.2
_KEPT_LINES = 40
_MAX_LINE = 4096


class BuildError(Exception):
    """A build did not work; the message is the trainer's, or says which limit it met."""


class Builder:
    """Takes queued builds and works on them in a thread of its own."""

    def __init__(self, operations: Operations, models: Models, sandbox: Sandbox, limits: Limits) -> None:
        self._operations = operations
        self._models = models
        self._sandbox = sandbox
        self._limits = limits
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="builder", daemon=True)

    def start(self) -> None:
        """Begin to work; builds that a former server left half-way have failed."""
        for operation in self._operations.unfinished():
            if operation.state == OperationState.RUNNING:
                self._operations.fail(operation.id, "the server stopped during this build; ask for it again")
                self._operations.clean(operation.id)
        self._thread.start()

    def stop(self) -> None:
        """End; a build at work is killed."""
        self._stopping.set()
        with self._operations.changed:
            self._operations.changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                waiting = [item for item in self._operations.unfinished() if item.state == OperationState.QUEUED]
            except StoreError as error:
                _log.error("builds_paused", error=str(error))
                waiting = []
            if not waiting:
                with self._operations.changed:
                    self._operations.changed.wait(timeout=1.0)
                continue
            self._work(waiting[0])

    def _work(self, operation: Operation) -> None:
        try:
            self._operations.begin(operation.id)
            self._operations.note(operation.id, self._sandbox.notice)
            self._compile(operation)
            out = _find_version(self._operations.folder_of(operation.id) / "out")
            version = self._models.register(
                operation.subject, out, lambda line: self._operations.note(operation.id, line)
            )
            self._operations.succeed(operation.id, {"model": version.model, "version": version.version})
        except (BuildError, ServiceError, StoreError, OSError) as error:
            _log.warning("build_failed", operation=operation.id, error=str(error))
            with contextlib.suppress(StoreError):  # the database is away: the next start fails it
                self._operations.fail(operation.id, str(error))
        finally:
            self._operations.clean(operation.id)

    def _compile(self, operation: Operation) -> None:
        folder = self._operations.folder_of(operation.id)
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        command = self._sandbox.wrap(_command(operation, folder), folder, self._limits)
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            lines = self._follow(operation.id, child)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
        if child.returncode != 0:
            raise BuildError(_reason(lines, child.returncode))

    def _follow(self, operation: str, child: "subprocess.Popen[bytes]") -> list[str]:
        """Read what the child says until it ends, is cancelled or meets its deadline."""
        deadline = time.monotonic() + self._limits.timeout_s
        lines: list[str] = []
        stream: IO[bytes] | None = child.stdout
        if stream is None:
            raise BuildError("the build has no output")
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            rest = b""
            while True:
                if self._operations.is_cancelled(operation) or self._stopping.is_set():
                    raise BuildError("cancelled" if not self._stopping.is_set() else "the server stopped")
                if time.monotonic() > deadline:
                    raise BuildError(f"the build took more than {self._limits.timeout_s:g} s and was ended")
                if not selector.select(_POLL_S):
                    continue
                block = os.read(stream.fileno(), 65536)
                if not block:
                    child.wait(timeout=max(1.0, deadline - time.monotonic()))
                    return lines
                *full, rest = (rest + block).split(b"\n")
                rest = rest[-_MAX_LINE:]
                for line in full:
                    text = line.decode(errors="replace").strip()[:_MAX_LINE]
                    if text:
                        lines = [*lines[-_KEPT_LINES:], text]
                    if text and not text.startswith("{"):  # the JSON answer is for us, not for who follows
                        self._operations.note(operation, text)


def _command(operation: Operation, folder: Path) -> list[str]:
    request = operation.request
    command = [sys.executable, "-m", "trainer", "compile", str(folder / request["source"])]
    command += ["--data", str(folder / request["data"]), "--target", request["target"], "--name", request["model"]]
    if request.get("task"):
        command += ["--task", request["task"]]
    return [*command, "--out", str(folder / "out"), "--json"]


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "LANG": "C.UTF-8",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _find_version(out: Path) -> Path:
    places = [out, *sorted(item for item in out.iterdir() if item.is_dir())] if out.is_dir() else []
    for place in places:
        if (place / VERSION_NAME).is_file():
            return place
    raise BuildError(f"the trainer ended well but left no {VERSION_NAME}")


def _reason(lines: list[str], code: int) -> str:
    """Return the trainer's own words for its failure: the error of its JSON answer, else its last line."""
    for line in reversed(lines):
        try:
            plain = json.loads(line)
        except ValueError:
            continue
        if isinstance(plain, dict) and isinstance(plain.get("error"), str):
            return str(plain["error"])
    if code < 0:
        return f"the build was ended by {signal.Signals(-code).name}: it met a limit, or crashed"
    return lines[-1] if lines else f"the trainer ended with status {code} and said nothing"
