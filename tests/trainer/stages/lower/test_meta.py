"""Estimators around another one answer as scikit-learn does."""

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - it makes the halving searches importable
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.fakes.lowering import check_lowered, hard_rows, reference_scores
from tests.fakes.trainer_models import quietly_fit, rows
from trainer.core.arrays import as_singles
from trainer.core.labels import label_indices
from trainer.errors import CannotLower, RejectedError
from trainer.stages.lower.estimators import lower
from trainer.stages.signature import read_signature

FEW = settings(max_examples=5)


def scaled(seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    x, y = rows(seed, classes=classes)
    return as_singles(x / x.std(axis=0)).astype(np.float64), y


@pytest.mark.parametrize("search", [GridSearchCV, RandomizedSearchCV, HalvingGridSearchCV, HalvingRandomSearchCV])
@settings(max_examples=3)
@given(seed=st.integers(0, 99), classes=st.integers(2, 4))
def test_searches_are_the_estimator_that_they_chose(search: Any, seed: int, classes: int) -> None:
    x, y = scaled(seed, classes)
    chance = {} if search is GridSearchCV else {"random_state": seed}
    few = {"n_iter": 2} if search is RandomizedSearchCV else {}
    model = search(RandomForestClassifier(4, random_state=0), {"max_depth": [2, 5]}, cv=2, **chance, **few)
    graph = check_lowered(quietly_fit(model, x, y), x)
    check_lowered(model, hard_rows(graph, x))


def test_a_search_over_a_pipeline_inside_of_another() -> None:
    x, y = scaled(1)
    inner = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    model = make_pipeline(MinMaxScaler(), GridSearchCV(inner, {"logisticregression__C": [0.1, 1.0]}, cv=2))
    check_lowered(quietly_fit(model, x, y), x)


@pytest.mark.parametrize(
    ("functions", "low"),
    [((np.log1p, np.expm1), 0.0), ((np.log, np.exp), 1.0), ((np.sqrt, np.square), 0.0), ((np.exp, np.log), -1.0)],
)
@FEW
@given(seed=st.integers(0, 99))
def test_targets_transformed_by_functions(functions: Any, low: float, seed: int) -> None:
    x, _ = scaled(seed)
    y = low + np.abs(x[:, 0] - x[:, 1] + 3)
    inner = DecisionTreeRegressor(max_depth=4) if functions[1] is np.log else LinearRegression()
    model = TransformedTargetRegressor(inner, func=functions[0], inverse_func=functions[1], check_inverse=False)
    check_lowered(quietly_fit(model, x, y), x)


@pytest.mark.parametrize("transformer", [StandardScaler(), MinMaxScaler((2, 3)), MaxAbsScaler(), RobustScaler()])
@FEW
@given(seed=st.integers(0, 99), columns=st.integers(1, 2))
def test_targets_transformed_by_scalers(transformer: Any, seed: int, columns: int) -> None:
    x, _ = scaled(seed)
    y = 1e4 + 50 * x[:, :columns] + x[:, 2:3]
    model = TransformedTargetRegressor(RandomForestRegressor(3, random_state=0), transformer=transformer)
    check_lowered(model.fit(x, y[:, 0] if columns == 1 else y), x)


def test_targets_transformed_by_what_has_no_known_inverse_are_refused() -> None:
    x, _ = scaled(0)
    powered = TransformedTargetRegressor(LinearRegression(), transformer=PowerTransformer()).fit(x, x[:, 0])
    with pytest.raises(CannotLower, match=r"inverse of PowerTransformer.*StandardScaler"):
        lower(powered, x.shape[1])
    own = TransformedTargetRegressor(LinearRegression(), func=np.cbrt, inverse_func=lambda v: v**3).fit(x, x[:, 0])
    with pytest.raises(CannotLower, match="of Python, which no device has"):
        lower(own, x.shape[1])


@pytest.mark.parametrize(
    "inner",
    [LogisticRegression(max_iter=300), LinearSVC(), DecisionTreeClassifier(max_depth=3), RandomForestClassifier(3)],
)
@FEW
@given(seed=st.integers(0, 99), classes=st.integers(2, 4))
def test_one_against_the_rest(inner: Any, seed: int, classes: int) -> None:
    x, y = scaled(seed, classes)
    model = quietly_fit(OneVsRestClassifier(inner), x, y)
    graph = check_lowered(model, x)
    check_lowered(model, hard_rows(graph, x))


def test_one_against_the_rest_where_no_class_wants_a_row() -> None:
    # Trees that say no with certainty: the shares of a sum of 0 stay 0, as in scikit-learn, and are not NaN.
    x = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]] * 5)
    y = np.array([0, 1, 2, 0, 1, 2] * 5)
    model = OneVsRestClassifier(DecisionTreeClassifier(random_state=0)).fit(x, y)
    model.estimators_[2].tree_.value[:, 0, :] = [1.0, 0.0]
    check_lowered(model, x)
    assert (model.predict_proba(x).sum(axis=1) == 0).any()


