"""The in-process API on real bundles: what is answered, refused, verified."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_agent.contract.manifest import Runtime
from edge_agent.contract.states import Reason
from edge_agent.worker.bundle import BundleError
from edge_agent.worker.engine import BadInputError, NonFiniteOutputError, open_model
from tests.fakes import bundles


@pytest.mark.parametrize("build", [bundles.logistic, bundles.tflite_logistic, bundles.numpy_logistic])
def test_a_model_predicts_one_row_and_many_alike(tmp_path: Path, build) -> None:
    bundle = build(tmp_path, features=5, classes=4)
    model = open_model(bundle.path)
    np.testing.assert_allclose(model.predict(bundle.x).scores, bundle.scores, atol=1e-6)
    for rows in (3, 1, 2):  # back and forth between sizes
        np.testing.assert_allclose(model.predict(bundle.x[:rows].tolist()).scores, bundle.scores[:rows], atol=1e-6)
    assert model.predict(bundle.x[0]).labels == [int(bundle.scores[0].argmax())]


def test_an_answer_is_the_callers_own(tmp_path: Path) -> None:
    bundle = bundles.logistic(tmp_path)
    model = open_model(bundle.path)
    first = model.predict(bundle.x[:1]).scores
    before = first.copy()
    model.predict(bundle.x[1:2])
    assert np.array_equal(first, before)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1.0]], "(rows, 2)"),
        ([[[1.0, 2.0]]], "(rows, 2)"),
        ([], "(rows, 2)"),
        ([["a", "b"]], "numbers"),
        ([[1.0, float("nan")]], "'x2' is missing"),
        ([[float("inf"), 1.0]], "'x1'"),
        ([[1.0, 1e39]], "'x2'"),
    ],
)
def test_rows_that_a_model_must_not_see_are_refused(tmp_path: Path, rows, words: str) -> None:
    model = open_model(bundles.logistic(tmp_path).path)
    with pytest.raises(BadInputError) as caught:
        model.predict(rows)
    assert words in str(caught.value)


def test_very_large_finite_numbers_pass(tmp_path: Path) -> None:
    model = open_model(bundles.regression(tmp_path).path)
    assert np.isfinite(model.predict([[1e30, -1e30]]).scores).all()


def test_an_output_that_is_not_finite_is_never_answered(tmp_path: Path) -> None:
    model = open_model(bundles.nan_producing(tmp_path, below=-5).path)
    with pytest.raises(NonFiniteOutputError) as caught:
        model.predict([[0, 0], [-9, 0]])
    assert caught.value.rows == 1


def test_every_file_is_verified_before_a_runtime_sees_it(tmp_path: Path) -> None:
    for name in ("model.onnx", "golden.npz", "baseline.json"):
        bundle = bundles.logistic(tmp_path / name)
        path = bundle.path / name
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        with pytest.raises(BundleError) as caught:
            open_model(bundle.path)
        assert caught.value.reason is Reason.DIGEST_MISMATCH
        path.unlink()
        with pytest.raises(BundleError, match=name):
            open_model(bundle.path)


def test_another_bundle_than_the_wanted_one_is_refused(tmp_path: Path) -> None:
    bundle = bundles.logistic(tmp_path)
    with pytest.raises(BundleError) as caught:
        open_model(bundle.path, digest="0" * 64)
    assert caught.value.reason is Reason.DIGEST_MISMATCH


def test_a_signature_other_than_the_manifests_is_refused(tmp_path: Path) -> None:
    for build in (bundles.logistic, bundles.tflite_logistic, bundles.numpy_logistic):
        bundle = build(tmp_path / build.__name__, features=2, classes=2)
        wide = bundles.logistic(tmp_path / "wide", features=3, classes=2)
        output = dataclasses.replace(bundle.manifest.output, columns=3, labels=("0", "1", "2"))
        for changes in ({"input": wide.manifest.input}, {"output": output}):
            changed = bundles.rewrite_manifest(bundle, **changes)
            with pytest.raises(BundleError) as caught:
                open_model(changed.path)
            assert caught.value.reason is Reason.MANIFEST_MISMATCH


def test_a_runtime_that_is_not_here_fails_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = bundles.logistic(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "edge_agent.adapters.runtimes.onnx", raising=False)
    with pytest.raises(BundleError, match=r"install edgeloop\[onnx\]") as caught:
        open_model(bundle.path)
    assert caught.value.reason is Reason.LOAD_FAILED


def test_a_broken_model_and_one_of_another_runtime_fail_to_load(tmp_path: Path) -> None:
    other = bundles.rewrite_manifest(bundles.logistic(tmp_path / "a"), runtime=Runtime.NUMPY)
    for bundle in (other, bundles.broken(tmp_path / "b")):
        with pytest.raises(BundleError) as caught:
            open_model(bundle.path)
        assert caught.value.reason is Reason.LOAD_FAILED
