"""Where a word is written beside a point so that it covers nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

# Of a sans-serif at 12 pixels: an average letter, and a line.
_LETTER, _ASCENT, _DESCENT = 6.6, 10.0, 4.0
# What it costs to cover a point or a word, to cover it by much, and to leave the plot.
_OUTSIDE = 1000.0


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle; y grows downwards."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def around(cls, x: float, y: float, radius: float) -> "Box":
        """Return the square around a point."""
        return cls(x - radius, y - radius, x + radius, y + radius)

    def overlap(self, other: "Box") -> float:
        """Return the area that both cover."""
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(wide, 0.0) * max(high, 0.0)

    def holds(self, other: "Box") -> bool:
        """Return whether the other lies inside."""
        inside = self.left <= other.left and other.right <= self.right
        return inside and self.top <= other.top and other.bottom <= self.bottom


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place for a word: of its anchor on its base line, and the box that it covers."""

    x: float
    y: float
    anchor: str
    box: Box


def text_width(words: str) -> float:
    """Return about how wide a word is at 12 pixels."""
    return len(words) * _LETTER


def place_label(words: str, point: tuple[float, float], taken: Sequence[Box], area: Box) -> Candidate:
    """Return the first place around a point where the word covers the least and stays inside of the area."""

    def cost(candidate: Candidate) -> float:
        covered = sum(candidate.box.overlap(box) for box in taken)
        return covered + (0.0 if area.holds(candidate.box) else _OUTSIDE)

    return min(_candidates(text_width(words), *point), key=cost)


def _candidates(width: float, x: float, y: float) -> Sequence[Candidate]:
    """Return places above, below and beside a point, near ones first."""
    offsets = [
        (0, -12, "middle"),
        (0, 20, "middle"),
        (11, 4, "start"),
        (-11, 4, "end"),
        (8, -11, "start"),
        (-8, -11, "end"),
        (8, 19, "start"),
        (-8, 19, "end"),
        (0, -26, "middle"),
        (0, 34, "middle"),
        (8, -25, "start"),
        (-8, -25, "end"),
        (8, 33, "start"),
        (-8, 33, "end"),
        (0, -40, "middle"),
        (0, 48, "middle"),
        (8, 47, "start"),
        (-8, 47, "end"),
    ]
    found = []
    for right, down, anchor in offsets:
        start = x + right - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
        base = y + down
        box = Box(start, base - _ASCENT, start + width, base + _DESCENT)
        found.append(Candidate(x + right, base, anchor, box))
    return found
