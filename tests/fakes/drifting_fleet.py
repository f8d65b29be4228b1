"""Simulated fleets for the statistics of drift: rows of normal columns, counted in bins as a device counts them.

House rules: everything is seeded. A device stands off training by its own offset in each column for good. Rows are
independent, or an AR(1) series within the device that goes on from window to window. The training rows are the
distribution itself: 20 bins of equal probability, whose counts stand for `TRAINING_ROWS` rows.
"""

import itertools
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from edge_agent.contract.baseline import Baseline, FeatureBaseline, OutputBaseline
from edge_agent.contract.windows import LATENCY_BUCKETS, FeatureCounts, WindowCounts
from fleet_server.core.count_arrays import CountArrays, empty_arrays
from fleet_server.core.yardstick import Yardstick, yardstick_of

Floats = NDArray[np.float64]
BINS, TRAINING_ROWS, LABELS = 20, 20_000, 3
RANGE = 4.0  # of 20,000 normal rows, about where the extremes lie
_NORMAL = NormalDist()
EDGES = np.array([_NORMAL.inv_cdf(k / BINS) for k in range(1, BINS)])
# Values are rounded to 1/512 σ, so that a table finds their bin; the edges are rounded alike.
_STEP = 1 / 512
_TABLE = np.searchsorted(np.round(EDGES / _STEP), np.arange(-int(RANGE / _STEP), int(RANGE / _STEP) + 1), side="left")


def baseline_of(features: int) -> Baseline:
    """The baseline of standard normal columns and three labels."""
    edges = tuple(float(item) for item in np.round(EDGES / _STEP) * _STEP)
    ends = [0.0, *(_NORMAL.cdf(edge) for edge in edges), 1.0]
    counts = tuple(round(TRAINING_ROWS * (b - a)) for a, b in itertools.pairwise(ends))
    columns = tuple(
        FeatureBaseline(f"x{number}", -RANGE, RANGE, edges, counts, 0, 0.0, 1.0) for number in range(features)
    )
    return Baseline(TRAINING_ROWS, columns, OutputBaseline((), (10_000, 6_000, 4_000)))


@dataclass
class SimulatedFleet:
    """Devices that each close one window at a time; `correlation` is that of neighbouring rows."""

    devices: int
    features: int
    rows: int
    correlation: float
    offset_sigma: float
    chance: np.random.Generator

    def __post_init__(self) -> None:
        self.baseline: Baseline = baseline_of(self.features)
        self.yardstick: Yardstick = yardstick_of(self.baseline)
        self.offsets = self.offset_sigma * self.chance.normal(size=(self.devices, self.features))
        self._state = self.chance.normal(size=(self.devices, self.features))

    def windows(self, shift: Floats | float = 0.0, stuck: tuple[int, ...] = ()) -> CountArrays:
        """One window of every device; `shift` (features,) is added to all rows, the columns `stuck` stand still."""
        found = empty_arrays(self.yardstick.shape, self.devices)
        found.scalars[:, 0] = self.rows
        moved = self.offsets + shift
        for device in range(self.devices):
            values = self._rows(device) + moved[device]
            for column in stuck:
                values[:, column] = values[0, column]
            self._count(found, device, values)
        found.outputs[:] = self.chance.multinomial(self.rows, (0.5, 0.3, 0.2), size=self.devices)
        found.values[:, -30] = self.rows
        return found

    def _rows(self, device: int) -> Floats:
        noise = self.chance.standard_normal((self.rows, self.features), np.float32)
        if not self.correlation:
            return np.asarray(noise, np.float64)
        scale = np.sqrt(1 - self.correlation**2)
        start = self.correlation * self._state[device][None, :]
        series, _ = lfilter([scale], [1, -self.correlation], noise, axis=0, zi=start)
        self._state[device] = series[-1]
        return np.asarray(series, np.float64)

    def _count(self, found: CountArrays, device: int, values: Floats) -> None:
        steps = np.rint(values / _STEP).astype(np.int64)
        limit = int(RANGE / _STEP)
        width, stride = BINS, found.shape.stride
        slots = _TABLE[np.clip(steps, -limit, limit) + limit]
        slots = np.where(steps < -limit, width, np.where(steps > limit, width + 1, slots))
        slots += np.arange(self.features) * stride
        counted = np.bincount(slots.ravel(), minlength=self.features * stride)
        found.values[device, : self.features * stride] = counted
        found.moments[device, 0] = values.sum(axis=0)
        found.moments[device, 1] = (values**2).sum(axis=0)


def counts_of(found: CountArrays, device: int) -> WindowCounts:
    """One device's window as it goes on the wire."""
    columns = tuple(
        FeatureCounts(
            tuple(found.bins[device, column].tolist()),
            *found.extras[device, column].tolist(),
            round(float(found.moments[device, 0, column]), 2),
            round(float(found.moments[device, 1, column]), 2),
        )
        for column in range(len(found.shape.bins))
    )
    rows, latency = int(found.rows[device]), tuple(found.values[device, -LATENCY_BUCKETS:].tolist())
    return WindowCounts(rows, 0, 0, columns, tuple(found.outputs[device].tolist()), (), latency)
