"""Lowering of decision trees, and the table of nodes into which every family of trees is read.

House rules: thresholds stay float64 as fitted here; the back-end floors them to float32, which is what makes a float32
row go the way it goes in scikit-learn. A tree reads columns of the value that it is given; whoever trained it on a
subset of columns renames them with `on_columns`, so that a whole ensemble stays one table and one node of the graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np

from edge_agent.kernels.builder import Builder
from trainer.core.arrays import Floats, Indices
from trainer.errors import CannotLower
from trainer.stages.lower.folding import Splits, fold
from trainer.stages.lower.registry import Lowering

LEAF = -1
# From the values of a fitted tree, (nodes, outputs, classes), to what its leaves give, (nodes, columns).
LeafRule = Callable[[Floats], Floats]


class Together(StrEnum):
    """What the trees of a forest are to each other, which says what becomes of the rest when some are left out."""

    # Stages of a boosting: each mends what those before it left, so that the first ones are a model of their own.
    STAGES = "stages"
    # Equal voices of a mean: any of them are a model, with their voices raised.
    VOICES = "voices"
    # Anything else: none may be left out.
    WHOLE = "whole"


@dataclass(frozen=True, slots=True, eq=False)
class Forest:
    """Trees side by side: `roots` into one table of nodes, `left` and `right` absolute, both LEAF where a tree ends.

    `values` is (nodes, columns): what a tree that ends in a node adds to the sum. `x <= threshold` goes left; NaN goes
    left where `missing_left`, else right. `risk` (nodes,) is the impurity of each node times its share of the training
    rows, where an inner node's value would do as a leaf's.
    """

    roots: Indices
    feature: Indices
    threshold: Floats
    left: Indices
    right: Indices
    missing_left: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    values: Floats
    risk: Floats | None = None
    together: Together = Together.WHOLE

    def __len__(self) -> int:
        return len(self.roots)

    def on_columns(self, columns: "np.ndarray[Any, np.dtype[np.intp]]") -> "Forest":
        """Return the same trees where what they know as column i is column `columns[i]`."""
        return replace(self, feature=np.asarray(columns, dtype=np.intp)[self.feature])

    def weighted(self, factor: float) -> "Forest":
        """Return the same trees with every value multiplied."""
        return replace(self, values=self.values * factor)


@runtime_checkable
class Shrinks(Protocol):
    """A builder that makes forests smaller before they become a node (see `shrinking`)."""

    def shrink(self, forest: Forest) -> Forest:
        """Return the forest that is added instead."""


def read_tree(tree: Any, rule: LeafRule, *, prunable: bool = False) -> Forest:
    """Return one fitted `tree_` (sklearn.tree._tree.Tree) as a forest of one tree.

    `prunable` says that the values of inner nodes are what leaves in their places would say.
    """
    share = tree.weighted_n_node_samples / tree.weighted_n_node_samples[0]
    left = np.asarray(tree.children_left, dtype=np.intp)
    inner = left >= 0
    return Forest(
        roots=np.zeros(1, dtype=np.intp),
        feature=np.where(inner, tree.feature, 0).astype(np.intp),
        threshold=np.where(inner, tree.threshold, 0.0),
        left=np.where(inner, left, LEAF),
        right=np.where(inner, tree.children_right, LEAF).astype(np.intp),
        missing_left=np.where(inner, tree.missing_go_to_left, 0).astype(bool),
        values=rule(np.asarray(tree.value, dtype=np.float64)),
        risk=np.asarray(tree.impurity * share, dtype=np.float64) if prunable else None,
    )


def join_forests(forests: Sequence[Forest], kind: Together = Together.WHOLE) -> Forest:
    """Return all trees in one table; the values must have the same columns."""
    offsets = np.cumsum([0, *(len(forest.feature) for forest in forests[:-1])])

    def shifted(name: str) -> Indices:
        parts = [getattr(forest, name) for forest in forests]
        return np.concatenate(
            [np.where(part == LEAF, LEAF, part + offset) for part, offset in zip(parts, offsets, strict=True)]
        )

    def joined(name: str) -> Any:
        return np.concatenate([getattr(forest, name) for forest in forests])

    return Forest(
        roots=shifted("roots"),
        feature=joined("feature"),
        threshold=joined("threshold"),
        left=shifted("left"),
        right=shifted("right"),
        missing_left=joined("missing_left"),
        values=joined("values"),
        risk=None if any(forest.risk is None for forest in forests) else joined("risk"),
        together=kind,
    )


def add_forest(b: Builder, source: int, forest: Forest, base: Floats | None = None, *, rounded: bool = True) -> int:
    """Add the sum over all trees, plus `base` (columns,), to the graph and return its value.

    `rounded` says that the trees were fitted to round what they take to float32: those of `sklearn.tree`.
    """
    if isinstance(b, Shrinks):
        forest = b.shrink(forest)
    inner = forest.left != LEAF
    splits = fold(b, Splits(source, forest.feature[inner], forest.threshold[inner]), rounded=rounded)
    feature, threshold = np.zeros_like(forest.feature), np.zeros_like(forest.threshold)
    feature[inner], threshold[inner] = splits.feature, splits.threshold
    return b.trees(
        splits.source,
        roots=forest.roots,
        feature=feature,
        threshold=threshold,
        left=forest.left,
        right=forest.right,
        missing_left=forest.missing_left,
        values=forest.values,
        base=0.0 if base is None else base,
    )


def class_shares(values: Floats) -> Floats:
    """The leaf rule of classifiers: the share of each class among the training rows of the node.

    Raises:
        CannotLower: the tree gives several labels a row.
    """
    if values.shape[1] != 1:
        raise CannotLower("it gives several labels a row", "fit one estimator for each label")
    return values[:, 0, :]


def targets(values: Floats) -> Floats:
    """The leaf rule of regressors: one column a target."""
    return values[:, :, 0]


def instead(values: Floats) -> LeafRule:
    """Return the leaf rule that gives `values` (nodes, columns), whatever those of the tree are."""
    return lambda _: values


def lower_classifier(estimator: Any, b: Builder, source: int) -> int:
    """DecisionTreeClassifier, ExtraTreeClassifier: shares of the classes in the leaf (`tree_`)."""
    return add_forest(b, source, read_tree(estimator.tree_, class_shares, prunable=True))


def lower_regressor(estimator: Any, b: Builder, source: int) -> int:
    """DecisionTreeRegressor, ExtraTreeRegressor: the values of the leaf, one column a target (`tree_`)."""
    return add_forest(b, source, read_tree(estimator.tree_, targets, prunable=True))


LOWERINGS: Mapping[str, Lowering] = {
    "sklearn.tree.DecisionTreeClassifier": lower_classifier,
    "sklearn.tree.ExtraTreeClassifier": lower_classifier,
    "sklearn.tree.DecisionTreeRegressor": lower_regressor,
    "sklearn.tree.ExtraTreeRegressor": lower_regressor,
}
