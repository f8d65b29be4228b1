"""The systemd unit: what systemd says of it, and that it agrees with the agent."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edge_agent.adapters.watchdog import Watchdog

UNIT = Path(__file__).parents[2] / "firmware_configs" / "edge-agent.service"


def settings() -> dict[str, list[str]]:
    """Every key of [Service] with all its values."""
    section = UNIT.read_text().partition("[Service]")[2].partition("[Install]")[0]
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"(?m)^(\w+)=(.*)$", section):
        found.setdefault(key, []).append(value)
    return found


@pytest.mark.system
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` finds nothing, once the command that the unit starts is one that exists here."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/edgeloop/bin/edge-agent", shutil.which("true") or "/bin/true"))
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, timeout=60, check=False
    )
    said = [line for line in found.stderr.splitlines() if UNIT.name in line]
    assert (found.returncode, said) == (0, [])


@pytest.mark.system
@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_the_unit_is_hardened() -> None:
    """systemd's own exposure score stays within what it calls OK (0 is best, 10 is worst)."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    score = re.search(r"Overall exposure level for edge-agent\.service: ([\d.]+)", found.stdout)
    assert score is not None, found.stderr
    assert float(score[1]) <= 2.5


def test_the_unit_sets_what_the_runtimes_need() -> None:
    """No vendor telemetry; one thread; small arenas."""
    variables = dict(value.split("=", 1) for value in settings()["Environment"])
    assert variables["ORT_DISABLE_TELEMETRY"] == "1"
    assert variables["OPENBLAS_NUM_THREADS"] == "1"
    assert variables["MALLOC_ARENA_MAX"] == "1"
    assert variables["MALLOC_TRIM_THRESHOLD_"] == "131072"


def test_a_wrong_configuration_is_not_started_again() -> None:
    """Status 78 ends it; everything else starts it again."""
    found = settings()
    assert found["RestartPreventExitStatus"] == ["78"]
    assert found["Restart"] == ["always"]


def test_the_watchdog_waits_for_the_agent() -> None:
    """The agent notifies, as the main process alone, at least three times in the time that it is given."""
    found = settings()
    assert (found["Type"], found["NotifyAccess"]) == (["notify"], ["main"])
    usec = str(int(found["WatchdogSec"][0]) * 1_000_000)
    every_s = Watchdog({"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": usec}).every_s
    assert every_s == 20.0


def test_the_state_folder_is_the_agents_own() -> None:
    """The unit makes the folder that agent.toml names, for its user alone."""
    found = settings()
    assert (found["StateDirectory"], found["StateDirectoryMode"]) == (["edgeloop"], ["0700"])
    assert 'state_dir = "/var/lib/edgeloop"' in UNIT.with_name("agent.toml").read_text()


def test_the_unit_is_plain_ini_apart_from_repeated_keys() -> None:
    """Three sections, in systemd's form."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read(UNIT)
    assert parser.sections() == ["Unit", "Service", "Install"]
