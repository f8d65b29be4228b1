"""The supervisor's durable memory (agent.db): the update, the boot counter, and reports not acknowledged yet.

House rules: SQLite with a rollback journal and `synchronous=EXTRA`, since with FULL the removal of that journal, which
is the commit, is not flushed, and a power cut takes the transaction back. A transition and the report of it are one
transaction, so a power cut leaves both or neither. One writer: the main loop. Numbers of events, windows and reports
count within a boot, and the boot is counted here, so they need no writing of their own. A damaged journal is moved
away and begun anew from what the caller knows; one of a newer agent is refused.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from edge_agent.adapters import durable
from edge_agent.adapters.reserve import Reserve
from edge_agent.adapters.sqlite_errors import is_damage, is_full
from edge_agent.contract import codec
from edge_agent.core.update_machine import Update

_SCHEMA = 2
_OLDER = 1  # the update without its checksum
_TABLES = """
CREATE TABLE IF NOT EXISTS update_row (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS report (
    id INTEGER PRIMARY KEY AUTOINCREMENT, terminal INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
"""
_log = logging.getLogger(__name__)
T = TypeVar("T")


class JournalError(Exception):
    """The journal cannot be used: it is of a newer agent, or the state folder cannot be written."""


class UnwritableError(Exception):
    """Nothing was written: the disk is full or failing. What was to be saved is owed still."""


class _DamagedError(Exception):
    """What is in the file is not what was written."""


@dataclass(frozen=True, slots=True)
class Report:
    """A signed report to send; a terminal one carries an outcome and is never replaced by a newer one."""

    body: bytes
    terminal: bool


@dataclass(frozen=True, slots=True)
class QueuedReport:
    """A report in the outbox, by its number there."""

    number: int
    body: bytes


class Journal:
    """agent.db, open; use as a context manager. `rebuilt` says why it was begun anew, where it was."""

    def __init__(self, connection: sqlite3.Connection, folder: Path, reserve: Reserve, rebuilt: str = "") -> None:
        self._db = connection
        self._folder = folder
        self._is_unsure = False
        self._reserve = reserve
        self._acknowledged: set[int] = set()
        self.rebuilt = rebuilt

    @classmethod
    def open(cls, path: Path, lost: Callable[[], Update | None] = lambda: None) -> Self:
        """Open the journal, or make it of what `lost` returns: the update of a journal that has been lost, if any.

        Raises:
            JournalError: its schema is of a newer agent, or it cannot be read or written now.
        """
        reserve = Reserve(path.with_name(f"{path.stem}.reserve"))
        try:
            try:
                db, rebuilt = _connect(path, lost)
            except _DamagedError as error:
                _move_away(path)
                db, _ = _connect(path, lost)
                rebuilt = f"{path.name} was damaged: {error}"
            durable.sync_folder(path.parent)  # the last commit of a process that was killed before it flushed that
        except (sqlite3.Error, OSError) as error:
            if isinstance(error, sqlite3.Error) and is_full(error) and reserve.give_up():
                return cls.open(path, lost)
            raise JournalError(f"{path} cannot be used now: {error}; look after the disk") from error
        reserve.keep()
        return cls(db, path.parent, reserve, rebuilt)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        """Return the journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self.close()

    def count_boot(self, seen: int = 0) -> int:
        """Count one more start of the supervisor, durably, and return its number: from 1, and above `seen`.

        Raises:
            UnwritableError: nothing was written.
        """
        statement = (
            "INSERT INTO counter VALUES ('boot', ?1 + 1)"
            " ON CONFLICT (name) DO UPDATE SET value = max(value, ?1) + 1 RETURNING value"
        )
        return self._write(lambda: int(self._db.execute(statement, (seen,)).fetchall()[0][0]))

    def load(self) -> Update:
        """Return the update as it was saved last; a fresh one in a new journal."""
        return _load(self._db)

    def save(self, update: Update, report: Report | None = None) -> None:
        """Write the update and, in the same transaction, the report of it.

        Raises:
            UnwritableError: nothing was written.
        """

        def work() -> None:
            _store(self._db, update)
            if report is not None:
                self._queue(report)

        self._write(work)
        self._reserve.keep()

    def queue_report(self, report: Report) -> None:
        """Put a report into the outbox without a transition (capabilities or progress changed).

        Raises:
            UnwritableError: nothing was written.
        """
        self._write(lambda: self._queue(report))

    def reports(self) -> tuple[QueuedReport, ...]:
        """Return the reports not acknowledged yet, oldest first; none while the disk does not give them."""
        try:
            rows = self._db.execute("SELECT id, body FROM report ORDER BY id").fetchall()
        except sqlite3.Error as error:
            _log.warning("reports_unreadable detail=%r", str(error))
            return ()
        queued = (QueuedReport(int(number), bytes(body)) for number, body in rows)
        return tuple(report for report in queued if report.number not in self._acknowledged)

    def acknowledge(self, number: int) -> None:
        """Forget a report that the broker has acknowledged; on a full disk the next start sends it again."""
        self._acknowledged.add(number)
        with contextlib.suppress(UnwritableError):
            self._write(lambda: self._db.execute("DELETE FROM report WHERE id = ?", (number,)))
            self._acknowledged.discard(number)

    def _queue(self, report: Report) -> None:
        """A newer report says all that an older one without an outcome said."""
        self._db.execute("DELETE FROM report WHERE terminal = 0")
        self._db.execute("INSERT INTO report (terminal, body) VALUES (?, ?)", (int(report.terminal), report.body))

    def _write(self, work: Callable[[], T]) -> T:
        """Do the work as one transaction; on a full disk once more, with the room of the reserve."""
        try:
            done = self._transact(work)
            if self._is_unsure:  # what failed may be done but for its flush, and doing it again then writes nothing
                durable.sync_folder(self._folder)
        except (sqlite3.Error, OSError) as error:
            self._is_unsure = True
            raise UnwritableError(f"the journal cannot be written: {error}") from error
        self._is_unsure = False
        return done

    def _transact(self, work: Callable[[], T]) -> T:
        try:
            return _transact(self._db, work)
        except sqlite3.Error as error:
            if not is_full(error) or not self._reserve.give_up():
                raise
            return _transact(self._db, work)


def _connect(path: Path, lost: Callable[[], Update | None]) -> tuple[sqlite3.Connection, str]:
    """Open and look at everything, so that damage is found now; return why it was made of `lost`, if it was.

    Raises:
        _DamagedError: what is in the file is not what was written.
        JournalError: it is of a newer agent.
        sqlite3.Error: it cannot be read or written now.
    """
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA journal_mode=DELETE")
        db.execute("PRAGMA synchronous=EXTRA")
        (schema,) = db.execute("PRAGMA user_version").fetchone()
        if schema > _SCHEMA:
            raise JournalError(f"{path} has schema {schema}; this agent knows {_SCHEMA}")
        _examine(db)
        rebuilt = _transact(db, lambda: _make(db, schema, lost)) if schema != _SCHEMA else ""
        _load(db)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        db.close()
        if is_damage(error):
            raise _DamagedError(str(error)) from error
        raise
    except (JournalError, _DamagedError):
        db.close()
        raise
    return db, rebuilt


def _examine(db: sqlite3.Connection) -> None:
    (verdict, *_), *_ = db.execute("PRAGMA integrity_check(1)").fetchall()
    if verdict != "ok":
        raise _DamagedError(str(verdict))


def _make(db: sqlite3.Connection, schema: int, lost: Callable[[], Update | None]) -> str:
    """Make the tables, or bring those of an older agent up to date, within the transaction of the caller."""
    for table in _TABLES.strip().split(";\n"):  # `executescript` would commit first
        db.execute(table)
    known = None
    if schema == _OLDER:
        _store(db, _load(db, sealed=False))
    elif (known := lost()) is not None:
        _store(db, known)
    db.execute(f"PRAGMA user_version={_SCHEMA:d}")
    return "" if known is None else "agent.db was missing or empty"


def _load(db: sqlite3.Connection, *, sealed: bool = True) -> Update:
    row = db.execute("SELECT body FROM update_row WHERE id = 1").fetchone()
    if row is None:
        return Update()
    try:
        return codec.decode(Update, durable.unseal(row[0]) if sealed else row[0])
    except (durable.DamagedError, codec.MalformedError) as error:
        raise _DamagedError(f"the update is not readable: {error}") from error


def _store(db: sqlite3.Connection, update: Update) -> None:
    db.execute(
        "INSERT INTO update_row VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
        (durable.seal(codec.encode(update)),),
    )


def _transact(db: sqlite3.Connection, work: Callable[[], T]) -> T:
    db.execute("BEGIN IMMEDIATE")
    try:
        done = work()
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    return done


def _move_away(path: Path) -> None:
    """Keep the damaged file for whoever looks into it; its rollback journal goes after it, and never before it.

    Without its journal a file that was half written would look whole.
    """
    path.rename(path.with_name(f"{path.name}.damaged"))
    durable.sync_folder(path.parent)
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    durable.sync_folder(path.parent)
