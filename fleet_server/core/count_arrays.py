"""Many windows of one shape as arrays: merging is adding, and ten thousand of them are judged at once.

House rules: axis 0 is the window. Rows of the database are opened in runs of the same layout and read without a copy
for each; windows of another shape than the baseline's are left out and told, never padded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleet_server.core.packed_counts import EXTRA, Layout, Shape, open_packed

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
ROWS, ERRORS, REJECTED, FEEDBACK_N, FEEDBACK_CORRECT = range(5)
ABS_ERROR, MEMORY_MB = range(2)
UNDER, OVER, MISSING, INVALID = range(EXTRA)
_MOMENT_UNITS = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class CountArrays:
    """Windows of one shape.

    `scalars` (windows, 5): rows, errors, rejected, feedback n and correct. `floats` (windows, 2): sum of |error|,
    memory. `moments` (windows, 2, features): totals and squares. `values` (windows, shape.length): all the counts.
    """

    shape: Shape
    scalars: Counts
    floats: Floats
    moments: Floats
    values: Counts

    def __len__(self) -> int:
        return len(self.scalars)

    @property
    def rows(self) -> Counts:
        """Rows of each window."""
        return self.scalars[:, ROWS]

    @property
    def features(self) -> Counts:
        """(windows, features, stride): padded bins, then under, over, missing, invalid."""
        count = len(self.shape.bins)
        return self.values[:, : self.shape.of_features].reshape(len(self), count, self.shape.stride)

    @property
    def bins(self) -> Counts:
        """(windows, features, width): padded bins."""
        return self.features[:, :, : self.shape.width]

    @property
    def extras(self) -> Counts:
        """(windows, features, 4): under, over, missing, invalid."""
        return self.features[:, :, self.shape.width :]

    @property
    def outputs(self) -> Counts:
        """(windows, outputs): answered labels, or bins of the answered value."""
        start = self.shape.of_features
        return self.values[:, start : start + self.shape.outputs]

    @property
    def confidence(self) -> Counts:
        """(windows, confidence bins)."""
        start = self.shape.of_features + self.shape.outputs
        return self.values[:, start : start + self.shape.confidence]

    def take(self, index: NDArray[np.intp]) -> "CountArrays":
        """The windows at these places."""
        return CountArrays(self.shape, self.scalars[index], self.floats[index], self.moments[index], self.values[index])

    def put(self, index: NDArray[np.intp], part: "CountArrays") -> None:
        """Set the windows at these places.

        Raises:
            ValueError: they are of different shape.
        """
        if self.shape != part.shape:
            raise ValueError("windows of different shape")
        for name in ("scalars", "floats", "moments", "values"):
            getattr(self, name)[index] = getattr(part, name)

    def plus(self, other: "CountArrays") -> "CountArrays":
        """Window by window, the two merged.

        Raises:
            ValueError: they are of different shape.
        """
        if self.shape != other.shape:
            raise ValueError("windows of different shape do not merge")
        floats = self.floats + other.floats
        floats[:, MEMORY_MB] = np.maximum(self.floats[:, MEMORY_MB], other.floats[:, MEMORY_MB])
        return CountArrays(
            self.shape,
            self.scalars + other.scalars,
            floats,
            self.moments + other.moments,
            self.values + other.values,
        )

    def merged(self, owner: NDArray[np.intp], owners: int) -> "CountArrays":
        """The sum over the windows of each owner, 0 to `owners` - 1."""
        order = np.argsort(owner, kind="stable")
        found, starts = np.unique(owner[order], return_index=True)
        empty = empty_arrays(self.shape, owners)
        if not len(found):
            return empty
        taken = self.take(order)
        for whole, part in (
            (empty.scalars, taken.scalars),
            (empty.moments, taken.moments),
            (empty.values, taken.values),
            (empty.floats, taken.floats),
        ):
            whole[found] = np.add.reduceat(part, starts, axis=0)
        empty.floats[found, MEMORY_MB] = np.maximum.reduceat(taken.floats[:, MEMORY_MB], starts)
        return empty


def empty_arrays(shape: Shape, windows: int) -> CountArrays:
    """Return windows that counted nothing."""
    return CountArrays(
        shape,
        np.zeros((windows, 5), np.int64),
        np.zeros((windows, 2)),
        np.zeros((windows, 2, len(shape.bins))),
        np.zeros((windows, shape.length), np.int64),
    )


def read_arrays(packed: Sequence[bytes], shape: Shape) -> tuple[CountArrays, NDArray[np.bool_]]:
    """Read rows of the database; also return which of them are of this shape. The others count nothing.

    Raises:
        UnreadableCountsError: a row is no counts at all.
    """
    runs: dict[int, tuple[Layout, list[int], list[bytes]]] = {}
    for place, item in enumerate(packed):
        layout, body = open_packed(item)
        _, places, bodies = runs.setdefault(id(layout), (layout, [], []))  # heads are read once, so that `is` will do
        places.append(place)
        bodies.append(body)
    found, fits = empty_arrays(shape, len(packed)), np.zeros(len(packed), np.bool_)
    for layout, places, bodies in runs.values():
        if layout.shape != shape:
            continue
        rows = np.frombuffer(b"".join(bodies), _record(layout))
        fits[places] = True
        found.scalars[places] = rows["scalars"]
        found.floats[places] = rows["floats"]
        sums = rows["moments"].reshape(len(places), 2, len(shape.bins))
        found.moments[places] = sums if layout.wide_moments else sums / _MOMENT_UNITS
        found.values[places, : shape.of_features] = rows["features"]
        found.values[places, shape.of_features :] = rows["rest"]
    return found, fits


def _record(layout: Layout) -> np.dtype[np.void]:
    moments, shape = "<f8" if layout.wide_moments else "<i4", layout.shape
    return np.dtype(
        [
            ("scalars", "<u8", (5,)),
            ("floats", "<f8", (2,)),
            ("moments", moments, (2 * len(shape.bins),)),
            ("features", f"<u{layout.count_bytes}", (shape.of_features,)),
            ("rest", f"<u{layout.rest_bytes}", (shape.length - shape.of_features,)),
        ]
    )
