"""What is remembered of each device: how its columns stood in its learning windows, and how much they varied there.

House rules: axis 0 is the device. A device is compared with its own past, since real devices differ from training and
from each other for good. Means and squared deviations are updated one window at a time, so that no window is read
twice. A learning window is first compared with those before it: what it deviates is what chance does, and the same
figure, with the device's own mean and spread, is the threshold later.

Updating: B. P. Welford (1962), Note on a method for calculating corrected sums of squares and products,
Technometrics 4.
"""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from fleet_server.core.drift_tests import scaled_chi_square, scaled_kolmogorov
from fleet_server.core.packed_counts import EXTRA
from fleet_server.core.yardstick import FIGURES, SPREAD, Columns, Yardstick, measure

Floats = NDArray[np.float64]
CHI_SQUARE, KOLMOGOROV = range(2)
SHAPES = 2
# In units of training's: a column that hardly varied is not said to vary many times as much.
_LEAST_SPREAD = 0.05


@dataclass(slots=True, eq=False)
class Memory:
    """Devices' learnt levels. `windows` (D,) were learnt from, of `rows` (D,) altogether.

    `bins` (D, C, W) and `extras` (D, C, 4) are their sum. `mean` and `squares` (D, C, 5), `share_mean` and
    `share_squares` (D, C, W), `shape_mean` and `shape_squares` (D, C, 2): means and sums of squared deviations of the
    figures, the shares, and the scaled statistics of shape (of one window fewer: the first has nothing before it).
    """

    windows: Floats
    rows: Floats
    bins: Floats
    extras: Floats
    mean: Floats
    squares: Floats
    share_mean: Floats
    share_squares: Floats
    shape_mean: Floats
    shape_squares: Floats

    def __len__(self) -> int:
        return len(self.windows)

    def take(self, index: NDArray[np.intp]) -> "Memory":
        """Those of these devices."""
        return Memory(*(getattr(self, field.name)[index] for field in fields(self)))

    def put(self, index: NDArray[np.intp], part: "Memory") -> None:
        """Set those of these devices."""
        for field in fields(self):
            getattr(self, field.name)[index] = getattr(part, field.name)


def new_memory(yardstick: Yardstick, devices: int) -> Memory:
    """Return memories of nothing."""
    c, w = yardstick.columns, yardstick.width
    return Memory(
        *(
            np.zeros((devices, *tail))
            for tail in ((), (), (c, w), (c, EXTRA), *[(c, FIGURES)] * 2, *[(c, w)] * 2, *[(c, SHAPES)] * 2)
        )
    )


def pack_memory(memory: Memory, device: int, yardstick: Yardstick) -> bytes:
    """Return one device's memory as bytes: 4-byte floats in the order of the fields, shares of unordered columns only.

    Counts up to 2**24 are exact in them.
    """
    parts = []
    for field in fields(memory):
        values = getattr(memory, field.name)[device]
        parts.append(np.ravel(values[~yardstick.ordered] if field.name.startswith("share_") else values))
    return np.concatenate(parts).astype("<f4").tobytes()


def unpack_memories(packed: list[bytes], yardstick: Yardstick) -> Memory:
    """Return devices' memories.

    Raises:
        ValueError: they are of another shape than the baseline.
    """
    found = new_memory(yardstick, len(packed))
    if not packed:
        return found
    values = np.frombuffer(b"".join(packed), "<f4").reshape(len(packed), -1).astype(np.float64)
    start, unordered = 0, ~yardstick.ordered
    for field in fields(found):
        whole = getattr(found, field.name)
        place = whole[:, unordered] if field.name.startswith("share_") else whole
        size = int(np.prod(place.shape[1:]))
        part = values[:, start : start + size].reshape(place.shape)
        if field.name.startswith("share_"):
            whole[:, unordered] = part
        else:
            whole[:] = part
        start += size
    if start != values.shape[1]:
        raise ValueError("memories of another shape than the baseline")
    return found


def scaled_shapes(yardstick: Yardstick, columns: Columns, memory: Memory) -> tuple[Floats, Floats]:
    """Return the (D, C, 2) scaled statistics against the past, and the degrees of freedom of the first (D, C)."""
    chi, freedom = scaled_chi_square(columns.bins, memory.bins)
    kolmogorov = np.where(yardstick.ordered, scaled_kolmogorov(columns.bins, memory.bins), 0.0)
    return np.stack([chi, kolmogorov], axis=2), freedom


def deviations(measured: tuple[Floats, Floats], memory: Memory) -> tuple[Floats, Floats]:
    """Return how far measured figures (D, C, 5) and shares (D, C, W) are from the device's own past.

    The spread's is relative to the past one.
    """
    figures, shares = measured
    moved = figures - memory.mean
    moved[:, :, SPREAD] /= np.maximum(memory.mean[:, :, SPREAD], _LEAST_SPREAD)
    return moved, shares - memory.share_mean


def learn(yardstick: Yardstick, columns: Columns, rows: Floats, memory: Memory) -> None:
    """Take one more window of each device into its memory."""
    figures, shares = measure(yardstick, columns)
    shapes, _ = scaled_shapes(yardstick, columns, memory)
    before = memory.windows
    compared = before > 0
    _update(memory.mean, memory.squares, figures, before + 1)
    _update(memory.share_mean, memory.share_squares, shares, before + 1)
    held = memory.shape_mean[compared], memory.shape_squares[compared]
    _update(*held, shapes[compared], before[compared])
    memory.shape_mean[compared], memory.shape_squares[compared] = held
    memory.bins += columns.bins
    memory.extras += columns.extras
    memory.rows += rows
    memory.windows += 1


def _update(mean: Floats, squares: Floats, values: Floats, count: Floats) -> None:
    """Welford's step, in place; `count` includes the new value."""
    step = values - mean
    mean += step / count[:, None, None]
    squares += step * (values - mean)
