"""Proof: a variant that was tampered with is refused with figures; one that is right is packed as it was proven."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_agent.contract.manifest import Runtime
from tests.fakes import trainer_models
from trainer.core.arrays import as_singles
from trainer.errors import ChildError, RejectedError, UnbuildableError, UsageError
from trainer.stages import pack, variants
from trainer.stages.children import run_model
from trainer.stages.variants import Proving

PLANS = {plan.variant: plan for plan in variants.PLANS}

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def proving() -> Proving:
    return trainer_models.proving(*trainer_models.fitted_mlp())


def flip_weights(data: bytes) -> bytes:
    """The same graph with the sign of its largest matrix turned."""
    model = onnx.load_from_string(data)
    tensor = max(model.graph.initializer, key=lambda item: int(np.prod(item.dims)))
    tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    return bytes(model.SerializeToString())


def test_flipped_weights_are_refused_with_figures(proving: Proving, tmp_path: Path) -> None:
    plan = PLANS["onnx-fp32"]
    good = plan.make(proving.rehearsal.source)
    assert variants.prove_variant(plan, good, proving, tmp_path).difference.label_agreement == 1.0
    with pytest.raises(UnbuildableError, match="times what is tolerated"):
        variants.prove_variant(plan, flip_weights(good), proving, tmp_path)


def test_flipped_eight_bit_weights_are_refused_with_figures(proving: Proving, tmp_path: Path) -> None:
    plan = PLANS["onnx-int8"]
    with pytest.raises(UnbuildableError, match="accuracy falls from"):
        variants.prove_variant(plan, flip_weights(plan.make(proving.rehearsal.source)), proving, tmp_path)


def test_a_broken_file_ends_a_child_and_gives_the_reason(proving: Proving, tmp_path: Path) -> None:
    plan = PLANS["tflite-fp32"]
    with pytest.raises(ChildError, match="the runtime refused the model"):
        variants.prove_variant(plan, plan.make(proving.rehearsal.source)[:500], proving, tmp_path)


def test_a_bundle_holds_what_was_proven(proving: Proving, tmp_path: Path) -> None:
    plan = PLANS["tflite-int8"]
    proven = variants.prove_variant(plan, plan.make(proving.rehearsal.source), proving, tmp_path)
    manifest, _ = pack.write_bundle(tmp_path, proven, proving, ())
    with np.load(tmp_path / "golden.npz", allow_pickle=False) as golden:
        again = run_model(tmp_path / manifest.model_file, Runtime.TFLITE, golden["x"], {})
        assert np.abs(again.scores - golden["scores"]).max() <= manifest.golden.atol
    assert manifest.requires.memory_mb >= 5
    assert manifest.cost.size == (tmp_path / "model.tflite").stat().st_size > manifest.cost.packed_size
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "baseline.json",
        "golden.npz",
        "manifest.json",
        "model.tflite",
    ]


def test_a_model_that_mixes_the_rows_of_a_batch_is_refused(tmp_path: Path) -> None:
    model, x, y = trainer_models.fitted_ridge()
    proving = trainer_models.proving(model, x, y)
    plan = PLANS["onnx-fp32"]
    graph = onnx.load_from_string(plan.make(proving.rehearsal.source))
    last = graph.graph.node[-1]
    last.output[0] = "own"
    mean = onnx.helper.make_node("ReduceMean", ["own", "axis"], ["mean"], keepdims=1)
    moved = onnx.helper.make_node("Sub", ["own", "mean"], ["centred"])
    back = onnx.helper.make_node("Add", ["centred", "offset"], ["scores"])
    graph.graph.node.extend([mean, moved, back])
    offset = np.array([[proving.rehearsal.reference.mean()]], dtype=np.float32)
    graph.graph.initializer.append(numpy_helper.from_array(np.array([0], dtype=np.int64), "axis"))
    graph.graph.initializer.append(numpy_helper.from_array(offset, "offset"))
    with pytest.raises(UnbuildableError, match="a row alone gets other scores"):
        variants.prove_variant(plan, bytes(graph.SerializeToString()), proving, tmp_path)


def test_a_source_without_an_answer_is_refused() -> None:
    model, x, y = trainer_models.fitted_ridge()
    model.coef_ = model.coef_ * np.inf
    with pytest.raises(RejectedError, match="not finite on"):
        trainer_models.rehearsal(model, x, y)


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    target = tmp_path / "v1"
    with pytest.raises(FileNotFoundError), pack.new_folder(target, force=False) as folder:
        (folder / "no" / "such" / "place").write_text("{}")
    assert list(tmp_path.iterdir()) == []
    with pack.new_folder(target, force=False) as folder:
        (folder / "version.json").write_text("{}")
    with pytest.raises(UsageError, match="holds a version already"), pack.new_folder(target, force=False):
        pass
    with pack.new_folder(target, force=True) as folder:
        (folder / "version.json").write_text("new")
    assert (target / "version.json").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["v1"]


def test_a_folder_of_something_else_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "draft.txt").write_text("dear")
    with pytest.raises(UsageError, match="is no version folder"):
        pack.check_target(tmp_path / "letters", force=True)


def test_rows_given_to_a_child_come_back_in_order(tmp_path: Path) -> None:
    model, x, _ = trainer_models.fitted_logistic()
    source = trainer_models.source(model)
    path = tmp_path / "model.onnx"
    path.write_bytes(variants.make_onnx_fp32(source))
    run = run_model(path, Runtime.ONNX, as_singles(x), {}, measure=True)
    assert np.abs(run.scores - source.score(as_singles(x))).max() < 1e-5
    assert 0 < run.latency_p50_us <= run.latency_p99_us
    assert run.memory_mb > 1
