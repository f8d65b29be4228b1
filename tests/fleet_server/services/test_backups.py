"""A backup is whole or none: encrypted, checked to the last byte, and never half a file or half a folder."""

import io
import sqlite3
import tarfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet_server.services.backups import check_backup, make_backup, restore_backup
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.backup_cipher import PIECE_BYTES, BackupError, SealedReader, SealedWriter
from fleet_server.store.backup_source import read_moment
from fleet_server.store.database import Database
from tests.fakes.server_app import migrated_file

PASSPHRASE = "correct horse battery staple"
COST = 4  # tests derive many keys; what the product uses is asserted once
SEALED_PIECE = PIECE_BYTES + 16
HEADER = 40


def seal_bytes(data: bytes) -> bytes:
    sink = io.BytesIO()
    writer = SealedWriter(sink, PASSPHRASE, COST)
    writer.write(data)
    writer.finish()
    return sink.getvalue()


def open_bytes(sealed: bytes, passphrase: str = PASSPHRASE) -> bytes:
    return SealedReader(io.BytesIO(sealed), passphrase).read()


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "data"
    (folder / "keys").mkdir(parents=True)
    (folder / "mosquitto").mkdir()
    for name in ("builds", "uploads", "runtimes"):
        (folder / name).mkdir()
        (folder / name / "big").write_bytes(b"again")
    (folder / "server.db").write_bytes(migrated_file())
    (folder / "keys" / "server-key.pem").write_bytes(b"secret key")
    (folder / "keys" / "server-key.pem").chmod(0o600)
    (folder / "mosquitto" / "accounts.json").write_bytes(b"{}")
    (folder / "mosquitto" / "mosquitto.db").write_bytes(b"retained")
    (folder / "mosquitto" / "mosquitto.log").write_bytes(b"log")
    (folder / "lock").touch()
    artifacts = ArtifactFolder(folder / "artifacts")
    for content in (b"one" * 1000, b"", b"x" * (PIECE_BYTES + 7)):
        artifacts.put(content)
    return folder


