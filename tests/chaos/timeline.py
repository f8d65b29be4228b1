"""Virtual time for a simulation: one seeded order of everything that happens, and how badly messages fare."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Crash(BaseException):
    """The process that was at work is gone at this very step; what it had made durable stays."""


class Timeline:
    """What is to happen, by time; at the same time chance orders."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.now = 0.0
        self._heap: list[tuple[float, float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0

    def after(self, delay_s: float, action: Callable[..., None], *arguments: Any) -> None:
        """Let `action` happen once, `delay_s` seconds from now."""
        self._count += 1
        heapq.heappush(self._heap, (self.now + delay_s, self.rng.random(), self._count, action, arguments))

    def run_until(self, time_s: float) -> None:
        """Let all happen that is due by then."""
        while self._heap and self._heap[0][0] <= time_s:
            self.now, _, _, action, arguments = heapq.heappop(self._heap)
            action(*arguments)
        self.now = time_s


class Points:
    """Steps of a process between which it may crash: `crash_in` counts down to the one at which it does."""

    def __init__(self) -> None:
        self.crash_in = 0

    def pass_by(self) -> None:
        """One more step.

        Raises:
            Crash: it is the one.
        """
        if self.crash_in > 0:
            self.crash_in -= 1
            if self.crash_in == 0:
                raise Crash


@dataclass
class Weather:
    """What becomes of messages; calm at the end, when faults stop."""

    timeline: Timeline
    drop: float
    double: float
    slowest_s: float
    calm: bool = False

    def chance(self, share: float) -> bool:
        """Whether something that happens in this share of cases happens now; never in calm weather."""
        return not self.calm and self.timeline.rng.random() < share

    def carry(self, deliver: Callable[[], None]) -> None:
        """Carry one message at QoS 1: late, in no order, lost and sent again, or twice."""
        rng = self.timeline.rng
        delay_s = rng.uniform(0.01, 0.1)
        if not self.calm:
            delay_s = rng.uniform(0.01, self.slowest_s if rng.random() < 0.3 else 0.3)
            while rng.random() < self.drop:
                delay_s += rng.uniform(1.0, 8.0)
            if rng.random() < self.double:
                self.timeline.after(delay_s + rng.uniform(0.0, 10.0), deliver)
        self.timeline.after(delay_s, deliver)
