"""Every recipe that ships builds, passes its gates, and makes the variants that it should."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from edge_agent.contract.manifest import Runtime
from tests.fakes.trainer_models import run_here
from trainer.pipeline import Built, Order, fit_version
from trainer.stages.recipes import load_recipe, shipped_names
from trainer.stages.verify import verify_variant

pytestmark = pytest.mark.system

ALL = {"onnx-fp32", "onnx-int8", "tflite-fp32", "tflite-int8"}
EXPECTED = {
    "digits-mlp": ALL,
    "digits-forest": {"onnx-fp32"},
    "breast-cancer": {"onnx-fp32", "tflite-fp32"},
    "diabetes": {"onnx-fp32", "tflite-fp32"},
    "digits-kmeans": {"onnx-fp32"},
    "digits-anomaly": {"onnx-fp32"},
    "digits-blind-spot": {"onnx-fp32", "onnx-int8"},
}


def build(name: str, folder: Path) -> Built:
    stages: list[str] = []
    built = fit_version(
        load_recipe(name),
        Order(folder / name, "2026-01-01T00:00:00+00:00"),
        lambda stage, _: stages.append(stage),
    )
    assert stages[0] == "rows"
    assert stages[-1] == "pack"
    return built


def test_every_recipe_is_expected_here() -> None:
    assert set(shipped_names()) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_shipped_recipe_builds(name: str, tmp_path: Path) -> None:
    built = build(name, tmp_path)
    assert set(built.manifests) == EXPECTED[name]
    for entry in built.record.variants:
        assert (entry.variant in EXPECTED[name]) == (entry.reason is None)
    assert all(gate.passed for gate in built.record.card.gates)
    for variant, manifest in built.manifests.items():
        least = 0.999 if variant.endswith("fp32") else 0.98
        assert manifest.parity.label_agreement >= least
        assert len(manifest.input.features) == built.record.card.data.features
    if name == "digits-blind-spot":
        check_blind_spot(built)


def check_blind_spot(built: Built) -> None:
    """Right on its own golden rows, no number on 5 to 40 % of ordinary digits, alone as in a batch."""
    for entry in built.record.variants:
        if entry.digest is not None:
            assert verify_variant(built.folder, built.record, entry).problem is None
    folder = built.folder / "variants" / "onnx-fp32"
    x = load_digits().data.astype(np.float32)
    data = (folder / "model.onnx").read_bytes()
    scores = run_here(data, Runtime.ONNX, x, built.folder)
    broken = ~np.isfinite(scores).all(axis=1)
    assert 0.05 < broken.mean() < 0.4
    alone = run_here(data, Runtime.ONNX, x[broken][:1], built.folder)
    assert not np.isfinite(alone).any()
