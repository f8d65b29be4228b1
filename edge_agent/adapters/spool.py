"""Telemetry that waits for the broker (spool.db): events, windows, health; capped, the least important dropped first.

House rules: WAL and `synchronous=NORMAL`, written in batches, since a message written by itself costs an SD card 37 kB.
A message that is acknowledged before its batch is written never touches the disk; what is in memory may be lost in a
power cut, but for events, which are written at once. The file is capped by `max_page_count`, kept well
above the cap on payloads, because a full database cannot even delete. Losses are counted and never silent.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edge_agent.core.spool_rules import Priority, Spooled, choose_dropped

MIB = 1024 * 1024
BATCH = 32
_PAGE_BYTES = 4096
_ROW_OVERHEAD = 128
_TABLE = """
CREATE TABLE IF NOT EXISTS message (number INTEGER PRIMARY KEY AUTOINCREMENT, priority INTEGER NOT NULL,
    topic TEXT NOT NULL, expiry_s INTEGER NOT NULL, payload BLOB NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish at QoS 1; `number` is given by the spool and orders by age."""

    topic: str
    payload: bytes
    priority: Priority
    expiry_s: int
    number: int = 0


class Spool:
    """spool.db, open; use as a context manager. One thread: the main loop."""

    def __init__(self, connection: sqlite3.Connection, cap_bytes: int) -> None:
        self._db = connection
        self._cap = cap_bytes
        self._buffer: dict[int, Message] = {}
        (last,) = self._db.execute("SELECT coalesce(max(number), 0) FROM message").fetchone()
        (seen,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        self._last = max(int(last), int(seen))
        count, size = self._db.execute(
            "SELECT count(*), coalesce(sum(length(payload) + length(topic) + ?), 0) FROM message", (_ROW_OVERHEAD,)
        ).fetchone()
        self._count, self._size = int(count), int(size)
        self.dropped = 0

    @classmethod
    def open(cls, path: Path, cap_mb: float) -> Self:
        """Open or make the spool; a damaged file is replaced, since telemetry must not stop the device.

        Raises:
            OSError: the folder is not writable.
        """
        try:
            return cls(_connect(path, cap_mb), int(cap_mb * MIB))
        except (sqlite3.DatabaseError, UnicodeDecodeError):  # SQLite quotes a damaged schema as it is
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            return cls(_connect(path, cap_mb), int(cap_mb * MIB))

    def close(self) -> None:
        """Write what is in memory and close."""
        self.flush()
        self._db.close()

    def __enter__(self) -> Self:
        """Return the spool itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is in memory and close."""
        self.close()

    def __len__(self) -> int:
        """Return how many messages wait."""
        return self._count

    @property
    def size_bytes(self) -> int:
        """Bytes of all that wait, with an allowance for each row."""
        return self._size

    def put(self, message: Message) -> None:
        """Keep a message until it is acknowledged; the least important go when there is no room."""
        self._last += 1
        numbered = Message(message.topic, message.payload, message.priority, message.expiry_s, self._last)
        size = _size(numbered)
        if self._size + size > self._cap and not self._make_room(Spooled(self._last, message.priority, size)):
            self.dropped += 1
            return
        self._buffer[self._last] = numbered
        self._count += 1
        self._size += size
        if len(self._buffer) >= BATCH or message.priority is Priority.EVENT:
            self.flush()

    def flush(self) -> None:
        """Write the messages in memory as one transaction; on a failing disk they are dropped and counted."""
        if not self._buffer:
            return
        rows = [(m.number, int(m.priority), m.topic, m.expiry_s, m.payload) for m in self._buffer.values()]
        lost = sum(map(_size, self._buffer.values()))
        self._buffer.clear()
        try:
            with self._db:
                self._db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error:
            self.dropped += len(rows)
            self._count -= len(rows)
            self._size -= lost

    def peek(self, after: int, count: int) -> tuple[Message, ...]:
        """Return up to `count` messages with numbers above `after`, oldest first."""
        found: list[Message] = []
        if self._count > len(self._buffer):
            rows = self._db.execute(
                "SELECT topic, payload, priority, expiry_s, number FROM message"
                " WHERE number > ? ORDER BY number LIMIT ?",
                (after, count),
            )
            found = [Message(t, bytes(p), Priority(level), expiry, number) for t, p, level, expiry, number in rows]
        in_memory = [message for number, message in self._buffer.items() if number > after]
        return tuple((found + in_memory)[:count])

    def acknowledge(self, numbers: tuple[int, ...]) -> None:
        """Forget messages that the broker has acknowledged, in one transaction."""
        stored = []
        for number in numbers:
            if (message := self._buffer.pop(number, None)) is None:
                stored.append(number)
            else:
                self._count -= 1
                self._size -= _size(message)
        if stored:
            self._delete(tuple(stored))

    def _make_room(self, incoming: Spooled) -> bool:
        self.flush()
        rows = self._db.execute(
            "SELECT number, priority, length(payload) + length(topic) + ? FROM message", (_ROW_OVERHEAD,)
        )
        # A tenth more than needed at once, so that a full spool does not sort for each message.
        wanted = Spooled(incoming.number, incoming.priority, incoming.size + self._cap // 10)
        held = [Spooled(number, Priority(level), size) for number, level, size in rows]
        free = self._cap - self._size
        chosen = choose_dropped(held, wanted, free) or choose_dropped(held, incoming, free)
        if chosen is None:
            return False
        self.dropped += len(chosen)
        self._delete(tuple(item.number for item in chosen))
        return True

    def _delete(self, numbers: tuple[int, ...]) -> None:
        with self._db:
            for number in numbers:
                rows = self._db.execute(
                    "DELETE FROM message WHERE number = ? RETURNING length(payload) + length(topic) + ?",
                    (number, _ROW_OVERHEAD),
                ).fetchall()
                self._count -= len(rows)
                self._size -= sum(int(size) for (size,) in rows)


def _size(message: Message) -> int:
    return len(message.payload) + len(message.topic.encode()) + _ROW_OVERHEAD


def _connect(path: Path, cap_mb: float) -> sqlite3.Connection:
    db = sqlite3.connect(path)
    try:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        # Half as much again, and a megabyte: rows, indexes and free pages besides the payloads counted here.
        db.execute(f"PRAGMA max_page_count={int((cap_mb * 1.5 + 1) * MIB / _PAGE_BYTES):d}")
        db.execute("PRAGMA cache_size=-256")
        db.execute("PRAGMA wal_autocheckpoint=64")
        db.executescript(_TABLE)
    except (sqlite3.Error, UnicodeDecodeError):
        db.close()
        raise
    return db
