"""A real Mosquitto on a free port of loopback, for tests of the agent."""

import getpass
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CONFIGURATION = """
user {user}
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 10000
max_inflight_messages 100
max_packet_size 1048576
set_tcp_nodelay true
log_type error
"""


def mosquitto_path() -> str:
    """Return the broker's program; its absence fails the test, since nothing stands in for it."""
    named = os.environ.get("EDGELOOP_MOSQUITTO")
    found = named or shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    assert found, "Mosquitto is not installed: apt-get install mosquitto, or set EDGELOOP_MOSQUITTO"
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, timeout_s: float = 10.0) -> None:
    """Return when something listens there."""
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on {port}"
            pause.wait(0.02)
        else:
            return


@dataclass
class RunningBroker:
    """A broker that can be stopped and started again on its port."""

    folder: Path
    port: int
    extra: str = ""
    child: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        path = self.folder / "mosquitto.conf"
        path.write_text(_CONFIGURATION.format(port=self.port, user=getpass.getuser()) + self.extra)
        self.child = subprocess.Popen([mosquitto_path(), "-c", str(path)], stdout=subprocess.DEVNULL)
        wait_for_port(self.port)

    def stop(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait(10)
            self.child = None


@contextmanager
def running_broker(folder: Path, extra: str = "") -> Iterator[RunningBroker]:
    """Start a broker; `extra` are more lines of its configuration."""
    broker = RunningBroker(folder, free_port(), extra)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
