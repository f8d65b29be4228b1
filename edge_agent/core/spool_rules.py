"""What the telemetry spool gives up when it is full: least important first, oldest first within that.

House rules: events say what happened and are dropped last; windows are evidence; health is for dashboards alone;
labelled rows are large, and many others are as good. The numbers of priorities are on disk and never change.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Priority(IntEnum):
    """Importance of a spooled message; the greatest is kept the longest."""

    FEEDBACK = -1
    HEALTH = 0
    WINDOW = 1
    EVENT = 2


@dataclass(frozen=True, slots=True)
class Message:
    """A message to publish at QoS 1; `number` is given by the spool and orders by age."""

    topic: str
    payload: bytes
    priority: Priority
    expiry_s: int
    number: int = 0


@dataclass(frozen=True, slots=True)
class Spooled:
    """A message in the spool, by what the choice needs: its number (rising with age's end), priority and size."""

    number: int
    priority: Priority
    size: int


def choose_dropped(held: Iterable[Spooled], incoming: Spooled, free_bytes: int) -> tuple[Spooled, ...] | None:
    """Choose what to drop so that `incoming` fits; `None` where the incoming one must itself be dropped.

    Nothing of higher priority than the incoming message is ever dropped for it.
    """
    dropped: list[Spooled] = []
    for item in sorted(held, key=lambda spooled: (spooled.priority, spooled.number)):
        if free_bytes >= incoming.size or item.priority > incoming.priority:
            break
        dropped.append(item)
        free_bytes += item.size
    return tuple(dropped) if free_bytes >= incoming.size else None
