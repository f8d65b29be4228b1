"""Lowering of gradient boosting: a sum over trees from a start, and the function that makes an answer of it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation, Trees
from trainer.core.arrays import Floats
from trainer.errors import CannotLower
from trainer.stages.lower.methods import lower_margins
from trainer.stages.lower.registry import Lowering, lower_part
from trainer.stages.lower.trees import Forest, Together, add_forest, join_forests, read_tree

# Where scikit-learn cuts probabilities before it takes their logarithm.
_CUT = float(np.finfo(np.float64).eps)
# float32 holds a margin of this size to about 0.01; leaves of an ordinary fit stay under some thousands.
_LARGEST_LEAF = 1e5
# What a margin is multiplied with in the logistic function: the exponential loss fits half the log odds.
_SLOPES = {"log_loss": 1.0, "exponential": 2.0}


def add_probabilities(raw: int, b: Builder, slope: float = 1.0) -> int:
    """Add the probabilities of margins: softmax over the classes; for two classes the logistic function of one."""
    if b.width(raw) > 1:
        return b.apply(raw, Function.SOFTMAX)
    return b.apply(b.dense(raw, [[-slope, slope]]), Function.LOGISTIC)


def add_whole_forest(b: Builder, source: int, forest: Forest, base: Floats | None = None) -> int:
    """Add the sum over the trees of an estimator that refuses NaN: no back-end has to ask for it."""
    trees = b.node(add_forest(b, source, forest, base))
    assert isinstance(trees, Trees)  # noqa: S101 - that is what add_forest adds
    return b.add(replace(trees, missing_left=None))


def lower_margin(estimator: Any, b: Builder, source: int) -> int:
    """GradientBoostingClassifier's decision function: `init_`, then `learning_rate` times every tree's leaf."""
    _check_size(estimator)
    if isinstance(estimator.init_, str):
        return _add_stages(estimator, b, source, np.zeros(estimator.estimators_.shape[1]))
    if type(estimator.init_).__name__ == "DummyClassifier":
        return _add_stages(estimator, b, source, _start(estimator))
    return _add_stages(estimator, b, source, None, _lower_init_margin(estimator, b, source))


def lower_classifier(estimator: Any, b: Builder, source: int) -> int:
    """GradientBoostingClassifier: the probabilities of its margins, by `loss`."""
    return add_probabilities(lower_margin(estimator, b, source), b, _SLOPES[estimator.loss])


def lower_regressor(estimator: Any, b: Builder, source: int) -> int:
    """GradientBoostingRegressor: `init_`, then `learning_rate` times every tree's leaf, for every loss."""
    if isinstance(estimator.init_, str):
        return _add_stages(estimator, b, source, np.zeros(1))
    if type(estimator.init_).__name__ == "DummyRegressor":
        return _add_stages(estimator, b, source, np.asarray(estimator.init_.constant_, dtype=np.float64).reshape(-1))
    return _add_stages(estimator, b, source, None, lower_part(estimator.init_, b, source))


def _check_size(estimator: Any) -> None:
    """Refuse margins of several classes so large that float32 loses what tells two of them apart.

    They come of a start that gives a class no probability: its first leaves are the inverse of the cut, about 1e15.
    """
    if estimator.estimators_.shape[1] < 2:
        return
    largest = estimator.learning_rate * max(
        float(np.abs(tree.tree_.value).max()) for tree in estimator.estimators_.flat
    )
    if largest > _LARGEST_LEAF:
        raise CannotLower(
            f"its margins grow by {largest:.0e} in one leaf, and float32 cannot tell such margins apart",
            "leave `init` out, or start from DummyClassifier(strategy='prior')",
        )


def _add_stages(estimator: Any, b: Builder, source: int, base: Floats | None, start: int | None = None) -> int:
    columns = estimator.estimators_.shape[1]
    trees = [
        _read_stage(tree.tree_, column, columns) for stage in estimator.estimators_ for column, tree in enumerate(stage)
    ]
    total = add_whole_forest(b, source, join_forests(trees, Together.STAGES).weighted(estimator.learning_rate), base)
    return total if start is None else b.combine(total, Operation.ADD, start)


def _read_stage(tree: Any, column: int, columns: int) -> Forest:
    """Return a tree whose leaves add to one of the columns."""
    return read_tree(tree, lambda values: values[:, 0, :1] * np.eye(columns)[column])


def _start(estimator: Any) -> Floats:
    """Return the margins of an initial DummyClassifier: the link of the loss, of its constant probabilities."""
    dummy = estimator.init_
    if dummy.strategy not in ("prior", "most_frequent", "constant"):
        raise CannotLower(f"GradientBoostingClassifier starts by chance ({dummy.strategy!r})", "leave `init` out")
    given = np.asarray(dummy.class_prior_, dtype=np.float64)
    if dummy.strategy == "most_frequent":
        given = np.eye(len(given))[int(given.argmax())]
    if dummy.strategy == "constant":
        given = (np.asarray(dummy.classes_) == dummy.constant).astype(np.float64)
    shares = np.clip(given, _CUT, 1.0 - _CUT)
    if len(shares) > 2:
        logs = np.log(shares)
        return np.asarray(logs - logs.mean())
    return np.array([np.log(shares[1] / (1.0 - shares[1])) / _SLOPES[estimator.loss]])


def _lower_init_margin(estimator: Any, b: Builder, source: int) -> int:
    """Add the margin of an initial classifier: the logarithm of its odds, which for two classes is its own margin."""
    init = estimator.init_
    if type(init).__name__ != "LogisticRegression" or len(estimator.classes_) != 2:
        raise CannotLower(
            f"float32 cannot hold the log odds of the probabilities of {type(init).__name__}, from which it starts",
            "leave `init` out, or start from LogisticRegression on two classes",
        )
    margin = lower_margins(init, b, source)
    limit = float(np.log((1.0 - _CUT) / _CUT))
    cut = b.combine(b.combine(margin, Operation.MIN, b.constant(limit)), Operation.MAX, b.constant(-limit))
    return b.scale(cut, 0.0, 1.0 / _SLOPES[estimator.loss])


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.ensemble.GradientBoostingClassifier": lower_classifier,
    "sklearn.ensemble.GradientBoostingRegressor": lower_regressor,
}
MARGINS: Mapping[str, Lowering] = {
    "sklearn.ensemble.GradientBoostingClassifier": lower_margin,
}
