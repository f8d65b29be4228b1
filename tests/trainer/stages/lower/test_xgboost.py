"""XGBoost's models answer as XGBoost does: objectives, boosters, missing values, rows on a threshold, early stops."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier, XGBRFRegressor

from edge_agent.kernels.primitives import Trees
from tests.fakes.lowering import check_lowered, hard_rows, reference_scores, with_missing
from tests.fakes.lowering_cases import FEW, SEEDS, amounts, even_rows
from tests.fakes.trainer_models import rows
from trainer.core.arrays import as_singles
from trainer.core.labels import label_indices
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower

ONE = {"n_jobs": 1, "random_state": 0}


def check_hard(model: Any, x: np.ndarray) -> None:
    graph = check_lowered(model, x, trees=True)
    hard = hard_rows(graph, x)
    check_lowered(model, hard, trees=True)
    check_lowered(model, with_missing(hard, 0.3), trees=True)


def check_labels(model: Any, x: np.ndarray) -> None:
    scores, output = reference_scores(model, as_singles(x))
    assert (np.asarray(model.classes_)[label_indices(output, scores)] == model.predict(x)).all()


@FEW
@given(
    seed=SEEDS,
    classes=st.integers(2, 4),
    depth=st.integers(1, 5),
    share=st.sampled_from([0.0, 0.2]),
    booster=st.sampled_from(["gbtree", "dart"]),
    method=st.sampled_from(["hist", "exact"]),
    objective=st.sampled_from(["multi:softprob", "multi:softmax"]),
)
def test_classifiers(
    seed: int, classes: int, depth: int, share: float, booster: str, method: str, objective: str
) -> None:
    x, y = rows(seed, classes=classes)
    dart = {"rate_drop": 0.4, "one_drop": True} if booster == "dart" else {}
    model = XGBClassifier(
        n_estimators=6,
        max_depth=depth,
        booster=booster,
        tree_method=method,
        objective=objective if classes > 2 else "binary:logistic",
        **dart,
        **ONE,
    ).fit(with_missing(x, share, seed), y)
    check_hard(model, x)
    check_labels(model, x)


@FEW
@given(
    seed=SEEDS,
    objective=st.sampled_from(
        [
            "reg:squarederror",
            "reg:squaredlogerror",
            "reg:absoluteerror",
            "reg:pseudohubererror",
            "count:poisson",
            "reg:gamma",
            "reg:tweedie",
        ]
    ),
    base=st.sampled_from([None, 0.5, 2.5]),
    share=st.sampled_from([0.0, 0.2]),
    policy=st.sampled_from([{}, {"grow_policy": "lossguide", "max_leaves": 7}]),
)
def test_regressors(seed: int, objective: str, base: float | None, share: float, policy: dict[str, Any]) -> None:
    x, _ = even_rows(seed)
    model = XGBRegressor(n_estimators=8, objective=objective, base_score=base, **policy, **ONE)
    check_hard(model.fit(with_missing(x, share, seed), amounts(x, seed)), x)


@FEW
@given(seed=SEEDS, classes=st.integers(2, 3), depth=st.integers(1, 6))
def test_forests(seed: int, classes: int, depth: int) -> None:
    x, y = rows(seed, classes=classes)
    check_hard(XGBRFClassifier(n_estimators=5, max_depth=depth, **ONE).fit(x, y), x)
    x, _ = even_rows(seed)
    check_hard(XGBRFRegressor(n_estimators=5, max_depth=depth, **ONE).fit(x, amounts(x, seed)), x)


@FEW
@given(seed=SEEDS, targets=st.integers(2, 3))
def test_several_targets_and_quantiles(seed: int, targets: int) -> None:
    x, _ = even_rows(seed)
    y = amounts(x, seed, targets=targets)
    check_hard(XGBRegressor(n_estimators=4, **ONE).fit(x, y), x)
    levels = np.linspace(0.1, 0.9, targets)
    check_hard(
        XGBRegressor(n_estimators=4, objective="reg:quantileerror", quantile_alpha=levels, **ONE).fit(x, y[:, 0]), x
    )
    shares = y[:, 0] / (1 + y[:, 0])
    check_hard(XGBRegressor(n_estimators=4, objective="reg:logistic", **ONE).fit(x, shares), x)


@FEW
@given(seed=SEEDS, booster=st.sampled_from(["gbtree", "dart"]), parallel=st.sampled_from([1, 3]))
def test_after_an_early_stop_only_the_rounds_up_to_the_best_one_count(seed: int, booster: str, parallel: int) -> None:
    x, y = even_rows(seed, classes=3)
    chance = np.random.default_rng(seed)
    model = XGBClassifier(
        n_estimators=40,
        learning_rate=1.0,
        booster=booster,
        num_parallel_tree=parallel,
        early_stopping_rounds=3,
        **ONE,
    ).fit(x, y, eval_set=[(x, chance.permutation(y))], verbose=False)
    graph = lower(model, x.shape[1])
    (forest,) = [node for node in graph.nodes if isinstance(node, Trees)]
    kept, fitted = model.best_iteration + 1, model.get_booster().num_boosted_rounds()
    assert len(forest.roots) == kept * 3 * parallel < fitted * 3 * parallel
    check_hard(model, x)


@FEW
@given(seed=SEEDS, shift=st.sampled_from([0.0, 1e3]))
def test_behind_a_scaler(seed: int, shift: float) -> None:
    x, y = rows(seed, shift=shift)
    check_hard(make_pipeline(StandardScaler(), XGBClassifier(n_estimators=5, **ONE)).fit(x, y), x)


def test_a_row_on_the_threshold_goes_right() -> None:
    # The trap: XGBoost asks `x < t`, every other family `x <= t`. Whole numbers stand on their thresholds.
    x = np.random.default_rng(0).integers(-2, 3, (300, 3)).astype(np.float64)
    y = np.where(x[:, 0] < 0, 0, np.where(x[:, 1] >= 1, 1, 2))
    model = XGBClassifier(n_estimators=5, **ONE).fit(x, y)
    (forest,) = [node for node in lower(model, 3).nodes if isinstance(node, Trees)]
    thresholds = forest.threshold[forest.left >= 0]
    assert (thresholds < 0).any(), "no threshold of 0, for which the number before is subnormal"
    assert (np.abs(thresholds) >= np.finfo(np.float32).smallest_normal).all()
    check_hard(model, x)
    check_labels(model, x)


def test_what_has_no_exact_form_is_refused() -> None:
    x, y = even_rows(0, classes=2)
    few = {"n_estimators": 2, **ONE}
    cases = (
        (XGBClassifier(booster="gblinear", **few).fit(x, y), "has no trees.*linear model"),
        (XGBClassifier(objective="binary:hinge", **few).fit(x, y), "gives no probabilities"),
        (XGBRegressor(objective="survival:cox", **few).fit(x, y), "not known here.*reg:squarederror"),
        (XGBRegressor(missing=-1.0, **few).fit(x, y), "takes the number -1.0 for missing"),
        (XGBRegressor(objective=lambda y, p: (p - y, np.ones_like(p)), **few).fit(x, y), "function of its own"),
        (
            XGBRegressor(multi_strategy="multi_output_tree", **few).fit(x, amounts(x, 0, targets=2)),
            "several values.*one_output_per_tree",
        ),
    )
    for model, reason in cases:
        with pytest.raises(CannotLower, match=reason):
            lower(model, x.shape[1])


def test_categories_are_refused() -> None:
    x = np.random.default_rng(0).integers(0, 5, (200, 2)).astype(np.float64)
    y = (x[:, 0] % 2).astype(int)
    model = XGBClassifier(n_estimators=2, feature_types=["c", "q"], enable_categorical=True, **ONE).fit(x, y)
    with pytest.raises(CannotLower, match=r"by its categories.*OneHotEncoder"):
        lower(model, 2)


def test_several_labels_a_row_are_refused() -> None:
    x, y = even_rows(0, classes=2)
    model = XGBClassifier(n_estimators=2, **ONE).fit(x, np.column_stack([y, 1 - y]))
    with pytest.raises(CannotLower, match="several labels a row"):
        lower(model, x.shape[1])
