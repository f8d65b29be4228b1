"""What is done to rows before a model gives what scikit-learn gives: scalers, encoders, imputers, selectors."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import feature_selection as selection
from sklearn import preprocessing as prep
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from edge_agent.kernels.interpreter import Interpreter
from tests.fakes.lowering import check_lowered, with_missing
from tests.fakes.lowering_cases import FEW, SEEDS, Parameters, check_fit, counts, draw, even_rows
from trainer.core.arrays import as_singles
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower

SCALERS: dict[Any, Parameters] = {
    prep.StandardScaler: {"with_mean": st.booleans(), "with_std": st.booleans()},
    prep.MinMaxScaler: {"clip": st.booleans(), "feature_range": st.sampled_from([(0, 1), (-2, 3)])},
    prep.MaxAbsScaler: {"clip": st.booleans()},
    prep.RobustScaler: {"with_centering": st.booleans(), "with_scaling": st.booleans(), "unit_variance": st.booleans()},
    prep.Normalizer: {"norm": st.sampled_from(["l1", "l2", "max"])},
    prep.Binarizer: {"threshold": st.floats(-1, 1)},
    prep.PowerTransformer: {"standardize": st.booleans()},
    prep.QuantileTransformer: {"n_quantiles": st.sampled_from([5, 30, 90])},
    prep.KBinsDiscretizer: {
        "n_bins": st.integers(2, 6),
        "encode": st.sampled_from(["onehot", "onehot-dense", "ordinal"]),
        "strategy": st.sampled_from(["uniform", "quantile", "kmeans"]),
        "quantile_method": st.just("averaged_inverted_cdf"),
    },
}


@pytest.mark.parametrize("make", SCALERS, ids=lambda make: make.__name__)
@FEW
@given(data=st.data(), seed=SEEDS)
def test_scalers(make: Any, data: st.DataObject, seed: int) -> None:
    x, _ = even_rows(seed)
    x[0] = 0
    check_fit(make(**draw(data, SCALERS[make])), x, None)


@FEW
@given(seed=SEEDS, standardize=st.booleans())
def test_box_cox(seed: int, standardize: bool) -> None:
    x, _ = even_rows(seed)
    check_fit(prep.PowerTransformer("box-cox", standardize=standardize), np.exp(x / 2), None)


@pytest.mark.parametrize("step", [prep.PowerTransformer("box-cox"), prep.FunctionTransformer(np.log)])
def test_a_model_behind_a_step_that_refuses_zeros(step: Any) -> None:
    x, y = even_rows(0)
    check_fit(make_pipeline(step, Ridge()), np.exp(x / 2), y + x[:, 0])


@pytest.mark.parametrize("power", [0.0, 1e-3, 1.0, 2.0, 2 - 1e-3, -1.5, 4.0])
def test_powers_near_a_logarithm_keep_their_digits(power: float) -> None:
    x, _ = even_rows(0)
    step = prep.PowerTransformer(standardize=False).fit(x)
    step.lambdas_ = np.full(4, power)
    check_lowered(step, x)


@FEW
@given(seed=SEEDS, count=st.sampled_from([5, 20, 90]))
def test_quantiles_of_values_that_repeat(seed: int, count: int) -> None:
    x, _ = counts(seed)
    x[:, 3] = 2
    step = prep.QuantileTransformer(n_quantiles=count)
    check_fit(step, x, None, np.concatenate([x - 0.5, x, x + 0.25]))


def test_quantiles_to_the_normal_distribution_are_refused() -> None:
    x, _ = even_rows(0)
    with pytest.raises(CannotLower, match="output_distribution='uniform'"):
        lower(prep.QuantileTransformer(n_quantiles=9, output_distribution="normal").fit(x), 4)


@settings(FEW, max_examples=20)
@given(
    seed=SEEDS,
    drop=st.sampled_from([None, "first", "if_binary"]),
    unknown=st.sampled_from(["ignore", "infrequent_if_exist"]),
    least=st.sampled_from([None, 10, 20]),
    most=st.sampled_from([None, 3]),
)
@pytest.mark.filterwarnings("ignore:Found unknown categories:UserWarning")
def test_one_hot(seed: int, drop: str | None, unknown: str, least: int | None, most: int | None) -> None:
    x, _ = counts(seed)
    x[:, 2] = x[:, 2] > 1
    step = prep.OneHotEncoder(drop=drop, handle_unknown=unknown, min_frequency=least, max_categories=most)
    check_fit(step, x, None, x + (np.arange(90) % 3 == 0)[:, None] * 0.5)


@FEW
@given(seed=SEEDS, unknown=st.sampled_from([-1, 99]), least=st.sampled_from([None, 10]))
def test_ordinal(seed: int, unknown: int, least: int | None) -> None:
    x, _ = counts(seed)
    step = prep.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=unknown, min_frequency=least)
    check_fit(step, x * 3, None, x * 3 + (np.arange(90) % 3 == 0)[:, None])


@FEW
@given(seed=SEEDS, classes=st.integers(2, 3), regression=st.booleans())
def test_target_encoder(seed: int, classes: int, regression: bool) -> None:
    x, y = counts(seed, classes=classes)
    target = y + x[:, 0] / 3 if regression else y
    check_fit(prep.TargetEncoder(random_state=seed), x, target, x + (np.arange(90) % 3 == 0)[:, None] * 0.5)


@pytest.mark.parametrize("make", [prep.OneHotEncoder, prep.OrdinalEncoder])
def test_a_category_that_scikit_learn_refuses_is_not_answered(make: Any) -> None:
    x, _ = counts(0)
    step = make().fit(x)
    new = as_singles(np.array([[0.0, 0, 0, 7], [1, 1, 1, 1]]))
    with pytest.raises(ValueError, match="unknown categories"):
        step.transform(new)
    encoded = Interpreter(lower(step, 4)).run(new)
    assert np.isnan(encoded[0]).all()
    assert np.isfinite(encoded[1]).all()


@pytest.mark.parametrize(
    ("column", "named"), [([0.1, 0.2], "float32"), (["a", "b"], "not numbers"), ([1.0, np.nan], "NaN is a category")]
)
def test_categories_that_no_float32_is_are_refused(column: list[Any], named: str) -> None:
    step = prep.OneHotEncoder().fit(np.array(column, dtype=object if "a" in column else None)[:, None])
    with pytest.raises(CannotLower, match=named):
        lower(step, 1)


@FEW
@given(
    seed=SEEDS,
    strategy=st.sampled_from(["mean", "median", "most_frequent", "constant"]),
    indicator=st.booleans(),
    empty=st.booleans(),
    keep=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:Skipping features without any observed values:UserWarning")
def test_simple_imputer(seed: int, strategy: str, indicator: bool, empty: bool, keep: bool) -> None:
    x = with_missing(even_rows(seed)[0], 0.2, seed)
    if empty:
        x[:, 1] = np.nan
    step = SimpleImputer(strategy=strategy, add_indicator=indicator, keep_empty_features=keep)
    check_fit(step, x, None)


@FEW
@given(seed=SEEDS, marker=st.sampled_from([-1, -99.0]), indicator=st.booleans())
def test_a_number_that_stands_for_missing(seed: int, marker: float, indicator: bool) -> None:
    x, _ = counts(seed)
    x[np.random.default_rng(seed).random(x.shape) < 0.2] = marker
    check_fit(SimpleImputer(missing_values=marker, add_indicator=indicator), x, None, x)


@FEW
@given(seed=SEEDS, features=st.sampled_from(["all", "missing-only"]))
def test_missing_indicator(seed: int, features: str) -> None:
    x = even_rows(seed)[0]
    x[::3, 0], x[::4, 2] = np.nan, np.nan
    check_fit(MissingIndicator(features=features), x, None, x)


def test_a_column_that_never_missed_before_is_not_answered() -> None:
    x = even_rows(0)[0]
    x[::3, 0] = np.nan
    step = MissingIndicator().fit(x)
    x[1, 3] = np.nan
    with pytest.raises(ValueError, match="no missing values in fit"):
        step.transform(x)
    found = Interpreter(lower(step, 4)).run(as_singles(x))
    assert np.isnan(found[1]).all()
    assert found[0, 0] == 1


def test_a_shifted_scale_in_front_of_a_forest_is_close_enough_for_its_thresholds() -> None:
    x, y = even_rows(2)
    model = make_pipeline(prep.StandardScaler(), RandomForestClassifier(5, max_depth=3, random_state=0)).fit(x, y)
    check_lowered(model, x, trees=True)


SELECTORS = (
    selection.SelectKBest(k=2),
    selection.SelectPercentile(percentile=60),
    selection.SelectFpr(alpha=0.9),
    selection.SelectFdr(alpha=0.9),
    selection.SelectFwe(alpha=0.9),
    selection.GenericUnivariateSelect(mode="k_best", param=3),
    selection.VarianceThreshold(0.01),
    selection.SelectFromModel(LogisticRegression()),
    selection.SequentialFeatureSelector(LogisticRegression(), n_features_to_select=2, cv=2),
    selection.RFE(LogisticRegression(), n_features_to_select=2),
    selection.RFECV(LogisticRegression(), cv=2),
)


@pytest.mark.parametrize("step", SELECTORS, ids=lambda step: type(step).__name__)
@FEW
@given(seed=SEEDS)
def test_selectors(step: Any, seed: int) -> None:
    x, y = even_rows(seed)
    check_fit(make_pipeline(step, Ridge()), x, y)


@pytest.mark.parametrize("make", [selection.RFE, selection.RFECV])
@FEW
@given(seed=SEEDS, classes=st.integers(2, 3))
def test_an_elimination_predicts_too(make: Any, seed: int, classes: int) -> None:
    x, y = even_rows(seed, classes=classes)
    check_fit(make(LogisticRegression()), x, y)


def test_a_selector_that_keeps_nothing_is_refused() -> None:
    x, y = even_rows(0)
    step = selection.SelectKBest(k=0).fit(x, y)
    with pytest.raises(CannotLower, match="keeps no column"):
        lower(step, 4)
