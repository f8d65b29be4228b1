"""Delays before another attempt, and when a worker crashes too often: pure rules; chance and time are arguments."""

from dataclasses import dataclass

JUST_BOOTED_S = 300.0


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
class Spread:
    """When a device of a large fleet comes to something that all of it uses: a place of its own in a window, kept.

    The first attempt is at a place that is uniform in the window, later ones follow a window apart. Then the time to a
    device's next attempt is uniform in the window at *every* moment, so N devices come at N / window each second at the
    most, however long the broker was away. Jitter that is drawn anew for each attempt does not do this: of intervals
    uniform in [0, w], those that an instant falls into are long, and twice N / w come in the first moment.

    Source: the distribution of the forward recurrence time of a renewal process, D. R. Cox, "Renewal Theory", 1962.
    """

    window_s: float

    def delay_s(self, attempt: int, place: float) -> float:
        """Return the delay before attempt number `attempt` (from 0), with `place` uniform in [0, 1)."""
        return self.window_s * place if attempt == 0 else self.window_s


def first_delay_s(spread: Spread, *, uptime_s: float, boots: int, place: float) -> float:
    """Return how long to wait before the first connection of this start, in seconds.

    A board that has just got its power got it together with its neighbours, so it takes its place in the window. An
    agent that was started on a running board, or for the first time, is somebody's work, and connects at once.
    """
    return spread.delay_s(0, place) if uptime_s < JUST_BOOTED_S and boots > 1 else 0.0


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