@pytest.mark.parametrize(
    "inner", [LinearSVC(), LogisticRegression(max_iter=300), GaussianNB(), DecisionTreeClassifier(max_depth=3)]
)
@FEW
@given(seed=st.integers(0, 99), classes=st.integers(2, 4))
def test_one_against_one(inner: Any, seed: int, classes: int) -> None:
    x, y = scaled(seed, classes)
    check_lowered(quietly_fit(OneVsOneClassifier(inner), x, y), x)


@FEW
@given(seed=st.integers(0, 99), order=st.permutations([0, 1, 2]))
def test_several_targets(seed: int, order: list[int]) -> None:
    x, _ = scaled(seed)
    y = np.column_stack([x[:, 0] + 5, x[:, 1] * x[:, 2], x[:, 3]])
    check_lowered(MultiOutputRegressor(DecisionTreeRegressor(max_depth=4)).fit(x, y), x)
    check_lowered(RegressorChain(Ridge(), order=order).fit(x, y), x)


@FEW
@given(
    seed=st.integers(0, 99),
    scaler=st.sampled_from([StandardScaler(), MinMaxScaler(), "passthrough"]),
    inner=st.sampled_from([LogisticRegression(max_iter=300), RandomForestClassifier(3), LinearSVC()]),
)
def test_pipelines(seed: int, scaler: Any, inner: Any) -> None:
    x, y = scaled(seed)
    model = quietly_fit(Pipeline([("scaler", scaler), ("model", inner)]), x, y)
    graph = check_lowered(model, x)
    check_lowered(model, hard_rows(graph, x))


def labels_of(model: Any, x: np.ndarray) -> np.ndarray:
    """The labels that follow from the scores by the rule of the output, as a device makes them."""
    scores, output = reference_scores(model, as_singles(x))
    return np.asarray(model.classes_)[label_indices(output, scores)]


@pytest.mark.parametrize("inner", [LogisticRegression(), LinearSVC()])
@FEW
@given(threshold=st.one_of(st.just("auto"), st.floats(0.1, 0.9)), seed=st.integers(0, 99))
def test_labels_follow_the_threshold_that_was_set(inner: Any, threshold: Any, seed: int) -> None:
    # The trap: the scores are the same as without a threshold, and only the labels know of it.
    x, y = scaled(seed, 2)
    x = as_singles(x + 3 * np.random.default_rng(seed).normal(size=x.shape)).astype(np.float64)
    model = FixedThresholdClassifier(inner, threshold=threshold).fit(x, y)
    check_lowered(model, x)
    assert (labels_of(model, x) == model.predict(x)).all()
    searched = make_pipeline(StandardScaler(), GridSearchCV(model, {"threshold": [0.7]}, cv=2)).fit(x, y)
    assert (labels_of(searched, x) == searched.predict(x)).all()


@FEW
@given(seed=st.integers(0, 99))
def test_labels_follow_the_threshold_that_was_found(seed: int) -> None:
    x, y = scaled(seed, 2)
    x = as_singles(x + 3 * np.random.default_rng(seed).normal(size=x.shape)).astype(np.float64)
    model = TunedThresholdClassifierCV(GradientBoostingClassifier(n_estimators=4), cv=2).fit(x, y)
    check_lowered(model, x, trees=True)
    assert (labels_of(model, x) == model.predict(x)).all()


def test_labels_of_one_against_one_of_two_classes() -> None:
    x, y = scaled(0, 2)
    for inner in (GaussianNB(), LinearSVC()):
        model = quietly_fit(OneVsOneClassifier(inner), x, y)
        assert (labels_of(model, x) == model.predict(x)).all()


def test_thresholds_on_what_the_scores_do_not_show_are_refused() -> None:
    x, y = scaled(0, 2)
    margins = FixedThresholdClassifier(LogisticRegression(), threshold=1.0, response_method="decision_function")
    with pytest.raises(RejectedError, match="decides by decision_function"):
        read_signature(margins.fit(x, y))
    first = FixedThresholdClassifier(LogisticRegression(), threshold=0.3, pos_label=0)
    with pytest.raises(RejectedError, match="threshold on the first class"):
        read_signature(first.fit(x, y))


@FEW
@given(seed=st.integers(0, 99), classes=st.integers(2, 4))
def test_what_only_changes_how_it_is_fitted(seed: int, classes: int) -> None:
    x, y = scaled(seed, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        half = np.where(np.random.default_rng(seed).random(len(y)) < 0.5, y, -1)
        check_lowered(SelfTrainingClassifier(LogisticRegression(max_iter=300)).fit(x, half), x)
    check_lowered(FrozenEstimator(LogisticRegression(max_iter=300).fit(x, y)), x)
