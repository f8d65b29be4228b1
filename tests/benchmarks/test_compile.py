"""The benchmark of the compiler measures every figure that its bars are judged by."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = {"size_bytes", "xz_bytes", "rss_mb", "load_ms", "row_us", "thousand_ms", "score", "convert_s"}
ROUTES = {"scikit-learn", "skl2onnx", "ours on ORT", "ours on LiteRT", "ours in numpy"}


@pytest.mark.system
def test_two_families_by_every_route(tmp_path: Path) -> None:
    """One table, one JSON: no figure of a route is missing, and each says something."""
    path = tmp_path / "figures.json"
    command = [sys.executable, "benchmarks/compile", "Lasso", "DecisionTreeC", "--rounds", "6", "--json", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert path.exists(), done.stdout + done.stderr
    found = json.loads(path.read_text())
    assert [family["name"] for family in found["families"]] == ["Lasso", "DecisionTreeClassifier"]
    for family in found["families"]:
        assert set(family["routes"]) == ROUTES | {"emlearn", "m2cgen", "tl2cgen"}
        for route in ROUTES:
            figures = family["routes"][route]
            assert figures.keys() == FIGURES, (family["name"], route)
            assert all(value > 0 for name, value in figures.items() if name != "convert_s"), figures
        scores = {round(family["routes"][route]["score"], 6) for route in ROUTES}
        assert len(scores) == 1, "every route answers alike"
        assert family["ratios"].keys() == {"sklearn_row", "skl2onnx_row", "skl2onnx_size"}
        assert family["ratios"]["sklearn_row"] > 1
    judged = [bar["what"] for bar in found["bars"]]
    assert [bar["bar"] for bar in found["bars"]] == ["3", "3", "3", "3", "4", "6", "6"], judged
    assert (done.returncode == 0) is all(bar["holds"] for bar in found["bars"])


@pytest.mark.system
def test_the_figures_of_the_document_are_those_of_one_run() -> None:
    """What stands between the markers is what the benchmark writes of the figures that are kept beside it."""
    figures = json.loads((ROOT / "benchmarks" / "compile" / "figures.json").read_text())
    text = (ROOT / "docs" / "benchmarks.md").read_text()
    for family in figures["families"]:
        assert f"| {family['name']} | {family['data']} |" in text
    for bar in figures["bars"]:
        assert f"| {bar['bar']} | {bar['what']} | {bar['figure']:.2f} |" in text
