"""What is put together gives what scikit-learn gives: columns, unions, functions, features, networks, constants."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import kernel_approximation as approximate
from sklearn import preprocessing as prep
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import BernoulliRBM, MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, make_pipeline

from edge_agent.kernels.interpreter import Interpreter
from tests.fakes.lowering_cases import FEW, SEEDS, amounts, check_fit, counts, even_rows
from trainer.core.arrays import as_singles
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower

STEPS = st.sampled_from(
    [
        "passthrough",
        prep.StandardScaler(),
        PCA(1),
        make_pipeline(SimpleImputer(), prep.PolynomialFeatures(2)),
        prep.KBinsDiscretizer(3, encode="onehot-dense", quantile_method="averaged_inverted_cdf"),
    ]
)


@FEW
@given(data=st.data(), seed=SEEDS, rest=st.sampled_from(["drop", "passthrough", prep.MinMaxScaler()]))
def test_columns(data: st.DataObject, seed: int, rest: Any) -> None:
    x, y = even_rows(seed, columns=6)
    step = ColumnTransformer(
        [
            ("slice", data.draw(STEPS), slice(1, 3)),
            ("none", prep.StandardScaler(), []),
            ("list", data.draw(STEPS), [5, 0]),
            ("gone", "drop", [3]),
        ],
        remainder=rest,
        transformer_weights=data.draw(st.sampled_from([None, {"slice": 0.5, "list": 3}])),
    )
    check_fit(make_pipeline(step, LogisticRegression()), x, y)


@FEW
@given(data=st.data(), seed=SEEDS)
def test_unions(data: st.DataObject, seed: int) -> None:
    x, _ = even_rows(seed)
    weights = data.draw(st.sampled_from([None, {"a": 2.0}]))
    check_fit(
        FeatureUnion([("a", data.draw(STEPS)), ("x", "drop"), ("b", data.draw(STEPS))], transformer_weights=weights),
        x,
        None,
    )


@pytest.mark.parametrize(
    "function",
    [None, np.abs, np.exp, np.square, np.sin, np.cos, np.tanh, np.sign, np.floor, np.negative, np.expm1, np.fabs],
)
def test_functions(function: Any) -> None:
    x, _ = even_rows(0)
    check_fit(prep.FunctionTransformer(function), x, None)


@pytest.mark.parametrize("function", [np.log, np.log1p, np.log2, np.log10, np.sqrt, np.deg2rad, np.rad2deg])
def test_functions_of_positive_numbers(function: Any) -> None:
    x, _ = even_rows(0)
    check_fit(prep.FunctionTransformer(function), np.exp(x), None)


@pytest.mark.parametrize("step", [prep.FunctionTransformer(lambda x: x + 1), prep.FunctionTransformer(np.arcsin)])
def test_a_function_that_no_device_has_is_refused(step: Any) -> None:
    with pytest.raises(CannotLower, match="use one of numpy's: abs"):
        lower(step.fit(np.zeros((2, 1))), 1)


@FEW
@given(
    seed=SEEDS,
    degree=st.sampled_from([0, 1, 2, 3, (2, 3), (0, 2), (1, 4)]),
    interactions=st.booleans(),
    bias=st.booleans(),
)
def test_polynomials(seed: int, degree: Any, interactions: bool, bias: bool) -> None:
    x, _ = even_rows(seed)
    bias = bias or degree == 0
    check_fit(prep.PolynomialFeatures(degree, interaction_only=interactions, include_bias=bias), x, None)


@FEW
@given(
    seed=SEEDS,
    degree=st.integers(1, 4),
    count=st.integers(2, 6),
    bias=st.booleans(),
    places=st.sampled_from(["uniform", "quantile"]),
)
def test_splines(seed: int, degree: int, count: int, bias: bool, places: Any) -> None:
    x, _ = even_rows(seed)
    check_fit(prep.SplineTransformer(count, degree, include_bias=bias, knots=places), x, None)


@pytest.mark.parametrize(
    ("parameters", "named"), [({"degree": 0}, "degree 0"), ({"extrapolation": "linear"}, "extrapolation='linear'")]
)
def test_splines_that_are_refused(parameters: Any, named: str) -> None:
    step = prep.SplineTransformer(**parameters).fit(even_rows(0)[0])
    with pytest.raises(CannotLower, match=named):
        lower(step, 4)


@FEW
@given(seed=SEEDS, count=st.integers(1, 20), gamma=st.floats(0.05, 1))
def test_approximate_kernels(seed: int, count: int, gamma: float) -> None:
    x, _ = even_rows(seed)
    check_fit(approximate.RBFSampler(n_components=count, gamma=gamma, random_state=seed), x, None)
    check_fit(approximate.SkewedChi2Sampler(n_components=count, random_state=seed), abs(x), None)
    for kernel in ("rbf", "poly", "sigmoid", "laplacian", "cosine"):
        step = approximate.Nystroem(kernel, gamma=gamma, n_components=3, random_state=seed)
        check_fit(step, x, None, wide=True)


@FEW
@given(seed=SEEDS, steps=st.integers(1, 3), interval=st.sampled_from([None, 0.3]))
def test_additive_chi_squared(seed: int, steps: int, interval: float | None) -> None:
    x, _ = even_rows(seed)
    check_fit(approximate.AdditiveChi2Sampler(sample_steps=steps, sample_interval=interval), np.maximum(x, 0), None)


@FEW
@given(seed=SEEDS, norm=st.sampled_from(["l1", "l2", None]), inverse=st.booleans(), sublinear=st.booleans())
def test_frequencies(seed: int, norm: Any, inverse: bool, sublinear: bool) -> None:
    x, _ = counts(seed)
    check_fit(TfidfTransformer(norm=norm, use_idf=inverse, sublinear_tf=sublinear), x, None)


@FEW
@given(
    seed=SEEDS,
    layers=st.sampled_from([(5,), (6, 4)]),
    activation=st.sampled_from(["relu", "tanh", "logistic", "identity"]),
    classes=st.integers(2, 4),
)
def test_networks(seed: int, layers: tuple[int, ...], activation: Any, classes: int) -> None:
    x, y = even_rows(seed, classes=classes)
    check_fit(MLPClassifier(layers, activation, max_iter=9, random_state=seed), x, y)
    for loss in ("squared_error", "poisson"):
        model = MLPRegressor(loss=loss, hidden_layer_sizes=layers, activation=activation, max_iter=9, random_state=seed)
        check_fit(model, x, amounts(x, seed, targets=classes - 1))


@FEW
@given(seed=SEEDS, count=st.integers(1, 5))
def test_boltzmann_machines(seed: int, count: int) -> None:
    x, _ = even_rows(seed)
    check_fit(BernoulliRBM(count, n_iter=2, random_state=seed), (x > 0).astype(np.float64), None)


@pytest.mark.parametrize("strategy", ["prior", "most_frequent", "constant"])
def test_constant_classes(strategy: str) -> None:
    x, y = counts(0)
    check_fit(DummyClassifier(strategy=strategy, constant=2), x, np.where(y == 0, 1, y))


@pytest.mark.parametrize("strategy", ["stratified", "uniform"])
def test_chance_is_refused(strategy: str) -> None:
    x, y = counts(0)
    with pytest.raises(CannotLower, match="by chance"):
        lower(DummyClassifier(strategy=strategy).fit(x, y), 4)


@pytest.mark.parametrize(
    ("strategy", "value"), [("mean", None), ("median", None), ("quantile", None), ("constant", [7, 8])]
)
def test_constant_values(strategy: str, value: Any) -> None:
    x, _ = even_rows(0)
    check_fit(DummyRegressor(strategy=strategy, quantile=0.3, constant=value), x, amounts(x, 0, targets=2))


@FEW
@given(seed=SEEDS, increasing=st.booleans())
def test_isotonic_regression(seed: int, increasing: bool) -> None:
    x, _ = even_rows(seed, columns=1)
    model = make_pipeline(
        prep.FunctionTransformer(None), IsotonicRegression(increasing=increasing, out_of_bounds="clip")
    )
    check_fit(model, x, amounts(x, seed))


def test_isotonic_regression_does_not_answer_beyond_its_rows() -> None:
    x, _ = even_rows(0, columns=1)
    model = IsotonicRegression().fit(x, x[:, 0])
    found = Interpreter(lower(model, 1)).run(as_singles(np.array([[-99.0], [0.0], [99.0]])))
    assert np.isnan(found[:, 0]).tolist() == [True, False, True]
