"""Announces what changed to those who watch (the web page, by server-sent events).

House rules: announcing never waits and never fails; a watcher that is too slow loses the oldest announcements, and
reads the lists again.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_KEPT = 256


@dataclass(frozen=True, slots=True)
class Announcement:
    """One thing that changed: its kind (`fleet`, `event`, `rollout`, `decision`, `operation`) and JSON's own types."""

    kind: str
    data: Any


class Watcher:
    """One who watches; `take` empties what has come."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._pending: deque[Announcement] = deque(maxlen=_KEPT)

    def put(self, announcement: Announcement) -> None:
        """Add an announcement and wake the one who watches."""
        self._pending.append(announcement)
        self._wake()

    def take(self) -> tuple[Announcement, ...]:
        """Return what has come since the last call."""
        taken: list[Announcement] = []
        while self._pending:
            taken.append(self._pending.popleft())
        return tuple(taken)


class Announcer:
    """Hands announcements to all watchers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watchers: set[Watcher] = set()
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether the server ends: those who watch leave."""
        return self._closed

    def close(self) -> None:
        """Wake all who watch, so that they leave."""
        self._closed = True
        self.announce("closing", {})

    def watch(self, wake: Callable[[], None]) -> Watcher:
        """Begin to watch; `wake` is called from any thread at each announcement and must not wait."""
        watcher = Watcher(wake)
        with self._lock:
            self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """End to watch."""
        with self._lock:
            self._watchers.discard(watcher)

    def announce(self, kind: str, data: Any) -> None:
        """Hand an announcement to all who watch."""
        with self._lock:
            watchers = tuple(self._watchers)
        for watcher in watchers:
            watcher.put(Announcement(kind, data))
