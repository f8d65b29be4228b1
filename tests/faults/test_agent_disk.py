"""Disks that are full, read-only or failing at any call: readers see old or new, and all is well when it ends."""

import contextlib
import errno
import itertools
import os
import resource
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge_agent.adapters.journal import Journal, JournalError, Report, UnwritableError
from edge_agent.adapters.reserve import RESERVE_BYTES
from edge_agent.core.update_machine import Update, recovered
from tests.fakes.crash_reading import scratch_folder
from tests.fakes.disk_calls import CHANGES, WRITES, Failing, Promised, Recorder, watched
from tests.faults.durable_procedures import FILES
from tests.faults.sqlite_procedures import FETCHING, SQLITE, VERIFYING
from tests.faults.trust_procedures import TRUST

# On a disk that does not write, the spool goes on in memory: what it promises then is not on the disk.
SPOOLED = frozenset({"telemetry", "a window under way", "windows of workers that are gone"})
PROCEDURES = {name: found for name, found in (FILES | SQLITE | TRUST).items() if name not in SPOOLED}
TROUBLES = {
    "full": (errno.ENOSPC, WRITES),
    "read-only": (errno.EROFS, CHANGES),
    "failing": (errno.EIO, CHANGES),
}
REFUSALS = (OSError, UnwritableError, JournalError, sqlite3.Error)


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    with scratch_folder(tmp_path) as folder:
        yield folder


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("name", PROCEDURES)
def test_trouble_from_any_call_on_leaves_old_or_new(scratch: Path, name: str, trouble: str) -> None:
    procedure, (number, calls) = PROCEDURES[name], TROUBLES[trouble]
    for first in itertools.count():
        folder, copy = scratch / str(first), scratch / f"{first}-seen"
        folder.mkdir()
        procedure.before(folder)
        disk = Failing(number, calls, first)
        with watched(folder, disk), contextlib.suppress(*REFUSALS):
            procedure.act(folder, disk)
        promised = sum(isinstance(change, Promised) for change in disk.changes)
        shutil.copytree(folder, copy)
        assert procedure.read(copy) in procedure.allowed[promised], first
        if not disk.happened:
            break
        if name in FILES | TRUST:  # the others count what they do
            procedure.act(folder, Recorder())
            assert procedure.read(folder) in procedure.allowed[-1], first


@contextmanager
def file_limit(size: int) -> Iterator[None]:
    """The kernel's own refusal: no file may grow beyond `size`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", PROCEDURES)
def test_files_that_may_not_grow_leave_old_or_new(scratch: Path, name: str) -> None:
    procedure = PROCEDURES[name]
    for size in (0, 1, 100, 511, 512, 513, 600, 4095, 4096, 5000, 8192, 12288, 16384, 20480, 24576, 1 << 20):
        folder, disk = scratch / str(size), Recorder()
        folder.mkdir()
        procedure.before(folder)
        with file_limit(size), contextlib.suppress(*REFUSALS):
            procedure.act(folder, disk)
        promised = sum(isinstance(change, Promised) for change in disk.changes)
        assert procedure.read(folder) in procedure.allowed[promised], size
    assert promised == len(procedure.allowed) - 1, "the last limit is none"


class SmallDisk(Recorder):
    """A disk of a few bytes: where a folder's files fill it, nothing more is written."""

    def __init__(self, folder: Path, size: int) -> None:
        super().__init__()
        self._folder = folder
        self._size = size

    @property
    def free(self) -> int:
        used = sum(found.stat().st_size for found in self._folder.rglob("*") if found.is_file())
        return max(0, self._size - used)

    def before(self, call: str, path: Path) -> None:
        if call in WRITES and self.free == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_the_reserve_lets_a_full_disk_be_journalled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others, path = tmp_path / "others.log", tmp_path / "agent.db"
    with Journal.open(path) as journal:
        journal.save(FETCHING, Report(b"one", terminal=True))
    assert (tmp_path / "agent.reserve").stat().st_size == RESERVE_BYTES
    disk = SmallDisk(tmp_path, 20 * RESERVE_BYTES)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=disk.free, f_frsize=1))
    with watched(tmp_path, disk), Journal.open(path) as journal:
        others.write_bytes(bytes(20 * RESERVE_BYTES - (128 << 10)))
        journal.save(VERIFYING, Report(b"two", terminal=True))
        assert not (tmp_path / "agent.reserve").exists()
        others.write_bytes(bytes(20 * RESERVE_BYTES))
        with pytest.raises(UnwritableError):
            journal.save(FETCHING)
        assert journal.load() == VERIFYING
        journal.acknowledge(journal.reports()[0].number)
        assert [report.body for report in journal.reports()] == [b"two"]
        others.unlink()
        journal.save(FETCHING)
        assert (tmp_path / "agent.reserve").exists()
    with Journal.open(path) as journal:
        assert journal.load() == FETCHING


def test_a_journal_that_does_not_read_is_rebuilt(tmp_path: Path) -> None:
    path, known = tmp_path / "agent.db", recovered(None, (), 5)
    Journal.open(path).close()
    disk = Failing(errno.EIO, frozenset({"read"}), first=1, count=1)
    with watched(tmp_path, disk), Journal.open(path, lambda: known) as journal:
        assert "disk I/O error" in journal.rebuilt
        assert journal.load() == known


def test_reports_wait_while_the_disk_does_not_read(tmp_path: Path) -> None:
    disk = Failing(errno.EIO, frozenset({"read"}), first=1_000_000)
    with watched(tmp_path, disk), Journal.open(tmp_path / "agent.db") as journal:
        journal.save(FETCHING, Report(b"one", terminal=True))
        journal._db.execute("PRAGMA shrink_memory")
        disk.first = 0
        assert journal.reports() == ()
        assert disk.happened
        disk.first = 1_000_000
        assert [report.body for report in journal.reports()] == [b"one"]


def test_a_full_disk_at_the_start_is_not_taken_for_damage(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    with Journal.open(path) as journal:
        journal.save(FETCHING)
    before = path.read_bytes()
    disk = Failing(errno.ENOSPC, WRITES)
    with watched(tmp_path, disk), Journal.open(path, Update) as journal, pytest.raises(UnwritableError):
        journal.count_boot()
    assert path.read_bytes() == before
    with Journal.open(path, Update) as journal:
        assert journal.load() == FETCHING
