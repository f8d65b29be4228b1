"""The demonstration of retraining is a test: the loop closes unattended, on real measurements where they are there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fleet_server.core.cycle import ARROWS


@pytest.mark.system
@pytest.mark.timeout(600)
def test_the_loop_closes_unattended(tmp_path: Path) -> None:
    """On Occupancy where $EDGELOOP_OCCUPANCY names it, else on digits that scikit-learn carries."""
    command = [sys.executable, "-m", "fleet_server.cli", "demo", "--retraining", "--folder", str(tmp_path / "demo")]
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, env=wide)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    for words in ("won: on the", "promoted", "Measured in this run", *(arrow.name for arrow in ARROWS)):
        assert words in done.stdout
