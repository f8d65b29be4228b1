"""What a database remembers of having been restored: when, past which numbers it goes on, and who is still unheard.

House rules: a restored database has forgotten what its fleet has seen since. Until a device has said how it stands, its
document is held back: `published_seq` is then below 0, and holds the number that was known of (-1 - seq).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Integer, delete, func, insert, literal, select, update

from edge_agent.contract import codec
from edge_agent.contract.messages import Desired
from fleet_server.store.backup_cipher import BackupError
from fleet_server.store.database import MIGRATIONS
from fleet_server.store.schema import desired, devices, settings

_KEY = "restored"
# Past any count of documents that a lost while can have made, where the clock is wrong.
_LEAP = 2**20


@dataclass(frozen=True, slots=True)
class Restored:
    """A restore: when (epoch ms), how many times so far, and the number past which documents go on (0: not begun)."""

    at: int
    generation: int
    floor: int = 0


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as connection:
        try:
            yield connection
        except sqlite3.Error as error:
            raise BackupError(f"the database in the backup cannot be used: {error}") from error


def read_schema(path: Path) -> str:
    """Return the revision of the tables of a database file.

    Raises:
        BackupError: it is no database of a server.
    """
    with _opened(path) as connection:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None:
        raise BackupError("the database was never set up: start the server once")
    return str(row[0])


def is_known_schema(revision: str) -> bool:
    """Whether this release has the migrations up to a revision."""
    return revision in {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}


def mark_restored(path: Path, now: int) -> None:
    """Note in a database file, of this or an earlier release, that it was restored at `now` (epoch ms).

    Raises:
        BackupError: it is no database of a server.
    """
    with _opened(path) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        row = connection.execute("SELECT value FROM settings WHERE key = ?", (_KEY,)).fetchone()
        generation = 1 if row is None else codec.decode(Restored, str(row[0]).encode()).generation + 1
        value = codec.encode(Restored(now, generation)).decode()
        connection.execute("INSERT OR REPLACE INTO settings (key, value) VALUES (?, ?)", (_KEY, value))
        connection.commit()


def find_restored(connection: Connection) -> Restored | None:
    """Return the newest restore of this database, or None."""
    value = connection.execute(select(settings.c.value).where(settings.c.key == _KEY)).scalar_one_or_none()
    return None if value is None else codec.decode(Restored, str(value).encode())


def seq_floor(connection: Connection) -> int:
    """Return the number past which new documents of devices begin; 0 where nothing was ever restored."""
    restored = find_restored(connection)
    return 0 if restored is None else restored.floor


def begin_recovery(connection: Connection, restored: Restored) -> Restored:
    """Hold every device's document back, and choose the number past which documents go on: seconds since 1970.

    A document a second on the average, for ever, would be needed to outrun it before the next restore.
    """
    highest = connection.execute(select(func.coalesce(func.max(desired.c.seq), 0))).scalar_one()
    begun = Restored(restored.at, restored.generation, max(restored.at // 1000, highest + _LEAP))
    without = select(devices.c.id).where(devices.c.id.not_in(select(desired.c.device)))
    for device in connection.execute(without).scalars().all():
        body = codec.to_plain(Desired(device, 0, restored.at, ()))
        made = {"device": device, "seq": 0, "body": body, "digests": [], "published_seq": 0, "created": restored.at}
        connection.execute(insert(desired).values(made))
    connection.execute(update(desired).values(published_seq=literal(-1, Integer) - desired.c.seq))
    connection.execute(delete(settings).where(settings.c.key == _KEY))
    connection.execute(insert(settings).values(key=_KEY, value=codec.encode(begun).decode()))
    return begun


def find_held(connection: Connection, device: str) -> int | None:
    """Return the number of a held device's document when it was restored; None for a device that is not held."""
    published = connection.execute(
        select(desired.c.published_seq).where(desired.c.device == device, desired.c.published_seq < 0)
    ).scalar_one_or_none()
    return None if published is None else -1 - published


def held_devices(connection: Connection) -> frozenset[str]:
    """Return the devices whose documents are held back."""
    return frozenset(connection.execute(select(desired.c.device).where(desired.c.published_seq < 0)).scalars())


def hold(connection: Connection, device: str) -> None:
    """Hold a device's document back, where it has one."""
    here = (desired.c.device == device) & (desired.c.published_seq >= 0)
    connection.execute(update(desired).where(here).values(published_seq=literal(-1, Integer) - desired.c.seq))


def count_held(connection: Connection) -> int:
    """Return how many devices' documents are held back."""
    return connection.execute(select(func.count()).where(desired.c.published_seq < 0)).scalar_one()


def release(connection: Connection, device: str) -> None:
    """Hold a device's document back no longer."""
    connection.execute(update(desired).where(desired.c.device == device).values(published_seq=0))
