"""Naive Bayes, mixtures and discriminants answer as scikit-learn does."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.pipeline import make_pipeline

from edge_agent.kernels.interpreter import Interpreter
from tests.fakes.lowering_cases import FEW, SEEDS, check_fit, counts, even_rows
from trainer.stages.lower import gaussians
from trainer.stages.lower.estimators import lower

COVARIANCES = ("full", "tied", "diag", "spherical")


@FEW
@given(seed=SEEDS, classes=st.integers(2, 4), smoothing=st.floats(1e-9, 0.1))
def test_gaussian(seed: int, classes: int, smoothing: float) -> None:
    x, y = even_rows(seed, classes=classes)
    check_fit(GaussianNB(var_smoothing=smoothing), x, y)


@pytest.mark.parametrize("make", [MultinomialNB, ComplementNB, BernoulliNB])
@FEW
@given(data=st.data(), seed=SEEDS, classes=st.integers(2, 4))
def test_counted(make: Any, data: st.DataObject, seed: int, classes: int) -> None:
    x, y = counts(seed, classes=classes)
    parameters = {"alpha": data.draw(st.floats(0.01, 3)), "fit_prior": data.draw(st.booleans())}
    if make is BernoulliNB:
        parameters["binarize"] = data.draw(st.sampled_from([0.0, 0.5, 1.0]))
    if make is ComplementNB:
        parameters["norm"] = data.draw(st.booleans())
    check_fit(make(**parameters), x, y, x + 1)


@FEW
@given(seed=SEEDS, classes=st.integers(2, 4), alpha=st.floats(0.01, 3), extra=st.sampled_from([None, 7]))
def test_categories(seed: int, classes: int, alpha: float, extra: int | None) -> None:
    x, y = counts(seed, classes=classes)
    check_fit(CategoricalNB(alpha=alpha, min_categories=extra), x, y, x[::-1] + 0.75)


def test_a_category_beyond_all_is_not_answered() -> None:
    x, y = counts(0)
    model = CategoricalNB().fit(x, y)
    new = np.array([[0, 0, 0, 5], [1, 1, 1, 1]], dtype=np.float32)
    with pytest.raises(IndexError):
        model.predict(new)
    scores = Interpreter(lower(model, 4)).run(new)
    assert np.isnan(scores[0]).all()
    assert np.isfinite(scores[1]).all()


@pytest.mark.parametrize("covariance", COVARIANCES)
@FEW
@given(seed=SEEDS, components=st.integers(2, 4))
def test_mixtures(covariance: str, seed: int, components: int) -> None:
    x, _ = even_rows(seed)
    check_fit(
        GaussianMixture(components, covariance_type=covariance, reg_covar=1e-3, random_state=seed), x + 5, None, x + 5
    )


@pytest.mark.parametrize("covariance", COVARIANCES)
@FEW
@given(seed=SEEDS, prior=st.sampled_from(["dirichlet_process", "dirichlet_distribution"]))
def test_bayesian_mixtures(covariance: str, seed: int, prior: str) -> None:
    x, _ = even_rows(seed)
    model = BayesianGaussianMixture(
        n_components=3,
        covariance_type=covariance,
        weight_concentration_prior_type=prior,
        reg_covar=1e-3,
        random_state=seed,
    )
    check_fit(model, x, None)


@FEW
@given(data=st.data(), seed=SEEDS, classes=st.integers(2, 4))
def test_linear_discriminants(data: st.DataObject, seed: int, classes: int) -> None:
    x, y = even_rows(seed, classes=classes)
    solver = data.draw(st.sampled_from(["svd", "lsqr", "eigen"]))
    shrinkage = None if solver == "svd" else data.draw(st.sampled_from([None, "auto", 0.3]))
    check_fit(LinearDiscriminantAnalysis(solver=solver, shrinkage=shrinkage), x, y)


@FEW
@given(seed=SEEDS, solver=st.sampled_from(["svd", "eigen"]), kept=st.sampled_from([None, 1]))
def test_a_discriminant_as_a_step_projects(seed: int, solver: str, kept: int | None) -> None:
    x, y = even_rows(seed)
    step = LinearDiscriminantAnalysis(solver=solver, n_components=kept)
    check_fit(make_pipeline(step, LogisticRegression()), x, y)


@FEW
@given(seed=SEEDS, classes=st.integers(2, 4), regularization=st.floats(0.0, 0.9))
def test_quadratic_discriminants(seed: int, classes: int, regularization: float) -> None:
    x, y = even_rows(seed, classes=classes)
    check_fit(QuadraticDiscriminantAnalysis(reg_param=regularization), x, y, x)


def test_many_wide_components_stand_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = even_rows(0)
    model = QuadraticDiscriminantAnalysis().fit(x, y)
    together = lower(model, 4)
    monkeypatch.setattr(gaussians, "_BLOCK_WEIGHTS", 0)
    apart = lower(model, 4)
    assert len(apart.nodes) > len(together.nodes)
    check_fit(model, x, y, x)
