"""Real sensors: every variant of an office's model is within the gate on one week and right on another."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Not part of this repository: UCI's data set 357, as three CSV files.
DATA = Path(os.environ.get("EDGELOOP_OCCUPANCY") or ROOT.parent / "shared" / "data" / "occupancy")

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not DATA.is_dir(), reason="the Occupancy data are not here: name their folder in EDGELOOP_OCCUPANCY"
    ),
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("occupancy") / "rows.json"
    models = [word for name in ("logistic", "forest", "svm") for word in ("--model", name)]
    command = [sys.executable, "benchmarks/occupancy.py", str(DATA), *models, "--json", str(out)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(json.loads(out.read_text()))


def test_every_exact_variant_is_there_and_answers_as_its_estimator_on_both_files(rows: list[dict[str, Any]]) -> None:
    exact = [row for row in rows if not row["form"]]
    assert {(row["model"], row["variant"]) for row in exact} == {
        (model, f"{runtime}-fp32") for model in ("logistic", "forest", "svm") for runtime in ("onnx", "tflite", "numpy")
    }
    for row in exact:
        assert row["excess"] <= 1
        assert row["closed"] == row["closed_source"]
        assert row["opened"] == row["opened_source"]


def test_smaller_variants_stay_within_their_budget_on_the_rows_that_they_were_judged_by(
    rows: list[dict[str, Any]],
) -> None:
    smaller = [row for row in rows if row["form"]]
    assert smaller
    assert all(row["opened"] >= row["opened_source"] - 0.005 for row in smaller)


def test_the_forest_is_pruned_to_a_small_part(rows: list[dict[str, Any]]) -> None:
    forest = {row["variant"]: row for row in rows if row["model"] == "forest"}
    smallest = min((row for name, row in forest.items() if name.startswith("onnx")), key=lambda row: row["size"])
    assert smallest["size"] * 10 < forest["onnx-fp32"]["size"]
    # On the other file too, which no choice was made by.
    assert smallest["closed"] >= forest["onnx-fp32"]["closed"]
