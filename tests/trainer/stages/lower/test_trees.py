"""Trees and forests answer as scikit-learn does, on thresholds, beside them, and with missing values."""

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
)
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from edge_agent.kernels.primitives import Trees
from tests.fakes.lowering import check_lowered, hard_rows, with_missing
from tests.fakes.trainer_models import rows
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower

CLASSIFIERS = (DecisionTreeClassifier, ExtraTreeClassifier, RandomForestClassifier, ExtraTreesClassifier)
REGRESSORS = (DecisionTreeRegressor, ExtraTreeRegressor, RandomForestRegressor, ExtraTreesRegressor)
FEW = settings(max_examples=6)
SHAPES = st.fixed_dictionaries(
    {
        "max_depth": st.sampled_from([1, 3, None]),
        "min_samples_leaf": st.sampled_from([1, 5]),
        "max_features": st.sampled_from([None, 2]),
        "random_state": st.integers(0, 99),
    }
)


def made(kind: Any, shape: dict[str, Any]) -> Any:
    several = {"n_estimators": 7} if "n_estimators" in kind().get_params() else {}
    return kind(**shape, **several)


def target(x: np.ndarray, seed: int, columns: int = 1) -> np.ndarray:
    chance = np.random.default_rng(seed)
    y = 1e3 + (x / x.std(axis=0)) @ chance.normal(size=(x.shape[1], columns)) + chance.normal(size=(len(x), columns))
    return y[:, 0] if columns == 1 else y


def check_hard(model: Any, x: np.ndarray) -> None:
    """Compare on the rows themselves and on those that stand on a threshold."""
    graph = check_lowered(model, x)
    check_lowered(model, hard_rows(graph, x))


@pytest.mark.parametrize("kind", CLASSIFIERS)
@FEW
@given(shape=SHAPES, seed=st.integers(0, 99), classes=st.integers(2, 4))
def test_classifiers(kind: Any, shape: dict[str, Any], seed: int, classes: int) -> None:
    x, y = rows(seed, classes=classes)
    check_hard(made(kind, shape).fit(x, y), x)


@pytest.mark.parametrize("kind", REGRESSORS)
@FEW
@given(shape=SHAPES, seed=st.integers(0, 99), columns=st.integers(1, 3))
def test_regressors(kind: Any, shape: dict[str, Any], seed: int, columns: int) -> None:
    x, _ = rows(seed)
    check_hard(made(kind, shape).fit(x, target(x, seed, columns)), x)


@pytest.mark.parametrize("kind", [*CLASSIFIERS, *REGRESSORS])
@FEW
@given(shape=SHAPES, seed=st.integers(0, 99), share=st.sampled_from([0.05, 0.4]))
def test_trained_on_missing_values(kind: Any, shape: dict[str, Any], seed: int, share: float) -> None:
    x, y = rows(seed)
    holes = with_missing(x, share, seed)
    check_lowered(made(kind, shape).fit(holes, y), np.concatenate([holes, x, with_missing(x, 0.9, seed + 1)]))


def test_the_side_of_missing_values_is_the_one_that_was_learned() -> None:
    # The trap: a converter that drops `missing_go_to_left` sends NaN the same way at every node.
    x = np.array([[0.0], [1.0], [2.0], [3.0], [np.nan], [np.nan]])
    for y in ([0, 0, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]):
        model = DecisionTreeClassifier().fit(x, y)
        check_lowered(model, x)
        assert model.predict([[np.nan]]) == y[-1]


@pytest.mark.parametrize("kind", [DecisionTreeRegressor, RandomForestRegressor])
def test_thresholds_that_float32_cannot_hold(kind: Any) -> None:
    # The middle of two neighbouring float32 numbers: rounded to nearest it is one of them, and its rows change sides.
    steps = np.float32(1.0) + np.arange(64, dtype=np.float32) * np.spacing(np.float32(1.0))
    x = steps.astype(np.float64)[:, None]
    model = kind(random_state=0).fit(x, np.arange(64.0) ** 2)
    check_hard(model, x)


def test_columns_of_very_different_size() -> None:
    x, y = rows(3, columns=6)
    x = np.float32(x * [1e-30, 1e30, 1.0, 1e-3, 1e6, 1.0]).astype(np.float64)
    check_hard(RandomForestClassifier(5, random_state=0).fit(x, y), x)


def test_a_forest_is_one_node() -> None:
    x, y = rows(0)
    graph = lower(RandomForestClassifier(9, random_state=0).fit(x, y), x.shape[1])
    (node,) = graph.nodes
    assert isinstance(node, Trees)
    assert len(node.roots) == 9


def test_text_labels_keep_their_order() -> None:
    x, y = rows(0)
    check_lowered(RandomForestClassifier(5, random_state=0).fit(x, np.array(["c", "a", "b"])[y]), x)


def test_a_tree_that_is_a_single_leaf() -> None:
    x, _ = rows(0)
    check_lowered(DecisionTreeRegressor().fit(x, np.full(len(x), 4.5)), x)


def test_several_labels_a_row_are_refused() -> None:
    x, y = rows(0)
    model = RandomForestClassifier(2).fit(x, np.column_stack([y, y % 2]))
    for several in (model, DecisionTreeClassifier().fit(x, np.column_stack([y, y % 2]))):
        with pytest.raises(CannotLower, match="several labels a row"):
            lower(several, x.shape[1])


@FEW
@given(
    seed=st.integers(0, 99),
    features=st.sampled_from([1.0, 0.5]),
    samples=st.sampled_from(["auto", 2, 20, 1.0]),
    contamination=st.sampled_from(["auto", 0.1]),
)
def test_isolation_forests(seed: int, features: float, samples: Any, contamination: Any) -> None:
    x, _ = rows(seed)
    model = IsolationForest(
        n_estimators=12, max_features=features, max_samples=samples, contamination=contamination, random_state=seed
    )
    check_hard(model.fit(x), x)


def test_isolation_forests_know_missing_values_and_single_rows() -> None:
    x, _ = rows(0)
    holes = with_missing(x, 0.2)
    check_lowered(IsolationForest(n_estimators=8, random_state=0).fit(holes), holes)
    check_lowered(IsolationForest(n_estimators=8, max_samples=1, random_state=0).fit(x), holes)


@FEW
@given(seed=st.integers(0, 99), depth=st.integers(1, 5))
def test_embeddings_in_leaves(seed: int, depth: int) -> None:
    x, y = rows(seed)
    model = RandomTreesEmbedding(n_estimators=4, max_depth=depth, random_state=seed).fit(x)
    check_hard(model, x)
    check_lowered(make_pipeline(model, LogisticRegression()).fit(x, y), x)


def test_an_isolation_forest_is_lowered_in_no_time() -> None:
    x, _ = rows(0, n=300)
    model = IsolationForest(n_estimators=200, random_state=0).fit(x)
    began = time.perf_counter()
    lower(model, x.shape[1])
    assert time.perf_counter() - began < 1.0
