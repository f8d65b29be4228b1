"""Devices on their way back from a halted or aborted rollout: what the simulated fleets found to wait for ever."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.server_app import Served, served


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        found.group()
        found.upload("v1", b"one")
        found.upload("v2", b"two")
        yield found


def test_a_newer_rollout_ends_the_way_back_of_an_older_one(fleet: Served) -> None:
    """A device takes the newest document alone, and so may never run what the older rollout would return it to."""
    first_board, second_board = fleet.enrol("cam-1"), fleet.enrol("cam-2")
    older = fleet.roll(1, phases=["100%"])
    first_board.succeed()
    fleet.call("POST", f"/rollouts/{older}/abort")
    fleet.turn()
    assert set(fleet.states(older).values()) == {"returning"}
    newer = fleet.roll(2, phases=["100%"])
    for board in (first_board, second_board):
        board.succeed()
    fleet.turn()
    assert set(fleet.states(older).values()) == {"returned"}
    assert fleet.rollout(newer)["state"] == "succeeded"


def test_a_device_whose_version_before_has_failed_since_goes_back_to_none(fleet: Served) -> None:
    """It was assigned the version before it had tried it; what it is not given again cannot be waited for."""
    board = fleet.enrol("cam-1")
    first = fleet.roll(1, phases=["100%"])
    fleet.call("POST", f"/rollouts/{first}/promote")
    again = fleet.roll(1, phases=["100%"])
    board.fail()
    fleet.turn()
    assert fleet.rollout(again)["state"] == "halted"
    assert fleet.states(again) == {"cam-1": "returning"}
    board.succeed()
    assert board.running == ()
    fleet.turn()
    assert fleet.states(again) == {"cam-1": "returned"}
