"""Ensembles answer as scikit-learn does, whatever their members are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from edge_agent.kernels.primitives import Trees
from tests.fakes.lowering import check_lowered, hard_rows, with_missing
from tests.fakes.trainer_models import quietly_fit, rows
from trainer.core.arrays import as_singles
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower

FEW = settings(max_examples=5)
SCALED_LOGISTIC = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))


def scaled(seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose columns have one size, so that linear members are not ruled by a single one."""
    x, y = rows(seed, classes=classes)
    return as_singles(x / x.std(axis=0)).astype(np.float64), y


def check_hard(model: Any, x: np.ndarray) -> None:
    graph = check_lowered(model, x)
    check_lowered(model, hard_rows(graph, x))


@pytest.mark.parametrize(
    "inner", [DecisionTreeClassifier(max_depth=4), ExtraTreeClassifier(), SCALED_LOGISTIC, LinearSVC()]
)
@FEW
@given(seed=st.integers(0, 99), classes=st.integers(2, 3), features=st.sampled_from([1.0, 0.4]))
def test_bagging_classifiers(inner: Any, seed: int, classes: int, features: float) -> None:
    x, y = scaled(seed, classes)
    model = BaggingClassifier(inner, n_estimators=5, max_features=features, random_state=seed)
    check_hard(quietly_fit(model, x, y), x)


def test_bagging_of_members_that_never_saw_a_class() -> None:
    x, y = scaled(0)
    y[y == 2] = np.where(np.arange((y == 2).sum()) < 2, 2, 0)
    # A pipeline takes no weights, so its bag holds only the rows that were drawn.
    for last in (DecisionTreeClassifier(), LogisticRegression(), LinearSVC()):
        inner = make_pipeline(StandardScaler(), last)
        model = quietly_fit(BaggingClassifier(inner, n_estimators=8, max_samples=20, random_state=0), x, y)
        assert {len(member.classes_) for member in model.estimators_} == {2, 3}
        check_lowered(model, x)


@pytest.mark.parametrize("inner", [DecisionTreeRegressor(max_depth=4), LinearRegression(), RandomForestRegressor(3)])
@FEW
@given(seed=st.integers(0, 99), features=st.sampled_from([1.0, 0.4]))
def test_bagging_regressors(inner: Any, seed: int, features: float) -> None:
    x, y = scaled(seed)
    model = BaggingRegressor(inner, n_estimators=5, max_features=features, random_state=seed)
    check_hard(model.fit(x, 10 + y * x[:, 0]), x)


def test_bagged_trees_are_one_node_and_know_missing_values() -> None:
    x, y = scaled(0)
    holes = with_missing(x, 0.2)
    model = BaggingClassifier(n_estimators=6, max_features=0.6, random_state=0).fit(holes, y)
    check_lowered(model, np.concatenate([holes, x]))
    (node,) = lower(model, x.shape[1]).nodes
    assert isinstance(node, Trees)


@pytest.mark.parametrize("inner", [None, DecisionTreeClassifier(max_depth=3), LogisticRegression(), RidgeClassifier()])
@FEW
@given(seed=st.integers(0, 99), classes=st.integers(2, 4))
def test_adaboost_classifiers(inner: Any, seed: int, classes: int) -> None:
    x, y = scaled(seed, classes)
    check_hard(quietly_fit(AdaBoostClassifier(inner, n_estimators=6, random_state=seed), x, y), x)


@pytest.mark.parametrize("inner", [None, DecisionTreeRegressor(max_depth=1), Ridge()])
@FEW
@given(seed=st.integers(0, 99), loss=st.sampled_from(["linear", "square", "exponential"]), count=st.integers(1, 9))
def test_adaboost_regressors(inner: Any, seed: int, loss: str, count: int) -> None:
    x, y = scaled(seed)
    model = AdaBoostRegressor(inner, n_estimators=count, loss=loss, random_state=seed)
    check_lowered(model.fit(x, 1e3 + y * x[:, 0] + x[:, 1]), x)


@pytest.mark.parametrize("weight", [1.0, 0.75, 3.0])
def test_the_half_of_equal_weights_is_reached_exactly(weight: float) -> None:
    x, y = scaled(0)
    model = AdaBoostRegressor(DecisionTreeRegressor(max_depth=2), n_estimators=6, random_state=0).fit(x, x[:, 0] + y)
    assert len(model.estimators_) == 6
    # Of six equal weights three are the half: the third least prediction is the answer, not the fourth.
    model.estimator_weights_ = np.full(6, weight)
    third = np.sort([member.predict(x) for member in model.estimators_], axis=0)[2]
    np.testing.assert_array_equal(model.predict(x), third)
    check_lowered(model, x)


@FEW
@given(seed=st.integers(0, 99), classes=st.integers(2, 3), weights=st.sampled_from([None, [1, 5, 2, 7]]))
def test_voting_classifiers(seed: int, classes: int, weights: Any) -> None:
    x, y = scaled(seed, classes)
    members = [
        ("a", SCALED_LOGISTIC),
        ("b", "drop"),
        ("c", RandomForestClassifier(4, random_state=seed)),
        ("d", DecisionTreeClassifier(max_depth=3)),
    ]
    model = VotingClassifier(members, voting="soft", weights=weights)
    check_hard(model.fit(x, np.array(["x", "y", "z"])[y]), x)


@FEW
@given(seed=st.integers(0, 99), weights=st.sampled_from([None, [1, 5]]))
def test_voting_regressors(seed: int, weights: Any) -> None:
    x, y = scaled(seed)
    model = VotingRegressor([("a", Ridge()), ("b", DecisionTreeRegressor(max_depth=3))], weights=weights)
    check_hard(model.fit(x, y + x[:, 0]), x)


def test_hard_votes_have_no_scores() -> None:
    x, y = scaled(0)
    model = VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier())], voting="hard").fit(x, y)
    with pytest.raises(CannotLower, match="gives no scores: use voting='soft'"):
        lower(model, x.shape[1])


@pytest.mark.parametrize(
    "final", [LogisticRegression(max_iter=500), RidgeClassifier(), DecisionTreeClassifier(max_depth=3)]
)
@FEW
@given(
    seed=st.integers(0, 99),
    classes=st.integers(2, 3),
    through=st.booleans(),
    method=st.sampled_from(["auto", "predict"]),
)
def test_stacking_classifiers(final: Any, seed: int, classes: int, through: bool, method: str) -> None:
    x, y = scaled(seed, classes)
    members = [
        ("a", SCALED_LOGISTIC),
        ("b", LinearSVC()),
        ("c", "drop"),
        ("d", RandomForestClassifier(4, max_depth=3, random_state=seed)),
        ("e", GradientBoostingClassifier(n_estimators=3)),
    ]
    model = StackingClassifier(members, final, cv=2, passthrough=through, stack_method=method)
    check_lowered(
        quietly_fit(model, x, np.array(["x", "y", "z"])[y]), x, trees=isinstance(final, DecisionTreeClassifier)
    )


@pytest.mark.parametrize("final", [None, DecisionTreeRegressor(max_depth=4)])
@FEW
@given(seed=st.integers(0, 99), through=st.booleans())
def test_stacking_regressors(final: Any, seed: int, through: bool) -> None:
    x, y = scaled(seed)
    members = [("a", Ridge()), ("b", RandomForestRegressor(4, max_depth=4, random_state=seed))]
    model = StackingRegressor(members, final, cv=2, passthrough=through)
    check_lowered(model.fit(x, y + x[:, 0]), x)
