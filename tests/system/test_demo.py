"""The demonstration of the README is a test: it goes through the whole cycle, and ends by itself with status 0."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.system
@pytest.mark.timeout(600)
def test_the_demonstration_holds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fleet_server.cli", "demo", "--folder", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "Measured in this run" in done.stdout
