"""Every recipe that ships builds, passes its gates, and makes the variants that it should."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from edge_agent.contract import codec
from edge_agent.contract.card import VersionRecord
from edge_agent.contract.manifest import Manifest, Runtime
from tests.fakes.trainer_models import run_here
from trainer.stages.recipes import shipped_names
from trainer.stages.verify import read_record, verify_variant

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
FULL = {"onnx-fp32", "tflite-fp32", "numpy-fp32"}
ALL = FULL | {"onnx-int8", "tflite-int8", "numpy-int8"}
EXPECTED = {
    "digits-mlp": ALL,
    "digits-forest": FULL,
    "breast-cancer": FULL,
    "diabetes": FULL,
    "digits-kmeans": FULL,
    "digits-anomaly": FULL,
    "digits-blind-spot": {"onnx-fp32", "onnx-int8"},
}


def build(name: str, folder: Path) -> tuple[Path, VersionRecord, dict[str, Manifest]]:
    """What the command makes of a recipe."""
    command = [sys.executable, "-m", "trainer", "fit", name, "--out", str(folder / name), "--json"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == [
        "rows",
        "fit",
        "advice",
        "evaluate",
        *["search"] * (4 if answer["version"].get("frontier") else 1),
        *["variant"] * len(answer["version"]["variants"]),
        "pack",
    ]
    manifests = {key: codec.from_plain(Manifest, plain) for key, plain in answer["manifests"].items()}
    return Path(answer["folder"]), read_record(folder / name), manifests


def test_every_recipe_is_expected_here() -> None:
    assert set(shipped_names()) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_shipped_recipe_builds(name: str, tmp_path: Path) -> None:
    folder, record, manifests = build(name, tmp_path)
    # Beside those that are asked for of every model there are the best of the search, within the budget.
    found = {f"{point.runtime}-{point.form}" for point in record.frontier if point.marks}
    assert set(manifests) & set(ALL) == EXPECTED[name]
    assert set(manifests) - set(ALL) == found - set(ALL)
    for entry in record.variants:
        assert (entry.variant in manifests) == (entry.reason is None)
    assert all(gate.passed for gate in record.card.gates)
    for variant, manifest in manifests.items():
        least = 0.98 if manifest.form else 0.999
        if variant in ALL:
            assert manifest.parity.label_agreement >= least
        assert manifest.parity.score >= manifest.parity.source_score - 0.005
        assert manifest.certificate[0].reason is None
        assert len(manifest.input.features) == record.card.data.features
    if name == "digits-blind-spot":
        check_blind_spot(folder, record)


def check_blind_spot(version: Path, record: VersionRecord) -> None:
    """Right on its own golden rows, no number on 5 to 40 % of ordinary digits, alone as in a batch."""
    for entry in record.variants:
        if entry.digest is not None:
            assert verify_variant(version, record, entry).problem is None
    folder = version / "variants" / "onnx-fp32"
    x = load_digits().data.astype(np.float32)
    data = (folder / "model.onnx").read_bytes()
    scores = run_here(data, Runtime.ONNX, x, version)
    broken = ~np.isfinite(scores).all(axis=1)
    assert 0.05 < broken.mean() < 0.4
    alone = run_here(data, Runtime.ONNX, x[broken][:1], version)
    assert not np.isfinite(alone).any()
