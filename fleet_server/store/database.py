"""The database: one engine, transactions for reading and for writing, and its migrations.

House rules: one writer at a time (a lock in the process, `BEGIN IMMEDIATE` in the file), so that no transaction fails
half-way on a lock that it wanted too late. SQLite runs in WAL with `synchronous=FULL`: what was committed survives a
power cut.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event, exc

from fleet_server.store.errors import ConflictError, UnavailableError

_BUSY_MS = 5000
_WRITER_WAIT_S = 10.0
MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """The server's database, at an SQLAlchemy URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._writer = threading.Lock()
        self._engine = create_engine(url, pool_size=8, max_overflow=32, pool_timeout=_WRITER_WAIT_S)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)

    @classmethod
    def at(cls, path: Path) -> "Database":
        """Open (or make) an SQLite file, readable by this user alone."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        return cls(f"sqlite:///{path}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that reads one state of the database.

        Raises:
            UnavailableError: the database cannot be read now.
        """
        try:
            with self._engine.connect() as connection, connection.begin():
                yield connection
        except (exc.OperationalError, exc.TimeoutError) as error:
            raise UnavailableError(f"the database cannot be read now: {error.__cause__ or error}") from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is saved as a whole at its end, or not at all.

        Raises:
            ConflictError: what was written breaks a rule of the tables.
            UnavailableError: the database cannot be written now.
        """
        if not self._writer.acquire(timeout=_WRITER_WAIT_S):
            raise UnavailableError("the database is busy with another change; try again")
        try:
            with self._engine.connect() as plain:
                connection = plain.execution_options(edgeloop_writer=True)
                with connection.begin():
                    yield connection
        except exc.IntegrityError as error:
            raise ConflictError(f"it exists already or is in use: {error.orig}") from error
        except (exc.OperationalError, exc.TimeoutError) as error:
            raise UnavailableError(f"the database cannot be written now: {error.__cause__ or error}") from error
        finally:
            self._writer.release()

    def upgrade(self) -> None:
        """Bring the tables to this release's form.

        Raises:
            UnavailableError: the database cannot be written now.
        """
        with self.write() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say, by `_begin_sqlite`
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        f"busy_timeout={_BUSY_MS}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    options: dict[str, Any] = dict(connection.get_execution_options())
    connection.exec_driver_sql("BEGIN IMMEDIATE" if options.get("edgeloop_writer") else "BEGIN")
