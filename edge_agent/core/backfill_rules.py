"""How fast a backlog is sent after a long absence, so that neither live messages nor the broker suffer: pure rules.

House rules: the newest messages are no backlog and go at once. What is older goes at a steady rate, a little different
on each connection, so that a fleet that returns together does not send in step. Times are monotonic seconds and chance
is uniform in [0, 1), both given as arguments.
"""

from dataclasses import dataclass

FRESH = 16
_BURST = 4.0


@dataclass(frozen=True, slots=True)
class Pace:
    """A token bucket of messages: `level` of them may go at `since`, and `rate_s` more with each second."""

    rate_s: float
    level: float
    since: float

    def allowed(self, now: float) -> int:
        """Return how many messages of the backlog may be sent now."""
        return int(self._level(now))

    def spent(self, count: int, now: float) -> "Pace":
        """Return the pace after `count` messages were sent."""
        return Pace(self.rate_s, self._level(now) - count, now)

    def next_at(self, now: float) -> float:
        """Return when one more message may be sent."""
        return now + max(0.0, 1.0 - self._level(now)) / self.rate_s

    def _level(self, now: float) -> float:
        return min(_BURST, self.level + (now - self.since) * self.rate_s)


def new_pace(rate_s: float, now: float, chance: float) -> Pace:
    """Return the pace of a new connection: it begins empty, at three quarters to five quarters of the rate."""
    return Pace(rate_s * (0.75 + 0.5 * chance), 0.0, now)


def fresh_after(last: int) -> int:
    """Return the number after which messages are fresh, where `last` is the newest one that waits."""
    return max(0, last - FRESH)
