"""The real agent under a service manager with a watchdog: it says that it is up, that it goes on, and that it ends."""

import socket
from pathlib import Path

import pytest

from tests.fakes.agent import FakeServer, running_agent
from tests.fakes.broker import free_port


@pytest.mark.system
def test_a_running_agent_feeds_the_watchdog_without_a_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60.0)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "600000")
        with running_agent(tmp_path, FakeServer("dev-1", free_port())) as agent:
            heard = [manager.recv(100) for _ in range(4)]
            assert heard == [b"READY=1", *[b"WATCHDOG=1"] * 3]
            assert agent.stop() == 0
            last = heard[-1]
            while last == b"WATCHDOG=1":
                last = manager.recv(100)
            assert last == b"STOPPING=1"
