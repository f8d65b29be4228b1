"""Differential: what is lowered answers on each runtime as scikit-learn does."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC

from edge_agent.contract.manifest import Precision, Runtime
from tests.fakes.trainer_models import quietly_fit, rows, run_here, source
from trainer.core.arrays import as_singles
from trainer.core.parity import compare, judge_exact
from trainer.errors import CannotLower, UnbuildableError
from trainer.stages.variants import PLANS

SCALERS = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)
CLASSIFIERS = (
    lambda seed: LogisticRegression(C=1 + seed % 3),
    lambda seed: SGDClassifier(loss="log_loss", random_state=seed),
    lambda seed: SGDClassifier(random_state=seed),
    lambda seed: LinearSVC(random_state=seed),
    lambda seed: MLPClassifier((7, 5), activation="relu", max_iter=15, random_state=seed),
    lambda seed: MLPClassifier((6,), activation="tanh", max_iter=15, random_state=seed),
    lambda seed: MLPClassifier((6, 4), activation="logistic", max_iter=15, random_state=seed),
    lambda seed: MLPClassifier((6,), activation="identity", max_iter=15, random_state=seed),
)
REGRESSORS = (
    lambda seed: LinearRegression(fit_intercept=seed % 2 == 0),
    lambda _: Ridge(),
    lambda _: Lasso(alpha=0.01),
    lambda _: ElasticNet(alpha=0.01),
    lambda seed: MLPRegressor(hidden_layer_sizes=(8,), max_iter=15, random_state=seed),
)
MAKE = {plan.runtime: plan.make for plan in PLANS if plan.precision is Precision.FP32}
SMALL = {plan.runtime: plan.make for plan in PLANS if plan.precision is Precision.INT8}
SLOW = settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(model: Any, x: np.ndarray, folder: Path, runtime: Runtime) -> None:
    """Compile for one runtime and compare all rows with the estimator's own answers."""
    made = source(model)
    data = MAKE[runtime](made)
    singles = as_singles(x)
    difference = compare(made.output, made.score(singles), run_here(data, runtime, singles, folder))
    assert judge_exact(difference) is None


@pytest.mark.parametrize("make", CLASSIFIERS)
@SLOW
@given(seed=st.integers(0, 50), classes=st.integers(2, 4), scaler=st.sampled_from(SCALERS))
def test_classifiers_on_tflite(make: Any, seed: int, classes: int, scaler: Any, tmp_path: Path) -> None:
    x, y = rows(seed, classes=classes)
    check(quietly_fit(make_pipeline(scaler(), make(seed)), x, y), x, tmp_path, Runtime.TFLITE)


@pytest.mark.parametrize("make", REGRESSORS)
@SLOW
@given(seed=st.integers(0, 50), scaler=st.sampled_from(SCALERS))
def test_regressors_on_tflite(make: Any, seed: int, scaler: Any, tmp_path: Path) -> None:
    x, _ = rows(seed)
    y = 100 + x / x.std(axis=0) @ np.arange(1, 6)
    check(quietly_fit(make_pipeline(scaler(), make(seed)), x, y), x, tmp_path, Runtime.TFLITE)


@pytest.mark.parametrize("runtime", [Runtime.ONNX, Runtime.NUMPY])
@pytest.mark.parametrize("make", [CLASSIFIERS[index] for index in (0, 2, 3, 4)])
@settings(SLOW, max_examples=4)
@given(seed=st.integers(0, 50), classes=st.integers(2, 3))
def test_classifiers_elsewhere(make: Any, runtime: Runtime, seed: int, classes: int, tmp_path: Path) -> None:
    x, y = rows(seed, classes=classes)
    check(quietly_fit(make_pipeline(StandardScaler(), make(seed)), x, y), x, tmp_path, runtime)


def test_text_labels_and_one_row(tmp_path: Path) -> None:
    x, y = rows(1)
    model = quietly_fit(LogisticRegression(max_iter=500), x / x.std(axis=0), np.array(["red", "green", "blue"])[y])
    made = source(model)
    assert made.output.labels == ("blue", "green", "red")
    check(model, (x / x.std(axis=0))[:1], tmp_path, Runtime.TFLITE)


