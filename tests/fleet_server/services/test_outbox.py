"""What the broker is still to be told: one device's trouble leaves the others' entries alone."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_agent.contract import trust
from fleet_server.services import director
from tests.fakes.server_app import served


def test_an_order_too_large_for_a_device_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, limit = director.seal_pack, trust.MAX_PACK_BYTES

    def too_small_for_one(files: Mapping[str, bytes]) -> bytes:
        is_of_one = any(b'"pi-0"' in data for data in files.values())
        monkeypatch.setattr(trust, "MAX_PACK_BYTES", 100 if is_of_one else limit)
        return real(files)

    with served(tmp_path) as fleet:
        fleet.upload("v1", b"one")
        fleet.group()
        boards = [fleet.enrol(f"pi-{number}").id for number in range(3)]
        monkeypatch.setattr(director, "seal_pack", too_small_for_one)
        fleet.roll(1, phases=["100%"])
        assert set(fleet.wire.desired) == {"pi-1", "pi-2"}
        monkeypatch.undo()
        fleet.turn()
        assert set(fleet.wire.desired) == set(boards)
