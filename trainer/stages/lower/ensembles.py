"""Lowering of ensembles of any estimators: bagging, AdaBoost, voting and stacking.

House rules: where every member is a tree, the ensemble becomes one table of trees, whatever it does with what its trees
say, as long as that can be worked out leaf by leaf; else each member is lowered by itself and their values are joined.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.primitives import Operation, Reduction
from trainer.core.arrays import Floats, Indices
from trainer.errors import CannotLower
from trainer.stages.lower.boosting import add_probabilities, add_whole_forest
from trainer.stages.lower.methods import lower_label_indices, lower_margins, lower_method
from trainer.stages.lower.registry import Lowering, lower_part
from trainer.stages.lower.trees import LeafRule, Together, add_forest, class_shares, join_forests, read_tree, targets

_TREES = ("DecisionTreeClassifier", "ExtraTreeClassifier", "DecisionTreeRegressor", "ExtraTreeRegressor")
# Far above any prediction that float32 holds to three digits beside it; its sum with one stays finite.
_BEYOND = 1e37
# float32 holds every whole number up to it.
_WHOLE = 1 << 24


def are_trees(estimators: Sequence[Any]) -> bool:
    """Return whether every member is a single tree of scikit-learn itself."""
    return all(
        type(member).__name__ in _TREES and type(member).__module__.startswith("sklearn.tree") for member in estimators
    )


def add_mean(values: Sequence[int], b: Builder, weights: Floats | None = None) -> int:
    """Add the mean of values of one width, column by column; weighted, where there are weights."""
    width = b.width(values[0])
    shares = np.full(len(values), 1.0 / len(values)) if weights is None else weights / weights.sum()
    return b.dense(b.join(*values), np.kron(shares[:, None], np.eye(width)))


def add_one_hot(indices: int, columns: int, b: Builder) -> int:
    """Add the columns of which the one that an index names is 1 and the others are 0."""
    return b.combine(indices, Operation.EQ, b.constant(np.arange(columns)))


def _part_of(columns: Indices, b: Builder, source: int) -> int:
    """Return the value that a member takes that was fitted on some columns only."""
    return source if np.array_equal(columns, np.arange(b.width(source))) else b.pick(source, columns)


def lower_bagging_classifier(estimator: Any, b: Builder, source: int) -> int:
    """BaggingClassifier: the mean probability, or share of votes (`estimators_`, `estimators_features_`)."""
    members = list(zip(estimator.estimators_, estimator.estimators_features_, strict=True))
    count = int(estimator.n_classes_)
    if are_trees(estimator.estimators_):
        forests = [
            read_tree(member.tree_, _spread(class_shares, np.eye(count)[_places(member)]), prunable=True).on_columns(
                columns
            )
            for member, columns in members
        ]
        return add_forest(b, source, join_forests(forests, Together.VOICES).weighted(1.0 / len(members)))
    values, blocks = [], []
    for member, columns in members:
        part = _part_of(columns, b, source)
        if hasattr(member, "predict_proba"):
            values.append(lower_part(member, b, part))
        else:
            values.append(add_one_hot(lower_label_indices(member, b, part), len(member.classes_), b))
        blocks.append(np.eye(count)[_places(member)])
    return b.dense(b.join(*values), np.vstack(blocks) / len(members))


def _places(member: Any) -> Indices:
    """Return which of the ensemble's classes those of a member are: it was fitted on their numbers."""
    return np.asarray(member.classes_).astype(np.intp)


def _spread(rule: LeafRule, matrix: Floats) -> LeafRule:
    return lambda values: rule(values) @ matrix


def lower_bagging_margins(estimator: Any, b: Builder, source: int) -> int:
    """BaggingClassifier's decision function: the mean of its members'."""
    members = zip(estimator.estimators_, estimator.estimators_features_, strict=True)
    return add_mean([lower_margins(member, b, _part_of(columns, b, source)) for member, columns in members], b)


def lower_bagging_regressor(estimator: Any, b: Builder, source: int) -> int:
    """BaggingRegressor: the mean of its members."""
    members = list(zip(estimator.estimators_, estimator.estimators_features_, strict=True))
    if are_trees(estimator.estimators_):
        forests = [read_tree(member.tree_, targets, prunable=True).on_columns(columns) for member, columns in members]
        return add_forest(b, source, join_forests(forests, Together.VOICES).weighted(1.0 / len(members)))
    return add_mean([lower_part(member, b, _part_of(columns, b, source)) for member, columns in members], b)


def lower_adaboost_margins(estimator: Any, b: Builder, source: int) -> int:
    """AdaBoostClassifier's decision function: each member's weight for the class that it predicts, less for the others.

    Reads `estimators_`, `estimator_weights_` and `classes_`; one column for two classes.
    """
    count = len(estimator.classes_)
    if count < 2:
        raise CannotLower("AdaBoostClassifier knows one class only", "fit it on two classes at least")
    words = np.eye(count) - (1.0 - np.eye(count)) / (count - 1)
    if count == 2:
        words = words[:, 1:] - words[:, :1]
    weights = np.asarray(estimator.estimator_weights_, dtype=np.float64)[: len(estimator.estimators_)]
    shares = weights / np.asarray(estimator.estimator_weights_).sum()
    blocks = [
        share * words[np.searchsorted(estimator.classes_, member.classes_)]
        for share, member in zip(shares, estimator.estimators_, strict=True)
    ]
    if are_trees(estimator.estimators_):
        forests = [
            read_tree(member.tree_, _voted(block), prunable=True)
            for member, block in zip(estimator.estimators_, blocks, strict=True)
        ]
        return add_whole_forest(b, source, join_forests(forests))
    votes = [
        add_one_hot(lower_label_indices(member, b, source), len(member.classes_), b) for member in estimator.estimators_
    ]
    return b.dense(b.join(*votes), np.vstack(blocks))


