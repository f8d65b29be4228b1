"""One window of each device against the device's own past: which columns moved, and how.

House rules: a column moved if chance does not explain it and it moved enough to matter. Chance is the device's own:
its spread over the learning windows, with Student's tail for a spread that is itself estimated, and never less than
independent rows would vary. To matter, a shift or a shape must reach the PSI of the policy; values that are missing,
invalid, outside or of no known category must have become more frequent by its floor, and an exact test must agree.
A single look needs half of the PSI only: the mean over the looks that confirm each other must reach it.
"""

from dataclasses import dataclass
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from fleet_server.core.drift_machine import Look
from fleet_server.core.drift_memory import SHAPES, Memory, scaled_shapes
from fleet_server.core.drift_policy import DriftPolicy
from fleet_server.core.drift_tests import KS_MEAN, KS_SPREAD, population_stability
from fleet_server.core.tails import excess_tail, student_critical
from fleet_server.core.yardstick import ABSENT, BROKEN, LEVEL, OUTSIDE, SPREAD, Columns, Yardstick

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Way(IntFlag):
    """In which ways a column moved."""

    LEVEL = 1
    SHAPE = 2
    OUTSIDE = 4
    MISSING = 8
    INVALID = 16


RARE = ((OUTSIDE, Way.OUTSIDE), (ABSENT, Way.MISSING), (BROKEN, Way.INVALID))
# Level, shape and the rare things share a column's level of error.
_FAMILIES = 3


@dataclass(frozen=True, slots=True, eq=False)
class DeviceLooks:
    """One look of each device: `ways` (D, C) in which its columns moved, and (D, C) their PSI against its past.

    The PSI is told where a threshold was passed, 0 elsewhere. `figures` (D, C, 5) and `shares` (D, C, W): how far they
    are from the past.
    """

    ways: NDArray[np.int64]
    psi: Floats
    figures: Floats
    shares: Floats

    def looks(self) -> list[Look]:
        """The columns of each device that moved, each with its weight; what is rare needs no PSI."""
        found: list[Look] = [()] * len(self.ways)
        for device in np.flatnonzero(self.ways.any(axis=1)).tolist():
            found[device] = self._look(device)
        return found

    def _look(self, device: int) -> Look:
        shaped = Way.LEVEL | Way.SHAPE
        return tuple(
            (
                int(column),
                round(float(self.psi[device, column]), 3) if not self.ways[device, column] & ~shaped else 99.0,
            )
            for column in np.flatnonzero(self.ways[device])
        )


def judge_devices(
    yardstick: Yardstick,
    columns: Columns,
    rows: Floats,
    memory: Memory,
    past: tuple[Floats, Floats],
    policy: DriftPolicy,
) -> DeviceLooks:
    """Judge one window of each device that has learnt its level; `past` is how far it is from it (`deviations`)."""
    figures, shares = past
    tail = policy.column_alpha(policy.alpha, yardstick.columns) / _FAMILIES
    learnt = int(memory.windows.min()) if len(memory) else 2
    # A window of fewer rows than those that were learnt from varies more.
    thin = np.maximum(1.0, memory.rows / np.maximum(memory.windows, 1.0) / np.maximum(rows, 1.0))
    spread = _spread(columns, memory, thin)
    critical = student_critical(tail / 2, max(1, learnt - 1))
    level = yardstick.ordered & (np.abs(figures[:, :, LEVEL]) > critical * spread[:, :, LEVEL])
    shape = _shape_moved(yardstick, columns, memory, tail / SHAPES)
    rare = figures[:, :, OUTSIDE:]
    critical = student_critical(tail / len(RARE), max(1, learnt - 1))
    risen = (rare >= policy.rare_floor) & (rare > critical * spread[:, :, OUTSIDE:])
    psi = _psi_of(level | shape | risen.any(axis=2), columns, memory)
    matters = psi >= policy.psi_floor / 2
    ways = (level & matters) * Way.LEVEL + (shape & matters) * Way.SHAPE
    for place, (figure, way) in enumerate(RARE):
        for device, column in np.argwhere(risen[:, :, place]):
            if _is_excess(columns, memory, (int(device), int(column)), figure, tail / len(RARE)):
                ways[device, column] |= way
    return DeviceLooks(ways, psi, figures, shares)


def _spread(columns: Columns, memory: Memory, thin: Floats) -> Floats:
    """Return the standard deviation of a new window's figures from the mean of the learnt ones, (D, C, 5)."""
    windows = np.maximum(memory.windows, 2.0)[:, None, None]
    varied = memory.squares / (windows - 1) * thin[:, None, None]
    n = np.maximum(columns.n, 1.0)
    independent = np.maximum(memory.mean[:, :, SPREAD], 0.0) / n
    varied[:, :, LEVEL] = np.maximum(varied[:, :, LEVEL], independent)
    found: Floats = np.sqrt(varied * (1 + 1 / windows))
    return found


def _shape_moved(yardstick: Yardstick, columns: Columns, memory: Memory, tail: float) -> Flags:
    """Whether chi-square or Kolmogorov-Smirnov stands out of the device's own, (D, C)."""
    shapes, freedom = scaled_shapes(yardstick, columns, memory)
    compared = np.maximum(memory.windows - 1, 2.0)[:, None, None]
    freedom = np.maximum(freedom, 1.0)
    mean, spread = memory.shape_mean, np.sqrt(memory.shape_squares / (compared - 1) * (1 + 1 / compared))
    known_mean, known_spread = 1 - 3 / (16 * freedom), np.sqrt(1 / (8 * freedom))
    mean = np.maximum(mean, np.stack([known_mean, np.full_like(known_mean, KS_MEAN)], axis=2))
    spread = np.maximum(spread, np.stack([known_spread, np.full_like(known_mean, KS_SPREAD)], axis=2))
    critical = student_critical(tail, max(1, int(compared.min()) - 1))
    moved: Flags = (shapes > mean + critical * spread).any(axis=2)
    return moved


def _psi_of(asked: Flags, columns: Columns, memory: Memory) -> Floats:
    """Return the PSI of the columns asked for, 0 of the others: few of them move, and logarithms are dear."""
    found = np.zeros(asked.shape)
    some = columns.bins[asked], columns.extras[asked], memory.bins[asked], memory.extras[asked]
    found[asked] = full_psi(*(item[None] for item in some))[0]
    return found


def full_psi(bins: Floats, extras: Floats, known_bins: Floats, known_extras: Floats) -> Floats:
    """Return the PSI (D, C) over the bins and what lies outside of them, missing and invalid values included."""
    seen, known = np.concatenate([bins, extras], axis=2), np.concatenate([known_bins, known_extras], axis=2)
    return population_stability(seen, known)


def _is_excess(columns: Columns, memory: Memory, place: tuple[int, int], figure: int, tail: float) -> bool:
    """Whether rare values are more frequent than the device's past explains, by Fisher's exact test."""
    under, over, missing, invalid = (int(item) for item in columns.extras[place])
    known_under, known_over, known_missing, known_invalid = (int(item) for item in memory.extras[place])
    n, m = int(columns.bins[place].sum()) + under + over, int(memory.bins[place].sum()) + known_under + known_over
    if figure == OUTSIDE:
        return excess_tail(under + over, n, known_under + known_over, m) <= tail
    count, known = (missing, known_missing) if figure == ABSENT else (invalid, known_invalid)
    n, m = n + missing + invalid, m + known_missing + known_invalid
    return excess_tail(count, n, known, m) <= tail
