"""The supervisor's durable memory (agent.db): the update, the boot counter, and reports not acknowledged yet.

House rules: SQLite with `synchronous=FULL`; a transition and the report of it are one transaction, so a power cut
leaves both or neither. One writer: the main loop. Numbers of events, windows and reports count within a boot, and the
boot is counted here, so they need no writing of their own.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.contract import codec
from edge_agent.core.update_machine import Update

_SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS update_row (id INTEGER PRIMARY KEY CHECK (id = 1), body BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS report (
    id INTEGER PRIMARY KEY AUTOINCREMENT, terminal INTEGER NOT NULL, body BLOB NOT NULL) STRICT;
"""


class JournalError(Exception):
    """The journal cannot be read: the state folder is damaged, or of a newer agent."""


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
    """agent.db, open; use as a context manager."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the journal.

        Raises:
            JournalError: it is damaged, or its schema is of a newer agent.
        """
        try:
            db = sqlite3.connect(path, isolation_level=None)
        except sqlite3.Error as error:
            raise JournalError(f"{path} cannot be opened: {error}") from error
        try:
            db.execute("PRAGMA journal_mode=DELETE")
            db.execute("PRAGMA synchronous=FULL")
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            if schema not in (0, _SCHEMA):
                raise JournalError(f"{path} has schema {schema}; this agent knows {_SCHEMA}")
            db.executescript(_TABLES)
            db.execute(f"PRAGMA user_version={_SCHEMA:d}")
        except (sqlite3.Error, UnicodeDecodeError) as error:  # SQLite quotes a damaged schema as it is
            db.close()
            raise JournalError(f"{path} is damaged: {error}; move it away to begin anew") from error
        except JournalError:
            db.close()
            raise
        return cls(db)

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

    def count_boot(self) -> int:
        """Count one more start of the supervisor, durably, and return its number (from 1)."""
        statement = (
            "INSERT INTO counter VALUES ('boot', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value"
        )
        rows = self._db.execute(statement).fetchall()
        return int(rows[0][0])

    def load(self) -> Update:
        """Return the update as it was saved last; a fresh one in a new journal.

        Raises:
            JournalError: the row is not readable.
        """
        row = self._db.execute("SELECT body FROM update_row WHERE id = 1").fetchone()
        if row is None:
            return Update()
        try:
            return codec.decode(Update, row[0])
        except codec.MalformedError as error:
            raise JournalError(f"the update in the journal is not readable: {error}") from error

    def save(self, update: Update, report: Report | None = None) -> None:
        """Write the update and, in the same transaction, the report of it.

        Raises:
            sqlite3.Error: nothing was written (a full or failing disk).
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute(
                "INSERT INTO update_row VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
                (codec.encode(update),),
            )
            if report is not None:
                self._queue(report)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def queue_report(self, report: Report) -> None:
        """Put a report into the outbox without a transition (capabilities or progress changed).

        Raises:
            sqlite3.Error: nothing was written.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._queue(report)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def reports(self) -> tuple[QueuedReport, ...]:
        """Return the reports not acknowledged yet, oldest first."""
        rows = self._db.execute("SELECT id, body FROM report ORDER BY id").fetchall()
        return tuple(QueuedReport(int(number), bytes(body)) for number, body in rows)

    def acknowledge(self, number: int) -> None:
        """Forget a report that the broker has acknowledged."""
        self._db.execute("DELETE FROM report WHERE id = ?", (number,))

    def _queue(self, report: Report) -> None:
        """A newer report says all that an older one without an outcome said."""
        self._db.execute("DELETE FROM report WHERE terminal = 0")
        self._db.execute("INSERT INTO report (terminal, body) VALUES (?, ?)", (int(report.terminal), report.body))
