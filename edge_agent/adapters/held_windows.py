"""Windows under way: the newest copy of each, one row a worker and model, until the window is closed.

House rules: a row goes in the transaction in which its window is spooled, so that it is there once. What changed is
kept here until the spool has written it; a failed write is repeated with the next.
"""

import sqlite3
from typing import NamedTuple

from edge_agent.core.spool_rules import Message, Priority


class Holder(NamedTuple):
    """Who counts the window: a worker, by its number in this process, for one model."""

    worker: int
    model: str


class HeldWindows:
    """The table `held` of the spool's database, and what is not written of it yet."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        rows = db.execute("SELECT worker, model, priority, topic, expiry_s, payload FROM held ORDER BY worker, model")
        self._rows = {
            Holder(worker, model): Message(topic, bytes(payload), Priority(level), expiry_s)
            for worker, model, level, topic, expiry_s, payload in rows
        }
        self._changed: set[Holder] = set()

    @property
    def unwritten(self) -> bool:
        """Whether something changed since the last `written`."""
        return bool(self._changed)

    def keep(self, holder: Holder, message: Message) -> None:
        """Keep `message` in the place of the copy before."""
        self._rows[holder] = message
        self._changed.add(holder)

    def drop(self, holder: Holder) -> bool:
        """Forget a window that is closed; return whether there was a copy."""
        if self._rows.pop(holder, None) is None:
            return False
        self._changed.add(holder)
        return True

    def of(self, worker: int | None = None) -> dict[Holder, Message]:
        """Return what is held of one worker, or of all."""
        return {holder: one for holder, one in self._rows.items() if worker is None or holder.worker == worker}

    def write(self) -> None:
        """Write what changed, within the transaction of the caller.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        for holder in self._changed:
            self._db.execute("DELETE FROM held WHERE worker = ? AND model = ?", holder)
            if (message := self._rows.get(holder)) is not None:
                values = (*holder, int(message.priority), message.topic, message.expiry_s, message.payload)
                self._db.execute("INSERT INTO held VALUES (?, ?, ?, ?, ?, ?)", values)

    def written(self) -> None:
        """The transaction is done."""
        self._changed.clear()
