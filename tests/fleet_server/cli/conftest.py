"""A fake server over real HTTP, and the command run in this process against it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleet_server.cli.app import run
from tests.fakes.web_api import KEY, serving
from tests.fakes.web_routes import FakeFleet, full_fleet


@dataclass
class Shell:
    """Runs the command and keeps what it wrote."""

    capture: pytest.CaptureFixture[str]
    out: str = ""
    err: str = ""

    def __call__(self, line: str, *more: str) -> int:
        """Run a command line and return its exit code."""
        self.capture.readouterr()
        code = run([*line.split(), *more])
        self.out, self.err = self.capture.readouterr()
        return code

    @property
    def json(self) -> Any:
        """What was written on stdout, as JSON."""
        return json.loads(self.out)


@pytest.fixture
def fleet() -> FakeFleet:
    """The small fleet."""
    return full_fleet()


@pytest.fixture
def url(fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The address of the fleet's server, which the environment names."""
    with serving(fleet) as address:
        monkeypatch.setenv("EDGELOOP_URL", address)
        monkeypatch.setenv("EDGELOOP_API_KEY", KEY)
        monkeypatch.setenv("EDGELOOP_CONTEXT", str(tmp_path / "context.json"))
        yield address


@pytest.fixture
def shell(url: str, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The command, talking to the fleet's server."""
    return Shell(capsys)


@pytest.fixture
def lonely(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shell:
    """The command where no server is known."""
    for name in ("EDGELOOP_URL", "EDGELOOP_API_KEY", "EDGELOOP_CA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("EDGELOOP_CONTEXT", str(tmp_path / "context.json"))
    return Shell(capsys)
