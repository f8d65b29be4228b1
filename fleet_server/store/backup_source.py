"""What of a data folder goes into a backup: all of it, but for what can be had again.

House rules: the database is read at one moment, and the small files beside it (keys, accounts, certificates,
checkpoints) at the same one, while nobody can write to the database. Artifacts are named by their content and never
change, and are written before the database names them, so they may be read later.
"""

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet_server.store.backup_cipher import BackupError

DATABASE = "server.db"
ARTIFACTS = "artifacts"
# The lock and the database's own files; work under way; releases of runtimes, which are fetched again by one command.
_LEFT_OUT = frozenset(
    {"lock", DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", ARTIFACTS, "uploads", "builds", "runtimes"}
)
# A broker's memory of messages follows from the database and from what devices say again when they connect.
_LEFT_OUT_ENDS = (".log", ".new", "mosquitto.db", "mosquitto.db.new")
_DRAFTS = (".new-", ".backup-")
_MAX_SMALL_BYTES = 256 * 1024 * 1024
_LOCK_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A data folder at one moment: a copy of its database, the small files' bytes by name, and its artifacts."""

    database: Path
    files: dict[str, tuple[int, bytes]]
    artifacts: tuple[Path, ...]

    @property
    def size(self) -> int:
        """How many bytes there are in all."""
        small = sum(len(data) for _, data in self.files.values())
        return self.database.stat().st_size + small + sum(path.stat().st_size for path in self.artifacts)


@contextmanager
def read_moment(folder: Path) -> Iterator[Moment]:
    """Copy the database of a data folder and read the files beside it; a server may run on it meanwhile.

    Raises:
        BackupError: there is no database, it is damaged, or it stays locked for 30 s.
        OSError: the folder cannot be read, or has no room for the copy of the database.
    """
    if not (folder / DATABASE).is_file():
        raise BackupError(f"{folder} is no data folder of a server: it has no {DATABASE}")
    for left in folder.glob(".backup-*"):
        _remove_left(left)
    draft = Path(tempfile.mkdtemp(prefix=".backup-", dir=folder))
    held = _hold(draft)
    try:
        copy = draft / DATABASE
        copy.touch(mode=0o600)
        try:
            files = _copy(folder, copy)
        except sqlite3.Error as error:
            raise BackupError(f"the database cannot be copied: {error}") from error
        artifacts = folder / ARTIFACTS
        yield Moment(copy, files, tuple(sorted(path for path in artifacts.rglob("*") if _is_artifact(path))))
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        os.close(held)


def _hold(draft: Path) -> int:
    """Lock a draft, so that another backup does not take it for one that a killed backup left."""
    handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        raise
    return handle


def _remove_left(draft: Path) -> None:
    with contextlib.suppress(OSError):
        handle = _hold(draft)
        shutil.rmtree(draft, ignore_errors=True)
        os.close(handle)


def _copy(folder: Path, copy: Path) -> dict[str, tuple[int, bytes]]:
    """Copy the database as it is at one moment, and return the small files of the same."""
    source = f"{(folder / DATABASE).absolute().as_uri()}?mode=rw"
    with (
        closing(sqlite3.connect(source, uri=True, timeout=_LOCK_WAIT_S, isolation_level=None)) as writer,
        closing(sqlite3.connect(source, uri=True, timeout=_LOCK_WAIT_S, isolation_level=None)) as reader,
        closing(sqlite3.connect(copy, isolation_level=None)) as target,
    ):
        writer.execute("BEGIN IMMEDIATE")  # nobody else writes from here
        reader.execute("BEGIN").close()
        reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()  # pins what the reader sees
        files = _read_small(folder)
        writer.execute("ROLLBACK")  # to here
        reader.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
        (verdict,) = target.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise BackupError(f"the database is damaged: {verdict}; restore an earlier backup")
    return files


def _read_small(folder: Path) -> dict[str, tuple[int, bytes]]:
    found: dict[str, tuple[int, bytes]] = {}
    total = 0
    for path in _small_files(folder):
        name = path.relative_to(folder).as_posix()
        with contextlib.suppress(FileNotFoundError):  # replaced or removed just now, by one who needs no database
            mode, data = path.stat().st_mode & 0o777, path.read_bytes()
            total += len(data)
            found[name] = (mode, data)
        if total > _MAX_SMALL_BYTES:
            raise BackupError(f"{folder} holds more than {_MAX_SMALL_BYTES} bytes beside its artifacts, at {name}")
    return found


def _small_files(folder: Path) -> Iterator[Path]:
    tops = [path for path in sorted(folder.iterdir()) if path.name not in _LEFT_OUT]
    for top in tops:
        for path in (top, *sorted(top.rglob("*"))):
            name = path.relative_to(folder)
            kept = not path.name.endswith(_LEFT_OUT_ENDS) and not any(part.startswith(_DRAFTS) for part in name.parts)
            if kept and path.is_file() and not path.is_symlink():
                yield path


def _is_artifact(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(_DRAFTS)
