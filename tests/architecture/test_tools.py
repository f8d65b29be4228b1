"""Style, types and import directions hold everywhere: the tools of `make lint`, as tests."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "."),
        ("ruff", "format", "--check", "."),
        ("lint-imports", "--no-cache"),
        # Half a minute without its cache, which is the whole time that the fast part of the suite may take.
        pytest.param(("mypy",), marks=pytest.mark.system),
    ],
    ids=" ".join,
)
def test_the_tool_finds_nothing(command: tuple[str, ...]) -> None:
    """Each tool ends with status 0; what it found is in the failure's text."""
    found = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert found.returncode == 0, found.stdout + found.stderr
