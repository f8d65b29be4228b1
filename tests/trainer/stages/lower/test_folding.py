"""Trees behind scalers answer as scikit-learn does even where a scaled value meets a threshold."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from edge_agent.kernels.primitives import Trees
from tests.fakes.lowering import check_lowered, hard_rows
from tests.fakes.trainer_models import rows
from trainer.stages.lower.estimators import lower
from trainer.stages.lower.folding import last_left

SCALERS = (StandardScaler(), MinMaxScaler((-1, 1)), MaxAbsScaler(), RobustScaler())


@pytest.mark.parametrize("scaler", SCALERS)
@settings(max_examples=5)
@given(seed=st.integers(0, 99))
def test_scaled_forests_on_the_thresholds_of_the_input(scaler: Any, seed: int) -> None:
    x, y = rows(seed)
    model = make_pipeline(scaler, RandomForestClassifier(5, random_state=seed)).fit(x, y)
    graph = check_lowered(model, x)
    assert [type(node) for node in graph.nodes] == [Trees]
    check_lowered(model, hard_rows(graph, x, most=600))


@pytest.mark.parametrize("scaler", SCALERS)
@settings(max_examples=5)
@given(seed=st.integers(0, 99))
def test_scaled_histogram_boosting_beside_the_thresholds_of_the_input(scaler: Any, seed: int) -> None:
    x, y = rows(seed)
    model = make_pipeline(scaler, HistGradientBoostingClassifier(max_iter=3, min_samples_leaf=3)).fit(x, y)
    graph = check_lowered(model, x)
    hard = hard_rows(graph, x, most=600).astype(np.float64)
    # These trees compare in float64. A row whose scaled value is the threshold itself, but for the last bit of a
    # float64, goes by how the scaler rounded that bit; every other row goes the same way here.
    splits = np.concatenate([tree.nodes["num_threshold"] for stage in model[-1]._predictors for tree in stage])
    scaled = model[:-1].transform(hard)[:, :, None]
    ties = np.isclose(scaled, splits, rtol=1e-14, atol=1e-14).any(axis=(1, 2))
    assert (~ties).sum() > len(hard) / 3
    check_lowered(model, hard[~ties])


def test_columns_are_followed_through_a_column_transformer_and_two_scalers() -> None:
    x, y = rows(4, columns=4)
    before = ColumnTransformer([("a", StandardScaler(), [2, 0]), ("b", "passthrough", [3]), ("c", MinMaxScaler(), [1])])
    model = make_pipeline(before, RobustScaler(), RandomForestClassifier(5, random_state=0)).fit(x, y)
    graph = check_lowered(model, x)
    assert [type(node) for node in graph.nodes] == [Trees]
    check_lowered(model, hard_rows(graph, x, most=600))


def test_what_mixes_columns_stays_in_front() -> None:
    x, y = rows(4)
    model = make_pipeline(StandardScaler(), PCA(2), DecisionTreeClassifier(max_depth=3)).fit(x, y)
    assert len(lower(model, x.shape[1]).nodes) > 1


@given(
    center=st.floats(-1e6, 1e6),
    factor=st.floats(1e-6, 1e6),
    threshold=st.floats(-100, 100),
    rounded=st.booleans(),
)
def test_the_last_number_that_goes_left(center: float, factor: float, threshold: float, rounded: bool) -> None:
    (last,) = last_left(np.array([threshold]), ((center, factor),), rounded=rounded)
    assert last == np.float32(last)

    def scaled(x: float) -> float:
        value = (x - center) * factor
        return float(np.float32(value)) if rounded else value

    assert scaled(float(last)) <= threshold
    assert scaled(float(np.nextafter(np.float32(last), np.float32(np.inf)))) > threshold


def test_a_threshold_that_all_numbers_pass() -> None:
    assert last_left(np.array([np.inf]), ((1.0, 2.0),), rounded=False)[0] == np.inf
