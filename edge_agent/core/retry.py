"""Delays before another attempt, and when a worker crashes too often: pure rules; chance and time are arguments."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter, in seconds.

    Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (the "full jitter" rule).
    """

    first_s: float
    max_s: float

    def delay_s(self, attempt: int, jitter: float) -> float:
        """Return the delay before attempt number `attempt` (from 0), with `jitter` uniform in [0, 1)."""
        ceiling = min(self.max_s, self.first_s * 2.0 ** min(attempt, 30))
        return ceiling * jitter


@dataclass(frozen=True, slots=True)
class CrashLog:
    """When a worker ended unexpectedly (monotonic seconds); old entries fall out of the span."""

    span_s: float = 300.0
    limit: int = 3
    times: tuple[float, ...] = ()

    def add(self, now: float) -> "CrashLog":
        """Return the log with one more crash at `now`."""
        recent = tuple(time for time in self.times if now - time <= self.span_s)
        return CrashLog(self.span_s, self.limit, (*recent, now))

    @property
    def attempt(self) -> int:
        """How many crashes there were within the span before the latest."""
        return max(0, len(self.times) - 1)

    @property
    def is_storm(self) -> bool:
        """Whether the worker has just crashed the `limit`-th time within the span, and each `limit` times after."""
        return len(self.times) > 0 and len(self.times) % self.limit == 0
