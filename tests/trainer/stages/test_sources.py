"""Models from elsewhere: known types come in, code stays out, and what is refused says why."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
import skops.io
from lightgbm import LGBMClassifier, LGBMRegressor
from onnx import TensorProto, helper, numpy_helper
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from xgboost import XGBClassifier, XGBRFRegressor

from edge_agent.contract.card import SourceKind
from edge_agent.contract.manifest import LabelType, ScoreKind, Task
from tests.fakes.trainer_models import fitted_logistic, fitted_mlp, quietly_fit, rows, source
from trainer.errors import ConfigurationError, RejectedError, UsageError
from trainer.stages.export_onnx import export
from trainer.stages.onnx_source import accept, judge_output
from trainer.stages.sources import load_estimator


class Homemade(BaseEstimator):
    """An estimator that no one but its author knows."""

    n_features_in_ = 3

    def fit(self, x: Any, y: Any = None) -> "Homemade":
        return self


@pytest.mark.parametrize(
    "model", [fitted_logistic()[0], fitted_mlp()[0], quietly_fit(RandomForestClassifier(3), *rows(0))]
)
def test_skops_files_of_scikit_learn_come_in(model: Any, tmp_path: Path) -> None:
    skops.io.dump(model, tmp_path / "model.skops")
    loaded, kind = load_estimator(tmp_path / "model.skops", allow_pickle=False)
    assert kind is SourceKind.SKOPS
    x, _ = rows(1, columns=loaded.n_features_in_)
    assert (loaded.predict(x) == model.predict(x)).all()


@pytest.mark.parametrize("model", [Homemade(), FunctionTransformer(Path.unlink)])
def test_skops_files_with_types_that_are_not_known_are_refused(model: Any, tmp_path: Path) -> None:
    skops.io.dump(model, tmp_path / "model.skops")
    with pytest.raises(RejectedError, match="types that are not known to be safe: "):
        load_estimator(tmp_path / "model.skops", allow_pickle=False)


@pytest.mark.parametrize(
    "model",
    [
        XGBClassifier(n_estimators=2, n_jobs=1),
        XGBRFRegressor(n_estimators=2, n_jobs=1),
        LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1),
        make_pipeline(StandardScaler(), LGBMRegressor(n_estimators=2, n_jobs=1, verbose=-1)),
    ],
)
def test_skops_files_of_boosters_come_in_where_their_library_is(
    model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = rows(0)
    skops.io.dump(model.fit(x, y), tmp_path / "model.skops")
    loaded, kind = load_estimator(tmp_path / "model.skops", allow_pickle=False)
    assert kind is SourceKind.SKOPS
    assert (loaded.predict(x) == model.predict(x)).all()
    monkeypatch.setattr("trainer.stages.sources.importlib.util.find_spec", lambda name: None)
    with pytest.raises(RejectedError, match=r"which is not installed here") as refusal:
        load_estimator(tmp_path / "model.skops", allow_pickle=False)
    assert "edgeloop[boost]" in refusal.value.hint


@pytest.mark.parametrize("name", ["model.ubj", "model.json", "model.txt"])
def test_the_libraries_own_files_are_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(UsageError, match="may hold a booster") as refusal:
        load_estimator(tmp_path / name, allow_pickle=False)
    assert "load_model()" in refusal.value.hint


class Bomb:
    """A pickle of this writes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl", "model.pickle"])
def test_a_pickle_is_never_opened_without_the_flag(name: str, tmp_path: Path) -> None:
    joblib.dump(Bomb(tmp_path / "boom"), tmp_path / name)
    with pytest.raises(RejectedError, match="runs whatever code is in it"):
        load_estimator(tmp_path / name, allow_pickle=False)
    assert not (tmp_path / "boom").exists()


def test_the_owner_may_open_a_pickle(tmp_path: Path) -> None:
    joblib.dump(fitted_logistic()[0], tmp_path / "model.joblib")
    _, kind = load_estimator(tmp_path / "model.joblib", allow_pickle=True)
    assert kind is SourceKind.JOBLIB


def test_what_is_no_fitted_estimator_is_refused(tmp_path: Path) -> None:
    skops.io.dump({"a": 1}, tmp_path / "dict.skops")
    (tmp_path / "broken.skops").write_bytes(b"PK\x03\x04 and no more")
    (tmp_path / "model.h5").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="no fitted estimator but a dict"):
        load_estimator(tmp_path / "dict.skops", allow_pickle=False)
    with pytest.raises(RejectedError, match="is no skops file"):
        load_estimator(tmp_path / "broken.skops", allow_pickle=False)
    with pytest.raises(UsageError, match="a model is a"):
        load_estimator(tmp_path / "model.h5", allow_pickle=False)
    with pytest.raises(UsageError, match="there is no model file"):
        load_estimator(tmp_path / "absent.skops", allow_pickle=False)


