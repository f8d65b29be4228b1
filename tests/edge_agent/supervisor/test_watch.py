"""Notifications to the service manager: while every thread turns, and not otherwise."""

import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.adapters.watchdog import Watchdog
from edge_agent.supervisor.watch import DISK_PATIENCE_S, Watch

BROKER_PATIENCE_S = 140.0


@dataclass
class Thread:
    """A thread that turned at a time, and turns when it is asked."""

    turned_at: float = 0.0
    pings: int = 0

    def ping(self) -> None:
        self.pings += 1


class Manager:
    """The service manager's socket."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "60000000"}

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self.socket.recv(100).decode())
            except BlockingIOError:
                return found


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    with made.socket:
        yield made


def test_it_says_so_as_often_as_it_has_to(manager: Manager) -> None:
    disk, broker = Thread(), Thread()
    watch = Watch(Watchdog(manager.environment), disk, broker, BROKER_PATIENCE_S)
    watch.ready()
    for now in range(0, 61, 5):
        watch.tick(float(now))
    watch.stopping()
    assert manager.heard() == ["READY=1", *["WATCHDOG=1"] * 4, "STOPPING=1"]
    assert disk.pings == 4


@pytest.mark.parametrize("part", ["disk", "broker"])
def test_a_thread_that_does_not_turn_stops_it(manager: Manager, part: str, caplog: pytest.LogCaptureFixture) -> None:
    disk, broker = Thread(), Thread()
    watch = Watch(Watchdog(manager.environment), disk, broker, BROKER_PATIENCE_S)
    late = DISK_PATIENCE_S if part == "disk" else BROKER_PATIENCE_S
    other = broker if part == "disk" else disk
    stuck = disk if part == "disk" else broker
    other.turned_at = late
    watch.tick(late)
    assert manager.heard() == ["WATCHDOG=1"]
    watch.tick(late + 21.0)
    watch.tick(late + 42.0)
    assert manager.heard() == []
    assert [record.getMessage() for record in caplog.records] == [f"watchdog_withheld parts={part}"]
    stuck.turned_at = late + 60.0
    watch.tick(late + 63.0)
    assert manager.heard() == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "1"}, {"NOTIFY_SOCKET": "/nowhere", "WATCHDOG_USEC": "x"}, {"NOTIFY_SOCKET": "/nowhere"}],
)
def test_without_a_manager_nothing_is_said(environment: dict[str, str]) -> None:
    watchdog = Watchdog(environment)
    watchdog.ready()
    assert watchdog.every_s is None
    assert Watch(watchdog, Thread(), Thread(), 1.0).next_due() is None


def test_a_watchdog_of_another_process_is_not_ours(manager: Manager) -> None:
    assert Watchdog(manager.environment | {"WATCHDOG_PID": str(os.getpid())}).every_s == 20.0
    assert Watchdog(manager.environment | {"WATCHDOG_PID": "1"}).every_s is None


def test_an_abstract_name_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        name = f"edgeloop-test-{os.getpid()}"
        found.bind(f"\0{name}")
        Watchdog({"NOTIFY_SOCKET": f"@{name}"}).ready()
        assert found.recv(100) == b"READY=1"
