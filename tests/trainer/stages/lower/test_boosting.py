"""Gradient boosting answers as scikit-learn does: losses, starts, missing values, categories, rounded thresholds."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import GaussianNB

from edge_agent.kernels.primitives import Trees
from tests.fakes.lowering import check_lowered, hard_rows, with_missing
from tests.fakes.trainer_models import rows
from trainer.core.arrays import as_singles
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower

FEW = settings(max_examples=6)


def check_hard(model: Any, x: np.ndarray) -> None:
    graph = check_lowered(model, x)
    check_lowered(model, hard_rows(graph, x))


def amounts(x: np.ndarray, seed: int) -> np.ndarray:
    """Positive values that depend on the rows."""
    chance = np.random.default_rng(seed)
    return np.exp(0.3 * (x / x.std(axis=0)) @ chance.normal(size=x.shape[1])) + chance.random(len(x))


@FEW
@given(
    seed=st.integers(0, 99),
    classes=st.integers(2, 4),
    depth=st.integers(1, 4),
    stages=st.sampled_from([1, 8]),
    init=st.sampled_from([None, "zero", DummyClassifier(strategy="prior")]),
)
def test_gradient_boosting_classifiers(seed: int, classes: int, depth: int, stages: int, init: Any) -> None:
    x, y = rows(seed, classes=classes)
    model = GradientBoostingClassifier(n_estimators=stages, max_depth=depth, init=init, random_state=seed)
    check_hard(model.fit(x, y), x)


@FEW
@given(seed=st.integers(0, 99), classes=st.integers(3, 4))
def test_margins_that_float32_cannot_tell_apart_are_refused(seed: int, classes: int) -> None:
    """A start that gives a class no probability makes leaves of 1e14: two classes then tie that do not tie."""
    x, y = rows(seed, classes=classes)
    model = GradientBoostingClassifier(n_estimators=8, init=DummyClassifier(strategy="most_frequent"))
    with pytest.raises(CannotLower, match=r"float32 cannot tell such margins apart.*strategy='prior'"):
        lower(model.fit(x, y), x.shape[1])


@FEW
@given(seed=st.integers(0, 99), stages=st.sampled_from([1, 8]))
def test_two_classes_start_from_the_most_frequent_one(seed: int, stages: int) -> None:
    x, y = rows(seed, classes=2)
    model = GradientBoostingClassifier(n_estimators=stages, init=DummyClassifier(strategy="most_frequent"))
    check_hard(model.fit(x, y), x)


@FEW
@given(
    seed=st.integers(0, 99),
    init=st.sampled_from([None, DummyClassifier(strategy="constant", constant=1), LogisticRegression(max_iter=500)]),
)
def test_gradient_boosting_with_the_exponential_loss(seed: int, init: Any) -> None:
    x, y = rows(seed, classes=2)
    x = as_singles(x / x.std(axis=0)).astype(np.float64)
    check_hard(GradientBoostingClassifier(loss="exponential", n_estimators=6, init=init, random_state=0).fit(x, y), x)


def test_gradient_boosting_starts_from_another_classifier_only_where_that_is_exact() -> None:
    x, y = rows(0, classes=2)
    x = as_singles(x / x.std(axis=0)).astype(np.float64)
    check_hard(GradientBoostingClassifier(n_estimators=5, init=LogisticRegression(max_iter=500)).fit(x, y), x)
    with pytest.raises(CannotLower, match=r"log odds of the probabilities of GaussianNB.*leave `init` out"):
        lower(GradientBoostingClassifier(n_estimators=3, init=GaussianNB()).fit(x, y), x.shape[1])
    with pytest.raises(CannotLower, match="starts by chance"):
        lower(GradientBoostingClassifier(n_estimators=3, init=DummyClassifier(strategy="uniform")).fit(x, y), 5)


@FEW
@given(
    seed=st.integers(0, 99),
    loss=st.sampled_from(["squared_error", "absolute_error", "huber", "quantile"]),
    init=st.sampled_from([None, "zero", DummyRegressor(strategy="median"), LinearRegression()]),
)
def test_gradient_boosting_regressors(seed: int, loss: str, init: Any) -> None:
    x, _ = rows(seed)
    x = as_singles(x / x.std(axis=0)).astype(np.float64)
    model = GradientBoostingRegressor(loss=loss, n_estimators=8, init=init, random_state=seed)
    check_hard(model.fit(x, 100 * amounts(x, seed)), x)


@FEW
@given(
    seed=st.integers(0, 99),
    classes=st.integers(2, 4),
    share=st.sampled_from([0.0, 0.1, 0.5]),
    leaves=st.sampled_from([3, 31]),
    bins=st.sampled_from([4, 255]),
)
def test_histogram_classifiers(seed: int, classes: int, share: float, leaves: int, bins: int) -> None:
    x, y = rows(seed, classes=classes)
    holes = with_missing(x, share, seed)
    model = HistGradientBoostingClassifier(
        max_iter=6, max_leaf_nodes=leaves, max_bins=bins, min_samples_leaf=4, random_state=seed
    ).fit(holes, y)
    check_hard(model, x)
    check_lowered(model, np.concatenate([holes, with_missing(x, 0.8, seed)]))


@FEW
@given(
    seed=st.integers(0, 99),
    loss=st.sampled_from(["squared_error", "absolute_error", "poisson", "gamma", "quantile"]),
    share=st.sampled_from([0.0, 0.2]),
)
def test_histogram_regressors(seed: int, loss: str, share: float) -> None:
    x, _ = rows(seed)
    holes = with_missing(x, share, seed)
    model = HistGradientBoostingRegressor(
        loss=loss, max_iter=6, quantile=0.7 if loss == "quantile" else None, min_samples_leaf=5, random_state=seed
    ).fit(holes, amounts(x, seed))
    check_hard(model, x)
    check_lowered(model, holes)


def test_histogram_thresholds_are_floored_to_float32() -> None:
    # The trap: fitted and asked in float64, with thresholds midway between neighbouring float32 numbers. Rounded to
    # the nearest, half of them fall on a training value, whose rows then change sides.
    steps = np.float32(1.0) + np.arange(200, dtype=np.float32) * np.spacing(np.float32(1.0))
    x = steps.astype(np.float64)[:, None]
    y = np.arange(200) % 2
    model = HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=1, max_leaf_nodes=None, random_state=0).fit(
        x, y
    )
    (node,) = [node for node in lower(model, 1).nodes if isinstance(node, Trees)]
    inner = node.threshold[node.left >= 0]
    assert (inner.astype(np.float32) > inner).any(), "no threshold that rounding to nearest would lift"
    check_hard(model, x)


def test_histogram_boosting_that_stopped_before_it_began() -> None:
    x, _ = rows(0)
    model = HistGradientBoostingRegressor(max_iter=1, min_samples_leaf=100).fit(x, np.full(len(x), 3.0))
    check_lowered(model, x)


@FEW
@given(
    seed=st.integers(0, 99),
    classes=st.integers(2, 3),
    categories=st.sampled_from([3, 12, 70]),
    share=st.sampled_from([0.0, 0.2]),
)
def test_categories(seed: int, classes: int, categories: int, share: float) -> None:
    # The trap: the sets of categories of a node read as thresholds get almost every row wrong.
    chance = np.random.default_rng(seed)
    x = np.column_stack([chance.normal(size=300), chance.integers(0, categories, (300, 2)) * 1.5 - 4])
    y = (x[:, 1] * 7 % 5 + x[:, 2] * 3 % 4 + x[:, 0]).round().astype(int) % classes
    holes = with_missing(x, share, seed) if share else x
    model = HistGradientBoostingClassifier(
        max_iter=5, categorical_features=[2, 1], min_samples_leaf=3, random_state=seed
    ).fit(holes, y)
    unknown = x.copy()
    unknown[:, 1:] += 0.25
    extreme = np.array([[0.0, 3e38, -3e38], [0.0, -0.0, 1e-40]])
    check_lowered(model, np.concatenate([holes, x, unknown, with_missing(x, 0.5, seed + 1), extreme]))


def test_a_category_that_float32_cannot_hold_is_unknown_to_the_device_as_to_scikit_learn() -> None:
    chance = np.random.default_rng(0)
    x = np.column_stack([chance.choice([0.1, 0.2, 0.5, 3.0], 300), chance.normal(size=300)])
    model = HistGradientBoostingRegressor(max_iter=5, categorical_features=[0]).fit(x, x[:, 0] * 5 % 2 + x[:, 1])
    check_lowered(model, x)


def test_text_categories_are_refused() -> None:
    chance = np.random.default_rng(0)
    x = np.column_stack([chance.choice(["a", "b"], 100), chance.normal(size=100)]).astype(object)
    x[:, 1] = x[:, 1].astype(float)
    model = HistGradientBoostingRegressor(max_iter=2, categorical_features=[0]).fit(x, np.arange(100.0))
    with pytest.raises(CannotLower, match="categories of column 0 are not numbers"):
        lower(model, 2)
