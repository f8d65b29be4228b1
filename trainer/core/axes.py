"""Axes of a plot: where a value stands on paper, and which round values are written beside it.

House rules: values in, values out. A scale covers from `low` to `high` and lies between two places, in either order.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

# Mantissas of ticks on a logarithmic scale, from dense to sparse.
_MANTISSAS = ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,))
# A logarithmic scale of less than this ratio looks linear.
_NARROW = 5
# Linear steps are these times a power of ten.
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


class Scale(Protocol):
    """How values of one axis are laid out."""

    def place(self, value: float) -> float:
        """Return where a value stands; one outside of the scale stands at its end."""

    def ticks(self, most: int) -> tuple[float, ...]:
        """Return round values inside of the scale in ascending order: at least two, and at most `most` (4 or more)."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A scale on which equal differences are equally far."""

    low: float
    high: float
    start: float
    end: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"a scale goes from a lower to a higher value, not from {self.low} to {self.high}")

    def place(self, value: float) -> float:
        """Return where a value stands; one outside of the scale stands at its end."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, most: int) -> tuple[float, ...]:
        """Return multiples of the smallest step of 1, 2, 2.5 or 5 times a power of ten that gives at most `most`."""
        return _linear_ticks(self.low, self.high, most)


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """A scale on which equal ratios are equally far; values are over 0."""

    low: float
    high: float
    start: float
    end: float

    def __post_init__(self) -> None:
        if not 0 < self.low < self.high:
            raise ValueError(f"a logarithmic scale lies over 0 and ascends, not from {self.low} to {self.high}")

    def place(self, value: float) -> float:
        """Return where a value stands; one outside of the scale stands at its end."""
        inside = min(max(value, self.low), self.high)
        share = math.log(inside / self.low) / math.log(self.high / self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def ticks(self, most: int) -> tuple[float, ...]:
        """Return 1, 2, 3, 5 times powers of ten, or fewer of them; of a narrow scale, multiples of a linear step."""
        sets = [self._decimals(mantissas) for mantissas in _MANTISSAS]
        for least in (3, 2):
            if found := next((values for values in sets if least <= len(values) <= most), None):
                return found
            if self.high < _NARROW * self.low:
                return _linear_ticks(self.low, self.high, most)
        decades = sets[-1]
        return decades[:: math.ceil(len(decades) / most)]

    def _decimals(self, mantissas: Sequence[int]) -> tuple[float, ...]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        every = (_decimal(mantissa, power) for power in powers for mantissa in mantissas)
        return tuple(value for value in every if self.low <= value <= self.high)


def _linear_ticks(low: float, high: float, most: int) -> tuple[float, ...]:
    power = math.floor(math.log10((high - low) / most))
    for step in (_decimal(mantissa, exponent) for exponent in (power, power + 1) for mantissa in _STEPS):
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first + 1 <= most:
            # The product of a whole number and a step such as 0.1 has digits that nobody wrote.
            values = (float(f"{index * step:.12g}") for index in range(first, last + 1))
            return tuple(value for value in values if low <= value <= high)
    return ()


def _decimal(mantissa: float, power: int) -> float:
    return float(f"{mantissa}e{power}")


def padded(values: Sequence[float], share: float) -> tuple[float, float]:
    """Return limits of a linear scale around values, wider by a share of their range on both sides."""
    low, high = min(values), max(values)
    room = (high - low or abs(high) or 1.0) * share
    return low - room, high + room


def padded_ratio(values: Sequence[float], share: float) -> tuple[float, float]:
    """Return limits of a logarithmic scale around values over 0, wider by a share of their ratio on both sides."""
    low, high = min(values), max(values)
    room = max((high / low) ** share, 1.1)
    return low / room, high * room


def plain(value: float) -> str:
    """Return a number as a person writes it: thousands apart, no more digits than it has."""
    value += 0.0  # No sign on a nought.
    text = f"{value:,.10g}" if abs(value) >= 1 or value == 0 else f"{value:.10f}".rstrip("0")
    return text.replace("-", "\N{MINUS SIGN}")
