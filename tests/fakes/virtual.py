"""A world on virtual time for one agent: timers, the agent's queue of inputs, and points at which its power is cut.

House rules: time passes only while the agent waits for an input. A cut is an exception that no code of the agent may
catch: what was written is there afterwards, what was in memory is gone.
"""

import heapq
import queue
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.supervisor.loop import Input


class PowerCut(BaseException):
    """The supervisor is killed here; `BaseException`, so that nothing in it can go on."""


class Settled(BaseException):
    """What the test waits for has come about; the agent is left where it is."""


@dataclass
class World:
    """Virtual seconds, what is to happen when, and what the agent has not taken in yet."""

    now: float = 1000.0
    patience_s: float = 3600.0
    rows: int = 0  # what all workers have counted
    _timers: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _count: int = 0

    def clock(self) -> float:
        """The agent's monotonic clock."""
        return self.now

    def after(self, delay_s: float, act: Callable[[], None]) -> None:
        """Let something happen in the world, whatever becomes of the agent."""
        self._count += 1
        heapq.heappush(self._timers, (self.now + delay_s, self._count, act))

    def next_at(self) -> float:
        """When the next timer is due."""
        return self._timers[0][0] if self._timers else float("inf")

    def fire(self) -> None:
        """Let time pass to the next timer, and let it happen."""
        at, _, act = heapq.heappop(self._timers)
        self.now = max(self.now, at)
        act()


class VirtualInputs(queue.SimpleQueue[Input]):
    """The agent's queue; waiting for it lets the world go on; `work` does one thing of another thread, if any."""

    def __init__(self, world: World, until: Callable[[], bool], work: Callable[[], bool]) -> None:
        self._world = world
        self._until = until
        self._work = work
        self._items: deque[Input] = deque()
        self._deadline = world.now + world.patience_s

    def put(self, item: Input, block: bool = True, timeout: float | None = None) -> None:
        self._items.append(item)

    def get(self, block: bool = True, timeout: float | None = None) -> Input:
        """Return the next input; raise `queue.Empty` after the virtual time-out, `Settled` where the test may end."""
        assert timeout is not None, "the agent waits without a deadline"
        wake_at = self._world.now + timeout
        while not self._items:
            if self._work():
                continue
            if self._until():
                raise Settled
            assert self._world.now <= self._deadline, "it never settled"
            if self._world.next_at() > wake_at:
                self._world.now = wake_at
                raise queue.Empty
            self._world.fire()
        return self._items.popleft()


@dataclass
class Cutter:
    """Counts the points that the agent passes, and acts at the one it is set to.

    A point is `what<` just before something and `what>` just after it.
    """

    point: str = ""
    nth: int = 1
    act: Callable[[], None] | None = None
    passed: list[str] = field(default_factory=list)

    def arm(self, point: str, act: Callable[[], None], nth: int = 1) -> None:
        """Act at the `nth` passing of a point from now on."""
        self.point, self.nth, self.act = point, nth, act

    def at(self, point: str) -> None:
        """The agent passes a point."""
        self.passed.append(point)
        if point != self.point or self.act is None:
            return
        self.nth -= 1
        if self.nth == 0:
            act, self.act = self.act, None
            act()


def cut() -> None:
    """Cut the power."""
    raise PowerCut
