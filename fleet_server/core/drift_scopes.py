"""A group's devices, or all of a model, in one look: which columns moved for the group as a whole.

House rules: the device is the unit, whatever number of rows it saw: rows of one device resemble each other, devices of
a group share the season. What is tested is the mean over the devices of how far each is from its own past, against the
larger of two spreads: that between the devices, and that in time of the same mean while the devices learnt (a cluster
t-test; S. Donald and K. Lang (2007), Inference with difference-in-differences, Review of Economics and Statistics 89).
A shift below the policy's effect does not matter. Below `LEAST_DEVICES` that says nothing, and half of the devices
must have moved by themselves. Besides: so many devices that moved by themselves are no chance; and the group stands
further from training than devices do by their nature.
"""

from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fleet_server.core.drift_policy import DriftPolicy
from fleet_server.core.tails import binomial_tail, student_critical
from fleet_server.core.yardstick import FIGURES, LEVEL, SPREAD, Yardstick

Floats = NDArray[np.float64]
LEAST_DEVICES = 5
LEAST_ROUNDS = 8
# Of the variance: a fifth more or less, a tenth in σ.
_SPREAD_EFFECT = 0.2
# A false alarm of a device is rarer (`DriftPolicy.alpha`); the margin is for devices that share their fortune.
_BY_CHANCE = 0.01
# Shares of labels differ between devices by so much by their nature, for each σ of `offset_sigma`.
_SHARE_OF_SIGMA = 1 / 3
_NORMAL = NormalDist()


class Against(StrEnum):
    """What a column moved away from, by which kind of evidence."""

    PAST = "past"
    DEVICES = "devices"
    TRAINING = "training"


@dataclass(frozen=True, slots=True, eq=False)
class DeviceShown:
    """What a group's look needs of J devices.

    `learnt` (J,); `figures` (J, C, 5) and `shares` (J, C, W): how far from their own past; `levels` (J, C) and
    `training_shares` (J, C, W): how far from training; `moved` (J, C): in their own confirmed state.
    """

    learnt: NDArray[np.bool_]
    figures: Floats
    shares: Floats
    levels: Floats
    training_shares: Floats
    moved: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.learnt)


@dataclass(frozen=True, slots=True)
class ScopeMemory:
    """How the means over the devices varied while they learnt: rounds, and sums of squares, (C, 5) and (C, W)."""

    rounds: int
    figures: Floats
    shares: Floats


@dataclass(frozen=True, slots=True)
class ColumnMove:
    """A column that moved in a group's look: how far on average in figures, on how many devices of how many."""

    column: int
    against: Against
    figures: tuple[float, ...]
    share: tuple[int, float]
    devices: int
    of: int


def new_scope_memory(yardstick: Yardstick) -> ScopeMemory:
    """Return a memory of nothing."""
    c, w = yardstick.columns, yardstick.width
    return ScopeMemory(0, np.zeros((c, FIGURES)), np.zeros((c, w)))


def learn_scope(memory: ScopeMemory, shown: DeviceShown) -> ScopeMemory:
    """Take one look in which the devices still learn into the memory."""
    figures, shares = shown.figures.mean(axis=0), shown.shares.mean(axis=0)
    return ScopeMemory(memory.rounds + 1, memory.figures + figures**2, memory.shares + shares**2)


def judge_scope(
    yardstick: Yardstick, shown: DeviceShown, memory: ScopeMemory, policy: DriftPolicy
) -> tuple[ColumnMove, ...]:
    """Return the columns that moved in one look of a group, each once, by its strongest kind of evidence."""
    found: dict[int, ColumnMove] = {}
    for moves in (
        _from_training(yardstick, shown, policy),
        _by_devices(yardstick, shown, policy),
        _from_past(yardstick, shown, memory, policy),
    ):
        found.update({move.column: move for move in moves})
    return tuple(found[column] for column in sorted(found))


