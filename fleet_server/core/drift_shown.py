"""A device's newest look as it is kept until its groups are judged: how far it was from its past and from training.

House rules: one row of 4-byte floats; shares are kept of unordered columns only.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fleet_server.core.drift_scopes import DeviceShown, ScopeMemory, new_scope_memory
from fleet_server.core.yardstick import FIGURES, LEVEL, Yardstick

Floats = NDArray[np.float64]


def shown_of(
    yardstick: Yardstick, measured: tuple[Floats, Floats], past: tuple[Floats, Floats], moved: NDArray[np.bool_]
) -> DeviceShown:
    """Return a look of each device; `past` is how far the measured figures and shares are from it."""
    figures, shares = measured
    known = yardstick.training / np.maximum(yardstick.training.sum(axis=1, keepdims=True), 1.0)
    learnt = np.zeros(len(figures), np.bool_)
    return DeviceShown(learnt, past[0], past[1], figures[:, :, LEVEL], shares - known, moved)


def pack_shown(yardstick: Yardstick, shown: DeviceShown) -> list[bytes]:
    """Return the looks as rows."""
    unordered, devices = ~yardstick.ordered, len(shown)
    parts = (shown.figures, shown.shares[:, unordered], shown.levels, shown.training_shares[:, unordered], shown.moved)
    rows = np.concatenate([item.reshape(devices, -1) for item in parts], axis=1).astype("<f4")
    return [row.tobytes() for row in rows]


def shown_bytes(yardstick: Yardstick) -> int:
    """Return the size of a row."""
    return 4 * (yardstick.columns * (FIGURES + 2) + 2 * int((~yardstick.ordered).sum()) * yardstick.width)


def unpack_shown(yardstick: Yardstick, packed: Sequence[bytes], learnt: Sequence[bool]) -> DeviceShown:
    """Return the looks of rows.

    Raises:
        ValueError: they are of another shape than the baseline.
    """
    devices, c, w = len(packed), yardstick.columns, yardstick.width
    unordered = ~yardstick.ordered
    u = int(unordered.sum())
    sizes = np.cumsum([c * FIGURES, u * w, c, u * w, c])
    values = np.frombuffer(b"".join(packed), "<f4").reshape(devices, -1).astype(np.float64)
    if values.shape[1] != sizes[-1]:
        raise ValueError("looks of another shape than the baseline")
    figures, shares, levels, training, moved = np.split(values, sizes[:-1], axis=1)
    whole = np.zeros((2, devices, c, w))
    whole[0][:, unordered] = shares.reshape(devices, u, w)
    whole[1][:, unordered] = training.reshape(devices, u, w)
    return DeviceShown(
        np.array(learnt, np.bool_), figures.reshape(devices, c, FIGURES), whole[0], levels, whole[1], moved > 0
    )


def pack_scope_memory(memory: ScopeMemory) -> bytes:
    """Return a group's memory as bytes."""
    parts = ([float(memory.rounds)], memory.figures.ravel(), memory.shares.ravel())
    return np.concatenate(parts).astype("<f4").tobytes()


def unpack_scope_memory(packed: bytes, yardstick: Yardstick) -> ScopeMemory:
    """Return a group's memory; one of another shape, or none at all, is a memory of nothing."""
    empty = new_scope_memory(yardstick)
    values = np.frombuffer(packed, "<f4").astype(np.float64)
    if len(values) != 1 + empty.figures.size + empty.shares.size:
        return empty
    figures, shares = np.split(values[1:], [empty.figures.size])
    return ScopeMemory(int(values[0]), figures.reshape(empty.figures.shape), shares.reshape(empty.shares.shape))
