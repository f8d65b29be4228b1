"""Lowering of forests: the mean over trees, and isolation forests: a function of the mean depth."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Function, Operation
from trainer.core.arrays import Floats
from trainer.stages.lower.registry import Lowering
from trainer.stages.lower.trees import (
    LeafRule,
    Together,
    add_forest,
    class_shares,
    instead,
    join_forests,
    read_tree,
    targets,
)


def lower_classifier(estimator: Any, b: Builder, source: int) -> int:
    """RandomForestClassifier, ExtraTreesClassifier: the mean of the trees' shares (`estimators_`)."""
    return _add_mean(estimator, class_shares, b, source)


def lower_regressor(estimator: Any, b: Builder, source: int) -> int:
    """RandomForestRegressor, ExtraTreesRegressor: the mean of the trees' values, a column a target."""
    return _add_mean(estimator, targets, b, source)


def _add_mean(estimator: Any, rule: LeafRule, b: Builder, source: int) -> int:
    trees = [read_tree(tree.tree_, rule, prunable=True) for tree in estimator.estimators_]
    forest = join_forests(trees, Together.VOICES)
    return add_forest(b, source, forest.weighted(1.0 / len(estimator.estimators_)))


def lower_isolation(estimator: Any, b: Builder, source: int) -> int:
    """IsolationForest: `-2 ** -(depth / expected depth) - offset_`, depth being the sum over trees.

    Reads `estimators_`, `estimators_features_`, `offset_` and `max_samples_`; a leaf's depth is the number of splits to
    it plus the mean path length of a tree over the training rows that ended there (Liu, Ting and Zhou: Isolation
    Forest, ICDM 2008, equation 1).
    """
    expected = len(estimator.estimators_) * float(path_length(np.array([estimator.max_samples_]))[0])
    parts = []
    for tree, columns in zip(estimator.estimators_, estimator.estimators_features_, strict=True):
        parts.append(read_tree(tree.tree_, instead(_leaf_depths(tree.tree_))).on_columns(columns))
    # Trees of one row isolate nothing: every depth is 0, and scikit-learn takes 1 for the ratio.
    factor, start = (-np.log(2.0) / expected, 0.0) if expected else (0.0, -np.log(2.0))
    exponent = add_forest(b, source, join_forests(parts).weighted(factor), np.array([start]))
    return b.scale(b.apply(exponent, Function.EXP), -estimator.offset_, -1.0)


def _leaf_depths(tree: Any) -> Floats:
    """Return, in one column, the depth of a row that ends in a node: splits, and those that its rows still lack."""
    splits = np.zeros(tree.node_count)
    for node in np.flatnonzero(tree.children_left >= 0):
        splits[[tree.children_left[node], tree.children_right[node]]] = splits[node] + 1
    depths: Floats = (splits + path_length(tree.n_node_samples))[:, None]
    return depths


def lower_embedding(estimator: Any, b: Builder, source: int) -> int:
    """RandomTreesEmbedding: one column a leaf, 1 where a tree ends there (`estimators_`, `one_hot_encoder_`).

    Each tree says the number of its leaf in a column of its own, which is then compared with all of its leaves.
    """
    forests, columns, leaves = [], [], []
    for column, (tree, ends) in enumerate(
        zip(estimator.estimators_, estimator.one_hot_encoder_.categories_, strict=True)
    ):
        numbers = np.zeros((tree.tree_.node_count, len(estimator.estimators_)))
        numbers[:, column] = np.arange(tree.tree_.node_count)
        forests.append(read_tree(tree.tree_, instead(numbers)))
        columns.extend([column] * len(ends))
        leaves.extend(ends)
    ended = add_forest(b, source, join_forests(forests))
    return b.combine(b.pick(ended, columns), Operation.EQ, b.constant(np.asarray(leaves, dtype=np.float64)))


def path_length(rows: "np.ndarray[Any, np.dtype[Any]]") -> Floats:
    """Return the mean length of an unsuccessful search in a binary search tree of so many rows."""
    count = np.maximum(np.asarray(rows, dtype=np.float64), 2.0)
    many = 2.0 * (np.log(np.maximum(count - 1.0, 1.0)) + np.euler_gamma) - 2.0 * (count - 1.0) / count
    length: Floats = np.select([np.asarray(rows) <= 1, np.asarray(rows) == 2], [0.0, 1.0], many)
    return length


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.ensemble.RandomForestClassifier": lower_classifier,
    "sklearn.ensemble.ExtraTreesClassifier": lower_classifier,
    "sklearn.ensemble.RandomForestRegressor": lower_regressor,
    "sklearn.ensemble.ExtraTreesRegressor": lower_regressor,
    "sklearn.ensemble.IsolationForest": lower_isolation,
    "sklearn.ensemble.RandomTreesEmbedding": lower_embedding,
}
