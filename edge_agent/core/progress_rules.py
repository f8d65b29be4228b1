"""Whether the agent makes progress, which is more than being alive: pure rules; times are monotonic seconds."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """A part that has to turn again and again: when it did last, and how long it may take."""

    part: str
    last: float
    patience_s: float


def stalled(turns: Iterable[Turn], now: float) -> tuple[str, ...]:
    """Return the parts that have not turned within their patience."""
    return tuple(turn.part for turn in turns if now - turn.last > turn.patience_s)
