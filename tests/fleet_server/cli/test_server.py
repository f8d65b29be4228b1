"""`edgeloop server`: backup and restore by command, with their refusals."""

import fcntl
from pathlib import Path

import pytest

from fleet_server.store.artifacts import ArtifactFolder
from tests.fakes.server_app import migrated_file
from tests.fleet_server.cli.conftest import Shell

PASSPHRASE = "correct horse battery staple"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    ArtifactFolder(folder / "artifacts").put(b"one")
    (folder / "server.db").write_bytes(migrated_file())
    monkeypatch.setenv("EDGELOOP_BACKUP_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("EDGELOOP_DATA", str(folder))
    return folder


def test_one_command_each_way(lonely: Shell, data: Path, tmp_path: Path) -> None:
    backup, place = tmp_path / "fleet.backup", tmp_path / "new"
    assert lonely("server backup", str(backup), "--verify") == 0
    assert "artifacts: 1 of 1" in lonely.err
    assert "verified: 3 files" in lonely.err
    assert lonely("server restore", str(backup), "--verify", "--data", str(place)) == 0
    assert "nothing was restored" in lonely.err
    assert not place.exists()
    assert lonely("server restore", str(backup), "--data", str(place)) == 0
    assert (place / "server.db").exists()
    assert lonely.out == ""


def test_nothing_is_replaced_without_force_nor_under_a_running_server(
    lonely: Shell, data: Path, tmp_path: Path
) -> None:
    backup = tmp_path / "fleet.backup"
    assert lonely("server backup", str(backup)) == 0
    assert lonely("server backup", str(backup)) == 2
    assert lonely("server restore", str(backup)) == 2
    assert "not empty" in lonely.err
    with (data / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert lonely("server restore", str(backup), "--force") == 1
        assert "a server runs" in lonely.err
        assert lonely("server backup", str(backup), "--force") == 0  # a backup is made while it runs
    assert lonely("server restore", str(backup), "--force") == 0
    assert len(list(tmp_path.glob("data.before-*"))) == 1


def test_a_wrong_short_or_missing_passphrase_is_said(
    lonely: Shell, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backup = tmp_path / "fleet.backup"
    assert lonely("server backup", str(backup)) == 0
    monkeypatch.setenv("EDGELOOP_BACKUP_PASSPHRASE", "another one entirely")
    assert lonely("server restore", str(backup), "--verify") == 1
    assert "passphrase is wrong" in lonely.err
    monkeypatch.setenv("EDGELOOP_BACKUP_PASSPHRASE", "short")
    assert lonely("server backup", str(tmp_path / "other")) == 2
    monkeypatch.delenv("EDGELOOP_BACKUP_PASSPHRASE")
    assert lonely("server backup", str(tmp_path / "other")) == 2
    assert "EDGELOOP_BACKUP_PASSPHRASE" in lonely.err
    assert not (tmp_path / "other").exists()


def test_what_cannot_be_read_or_written_is_said(lonely: Shell, data: Path, tmp_path: Path) -> None:
    assert lonely("server restore", str(tmp_path / "none"), "--data", str(tmp_path / "new")) == 1
    assert lonely("server backup", str(tmp_path / "no" / "folder")) == 1
    assert lonely("server backup", str(tmp_path / "b"), "--data", str(tmp_path / "empty")) == 1
    assert "no data folder" in lonely.err
