"""Telemetry that waits for the broker (spool.db): events, windows, health; capped, the least important dropped first.

House rules: WAL, written in batches, since a message written by itself costs an SD card 37 kB. A message that is
acknowledged before its batch is written never touches the disk; what is in memory may be lost in a power cut, but for
events and windows under way, which are flushed (`synchronous=NORMAL`, and FULL for them). The file is capped by
`max_page_count`, kept well above the cap on payloads, because a full database cannot even delete. A disk that is full
or failing stops nothing: messages wait in a little memory, and what is sent already is deleted later. Losses are
counted, over restarts, until they are told.
"""

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edge_agent.adapters.held_windows import HeldWindows, Holder
from edge_agent.adapters.spool_file import MIB, connect
from edge_agent.adapters.sqlite_errors import is_damage
from edge_agent.core.spool_rules import Message, Priority, Spooled, choose_dropped

BATCH = 32
# What waits in memory for a disk that cannot be written.
MEMORY_BYTES = 256 * 1024
_ROW_OVERHEAD = 128
# What an event takes at most.
_EVENT_BYTES = 2048
_log = logging.getLogger(__name__)


class Spool:
    """spool.db, open; use as a context manager. One thread: the main loop.

    `losses` counts by priority what was lost and is not told yet.
    """

    def __init__(self, connection: sqlite3.Connection, cap_bytes: int) -> None:
        self._db = connection
        self._cap = cap_bytes
        self._buffer: dict[int, Message] = {}
        self._sent: set[int] = set()
        self._refused = 0  # how many of the buffer the disk has refused
        (last,) = self._db.execute("SELECT coalesce(max(number), 0) FROM message").fetchone()
        (seen,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        self._last = max(int(last), int(seen))
        count, size = self._db.execute(
            "SELECT count(*), coalesce(sum(length(payload) + length(topic) + ?), 0) FROM message", (_ROW_OVERHEAD,)
        ).fetchone()
        self._count, self._size = int(count), int(size)
        written = dict(self._db.execute("SELECT name, value FROM counter").fetchall())
        self.losses = Counter({priority: int(written.get(_lost(priority), 0)) for priority in Priority})
        self._losses_written = Counter(self.losses)
        self._held = HeldWindows(connection)
        self.release()  # nobody goes on counting what was under way before this start

    @classmethod
    def open(cls, path: Path, cap_mb: float) -> Self:
        """Open or make the spool, since telemetry must not stop the device.

        A damaged file is replaced, which counts as one loss at least; one that cannot be written now is left, and the
        spool is a small one in memory until the next start.
        """
        try:
            try:
                return cls(connect(path, cap_mb), int(cap_mb * MIB))
            except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
                if not is_damage(error):
                    raise
                _log.error("spool_damaged detail=%r", str(error))
                for suffix in ("", "-wal", "-shm"):
                    path.with_name(path.name + suffix).unlink(missing_ok=True)
                spool = cls(connect(path, cap_mb), int(cap_mb * MIB))
                spool.losses[Priority.EVENT] += 1
                return spool
        except (sqlite3.Error, OSError) as error:
            _log.error("spool_in_memory detail=%r", str(error))
            return cls(connect(":memory:", cap_mb), MEMORY_BYTES)

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

    @property
    def last_number(self) -> int:
        """The number of the newest message that was ever put in."""
        return self._last

    @property
    def dropped(self) -> int:
        """How many messages were lost, and not told yet."""
        return self.losses.total()

    def hold(self, holder: Holder, message: Message) -> None:
        """Keep the newest copy of a window under way, instead of the copy before; on disk with the next `flush`."""
        self._held.keep(holder, message)

    def release(self, worker: int | None = None) -> None:
        """Spool what is held of a worker that is gone, or of all, as windows that are closed."""
        for holder, message in self._held.of(worker).items():
            self.put(message, instead_of=holder)

    def put(self, message: Message, instead_of: Holder | None = None) -> bool:
        """Keep a message until it is acknowledged; the least important go when there is no room.

        A window takes the place of its copy held for `instead_of`, in one transaction and at once, so that it can
        never be there twice. Returns whether the message was kept.
        """
        self._last += 1
        numbered = Message(message.topic, message.payload, message.priority, message.expiry_s, self._last)
        size = _size(numbered)
        fits = self._size + size <= self._cap or self._make_room(Spooled(self._last, message.priority, size))
        was_held = instead_of is not None and self._held.drop(instead_of)
        if not fits:
            self.losses[message.priority] += 1
            return False
        self._buffer[self._last] = numbered
        self._count += 1
        self._size += size
        if was_held or len(self._buffer) - self._refused >= BATCH or message.priority is Priority.EVENT:
            self.flush()
        return self._last in self._buffer or not self._buffer

    def tell_losses(self, make: Callable[[Mapping[Priority, int]], Message]) -> None:
        """Put the event that `make` makes of what was lost; both are written together, or it is said again.

        Room for it is made before, so that it speaks of what had to go for it, too.
        """
        room = Spooled(self._last + 1, Priority.EVENT, _EVENT_BYTES)
        if self._size + room.size > self._cap:
            self._make_room(room)
        told = Counter({priority: count for priority, count in self.losses.items() if count > 0})
        self.losses.subtract(told)
        if not self.put(make(told)):
            self.losses.update(told)

    def flush(self) -> None:
        """Write the messages in memory as one transaction; on a failing disk they wait, a few of them."""
        if not (self._buffer or self._sent or self._held.unwritten or self.losses != self._losses_written):
            return
        rows = [(m.number, int(m.priority), m.topic, m.expiry_s, m.payload) for m in self._buffer.values()]
        urgent = any(message.priority is Priority.EVENT for message in self._buffer.values())

        def work() -> None:
            self._db.executemany("INSERT INTO message VALUES (?, ?, ?, ?, ?)", rows)

        if self._write(work, flush=urgent):
            self._buffer.clear()
        else:
            self._shed()
        self._refused = len(self._buffer)

    def peek(self, after: int, count: int) -> tuple[Message, ...]:
        """Return up to `count` messages with numbers above `after`, oldest first, as far as the disk gives them."""
        found: list[Message] = []
        if self._count > len(self._buffer):
            rows = self._read(
                "SELECT topic, payload, priority, expiry_s, number FROM message"
                " WHERE number > ? ORDER BY number LIMIT ?",
                (after, count + len(self._sent)),
            )
            stored = (Message(t, bytes(p), Priority(level), expiry, number) for t, p, level, expiry, number in rows)
            found = [message for message in stored if message.number not in self._sent]
        in_memory = [message for number, message in self._buffer.items() if number > after]
        return tuple((found + in_memory)[:count])

    def acknowledge(self, numbers: tuple[int, ...]) -> None:
        """Forget messages that the broker has acknowledged, in one transaction."""
        stored = [number for number in numbers if not self._forget(number)]
        if stored:
            self._delete(tuple(stored))

    def forget(self, priority: Priority, up_to: int) -> None:
        """Drop the messages of a priority with numbers up to `up_to`, and count them as lost."""
        self.flush()
        rows = self._db.execute("SELECT number FROM message WHERE priority = ? AND number <= ?", (priority, up_to))
        if numbers := tuple(int(number) for (number,) in rows):
            self._delete(numbers, {priority: len(numbers)})

    def _make_room(self, incoming: Spooled) -> bool:
        self.flush()
        rows = self._read("SELECT number, priority, length(payload) + length(topic) + ? FROM message", (_ROW_OVERHEAD,))
        # A tenth more than needed at once, so that a full spool does not sort for each message.
        wanted = Spooled(incoming.number, incoming.priority, incoming.size + self._cap // 10)
        held = [Spooled(number, Priority(level), size) for number, level, size in rows if number not in self._sent]
        free = self._cap - self._size
        chosen = choose_dropped(held, wanted, free) or choose_dropped(held, incoming, free)
        if chosen is None:
            return False
        if not self._delete(tuple(item.number for item in chosen), Counter(item.priority for item in chosen)):
            return False
        return self._size + incoming.size <= self._cap

    def _read(self, query: str, values: tuple[int, ...]) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            _log.warning("spool_unreadable detail=%r", str(error))
            return []

    def _shed(self) -> None:
        """Drop from memory what is too much for it."""
        held = [Spooled(number, message.priority, _size(message)) for number, message in self._buffer.items()]
        nothing = Spooled(self._last + 1, Priority.EVENT, 0)
        free = MEMORY_BYTES - sum(item.size for item in held)
        for item in choose_dropped(held, nothing, free) or ():
            self._forget(item.number)
            self.losses[item.priority] += 1

    def _forget(self, number: int) -> bool:
        """Forget a message in memory; return whether it was there."""
        if (message := self._buffer.pop(number, None)) is None:
            return False
        self._count -= 1
        self._size -= _size(message)
        self._refused = min(self._refused, len(self._buffer))
        return True

    def _delete(self, numbers: tuple[int, ...], lost: Mapping[Priority, int] | None = None) -> bool:
        """Delete stored messages; return whether they are gone, or only hidden until the disk can be written."""
        self._sent |= set(numbers)
        self.losses.update(lost or {})
        return self._write(lambda: None)

    def _write(self, work: Callable[[], None], *, flush: bool = False) -> bool:
        """Do the work, what is to be deleted and the count of losses as one transaction; return whether it was done."""
        deleted, losses = [], Counter(self.losses)
        try:
            flush = flush or self._held.unwritten
            self._db.execute("PRAGMA synchronous=FULL" if flush else "PRAGMA synchronous=NORMAL")
            with self._db:
                for number in self._sent:
                    deleted += self._db.execute(
                        "DELETE FROM message WHERE number = ? RETURNING length(payload) + length(topic) + ?",
                        (number, _ROW_OVERHEAD),
                    ).fetchall()
                if losses != self._losses_written:
                    counts = [(_lost(priority), losses[priority]) for priority in Priority]
                    self._db.executemany("INSERT OR REPLACE INTO counter VALUES (?, ?)", counts)
                self._held.write()
                work()
        except sqlite3.Error as error:
            _log.warning("spool_unwritable detail=%r", str(error))
            return False
        self._sent.clear()
        self._held.written()
        self._losses_written = losses
        self._count -= len(deleted)
        self._size -= sum(int(size) for (size,) in deleted)
        return True


def _lost(priority: Priority) -> str:
    return f"lost_{priority.name.lower()}"


def _size(message: Message) -> int:
    return len(message.payload) + len(message.topic.encode()) + _ROW_OVERHEAD