def back_up(data: Path, name: str = "backup") -> Path:
    target = data.parent / name
    make_backup(data, target, PASSPHRASE, "1.0", lambda _: None, COST)
    return target


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "server.db"
    }


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES])
def test_what_is_sealed_opens_whole(size: int) -> None:
    data = bytes(range(251)) * (size // 251) + b"z" * (size % 251)
    assert open_bytes(seal_bytes(data)) == data


def test_the_key_costs_a_guesser_128_mib() -> None:
    sink = io.BytesIO()
    SealedWriter(sink, PASSPHRASE)
    assert sink.getvalue()[16] == 17


def test_every_cut_is_noticed() -> None:
    sealed = seal_bytes(b"short and whole")
    for length in range(len(sealed)):
        with pytest.raises(BackupError):
            open_bytes(sealed[:length])


def test_missing_doubled_moved_and_added_pieces_are_noticed() -> None:
    sealed = seal_bytes(b"a" * PIECE_BYTES + b"b" * PIECE_BYTES + b"c")
    head, body = sealed[:HEADER], sealed[HEADER:]
    one, two, three = body[:SEALED_PIECE], body[SEALED_PIECE : 2 * SEALED_PIECE], body[2 * SEALED_PIECE :]
    assert open_bytes(head + one + two + three)
    for wrong in ([one, two], [one], [two, three], [one, three], [two, one, three], [one, one, two, three], [three]):
        with pytest.raises(BackupError):
            open_bytes(head + b"".join(wrong))
    with pytest.raises(BackupError):
        open_bytes(sealed + b"more")


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_every_changed_bit_is_noticed(place: int, bit: int) -> None:
    sealed = bytearray(seal_bytes(b"some bytes of a server"))
    place %= len(sealed)
    if place == 16:
        return  # the key's cost: another one is another key, or refused; see below
    sealed[place] ^= 1 << bit
    with pytest.raises(BackupError):
        open_bytes(bytes(sealed))


def test_a_wrong_passphrase_and_an_absurd_cost_are_refused() -> None:
    sealed = bytearray(seal_bytes(b"some bytes"))
    with pytest.raises(BackupError, match="passphrase is wrong"):
        open_bytes(bytes(sealed), "another passphrase")
    sealed[16] = 40
    with pytest.raises(BackupError, match="scrypt"):
        open_bytes(bytes(sealed))


def test_a_backup_restores_all_but_what_can_be_had_again(data: Path) -> None:
    backup = back_up(data)
    place = data.parent / "restored"
    checked, former = restore_backup(backup, place, PASSPHRASE, 5, lambda _: None)
    assert former is None
    assert checked.artifacts == 3
    kept = {name: content for name, content in tree(data).items() if not name.startswith(("builds", "uploads", "run"))}
    for name in ("lock", "mosquitto/mosquitto.db", "mosquitto/mosquitto.log"):
        del kept[name]
    assert tree(place) == kept
    assert (place / "keys" / "server-key.pem").stat().st_mode & 0o777 == 0o600
    assert place.stat().st_mode & 0o077 == 0
    assert b"secret key" not in backup.read_bytes()
    assert backup.stat().st_mode & 0o777 == 0o600
    assert check_backup(backup, PASSPHRASE) == checked


def test_the_copy_is_of_one_moment_while_a_server_writes(data: Path) -> None:
    """Counters in the database and in a file beside it go up together; a copy holds the same number of both."""
    database, ending = Database.at(data / "server.db"), threading.Event()

    def write() -> None:
        number = 0
        while not ending.is_set():
            number += 1
            with database.write() as connection:
                connection.exec_driver_sql("INSERT OR REPLACE INTO settings VALUES ('n', ?)", (str(number),))
                (data / "keys" / "n.new").write_text(str(number))
                (data / "keys" / "n.new").replace(data / "keys" / "n")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(10):
            with read_moment(data) as moment, closing(sqlite3.connect(moment.database)) as copy:
                row = copy.execute("SELECT value FROM settings WHERE key = 'n'").fetchone()
                found = moment.files.get("keys/n")
                assert (row[0] if row else None) == (found[1].decode() if found else None)
    finally:
        ending.set()
        writer.join()
        database.close()
    assert not list(data.glob(".backup-*"))


def test_a_full_disk_leaves_no_backup_and_no_draft(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = data.parent / "backup"
    target.write_bytes(b"the one of yesterday")
    real = SealedWriter._seal

    def full(self: SealedWriter, piece: bytes, *, last: bool) -> None:
        if self._number == 1:
            raise OSError(28, "No space left on device")
        real(self, piece, last=last)

    monkeypatch.setattr(SealedWriter, "_seal", full)
    with pytest.raises(OSError, match="No space"):
        back_up(data)
    assert target.read_bytes() == b"the one of yesterday"
    assert sorted(path.name for path in data.parent.iterdir()) == ["backup", "data"]
    assert not list(data.glob(".backup-*"))


def test_a_backup_that_is_not_whole_changes_nothing(data: Path) -> None:
    backup = back_up(data)
    whole = backup.read_bytes()
    before = tree(data)
    for cut in (0, 10, HEADER, HEADER + 100, HEADER + SEALED_PIECE, len(whole) - 1):
        backup.write_bytes(whole[:cut])
        with pytest.raises(BackupError):
            restore_backup(backup, data, PASSPHRASE, 5, lambda _: None)
        with pytest.raises(BackupError):
            check_backup(backup, PASSPHRASE)
    assert tree(data) == before
    assert sorted(path.name for path in data.parent.iterdir()) == ["backup", "data"]


def test_restoring_over_a_server_keeps_the_former_folder(data: Path) -> None:
    backup = back_up(data)
    (data / "keys" / "later").write_bytes(b"later")
    _, former = restore_backup(backup, data, PASSPHRASE, 5, lambda _: None)
    assert former is not None
    assert (former / "keys" / "later").exists()
    assert not (data / "keys" / "later").exists()


def test_a_damaged_artifact_or_database_is_said_and_not_backed_up(data: Path) -> None:
    artifact = max((path for path in (data / "artifacts").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    whole = artifact.read_bytes()
    artifact.write_bytes(whole[:-1])
    with pytest.raises(BackupError, match="damaged"):
        back_up(data)
    artifact.write_bytes(whole)
    (data / "server.db").write_bytes(migrated_file()[:20_000])
    with pytest.raises(BackupError, match=r"database"):
        back_up(data)
    assert not (data.parent / "backup").exists()


def test_a_backup_of_a_newer_release_is_refused(data: Path) -> None:
    with closing(sqlite3.connect(data / "server.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    with pytest.raises(BackupError, match="newer"):
        restore_backup(back_up(data), data.parent / "restored", PASSPHRASE, 5, lambda _: None)
    assert not (data.parent / "restored").exists()


@pytest.mark.parametrize("name", ["../outside", "/etc/outside", "a/../../outside"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as made:
        made.addfile(tarfile.TarInfo(name))
    (tmp_path / "backup").write_bytes(seal_bytes(archive.getvalue()))
    with pytest.raises(BackupError, match="no file of a server"):
        restore_backup(tmp_path / "backup", tmp_path / "data", PASSPHRASE, 5, lambda _: None)
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]
