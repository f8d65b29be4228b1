"""Calibrated classifiers answer as scikit-learn does, by each method."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from tests.fakes.lowering import backends, check_lowered
from tests.fakes.trainer_models import quietly_fit, rows
from trainer.core.arrays import as_singles
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower

FEW = settings(max_examples=5)
INNER = (
    make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
    LinearSVC(),
    RandomForestClassifier(6, max_depth=4, random_state=0),
    DecisionTreeClassifier(max_depth=3),
)


def overlapping(seed: int, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose classes overlap, so that a calibration has something to say."""
    x, y = rows(seed, n=160, classes=classes)
    chance = np.random.default_rng(seed)
    return as_singles(x / x.std(axis=0) + 2 * chance.normal(size=x.shape)).astype(np.float64), y


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("method", ["sigmoid", "temperature"])
@FEW
@given(seed=st.integers(0, 99), classes=st.integers(2, 4), ensemble=st.booleans())
def test_smooth_methods(inner: Any, method: str, seed: int, classes: int, ensemble: bool) -> None:
    x, y = overlapping(seed, classes)
    model = CalibratedClassifierCV(inner, method=method, cv=2, ensemble=ensemble)
    check_lowered(quietly_fit(model, x, y), x)


@pytest.mark.parametrize("inner", INNER)
@FEW
@given(seed=st.integers(0, 99), classes=st.integers(2, 3))
def test_isotonic(inner: Any, seed: int, classes: int) -> None:
    x, y = overlapping(seed, classes)
    model = quietly_fit(CalibratedClassifierCV(inner, method="isotonic", cv=2), x, y)
    singles = as_singles(x)
    try:
        graph = lower(model, x.shape[1])
    except CannotLower:
        # As steep as in the refusal that has its own test.
        return
    # Between two rows that were neighbours a probability climbs steeply, and with it what float32 makes of the margin:
    # that may touch the few rows in between, and by no more than what the refusal lets through.
    for _, run in backends(graph):
        worst = np.abs(run(singles) - model.predict_proba(singles.astype(np.float64))).max(axis=1)
        assert np.quantile(worst, 0.97) <= 1e-5
        assert worst.max() <= 1e-3


def test_far_rows_have_shares_too() -> None:
    x, y = overlapping(0)
    model = quietly_fit(CalibratedClassifierCV(RidgeClassifier(), method="sigmoid", cv=2), x, y)
    check_lowered(model, np.concatenate([x * scale for scale in (1.0, 30.0, 300.0)]))


def test_a_classifier_that_was_fitted_before() -> None:
    x, y = overlapping(3)
    y = np.array(["a", "b", "c"])[y]
    model = CalibratedClassifierCV(FrozenEstimator(GaussianNB().fit(x, y)), method="sigmoid")
    check_lowered(quietly_fit(model, x, y), x)


def test_a_calibration_steeper_than_float32_can_follow_is_refused() -> None:
    x, y = overlapping(0, 2)
    model = quietly_fit(CalibratedClassifierCV(LinearSVC(), method="isotonic", cv=2), x, y)
    fitted = model.calibrated_classifiers_[0].calibrators[0]
    fitted.X_thresholds_ = np.array([1.0, 1.0 + 1e-9])
    fitted.y_thresholds_ = np.array([0.1, 0.9])
    with pytest.raises(CannotLower, match=r"isotonic calibration rises.*sigmoid"):
        lower(model, x.shape[1])
