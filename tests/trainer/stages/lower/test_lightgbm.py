"""LightGBM's models answer as LightGBM does: objectives, boosting types, missing values, rows on a threshold."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from edge_agent.kernels.primitives import Trees
from tests.fakes.lowering import check_lowered, hard_rows, reference_scores, with_missing
from tests.fakes.lowering_cases import FEW, SEEDS, amounts, even_rows
from tests.fakes.trainer_models import rows
from trainer.core.arrays import as_singles
from trainer.core.labels import label_indices
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower

ONE = {"n_jobs": 1, "random_state": 0, "verbose": -1, "min_child_samples": 4}
BOOSTING: dict[str, dict[str, Any]] = {
    "gbdt": {},
    "dart": {"drop_rate": 0.5, "skip_drop": 0.0},
    "rf": {"subsample": 0.6, "subsample_freq": 1},
}


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
    leaves=st.integers(2, 31),
    share=st.sampled_from([0.0, 0.2]),
    boosting=st.sampled_from(sorted(BOOSTING)),
    several=st.sampled_from(["multiclass", "multiclassova"]),
)
def test_classifiers(seed: int, classes: int, leaves: int, share: float, boosting: str, several: str) -> None:
    x, y = rows(seed, classes=classes)
    model = LGBMClassifier(
        n_estimators=6,
        num_leaves=leaves,
        boosting_type=boosting,
        objective=several if classes > 2 else "binary",
        **BOOSTING[boosting],
        **ONE,
    ).fit(with_missing(x, share, seed), np.array(["red", "green", "blue", "grey"])[y])
    check_hard(model, x)
    check_labels(model, x)


@FEW
@given(
    seed=SEEDS,
    objective=st.sampled_from(
        ["regression", "regression_l1", "huber", "fair", "quantile", "mape", "poisson", "gamma", "tweedie"]
    ),
    share=st.sampled_from([0.0, 0.2]),
    boosting=st.sampled_from(sorted(BOOSTING)),
    root=st.booleans(),
)
def test_regressors(seed: int, objective: str, share: float, boosting: str, root: bool) -> None:
    x, _ = even_rows(seed)
    model = LGBMRegressor(
        n_estimators=8,
        objective=objective,
        boosting_type=boosting,
        reg_sqrt=root and objective == "regression",
        **BOOSTING[boosting],
        **ONE,
    )
    y = amounts(x, seed)
    check_hard(model.fit(with_missing(x, share, seed), y if objective != "regression" else y - y.mean()), x)


@FEW
@given(seed=SEEDS, boosting=st.sampled_from(["gbdt", "rf"]))
def test_after_an_early_stop_only_the_rounds_up_to_the_best_one_count(seed: int, boosting: str) -> None:
    x, y = even_rows(seed, classes=3)
    chance = np.random.default_rng(seed)
    model = LGBMClassifier(n_estimators=40, learning_rate=1.0, boosting_type=boosting, **BOOSTING[boosting], **ONE).fit(
        x, y, eval_X=(x,), eval_y=(chance.permutation(y),), callbacks=[early_stopping(3, verbose=False)]
    )
    (forest,) = [node for node in lower(model, x.shape[1]).nodes if isinstance(node, Trees)]
    assert len(forest.roots) == model.best_iteration_ * 3 < 40 * 3
    check_hard(model, x)


@FEW
@given(seed=SEEDS, shift=st.sampled_from([0.0, 1e3]))
def test_behind_a_scaler(seed: int, shift: float) -> None:
    x, y = rows(seed, shift=shift)
    check_lowered(make_pipeline(StandardScaler(), LGBMClassifier(n_estimators=5, **ONE)).fit(x, y), x, trees=True)


def test_a_leaf_alone() -> None:
    x, _ = even_rows(0)
    check_hard(LGBMRegressor(n_estimators=2, min_child_samples=80, n_jobs=1, verbose=-1).fit(x, amounts(x, 0)), x)


def test_what_is_next_to_zero_counts_as_zero() -> None:
    # The trap: zero has a bin of its own between -1e-35 and 1e-35, and the end itself is inside of it.
    chance = np.random.default_rng(0)
    x = chance.choice([-1.0, 0.0, 1.0], size=(300, 2))
    model = LGBMRegressor(n_estimators=5, **ONE).fit(x, np.sign(x[:, 0]) + 3 * (x[:, 1] > 0))
    (forest,) = [node for node in lower(model, 2).nodes if isinstance(node, Trees)]
    thresholds = forest.threshold[forest.left >= 0]
    assert (thresholds < 0).any()
    assert (thresholds > 0).any()
    end = np.float32(1e-35)
    near = np.array([np.nextafter(end, 0), end, np.nextafter(end, 1), 0, 1e-36], dtype=np.float32)
    values = np.concatenate([near, -near])
    check_lowered(model, np.stack(np.meshgrid(values, values), -1).reshape(-1, 2), trees=True)


def test_missing_values_that_no_row_had_when_it_was_fitted_count_as_zero() -> None:
    x, y = even_rows(0, classes=2)
    for shift in (-3.0, 0.0, 3.0):
        model = LGBMClassifier(n_estimators=5, **ONE).fit(x + shift, y)
        check_lowered(model, with_missing(x + shift, 0.5), trees=True)


@pytest.mark.parametrize("missing_first", [True, False])
def test_a_split_that_parts_what_is_missing_from_all_else(missing_first: bool) -> None:
    x, _ = even_rows(0)
    holes = with_missing(x, 0.4)
    model = LGBMRegressor(n_estimators=5, **ONE).fit(holes, np.isnan(holes[:, 0]) == missing_first)
    check_lowered(model, holes, trees=True)
    check_hard(model, x)


def test_what_has_no_exact_form_is_refused() -> None:
    x, y = even_rows(0, classes=2)
    few = {"n_estimators": 2, **ONE}
    zeros = np.where(np.random.default_rng(0).random(x.shape) < 0.3, 0.0, x)
    whole = np.random.default_rng(0).integers(0, 5, (200, 2)).astype(np.float64)
    cases = (
        (LGBMClassifier(objective="cross_entropy", **few).fit(x, y), "gives no probabilities"),
        (LGBMRegressor(objective="cross_entropy", **few).fit(x, y), "not known here.*poisson"),
        (LGBMRegressor(linear_tree=True, **few).fit(x, x[:, 0]), "leaves are linear models"),
        (LGBMRegressor(zero_as_missing=True, **few).fit(zeros, zeros[:, 0]), "takes 0 for missing"),
        (LGBMRegressor(objective=lambda y, p: (p - y, np.ones_like(p)), **few).fit(x, y), "function of its own"),
        (LGBMClassifier(pred_early_stop=True, **few).fit(x, y), "stops summing"),
        (
            LGBMRegressor(min_data_per_group=1, cat_smooth=0, **few).fit(
                whole, whole[:, 0] % 2, categorical_feature=[0]
            ),
            "by its categories.*OneHotEncoder",
        ),
    )
    for model, reason in cases:
        with pytest.raises(CannotLower, match=reason):
            lower(model, x.shape[1])
