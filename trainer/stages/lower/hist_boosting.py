"""Lowering of histogram gradient boosting, with missing values and categories.

House rules: a category is known by its exact value, so it becomes an equality, never an order. Every set of categories
that some node sends to the right is a column of its own, 1 where a row is in it; the node then asks for that column.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation
from trainer.core.arrays import Floats, Indices
from trainer.errors import CannotLower
from trainer.stages.lower.boosting import add_probabilities
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.trees import LEAF, Forest, Together, add_forest, join_forests

_BITS = 32
# The losses whose trees add up to the logarithm of the answer.
_LOGARITHMIC = ("poisson", "gamma")


def lower_margin(estimator: Any, b: Builder, source: int) -> int:
    """HistGradientBoostingClassifier's decision function: the baseline and every tree's leaf, the rate being in them.

    Reads `_predictors` (nodes and bit sets of categories), `_baseline_prediction`, `is_categorical_` and
    `_preprocessor` (the encoder of the categories).
    """
    columns = _Columns(estimator, b.width(source))
    count = int(estimator.n_trees_per_iteration_)
    trees = [
        _read(predictor, columns, column, count)
        for stage in estimator._predictors  # noqa: SLF001 - the library keeps its trees nowhere else
        for column, predictor in enumerate(stage)
    ]
    base = np.asarray(estimator._baseline_prediction, dtype=np.float64).reshape(-1)  # noqa: SLF001 - as above
    return add_forest(b, columns.add_to(b, source), join_forests(trees, Together.STAGES), base, rounded=False)


def lower_classifier(estimator: Any, b: Builder, source: int) -> int:
    """HistGradientBoostingClassifier: the probabilities of its margins."""
    return add_probabilities(lower_margin(estimator, b, source), b)


def lower_regressor(estimator: Any, b: Builder, source: int) -> int:
    """HistGradientBoostingRegressor: the sum, or for the losses of counts and of positive values its exponential."""
    raw = lower_margin(estimator, b, source)
    return b.apply(raw, Function.EXP) if estimator.loss in _LOGARITHMIC else raw


def _read(predictor: Any, columns: "_Columns", column: int, count: int) -> Forest:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    feature = columns.of(nodes["feature_idx"].astype(np.intp))
    threshold = np.where(leaf, 0.0, nodes["num_threshold"])
    for index in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf):
        bits = predictor.raw_left_cat_bitsets[nodes["bitset_idx"][index]]
        feature[index] = columns.add_set(
            int(feature[index]), bits, missing_left=bool(nodes["missing_go_to_left"][index])
        )
        threshold[index] = 0.5
    return Forest(
        roots=np.zeros(1, dtype=np.intp),
        feature=np.where(leaf, 0, feature),
        threshold=threshold,
        left=np.where(leaf, LEAF, nodes["left"].astype(np.intp)),
        right=np.where(leaf, LEAF, nodes["right"].astype(np.intp)),
        missing_left=nodes["missing_go_to_left"].astype(bool) & ~leaf,
        values=nodes["value"][:, None] * np.eye(count)[column],
    )


class _Columns:
    """The columns that the trees ask for: those of the input, and one for each set of categories."""

    def __init__(self, estimator: Any, width: int) -> None:
        self._width = width
        self._codes: dict[int, Floats] = {}
        self._sets: dict[_Set, int] = {}
        self._order: Indices = np.arange(width)
        if estimator.is_categorical_ is not None:
            categorical = np.asarray(estimator.is_categorical_, dtype=bool)
            # The library's own preprocessor puts the columns of categories first.
            self._order = np.concatenate([np.flatnonzero(categorical), np.flatnonzero(~categorical)])
            encoder = estimator._preprocessor.named_transformers_["encoder"]  # noqa: SLF001 - kept nowhere else
            for feature, values in zip(np.flatnonzero(categorical), encoder.categories_, strict=True):
                self._codes[int(feature)] = _numbers(values, int(feature))

    def of(self, features: Indices) -> Indices:
        """Return the columns of the input for the features as the trees number them."""
        return self._order[features]

    def add_set(self, feature: int, bits: "np.ndarray[Any, np.dtype[np.uint32]]", *, missing_left: bool) -> int:
        """Return the column that is 1 for the rows that go to the right of a node."""
        left = tuple(
            code for code in range(len(self._codes[feature])) if bits[code // _BITS] >> np.uint32(code % _BITS) & 1
        )
        return self._sets.setdefault(_Set(feature, left, missing_left), self._width + len(self._sets))

    def add_to(self, b: Builder, source: int) -> int:
        """Add the columns of all sets beside those of the input."""
        if not self._sets:
            return source
        features = sorted({entry.feature for entry in self._sets})
        is_any = [self._add_equalities(feature, b, source) for feature in features]
        starts = dict(zip(features, np.cumsum([0, *(b.width(value) for value in is_any)]), strict=False))
        weights = np.zeros((sum(b.width(value) for value in is_any), len(self._sets)))
        bias = np.zeros(len(self._sets))
        for column, entry in enumerate(self._sets):
            exact = self._exact(entry.feature)
            # Unknown and missing are no category: they go right by the bias, which a known one takes back.
            bias[column] = 0.0 if entry.missing_left else 1.0
            rights = np.array([code not in entry.left for code in exact], dtype=np.float64)
            start = int(starts[entry.feature])
            weights[start : start + len(exact), column] = rights - bias[column]
        return b.join(source, b.dense(b.join(*is_any), weights, bias))

    def _exact(self, feature: int) -> Indices:
        """Return the codes of the categories that a float32 can be equal to; no device ever sees the others."""
        values = self._codes[feature]
        return np.flatnonzero(values == values.astype(np.float32))

    def _add_equalities(self, feature: int, b: Builder, source: int) -> int:
        values = self._codes[feature][self._exact(feature)]
        column = b.pick(source, [feature])
        # A comparison with NaN is promised by no back-end: a missing value becomes a number that is no category.
        other = float(np.float32(values.max(initial=0.0)) * 2 + 1)
        return b.combine(b.fill(column, other), Operation.EQ, b.constant(values))


@dataclass(frozen=True, slots=True)
class _Set:
    """What a node sends to the left: codes of one feature, and what is missing or unknown or not."""

    feature: int
    left: tuple[int, ...]
    missing_left: bool


def _numbers(values: "np.ndarray[Any, np.dtype[Any]]", feature: int) -> Floats:
    """Return the categories of a column by code, without the missing one, which has none."""
    if values.dtype.kind not in "iufb":
        raise CannotLower(f"the categories of column {feature} are not numbers", "give them as numbers and fit again")
    numbers: Floats = values.astype(np.float64)
    return numbers[~np.isnan(numbers)]


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.ensemble.HistGradientBoostingClassifier": lower_classifier,
    "sklearn.ensemble.HistGradientBoostingRegressor": lower_regressor,
}
MARGINS: Mapping[str, Lowering] = {
    "sklearn.ensemble.HistGradientBoostingClassifier": lower_margin,
}
