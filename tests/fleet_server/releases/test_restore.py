"""A server that was restored from an old backup: it catches up with what devices have seen."""

import shutil
from pathlib import Path
from typing import Any

from edge_agent.contract.messages import TrustHeld
from edge_agent.contract.trust import IMAGE
from tests.fakes.ceremony import Ceremony
from tests.fakes.packs import Trusting, now_ms
from tests.fakes.server_app import served


def test_after_a_restore_devices_take_what_is_signed_next(tmp_path: Path) -> None:
    """Three more lists were signed after the backup: the server jumps over all of them, by its clock and by reports."""
    options: dict[str, Any] = {"host": "0.0.0.0", "names": ("localhost",)}
    with served(tmp_path, **options) as first:
        first.clock.ms = now_ms() - 3_600_000
        ceremony = Ceremony(first, tmp_path)
        ceremony.begin()
        first.upload("v1", b"one")
        ceremony.sign()
    shutil.copytree(tmp_path / "data", tmp_path / "backup" / "data")
    with served(tmp_path, **options) as live:
        live.clock.ms = now_ms() - 1_800_000
        ceremony.fleet = live
        for _ in range(3):
            ceremony.sign("--renew")
        live.turn()
        device = Trusting(tmp_path / "image", live.server.trust.image.roots()[0].encode())
        device.refresh(live.wire.trust[IMAGE])
        assert device.targets().version == 5
    with served(tmp_path / "backup", **options) as restored:
        restored.clock.ms = now_ms()
        board, ceremony.fleet = restored.enrol("pi-1"), restored
        board.trust = TrustHeld(image_targets=5)
        board.report()
        ceremony.sign("--renew")
        restored.turn()
        device.refresh(restored.wire.trust[IMAGE])
        assert device.targets().version == 6
