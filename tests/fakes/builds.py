"""Builds on a server in memory: stand-ins for the trainer in each kind of box, and how a test follows an operation."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fleet_server.builds.builder import Builder
from fleet_server.builds.releases import Releases
from fleet_server.builds.sandbox import INSTALL, Limits, Sandbox, choose_sandbox
from tests.fakes.server_app import Served

WALLS = ("bubblewrap", "limits")
NO_RELEASES = Releases(Path("/nowhere"), lambda: ())
_UNBOXED = Sandbox(None, "limits alone")
_PAUSE = threading.Event()
ROWS = b"a,b,target\n1,2,0\n3,4,1\n"


@dataclass(frozen=True)
class Pretend:
    """A box in which a given program stands for the trainer; the walls and limits are the real ones."""

    program: str
    box: Sandbox = _UNBOXED
    notice: str = "a pretended trainer"

    def wrap(self, command: list[str], folder: Path, limits: Limits) -> list[str]:
        return self.box.wrap([sys.executable, "-c", self.program, *command[3:]], folder, limits)


def real_box(data_dir: Path, walls: str = "bubblewrap") -> Sandbox:
    """The named kind of box. Where bubblewrap does not work on this machine, its absence must be a refusal."""
    if walls == "limits":
        return _UNBOXED
    box = choose_sandbox(data_dir, required=True)
    assert (box.bwrap is None) == (box.refusal is not None)
    if box.refusal is not None:
        assert INSTALL in box.refusal
        return replace(choose_sandbox(data_dir, required=False), notice="no bubblewrap works here")
    return box


@contextmanager
def working(fleet: Served, box: Any, releases: Releases | None = None, **limits: Any) -> Iterator[Builder]:
    """A builder at work in a box."""
    context = fleet.server.context
    given = Limits(**({"memory_mb": 4096, "timeout_s": 60} | limits))
    builder = Builder(
        context.operations, context.models, box, given, releases or NO_RELEASES, fleet.server.retraining.runner
    )
    builder.start()
    try:
        yield builder
    finally:
        builder.stop()


def ask(fleet: Served, expected: int = 202, **fields: str) -> Any:
    """Ask for a build of files that no trainer looks at."""
    return upload(fleet, "model.skops", b"not a model", expected=expected, **fields)


def upload(
    fleet: Served,
    name: str,
    content: bytes,
    rows: bytes = ROWS,
    *,
    expected: int = 202,
    data: str = "rows.csv",
    **more: str,
) -> Any:
    """Ask for a build of a model file."""
    files = [("source", (name, content)), ("data", (data, rows))]
    return fleet.call("POST", "/models/digits/builds", expected, files=files, data={"target": "target"} | more)


def wait_for(fleet: Served, identity: str, done: Callable[[Any], bool], deadline_s: float = 90.0) -> Any:
    """Follow an operation until it is as wanted; the server must answer all the while."""
    operations, end = fleet.server.context.operations, time.monotonic() + deadline_s
    while time.monotonic() < end:
        asked = time.monotonic()
        found = fleet.call("GET", f"/operations/{identity}")
        assert time.monotonic() - asked < 5, "the server does not answer"
        if done(found):
            return found
        with operations.changed:
            operations.changed.wait(0.2)
    raise AssertionError(found)


def ended(found: Any) -> bool:
    """Whether an operation has ended."""
    return found["state"] not in ("queued", "running")


def leftovers(fleet: Served) -> list[Path]:
    """What is left of all builds' files."""
    return list((fleet.folder / "data" / "builds").iterdir())


def wait_until(done: Callable[[], bool], deadline_s: float = 20.0) -> bool:
    """Whether something came true before a deadline."""
    end = time.monotonic() + deadline_s
    while not done():
        if time.monotonic() > end:
            return False
        _PAUSE.wait(0.02)
    return True


def processes_with(mark: str) -> list[int]:
    """The processes whose command line holds a mark; those that ended but are not reaped yet have none."""
    found = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                if mark.encode() in (place / "cmdline").read_bytes():
                    found.append(int(place.name))
            except OSError:
                continue
    return found
