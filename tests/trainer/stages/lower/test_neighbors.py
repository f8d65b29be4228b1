"""What asks its neighbours answers as scikit-learn does: metrics, weights, rows that stand on training rows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestCentroid
from sklearn.semi_supervised import LabelPropagation, LabelSpreading

from tests.fakes.lowering import check_lowered
from tests.fakes.lowering_cases import FEW, SEEDS, Parameters, amounts, check_fit, draw, even_rows
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower

VOTE: Parameters = {
    "n_neighbors": st.integers(1, 9),
    "weights": st.sampled_from(["uniform", "distance"]),
    "metric": st.sampled_from(["minkowski", "euclidean", "sqeuclidean", "manhattan", "chebyshev"]),
    "algorithm": st.sampled_from(["auto", "brute"]),
}


@FEW
@given(data=st.data(), seed=SEEDS, classes=st.integers(2, 4))
def test_classifiers(data: st.DataObject, seed: int, classes: int) -> None:
    x, y = even_rows(seed, classes=classes)
    parameters = draw(data, VOTE)
    if parameters["metric"] == "sqeuclidean":
        parameters["algorithm"] = "brute"
    check_fit(KNeighborsClassifier(**parameters), x, y)


@FEW
@given(data=st.data(), seed=SEEDS, targets=st.integers(1, 2), p=st.sampled_from([1, 2, np.inf]))
def test_regressors(data: st.DataObject, seed: int, targets: int, p: float) -> None:
    x, _ = even_rows(seed)
    parameters = draw(data, VOTE) | {"metric": "minkowski", "p": p}
    check_fit(KNeighborsRegressor(**parameters), x, amounts(x, seed, targets=targets))


@FEW
@given(seed=SEEDS, classes=st.integers(2, 4), shrink=st.sampled_from([None, 0.1]))
def test_nearest_centroid(seed: int, classes: int, shrink: float | None) -> None:
    x, y = even_rows(seed, classes=classes)
    share = np.arange(1, classes + 1) / np.arange(1, classes + 1).sum()
    check_fit(NearestCentroid(priors=share.tolist(), shrink_threshold=shrink), x, y)


def test_a_centroid_that_gives_two_answers_is_refused() -> None:
    x, y = even_rows(0)
    with pytest.raises(CannotLower, match=r"name different classes.*uneven priors"):
        lower(NearestCentroid().fit(x, y), 4)


@pytest.mark.parametrize("make", [LabelPropagation, LabelSpreading])
@FEW
@given(data=st.data(), seed=SEEDS)
def test_propagation(make: Any, data: st.DataObject, seed: int) -> None:
    x, y = even_rows(seed)
    y = np.where(np.arange(len(y)) % 4 == 0, y, -1)
    kernel = data.draw(st.sampled_from(["rbf", "knn"]))
    model = make(kernel=kernel, gamma=data.draw(st.floats(0.5, 5)), max_iter=200)
    check_fit(model, x, y)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [({"metric": "canberra"}, "canberra"), ({"p": 3}, "p=3"), ({"weights": np.exp}, "function of Python")],
)
def test_what_is_not_known_is_refused(parameters: Any, named: str) -> None:
    x, y = even_rows(0)
    with pytest.raises(CannotLower, match=named):
        lower(KNeighborsClassifier(**parameters).fit(x, y), 4)


def test_rows_that_were_trained_twice() -> None:
    x = np.repeat(even_rows(0)[0][:20], 2, axis=0)
    model = KNeighborsRegressor(4).fit(x, np.arange(40.0) // 2)
    check_lowered(model, x + 0.25)
