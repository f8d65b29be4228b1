"""Versions below which no trust metadata is taken (trust.db), whatever becomes of the metadata kept beside it.

House rules: SQLite with `synchronous=EXTRA`, since FULL does not flush the removal of the journal that is the commit;
all floors of one verification are one transaction. A floor is kept with
the keys of its role. It holds as long as those keys could still sign for the role: while as many of them as the present
threshold asks for are still trusted. So a new root that replaces a role's keys lifts the floors that stolen keys drove
up (TUF specification 1.0.34, 5.3.11), adding a key lifts nothing, and nothing else lifts a floor.
"""

import logging
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.adapters import durable

FILE_NAME = "trust.db"
_log = logging.getLogger(__name__)
_SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS floor (
    repository TEXT NOT NULL, role TEXT NOT NULL, keys TEXT NOT NULL, version INTEGER NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (repository, role, keys)) STRICT;
CREATE TABLE IF NOT EXISTS held (
    repository TEXT NOT NULL, role TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (repository, role)) STRICT;
"""


@dataclass(frozen=True, slots=True)
class RoleVersion:
    """A role as verified metadata has it: its version, the keys (fingerprints) and threshold that are trusted for it.

    `digest` is of the signed part, but for its expiry, where one version must not have two contents; empty otherwise.
    """

    role: str
    version: int
    keys: frozenset[str]
    threshold: int
    digest: str = ""


class Floors:
    """trust.db, open; use as a context manager."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the floors; what is damaged is moved aside, and the caller makes new ones from what else is known.

        Raises:
            OSError: the folder is not writable.
            sqlite3.Error: the disk fails.
        """
        try:
            return cls._opened(path)
        except sqlite3.OperationalError:  # full, locked, not writable: the floors may be whole
            raise
        except sqlite3.DatabaseError:
            _log.exception("trust_db_damaged path=%s", path)
        path.replace(path.with_name(f"{path.name}.damaged"))
        for leftover in ("-journal", "-wal", "-shm"):
            path.with_name(path.name + leftover).unlink(missing_ok=True)
        return cls._opened(path)

    @classmethod
    def _opened(cls, path: Path) -> Self:
        db = sqlite3.connect(path, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=DELETE")
            db.execute("PRAGMA synchronous=EXTRA")
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            (state,) = db.execute("PRAGMA integrity_check").fetchone()
            if schema not in (0, _SCHEMA) or state != "ok":
                raise sqlite3.DatabaseError(f"schema {schema}, {state}")
            if schema == 0:
                db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version={_SCHEMA:d}; COMMIT")
            durable.sync_folder(path.parent)  # of a commit that was cut, or failed, at its very last flush
        except (sqlite3.Error, OSError):
            db.close()
            raise
        return cls(db)

    def __enter__(self) -> Self:
        """Return the floors themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file."""
        self._db.close()

    def in_force(self, repository: str, now: RoleVersion) -> RoleVersion | None:
        """Return the highest floor that holds for a role, given the keys now trusted for it."""
        rows = [row for row in self._rows(repository, now.role) if _holds(row, now)]
        return max(rows, key=lambda row: row.version, default=None)

    def is_lifted(self, repository: str, now: RoleVersion) -> bool:
        """Whether a floor above a role's version was lifted, since its keys were replaced."""
        return any(row.version > now.version and not _holds(row, now) for row in self._rows(repository, now.role))

    def knows(self, repository: str, role: str) -> bool:
        """Whether there is any floor of a role."""
        return bool(self._rows(repository, role))

    def named(self, repository: str, prefix: str, now: RoleVersion) -> tuple[RoleVersion, ...]:
        """Return the floors whose names begin with `prefix` and that hold, given the keys and threshold of `now`."""
        return tuple(row for row in self.all_of(repository, prefix) if _holds(row, now))

    def all_of(self, repository: str, prefix: str) -> tuple[RoleVersion, ...]:
        """Return the floors whose names begin with `prefix`, lifted ones too."""
        query = "SELECT role, version, keys, digest FROM floor WHERE repository = ? AND substr(role, 1, ?) = ?"
        return tuple(map(_row, self._db.execute(query, (repository, len(prefix), prefix))))

    def raise_to(self, repository: str, roles: Iterable[RoleVersion], held: Iterable[RoleVersion]) -> None:
        """Raise floors, durably and at once, and note what is held now; a floor is never lowered.

        Raises:
            sqlite3.Error: nothing was written.
        """
        raised = """INSERT INTO floor VALUES (?, ?, ?, ?, ?) ON CONFLICT (repository, role, keys) DO UPDATE
            SET version = excluded.version, digest = excluded.digest WHERE excluded.version > version"""
        noted = (
            "INSERT INTO held VALUES (?, ?, ?) ON CONFLICT (repository, role) DO UPDATE SET version = excluded.version"
        )
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(
                raised, [(repository, one.role, ",".join(sorted(one.keys)), one.version, one.digest) for one in roles]
            )
            self._db.executemany(noted, [(repository, one.role, one.version) for one in held])
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def held(self, repository: str, role: str) -> int:
        """Return the version that is held of a role; 0 where there is none."""
        query = "SELECT version FROM held WHERE repository = ? AND role = ?"
        row = self._db.execute(query, (repository, role)).fetchone()
        return 0 if row is None else int(row[0])

    def _rows(self, repository: str, role: str) -> list[RoleVersion]:
        query = "SELECT role, version, keys, digest FROM floor WHERE repository = ? AND role = ?"
        return [_row(row) for row in self._db.execute(query, (repository, role))]


def _row(row: tuple[str, int, str, str]) -> RoleVersion:
    role, version, keys, digest = row
    return RoleVersion(role, version, frozenset(filter(None, keys.split(","))), 0, digest)


def _holds(floor: RoleVersion, now: RoleVersion) -> bool:
    """Whether the keys that set a floor could still sign; a floor without keys holds for ever."""
    return not floor.keys or len(floor.keys & now.keys) >= now.threshold
