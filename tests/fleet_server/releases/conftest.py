"""A server whose release keys lie elsewhere, the ceremony held, and one board."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.ceremony import Ceremony
from tests.fakes.packs import now_ms
from tests.fakes.server_app import Board, Served, served


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    """A server beyond loopback: it makes no release keys of its own."""
    with served(tmp_path, host="0.0.0.0", names=("localhost",)) as found:
        found.clock.ms = now_ms()
        yield found


@pytest.fixture
def ceremony(fleet: Served, tmp_path: Path) -> Ceremony:
    made = Ceremony(fleet, tmp_path)
    made.begin()
    return made


@pytest.fixture
def board(fleet: Served, ceremony: Ceremony) -> Board:
    fleet.group()
    return fleet.enrol("pi-1")
