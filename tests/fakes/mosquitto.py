"""A real Mosquitto for tests, with a given configuration on a free port of loopback."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fleet_server.broker.brokers import find_mosquitto
from fleet_server.broker.child import Child, free_port

HOST = "127.0.0.1"
OPEN = "allow_anonymous true"


@dataclass(frozen=True, slots=True)
class RunningMosquitto:
    """Where it listens, and its process."""

    host: str
    port: int
    child: Child


def mosquitto_program() -> Path:
    """Return Mosquitto's program, or fail the test: without a broker nothing was tested, so it is never skipped."""
    found = find_mosquitto()
    if found is None:
        pytest.fail(
            "Mosquitto was not found; install it (apt-get install mosquitto), or unpack it without root "
            "(apt-get download mosquitto; dpkg-deb -x) and set EDGELOOP_MOSQUITTO to its program"
        )
    return found


@contextmanager
def running_mosquitto(folder: Path, config: str = OPEN, port: int = 0) -> Iterator[RunningMosquitto]:
    """Run Mosquitto with these lines of configuration, which may name no listener; its files are in `folder`."""
    used = port or free_port(HOST)
    path = folder / "broker.conf"
    path.write_text(f"listener {used} {HOST}\n{config}\nuser root\nlog_dest stderr\n")
    child = Child([str(mosquitto_program()), "-c", str(path)], HOST, used, folder / "broker.log")
    child.start()
    try:
        yield RunningMosquitto(HOST, used, child)
    finally:
        child.stop()
