"""Runs one build in its box, follows what it says, and ends it and all that it started.

House rules: whatever comes out of the box is foreign: lines are cut, counted and made printable; what it leaves is
taken only where it is plain files.
"""

import contextlib
import json
import os
import selectors
import signal
import stat
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fleet_server.builds.sandbox import Limits

_POLL_S = 0.2
_END_S = 5.0
_BLOCK = 65536
_KEPT_LINES = 40
_MAX_LINE = 4096
# Each line that is told is saved and sent to who watches; a trainer has some tens to say, and an operation keeps 200.
_TOLD_LINES = 180
_MEANINGS = {
    signal.SIGXCPU: "it used up its processor time",
    signal.SIGKILL: "it met a limit, or the machine had no memory left",
}


class BuildError(Exception):
    """A build did not work; the message is the trainer's, or says which limit it met."""


@dataclass(slots=True)
class Said:
    """What a child has said: its newest lines, and how much in all."""

    tell: Callable[[str], None]
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT_LINES))
    rest: bytes = b""
    size: int = 0
    count: int = 0
    told: int = 0

    def take(self, block: bytes) -> None:
        """Take what was read, and tell each full line that is for whoever follows the build."""
        self.size += len(block)
        *full, rest = (self.rest + block).split(b"\n")
        self.rest = rest[-_MAX_LINE:]
        self.count += len(full)
        for line in full[-_KEPT_LINES:] if self.count > _TOLD_LINES else full:
            text = printable(line)
            if not text:
                continue
            self.lines.append(text)
            if not text.startswith("{"):  # the JSON answer is for the server, not for who follows
                self._tell(text)

    def finish(self) -> None:
        """Take the last line, which has no end."""
        self.take(b"\n")

    def _tell(self, text: str) -> None:
        self.told += 1
        if self.told < _TOLD_LINES:
            self.tell(text)
        elif self.told == _TOLD_LINES:
            self.tell("… it says more, which is not kept")


def printable(line: bytes) -> str:
    """Return a line as text without control characters: an operator's terminal shows it."""
    text = line[: 4 * _MAX_LINE].decode(errors="replace").strip()[:_MAX_LINE]
    return "".join(character if character.isprintable() else "�" for character in text)


def run_child(
    command: list[str],
    folder: Path,
    limits: Limits,
    tell: Callable[[str], None],
    ended_by: Callable[[], str | None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a build's command to its end; `ended_by` says why it must end before.

    Raises:
        BuildError: it failed, met a limit, or was ended.
    """
    child = subprocess.Popen(
        command,
        cwd=folder,
        env={**_environment(folder), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    said = Said(tell)
    try:
        _follow(child, said, limits, ended_by)
    finally:
        _end(child)
    if child.returncode != 0:
        raise BuildError(_reason(tuple(said.lines), child.returncode))


def _follow(child: "subprocess.Popen[bytes]", said: Said, limits: Limits, ended_by: Callable[[], str | None]) -> None:
    """Read what the child says until it and its output have ended."""
    deadline = time.monotonic() + limits.timeout_s
    stream: IO[bytes] | None = child.stdout
    if stream is None:
        raise BuildError("the build has no output")
    open_yet = True
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if reason := ended_by():
                raise BuildError(reason)
            if time.monotonic() > deadline:
                raise BuildError(f"the build took more than {limits.timeout_s:g} s and was ended")
            if said.size > limits.output_bytes or said.count > limits.output_lines:
                raise BuildError("the build said more than a trainer has to say and was ended")
            if open_yet and selector.select(_POLL_S):
                block = os.read(stream.fileno(), _BLOCK)
                said.take(block)
                open_yet = bool(block)
            elif _has_ended(child, 0.0 if open_yet else _POLL_S):
                # What it said between the last look and its end; more than a pipe holds it cannot have.
                while open_yet and selector.select(0):
                    block = os.read(stream.fileno(), _BLOCK)
                    said.take(block)
                    open_yet = bool(block) and said.size <= limits.output_bytes
                said.finish()
                return


def _has_ended(child: "subprocess.Popen[bytes]", timeout_s: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(timeout_s)
    return child.returncode is not None


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Have the warden kill all that descends from it; then see to it that the warden is gone too."""
    if child.stdout is not None:
        child.stdout.close()
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGTERM)
    if not _has_ended(child, _END_S):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


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


def _reason(lines: Sequence[str], code: int) -> str:
    """Return the words for a failure: the error of the last JSON answer, what a signal means, else the last line."""
    for line in reversed(lines):
        try:
            plain = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(plain, dict) and isinstance(plain.get("error"), str):
            hint = plain.get("hint")
            return f"{plain['error']}; {hint}" if isinstance(hint, str) and hint else str(plain["error"])
    number = -code if code < 0 else code - 128
    if number in signal.valid_signals():
        found = signal.Signals(number)
        return f"the build was ended by {found.name}: {_MEANINGS.get(found, 'it crashed')}"
    return lines[-1] if lines else f"the trainer ended with status {code} and said nothing"


def check_plain(folder: Path) -> None:
    """Check that a folder from the box holds plain files alone: a link would lead to the server's own.

    Raises:
        BuildError: something in it is neither a file of this folder alone nor a folder.
    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        kind = place.lstat()
        if stat.S_ISDIR(kind.st_mode):
            waiting += place.iterdir()
        elif not stat.S_ISREG(kind.st_mode) or kind.st_nlink != 1:
            raise BuildError(f"the build left {place.name!r}, which is no plain file: nothing of it is taken")
