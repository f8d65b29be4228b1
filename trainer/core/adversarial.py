"""Rows made to go wrong: on every kind of place where a compiled model may part from its source.

On the thresholds of trees and one float32 step to either side; with values missing where they may be; at and beyond the
ends of the columns; off the only value of a constant column. The held-out rows give the other columns their values.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.manifest import Feature
from edge_agent.kernels.graph import Graph
from edge_agent.kernels.primitives import Trees
from trainer.core.arrays import Singles

# Thresholds that are tried, evenly over all that the trees have; each gives three rows.
THRESHOLDS = 64
MISSING_ROWS = 16
_LEAST_NORMAL = np.finfo(np.float32).smallest_normal


class Kind(StrEnum):
    """What is hard about a row."""

    THRESHOLD = "threshold"
    MISSING = "missing"
    EXTREME = "extreme"


@dataclass(frozen=True, slots=True, eq=False)
class HardRows:
    """Rows and what is hard about each."""

    x: Singles
    kinds: NDArray[np.str_]

    @property
    def is_golden(self) -> NDArray[np.bool_]:
        """Return which rows may stand among the golden vectors: those of a kind that comes in service too."""
        golden: NDArray[np.bool_] = self.kinds != Kind.EXTREME
        return golden

    def take(self, chosen: NDArray[np.bool_]) -> "HardRows":
        """Return some of the rows."""
        return HardRows(self.x[chosen], self.kinds[chosen])


def make_hard_rows(graph: Graph | None, features: Sequence[Feature], x: Singles) -> HardRows:
    """Return hard rows for a model, `graph` being its lowered form where there is one, `x` its held-out rows.

    The rows depend on the arguments alone. Values that are missing in `x` stay so.
    """
    groups = {
        Kind.THRESHOLD: list(_on_thresholds(graph, x)) if graph is not None else [],
        Kind.MISSING: list(_with_missing(features, x)),
        Kind.EXTREME: list(_extremes(features, x)),
    }
    rows = [row for group in groups.values() for row in group]
    kinds = [kind.value for kind, group in groups.items() for _ in group]
    return HardRows(np.array(rows, dtype=np.float32).reshape(len(rows), x.shape[1]), np.array(kinds, dtype=np.str_))


def _on_thresholds(graph: Graph, x: Singles) -> Iterator[Singles]:
    """Yield rows on and beside thresholds of the trees that ask for the input itself."""
    splits = [
        (int(node.feature[index]), np.float32(node.threshold[index]))
        for node in graph.nodes
        if isinstance(node, Trees) and node.source == 0
        for index in _evenly(np.flatnonzero(node.left >= 0), THRESHOLDS)
        if np.isfinite(np.float32(node.threshold[index]))
    ]
    for place, (feature, threshold) in enumerate(splits[:THRESHOLDS]):
        for value in (_step(threshold, -1), threshold, _step(threshold, 1)):
            row = x[place % len(x)].copy()
            row[feature] = value
            yield row


def _step(value: np.float32, sign: int) -> np.float32:
    """Return the next float32 number below or above; never a subnormal one, which may count as 0 on a device."""
    stepped = np.nextafter(value, np.float32(sign * np.inf))
    return np.float32(sign * _LEAST_NORMAL) if 0 < abs(stepped) < _LEAST_NORMAL else stepped


def _with_missing(features: Sequence[Feature], x: Singles) -> Iterator[Singles]:
    """Yield rows without one column, and one without any of those that may be missing."""
    may = np.array([index for index, feature in enumerate(features) if feature.nan_allowed], dtype=np.intp)
    for place, column in enumerate(_evenly(may, MISSING_ROWS)):
        row = x[place % len(x)].copy()
        row[column] = np.nan
        yield row
    if len(may):
        row = x[0].copy()
        row[may] = np.nan
        yield row


def _extremes(features: Sequence[Feature], x: Singles) -> Iterator[Singles]:
    """Yield the corners of the training range, rows beyond it, and rows off the value of constant columns."""
    low, high = (np.array([getattr(item, end) for item in features], dtype=np.float32) for end in ("low", "high"))
    yield from (low, high, low - (high - low), high + (high - low))
    for column in np.flatnonzero(low == high)[:THRESHOLDS]:
        row = x[0].copy()
        row[column] = _step(low[column], 1) if low[column] else np.float32(1)
        yield row


def _evenly(values: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Return at most `count` of the values, evenly chosen."""
    if len(values) <= count:
        return values
    return values[np.linspace(0, len(values) - 1, count).astype(np.intp)]
