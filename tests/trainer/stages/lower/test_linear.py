"""Linear models answer as scikit-learn does, also where probabilities underflow."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import linear_model as linear
from sklearn.base import clone
from sklearn.ensemble import VotingClassifier
from sklearn.svm import LinearSVC, LinearSVR

from tests.fakes.lowering import check_lowered
from tests.fakes.lowering_cases import FEW, SEEDS, Parameters, amounts, check_fit, draw, even_rows
from trainer.core.arrays import Column, Floats

INTERCEPT: Parameters = {"fit_intercept": st.booleans()}
ALPHA: Parameters = {**INTERCEPT, "alpha": st.floats(0.001, 1.0)}
REGRESSORS: dict[Any, Parameters] = {
    linear.LinearRegression: {**INTERCEPT, "positive": st.booleans()},
    linear.Ridge: ALPHA,
    linear.RidgeCV: INTERCEPT,
    linear.Lasso: ALPHA,
    linear.LassoCV: INTERCEPT,
    linear.ElasticNet: {**ALPHA, "l1_ratio": st.floats(0.1, 0.9)},
    linear.ElasticNetCV: INTERCEPT,
    linear.Lars: INTERCEPT,
    linear.LarsCV: INTERCEPT,
    linear.LassoLars: ALPHA,
    linear.LassoLarsCV: INTERCEPT,
    linear.LassoLarsIC: {**INTERCEPT, "criterion": st.sampled_from(["aic", "bic"])},
    linear.OrthogonalMatchingPursuit: {**INTERCEPT, "n_nonzero_coefs": st.integers(1, 4)},
    linear.OrthogonalMatchingPursuitCV: INTERCEPT,
    linear.HuberRegressor: {**ALPHA, "epsilon": st.floats(1.05, 2.0)},
    linear.TheilSenRegressor: {**INTERCEPT, "max_subpopulation": st.just(200)},
    linear.ARDRegression: INTERCEPT,
    linear.BayesianRidge: INTERCEPT,
    linear.QuantileRegressor: {"alpha": st.floats(0.0, 0.1), "quantile": st.floats(0.2, 0.8)},
    linear.SGDRegressor: {**INTERCEPT, "penalty": st.sampled_from(["l1", "l2", None]), "average": st.booleans()},
    linear.PoissonRegressor: ALPHA,
    linear.GammaRegressor: ALPHA,
    linear.TweedieRegressor: {
        **ALPHA, "power": st.sampled_from([0, 1, 1.5, 2]), "link": st.sampled_from(["auto", "log"])
    },
    linear.RANSACRegressor: {"estimator": st.sampled_from([None, linear.Ridge()]), "min_samples": st.just(20)},
    LinearSVR: {**INTERCEPT, "C": st.floats(0.1, 2.0)},
}  # fmt: skip
SEVERAL: dict[Any, Parameters] = {
    linear.LinearRegression: INTERCEPT,
    linear.Ridge: ALPHA,
    linear.MultiTaskLasso: ALPHA,
    linear.MultiTaskLassoCV: INTERCEPT,
    linear.MultiTaskElasticNet: ALPHA,
    linear.MultiTaskElasticNetCV: INTERCEPT,
}
CLASSIFIERS: dict[Any, Parameters] = {
    linear.LogisticRegression: {**INTERCEPT, "C": st.floats(0.01, 50)},
    linear.LogisticRegressionCV: {"Cs": st.just(2), "cv": st.just(2), "use_legacy_attributes": st.just(False)},
    linear.SGDClassifier: {
        **ALPHA,
        "loss": st.sampled_from(["log_loss", "modified_huber", "hinge", "squared_hinge", "perceptron"]),
        "average": st.booleans(),
    },
    linear.Perceptron: {**INTERCEPT, "penalty": st.sampled_from(["l1", "l2", None])},
    linear.RidgeClassifier: ALPHA,
    linear.RidgeClassifierCV: INTERCEPT,
    LinearSVC: {**INTERCEPT, "C": st.floats(0.05, 5)},
}


@pytest.mark.parametrize("make", REGRESSORS, ids=lambda make: make.__name__)
@FEW
@given(data=st.data(), seed=SEEDS)
def test_regressors(make: Any, data: st.DataObject, seed: int) -> None:
    x, _ = even_rows(seed)
    check_fit(make(**draw(data, REGRESSORS[make])), x, amounts(x, seed))


@pytest.mark.parametrize("make", SEVERAL, ids=lambda make: make.__name__)
@FEW
@given(data=st.data(), seed=SEEDS)
def test_several_targets(make: Any, data: st.DataObject, seed: int) -> None:
    x, _ = even_rows(seed)
    check_fit(make(**draw(data, SEVERAL[make])), x, amounts(x, seed, targets=3))


@pytest.mark.parametrize("make", CLASSIFIERS, ids=lambda make: make.__name__)
@FEW
@given(data=st.data(), seed=SEEDS, classes=st.integers(2, 4))
def test_classifiers(make: Any, data: st.DataObject, seed: int, classes: int) -> None:
    x, y = even_rows(seed, classes=classes)
    model = make(**draw(data, CLASSIFIERS[make]))
    if getattr(model, "loss", None) == "modified_huber" and classes > 2:
        model = VotingClassifier([("only", model)], voting="soft")
    check_fit(model, x, y)


@pytest.mark.parametrize("name", ["PassiveAggressiveClassifier", "PassiveAggressiveRegressor"])
@FEW
@given(seed=SEEDS, classes=st.integers(2, 4), share=st.floats(0.01, 2))
def test_passive_aggressive(name: str, seed: int, classes: int, share: float) -> None:
    x, y = even_rows(seed, classes=classes)
    with pytest.warns(FutureWarning, match="deprecated"):
        model = getattr(linear, name)(C=share).fit(x, y)
    check_lowered(model, x)


@FEW
@given(seed=SEEDS, nu=st.floats(0.05, 0.9), intercept=st.booleans())
def test_one_class(seed: int, nu: float, intercept: bool) -> None:
    x, _ = even_rows(seed)
    check_fit(linear.SGDOneClassSVM(nu=nu, fit_intercept=intercept), x + 3, None)


@FEW
@given(
    seed=SEEDS,
    size=st.sampled_from([1.0, 30.0, 1e3, 1e5]),
    loss=st.sampled_from(["log_loss", "modified_huber"]),
    classes=st.integers(3, 5),
)
def test_shares_of_what_float32_cannot_hold(seed: int, size: float, loss: str, classes: int) -> None:
    """Margins of minus hundreds have logistic functions that are 0 in float32 and none in float64."""
    chance = np.random.default_rng(seed)
    x, y = even_rows(seed, classes=classes)
    model = linear.SGDClassifier(loss=loss, max_iter=2, tol=None).fit(x, y)
    model.coef_ = chance.normal(size=model.coef_.shape) * size
    model.intercept_ = -np.abs(chance.normal(size=classes)) * size
    # Margins of thousands keep no digits after the point in float32: whole numbers keep them all.
    model.coef_, model.intercept_ = np.round(model.coef_), np.round(model.intercept_)
    check_lowered(asked_for_shares(model, x, y), np.round(x))


def asked_for_shares(model: Any, x: Floats, y: Column) -> VotingClassifier:
    """An estimator whose labels follow from the probabilities of another: those of SGDClassifier need not."""
    mean = VotingClassifier([("only", clone(model))], voting="soft").fit(x, y)
    mean.estimators_ = [model]
    return mean