def _from_past(yardstick: Yardstick, shown: DeviceShown, memory: ScopeMemory, policy: DriftPolicy) -> list[ColumnMove]:
    figures, shares = shown.figures[shown.learnt], shown.shares[shown.learnt]
    devices = len(figures)
    if devices < LEAST_DEVICES:
        return []
    in_time = memory.rounds >= LEAST_ROUNDS
    freedom = min(devices - 1, memory.rounds) if in_time else devices - 1
    tail = policy.column_alpha(policy.scope_alpha, yardstick.columns)
    effects = np.array([policy.group_effect_sigma, _SPREAD_EFFECT, *[policy.rare_floor] * 3])
    effects = np.tile(effects, (yardstick.columns, 1))
    effects[~yardstick.ordered, LEVEL : SPREAD + 1] = np.inf
    critical = student_critical(tail / (2 * FIGURES), freedom)
    moved = _stands_out(figures, memory.figures / max(1, memory.rounds), critical) & (
        np.abs(figures.mean(axis=0)) >= effects
    )
    critical = student_critical(tail / (2 * yardstick.width), freedom)
    unordered, moved_at_all = ~yardstick.ordered, moved.any(axis=1)
    some = shares[:, unordered]
    other = _stands_out(some, memory.shares[unordered] / max(1, memory.rounds), critical)
    moved_at_all[unordered] |= (other & (np.abs(some.mean(axis=0)) >= policy.group_effect_share)).any(axis=1)
    return [
        _move(int(column), Against.PAST, figures, shares, effects[column]) for column in np.flatnonzero(moved_at_all)
    ]


def _stands_out(values: Floats, in_time: Floats, critical: float) -> NDArray[np.bool_]:
    spread = np.sqrt(np.maximum(values.var(axis=0, ddof=1) / len(values), in_time))
    found: NDArray[np.bool_] = np.abs(values.mean(axis=0)) > critical * spread
    return found


def _by_devices(yardstick: Yardstick, shown: DeviceShown, policy: DriftPolicy) -> list[ColumnMove]:
    figures, shares, moved = shown.figures[shown.learnt], shown.shares[shown.learnt], shown.moved[shown.learnt]
    devices, found = len(figures), []
    for column, count in enumerate(moved.sum(axis=0).tolist()):
        if not count:
            continue
        if devices < LEAST_DEVICES:
            enough = 2 * count >= devices
        else:
            by_chance = binomial_tail(count, devices, _BY_CHANCE) * yardstick.columns
            enough = by_chance <= policy.scope_alpha and count >= policy.device_share * devices
        if enough:
            mine = moved[:, column]
            told = _move(column, Against.DEVICES, figures[mine], shares[mine], np.zeros(FIGURES))
            found.append(ColumnMove(column, Against.DEVICES, told.figures, told.share, count, devices))
    return found


def _from_training(yardstick: Yardstick, shown: DeviceShown, policy: DriftPolicy) -> list[ColumnMove]:
    """Hold all devices' levels against training, with at least the spread that devices have by their nature."""
    devices = len(shown)
    if not devices:
        return []
    critical = _NORMAL.inv_cdf(1 - policy.scope_alpha / (2 * yardstick.columns))
    levels, shares = shown.levels, shown.training_shares
    spread = levels.std(axis=0, ddof=1) if devices > 1 else np.zeros(yardstick.columns)
    mean = levels.mean(axis=0)
    moved = np.abs(mean) > critical * np.maximum(spread, policy.offset_sigma) / np.sqrt(devices)
    moved &= (np.abs(mean) >= policy.group_effect_sigma) & yardstick.ordered
    unordered = ~yardstick.ordered
    some = shares[:, unordered]
    between = some.std(axis=0, ddof=1) if devices > 1 else np.zeros(some.shape[1:])
    mean = some.mean(axis=0)
    least = np.maximum(between, policy.offset_sigma * _SHARE_OF_SIGMA) / np.sqrt(devices)
    other = (np.abs(mean) > critical * least) & (np.abs(mean) >= policy.group_effect_share)
    moved[unordered] |= other.any(axis=1)
    figures = np.zeros((devices, yardstick.columns, FIGURES))
    figures[:, :, LEVEL] = levels
    effects = np.full(FIGURES, policy.group_effect_sigma)
    return [_move(int(column), Against.TRAINING, figures, shares, effects) for column in np.flatnonzero(moved)]


def _move(column: int, against: Against, figures: Floats, shares: Floats, effects: Floats) -> ColumnMove:
    """Describe a column's mean move; a device is one of those that moved where it goes as far in the same direction."""
    mean, share = figures[:, column].mean(axis=0), shares[:, column].mean(axis=0)
    place = int(np.argmax(np.abs(share)))
    relative = np.abs(mean) / np.where(np.isfinite(effects) & (effects > 0), effects, 1.0)
    leading = int(np.argmax(relative))
    same = figures[:, column, leading] * np.sign(mean[leading]) >= effects[leading]
    if not np.isfinite(effects[LEVEL]):
        same = shares[:, column, place] * np.sign(share[place]) > 0
    return ColumnMove(
        column,
        against,
        tuple(float(item) for item in mean),
        (place, float(share[place])),
        int(same.sum()),
        len(figures),
    )