def test_what_has_no_lowering_says_so_and_goes_by_skl2onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> int:
        raise CannotLower("no lowering for it", "use another one")

    x, y = rows(0)
    scaled = x / x.std(axis=0)
    made = source(quietly_fit(LogisticRegression(max_iter=500), scaled, y))
    monkeypatch.setattr("trainer.stages.lower.estimators.lower_part", refuse)
    for make in (MAKE[Runtime.TFLITE], MAKE[Runtime.NUMPY]):
        with pytest.raises(UnbuildableError, match="no lowering for it: use another one"):
            make(made)
    scores = run_here(MAKE[Runtime.ONNX](made), Runtime.ONNX, as_singles(scaled), tmp_path)
    np.testing.assert_allclose(scores, made.score(as_singles(scaled)), atol=1e-5)


def test_what_no_route_knows_has_both_reasons() -> None:
    class Doubled(Ridge):
        def predict(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
            return 2 * super().predict(X)

    x, y = rows(0)
    with pytest.raises(UnbuildableError, match=r"no lowering for Doubled.*skl2onnx cannot convert"):
        MAKE[Runtime.ONNX](source(Doubled().fit(x, y)))


def test_a_subclass_is_not_taken_for_its_parent() -> None:
    class Doubled(Ridge):
        def predict(self, X: Any) -> Any:  # noqa: N803 - scikit-learn's name
            return 2 * super().predict(X)

    x, y = rows(0)
    with pytest.raises(UnbuildableError, match="no lowering for Doubled"):
        MAKE[Runtime.TFLITE](source(Doubled().fit(x, y)))


@pytest.fixture(scope="module")
def perceptron() -> tuple[Any, np.ndarray]:
    x, y = rows(0, n=200, columns=8)
    model = make_pipeline(StandardScaler(), MLPClassifier((64, 32), max_iter=40, random_state=0))
    return quietly_fit(model, x, y), as_singles(x)


def test_eight_bits_are_a_quarter_and_agree(perceptron: tuple[Any, np.ndarray], tmp_path: Path) -> None:
    model, x = perceptron
    made = source(model)
    reference = made.score(x)
    pairs = [
        (Runtime.TFLITE, MAKE[Runtime.TFLITE](made), SMALL[Runtime.TFLITE](made), {}),
        (Runtime.ONNX, MAKE[Runtime.ONNX](made), SMALL[Runtime.ONNX](made), {"session.disable_quant_qdq": "1"}),
        (Runtime.NUMPY, MAKE[Runtime.NUMPY](made), SMALL[Runtime.NUMPY](made), {}),
    ]
    for runtime, full, small, options in pairs:
        scores = run_here(small, runtime, x, tmp_path, **options)
        assert compare(made.output, reference, scores).label_agreement >= 0.98
        assert len(small) < 0.5 * len(full)


def test_eight_bit_weights_have_one_scale_a_tensor_and_the_lowest_version(perceptron: tuple[Any, np.ndarray]) -> None:
    model, _ = perceptron
    parsed = schema.ModelT.InitFromPackedBuf(SMALL[Runtime.TFLITE](source(model)), 0)
    (graph,) = parsed.subgraphs
    weights = [tensor for tensor in graph.tensors if tensor.type == schema.TensorType.INT8]
    assert len(weights) == 3
    assert all(len(tensor.quantization.scale) == 1 for tensor in weights)
    versions = {code.builtinCode: code.version for code in parsed.operatorCodes}
    assert versions[schema.BuiltinOperator.FULLY_CONNECTED] == 3
    # The scaler stays in front, in float: folded into eight bits it ruins the model.
    assert schema.BuiltinOperator.SUB in versions
    assert parsed.signatureDefs[0].inputs[0].name == b"x"


def test_old_readers_find_the_operators_too(perceptron: tuple[Any, np.ndarray]) -> None:
    model, _ = perceptron
    parsed = schema.ModelT.InitFromPackedBuf(MAKE[Runtime.TFLITE](source(model)), 0)
    assert all(code.builtinCode == code.deprecatedBuiltinCode for code in parsed.operatorCodes)
    assert {code.version for code in parsed.operatorCodes} == {1}


def test_the_reference_is_asked_without_warnings() -> None:
    x, y = rows(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = LogisticRegression(max_iter=500).fit(x / x.std(axis=0), y)
        assert source(model).score(as_singles(x)).shape == (120, 3)