def graph(nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto] | None = None, **changes: Any) -> bytes:
    """A model from float32 x (rows, 3) to `y` (rows, 2)."""
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", changes.get("element", TensorProto.FLOAT), [None, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in changes.get("outputs", ("y",))],
        weights or [numpy_helper.from_array(np.ones((3, 2), dtype=np.float32), "w")],
    )
    opset = helper.make_opsetid("", changes.get("opset", 18))
    return bytes(helper.make_model(made, ir_version=8, opset_imports=[opset]).SerializeToString())


PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"])
SECOND = helper.make_node("MatMul", ["x", "w"], ["z"])


def test_a_plain_graph_comes_in() -> None:
    accepted = accept(graph([PRODUCT]), 3)
    assert (accepted.scores, accepted.labels, accepted.trees) == (2, (), False)
    model = onnx.load_from_string(accepted.data)
    assert [value.name for value in model.graph.input] == ["x"]
    assert [value.name for value in model.graph.output] == ["scores"]


def test_the_output_with_the_scores_can_be_named() -> None:
    both = graph([PRODUCT, SECOND], outputs=("y", "z"))
    with pytest.raises(RejectedError, match=r"not clear which output holds the scores \(y, z\)"):
        accept(both, 3)
    assert len(onnx.load_from_string(accept(both, 3, "z").data).graph.node) == 2
    with pytest.raises(RejectedError, match="no float output"):
        accept(both, 3, "w")


def loop() -> onnx.NodeProto:
    """A loop, which the checker of ONNX accepts however often it goes round."""
    body = helper.make_graph([], "body", [], [])
    return helper.make_node("Loop", ["x", "x"], ["y"], body=body)


@pytest.mark.parametrize(
    ("data", "columns", "named"),
    [
        (b"not a model at all", 3, "no ONNX model|0 inputs"),
        (graph([loop()]), 3, "Loop is not accepted"),
        (graph([helper.make_node("MatMul", ["x", "w"], ["y"], domain="evil")]), 3, "evil.MatMul is not accepted"),
        (graph([helper.make_node("RandomNormalLike", ["x"], ["y"])]), 3, "RandomNormalLike is not accepted"),
        (graph([PRODUCT], element=TensorProto.DOUBLE), 3, "no float32 matrix"),
        (graph([PRODUCT]), 4, "takes 3 features, the data have 4"),
        (graph([PRODUCT], opset=23), 3, "opset 23"),
        (graph([helper.make_node("Gemm", ["x", "missing"], ["y"])]), 3, "is not valid"),
    ],
)
def test_what_is_unsafe_or_unclear_is_refused(data: bytes, columns: int, named: str) -> None:
    with pytest.raises(RejectedError, match=named):
        accept(data, columns)


def test_tensors_outside_of_the_file_are_refused() -> None:
    weight = numpy_helper.from_array(np.ones((3, 2), dtype=np.float32), "w")
    weight.data_location = TensorProto.EXTERNAL
    with pytest.raises(RejectedError, match="lies outside of the file"):
        accept(graph([PRODUCT], [weight]), 3)


def test_labels_come_from_the_graph_or_from_the_data() -> None:
    model, x, y = fitted_logistic()
    own = accept(export(model, x.shape[1], source(model).output), x.shape[1])
    scores = source(model).score(x.astype(np.float32))
    output = judge_output(Task.CLASSIFICATION, own, scores, y)
    assert (output.kind, output.labels, output.label_type) == (
        ScoreKind.PROBABILITY,
        ("0", "1", "2"),
        LabelType.INTEGER,
    )
    plain = accept(graph([PRODUCT]), 3)
    named = judge_output(Task.CLASSIFICATION, plain, np.ones((2, 2)), np.array(["b", "a"]))
    assert (named.kind, named.labels) == (ScoreKind.MARGIN, ("a", "b"))
    with pytest.raises(RejectedError, match="do not fit the 3 labels"):
        judge_output(Task.CLASSIFICATION, plain, np.ones((3, 2)), np.array(["b", "a", "c"]))
    with pytest.raises(RejectedError, match="labels that the model does not know"):
        judge_output(Task.CLASSIFICATION, own, scores, y + 7)


def test_other_tasks_name_their_scores() -> None:
    plain = accept(graph([PRODUCT]), 3)
    assert judge_output(Task.REGRESSION, plain, np.ones((1, 2)), None).kind is ScoreKind.VALUE
    assert judge_output(Task.CLUSTERING, plain, np.ones((1, 2)), None).labels == ("0", "1")
    with pytest.raises(RejectedError, match="gives one score a row"):
        judge_output(Task.ANOMALY, plain, np.ones((1, 2)), None)
