"""The first-boot script: what a fresh board becomes, run on a folder that stands for its disk."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "firmware_configs" / "first-boot" / "edgeloop-first-boot"


@dataclass
class Board:
    """A disk with an installed agent, and the system's commands replaced by ones that write down their arguments."""

    disk: Path
    tools: Path
    conf: Path

    @property
    def calls(self) -> list[str]:
        """What was called, in order."""
        log = self.tools / "calls"
        return log.read_text().splitlines() if log.exists() else []

    def boot(self, *, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
        """Run the script once."""
        environment = {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "EDGELOOP_ROOT": str(self.disk),
            "EDGELOOP_SERIAL_FILE": str(self.disk / "serial"),
        }
        return subprocess.run(
            [script], env=environment, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL
        )


def command(path: Path, body: str) -> None:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """A board that has the agent's files but is no member of a fleet."""
    found = Board(tmp_path / "disk", tmp_path / "tools", tmp_path / "disk" / "boot" / "firmware" / "edgeloop.conf")
    for name in ("useradd", "systemctl", "chown"):
        command(found.tools / name, f'echo {name} "$@" >>"{found.tools}/calls"')
    command(found.tools / "id", "exit 1")
    command(found.tools / "uname", '[ "$1" = -n ] && echo Pi_Kitchen || echo aarch64')
    command(found.tools / "runuser", 'shift 3; exec "$@"')
    enrol = f'[ "$3" != https://down ] && echo {{}} >"{found.disk}/var/lib/edgeloop/identity.json"'
    agent = f'echo edge-agent "$@" >>"{found.tools}/calls"\n{enrol}'
    command(found.disk / "opt" / "edgeloop" / "bin" / "edge-agent", agent)
    (found.disk / "serial").write_bytes(b"10000000deadbeef\x00")
    found.conf.parent.mkdir(parents=True)
    found.conf.write_text("# a comment\nSERVER=https://fleet.example:8443\nTOKEN=secret.pin\nDEVICE=pi-7\r\n")
    return found


def test_a_fresh_board_becomes_a_member(board: Board) -> None:
    """User, folders, configuration, unit, enrolment and start; the token does not stay behind."""
    found = board.boot()
    assert found.returncode == 0, found.stderr
    called = [call.split()[0] for call in board.calls]
    assert called == ["useradd", "chown", "edge-agent", "systemctl", "systemctl"]
    assert "--server https://fleet.example:8443 --token=secret.pin --id pi-7" in board.calls[2]
    assert board.calls[-1] == "systemctl enable --now edge-agent.service"
    assert (board.disk / "etc/systemd/system/edge-agent.service").exists()
    assert "state_dir" in (board.disk / "etc/edgeloop/agent.toml").read_text()
    assert (board.disk / "var/lib/edgeloop").stat().st_mode & 0o777 == 0o700
    assert "secret" not in board.conf.read_text()


def test_a_second_run_keeps_what_is_there(board: Board) -> None:
    """An enrolled board is not enrolled again, and its configuration is its own."""
    assert board.boot().returncode == 0
    settings = board.disk / "etc/edgeloop/agent.toml"
    settings.write_text("# mine\n")
    assert board.boot().returncode == 0
    assert settings.read_text() == "# mine\n"
    assert sum(call.startswith("edge-agent enroll") for call in board.calls) == 1


def test_without_an_id_the_host_name_and_serial_make_one(board: Board) -> None:
    """So a hundred cards from one image do not collide."""
    board.conf.write_text("SERVER=https://fleet.example:8443\nTOKEN=secret.pin\n")
    assert board.boot().returncode == 0
    assert any("--id pi-kitchen-deadbeef" in call for call in board.calls)


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ("TOKEN=t\nDEVICE=a\n", "names no SERVER or no TOKEN"),
        ("SERVER=s\nDEVICE=a\n", "names no SERVER or no TOKEN"),
        ("SERVER=s\nTOKEN=t\nDEVICE=Pi 7\n", "an id is 1 to 64"),
        ("SERVER=s\nTOKEN=t\nDEVICE=a\nEXTRAS=onnx];x\n", "onnx, tflite, or both"),
    ],
)
def test_what_is_missing_or_wrong_is_said(board: Board, conf: str, message: str) -> None:
    """Status 78, a message that names it, and nothing enabled."""
    board.conf.write_text(conf)
    found = board.boot()
    assert found.returncode == 78
    assert message in found.stderr
    assert not any(call.startswith("systemctl") for call in board.calls)


def test_the_settings_file_is_never_run(board: Board) -> None:
    """Anybody with the card can write it: it is data."""
    board.conf.write_text(
        f"SERVER=$(touch {board.disk}/pwned)\nTOKEN=`touch {board.disk}/pwned`\nDEVICE=a\ntouch {board.disk}/pwned\n"
    )
    board.boot()
    assert not (board.disk / "pwned").exists()


def test_an_enrolment_that_fails_keeps_the_token(board: Board) -> None:
    """The next start tries again."""
    board.conf.write_text("SERVER=https://down\nTOKEN=secret.pin\nDEVICE=a\n")
    assert board.boot().returncode != 0
    assert "secret.pin" in board.conf.read_text()
    assert not any(call.startswith("systemctl") for call in board.calls)
