"""Tells the service manager that the agent makes progress, as long as each of its threads does.

House rules: it is called by the main loop, so a loop that hangs (a journal that cannot be written blocks it) says
nothing. A thread that has not turned for too long is named in the log, and the notifications stop, so that the service
manager starts the agent anew. Workers are not its matter: the service replaces those that hang.
"""

import logging
from typing import Protocol

from edge_agent.adapters.watchdog import Watchdog
from edge_agent.core.progress_rules import Turn, stalled

# A large bundle is decompressed and flushed to a slow card in this time.
DISK_PATIENCE_S = 600.0
_log = logging.getLogger(__name__)


class Turning(Protocol):
    """A thread that notes the monotonic time of each of its turns."""

    turned_at: float


class Asked(Turning, Protocol):
    """A thread that turns only when it has work, and can be asked to."""

    def ping(self) -> None:
        """Turn once."""


class Watch:
    """The agent's progress; `broker_patience_s` is longer than any pause between two attempts to connect."""

    def __init__(self, watchdog: Watchdog, disk: Asked, broker: Turning, broker_patience_s: float) -> None:
        self._watchdog = watchdog
        self._disk = disk
        self._broker = broker
        self._broker_patience_s = broker_patience_s
        self._next_at = 0.0
        self._said: tuple[str, ...] = ()

    def ready(self) -> None:
        """The agent is up."""
        self._watchdog.ready()

    def stopping(self) -> None:
        """The agent ends in order."""
        self._watchdog.stopping()

    def tick(self, now: float) -> None:
        """Say that there is progress, where it is due and true."""
        if self._watchdog.every_s is None or now < self._next_at:
            return
        self._next_at = now + self._watchdog.every_s
        held_up = stalled(
            (
                Turn("disk", self._disk.turned_at, DISK_PATIENCE_S),
                Turn("broker", self._broker.turned_at, self._broker_patience_s),
            ),
            now,
        )
        if held_up:
            if held_up != self._said:
                _log.error("watchdog_withheld parts=%s", ",".join(held_up))
        else:
            self._watchdog.alive()
        self._said = held_up
        self._disk.ping()

    def next_due(self) -> float | None:
        """Return when `tick` has something to do."""
        return None if self._watchdog.every_s is None else self._next_at
