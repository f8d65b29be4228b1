"""Lowering of the feature selectors: the columns that they keep, and the estimator inside of an elimination."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from trainer.errors import CannotLower
from trainer.stages.lower.methods import lower_margins
from trainer.stages.lower.registry import Lowering, lower_part


def lower_selection(estimator: Any, b: Builder, source: int) -> int:
    """Every selector of sklearn.feature_selection: the columns of its `get_support()`."""
    kept = np.flatnonzero(estimator.get_support())
    if not len(kept):
        raise CannotLower(f"{type(estimator).__name__} keeps no column", "lower its threshold")
    return b.pick(source, kept)


def lower_elimination(estimator: Any, b: Builder, source: int) -> int:
    """RFE, RFECV: what `estimator_` predicts from the columns that are left."""
    return lower_part(estimator.estimator_, b, lower_selection(estimator, b, source))


def lower_elimination_margins(estimator: Any, b: Builder, source: int) -> int:
    """RFE, RFECV: the decision function of `estimator_`."""
    return lower_margins(estimator.estimator_, b, lower_selection(estimator, b, source))


_PLACE = "sklearn.feature_selection."
_SELECTORS = (
    "SelectKBest", "SelectPercentile", "SelectFpr", "SelectFdr", "SelectFwe", "GenericUnivariateSelect",
    "SelectFromModel", "SequentialFeatureSelector", "VarianceThreshold",
)  # fmt: skip
_ELIMINATIONS = tuple(_PLACE + name for name in ("RFE", "RFECV"))
LOWERINGS: Mapping[str, Lowering] = {
    **{_PLACE + name: lower_selection for name in _SELECTORS},
    **dict.fromkeys(_ELIMINATIONS, lower_elimination),
}
MARGINS: Mapping[str, Lowering] = dict.fromkeys(_ELIMINATIONS, lower_elimination_margins)
FEATURES: Mapping[str, Lowering] = dict.fromkeys(_ELIMINATIONS, lower_selection)