def _voted(words: Floats) -> LeafRule:
    """Return the leaf rule of a tree that votes for its most frequent class, the first of equals."""
    return lambda values: words[class_shares(values).argmax(axis=1)]


def lower_adaboost_classifier(estimator: Any, b: Builder, source: int) -> int:
    """AdaBoostClassifier: softmax of the decision function by the number of other classes (Zhu et al. 2009, eq. 15)."""
    margins = lower_adaboost_margins(estimator, b, source)
    return add_probabilities(b.scale(margins, 0.0, 1.0 / (len(estimator.classes_) - 1)), b)


def lower_adaboost_regressor(estimator: Any, b: Builder, source: int) -> int:
    """AdaBoostRegressor: the weighted median of its members (`estimators_`, `estimator_weights_`).

    It is the least prediction at or under which half of the weight lies: sorted, the first whose running sum of
    weights reaches the half. The weights become whole numbers, whose sums are exact in float32, and equal halves equal.
    """
    weights = np.asarray(estimator.estimator_weights_, dtype=np.float64)[: len(estimator.estimators_)]
    parts = np.rint(weights / weights.sum() * (_WHOLE - len(weights)))
    found = b.nearest(_add_all_said(estimator.estimators_, b, source), len(parts), parts[:, None])
    said, weighed = (b.pick(found, np.arange(len(parts)) + start) for start in (0, len(parts)))
    summed = b.dense(weighed, np.triu(np.ones((len(parts), len(parts)))))
    short = b.combine(summed, Operation.LT, b.constant(parts.sum() / 2))
    # Where the half is not reached, the prediction is lifted out of the way of the minimum.
    return b.reduce(b.combine(said, Operation.ADD, b.scale(short, 0.0, _BEYOND)), Reduction.MIN)


def _add_all_said(members: Sequence[Any], b: Builder, source: int) -> int:
    """Add a column a member with what it predicts."""
    if not are_trees(members):
        return b.join(*(lower_part(member, b, source) for member in members))
    own = np.eye(len(members))
    forests = [read_tree(member.tree_, _spread(targets, own[[index]])) for index, member in enumerate(members)]
    return add_whole_forest(b, source, join_forests(forests))


def lower_voting_classifier(estimator: Any, b: Builder, source: int) -> int:
    """VotingClassifier with voting="soft": the weighted mean of the probabilities (`estimators_`, `weights`)."""
    if estimator.voting != "soft":
        raise CannotLower("VotingClassifier with voting='hard' gives no scores", "use voting='soft'")
    return add_mean([lower_part(member, b, source) for member in estimator.estimators_], b, _weights(estimator))


def lower_voting_regressor(estimator: Any, b: Builder, source: int) -> int:
    """VotingRegressor: the weighted mean of its members (`estimators_`, `weights`)."""
    return add_mean([lower_part(member, b, source) for member in estimator.estimators_], b, _weights(estimator))


def _weights(estimator: Any) -> Floats | None:
    """Return the weights of the members that were not dropped."""
    if estimator.weights is None:
        return None
    kept = [member != "drop" for _, member in estimator.estimators]
    return np.asarray(estimator.weights, dtype=np.float64)[kept]


def _add_stack(estimator: Any, b: Builder, source: int) -> int:
    """Add what the final estimator takes: what every member gives by its method, and the input where it passes through.

    Reads `estimators_`, `stack_method_` and `passthrough`; of two probabilities only the second is handed on.
    """
    parts = []
    for member, method in zip(estimator.estimators_, estimator.stack_method_, strict=True):
        value = lower_method(member, method, b, source)
        parts.append(b.pick(value, [1]) if method == "predict_proba" and b.width(value) == 2 else value)
    return b.join(*parts, source) if estimator.passthrough else b.join(*parts)


def lower_stacking(estimator: Any, b: Builder, source: int) -> int:
    """StackingClassifier, StackingRegressor: `final_estimator_` on what the members give."""
    return lower_part(estimator.final_estimator_, b, _add_stack(estimator, b, source))


def lower_stacking_margins(estimator: Any, b: Builder, source: int) -> int:
    """StackingClassifier's decision function: that of `final_estimator_`."""
    return lower_margins(estimator.final_estimator_, b, _add_stack(estimator, b, source))


_PLACE = "sklearn.ensemble."
LOWERINGS: Mapping[str, Lowering] = {
    _PLACE + "BaggingClassifier": lower_bagging_classifier,
    _PLACE + "BaggingRegressor": lower_bagging_regressor,
    _PLACE + "AdaBoostClassifier": lower_adaboost_classifier,
    _PLACE + "AdaBoostRegressor": lower_adaboost_regressor,
    _PLACE + "VotingClassifier": lower_voting_classifier,
    _PLACE + "VotingRegressor": lower_voting_regressor,
    _PLACE + "StackingClassifier": lower_stacking,
    _PLACE + "StackingRegressor": lower_stacking,
}
MARGINS: Mapping[str, Lowering] = {
    _PLACE + "BaggingClassifier": lower_bagging_margins,
    _PLACE + "AdaBoostClassifier": lower_adaboost_margins,
    _PLACE + "StackingClassifier": lower_stacking_margins,
}
