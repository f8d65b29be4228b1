"""Which chunks to ask for next: a window of single-topic subscriptions, refilled at half, repaired after a time-out.

House rules: lost, doubled and reordered chunks are normal. The plan knows digests and times only; bytes are verified
and stored by others before `arrived` is called. Times are monotonic seconds, given as arguments.
"""

from collections import deque
from collections.abc import Iterable

from edge_agent.contract.messages import MAX_GET_DIGESTS


class FetchPlan:
    """The chunks still wanted, in order, and those subscribed."""

    def __init__(self, wanted: Iterable[str], *, window: int = 16, timeout_s: float = 5.0) -> None:
        self._window = window
        self._timeout_s = timeout_s
        self._queue: deque[str] = deque(dict.fromkeys(wanted))
        self._total = len(self._queue)
        self._open: dict[str, float] = {}

    @property
    def total(self) -> int:
        """How many chunks the plan began with."""
        return self._total

    @property
    def missing(self) -> int:
        """How many chunks have not arrived."""
        return len(self._queue) + len(self._open)

    @property
    def open(self) -> tuple[str, ...]:
        """Digests subscribed now."""
        return tuple(self._open)

    def refill(self, now: float, at_most: int | None = None) -> tuple[str, ...]:
        """Return the digests to subscribe now, at most `at_most` of them; none while half of a window is open."""
        if len(self._open) > self._window // 2:
            return ()
        room = self._window - len(self._open)
        count = min(room, len(self._queue), room if at_most is None else at_most)
        chosen = tuple(self._queue.popleft() for _ in range(count))
        self._open.update(dict.fromkeys(chosen, now))
        return chosen

    def arrived(self, digest: str) -> bool:
        """Note a chunk that was verified and stored; `False` where it was not awaited (a repeat, or foreign)."""
        if self._open.pop(digest, None) is not None:
            return True
        if digest in self._queue:  # an answer to an earlier request, ahead of its turn
            self._queue.remove(digest)
            return True
        return False

    def awaits(self, digest: str) -> bool:
        """Whether this chunk is still missing."""
        return digest in self._open or digest in self._queue

    def overdue(self, now: float) -> tuple[str, ...]:
        """Return subscribed chunks that did not come in time, and give them the same time again."""
        late = [digest for digest, since in self._open.items() if now >= since + self._timeout_s][:MAX_GET_DIGESTS]
        self._open.update(dict.fromkeys(late, now))
        return tuple(late)

    def next_due(self) -> float | None:
        """Return when the next subscribed chunk becomes overdue."""
        return min(self._open.values()) + self._timeout_s if self._open else None

    def reconnected(self, now: float) -> tuple[str, ...]:
        """Return what must be subscribed again on a new connection; its time begins anew."""
        self._open.update(dict.fromkeys(self._open, now))
        return tuple(self._open)


class TokenBucket:
    """At most `rate` bytes a second on average, bursts of one second (one chunk at the least); 0 means no limit."""

    def __init__(self, rate_bytes_s: float, chunk_bytes: int, now: float) -> None:
        self._rate = rate_bytes_s
        self._chunk = chunk_bytes
        self._depth = max(rate_bytes_s, float(chunk_bytes))
        self._level = self._depth
        self._since = now

    def chunks(self, now: float) -> int | None:
        """Return how many chunks may be asked for now; `None` without a limit."""
        if self._rate <= 0:
            return None
        self._level = min(self._depth, self._level + (now - self._since) * self._rate)
        self._since = now
        return int(self._level // self._chunk)

    def spend(self, chunks: int) -> None:
        """Take the bytes of so many chunks out of the bucket."""
        if self._rate > 0:
            self._level -= chunks * self._chunk

    def wait_s(self) -> float:
        """Return the seconds until one more chunk may be asked for; 0 where one may be now."""
        return 0.0 if self._rate <= 0 else max(0.0, (self._chunk - self._level) / self._rate)
