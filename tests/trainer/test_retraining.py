"""`trainer retrain`: rows that moved are learnt, and what wins nothing builds nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from edge_agent.contract import codec
from edge_agent.contract.card import VersionRecord
from edge_agent.contract.retraining import RetrainVerdict
from trainer.cli import main

RECIPE = """
model = "room"
task = "classification"
data = { csv = "base.csv", target = "busy" }
steps = [{ estimator = "sklearn.linear_model.LogisticRegression", params = { C = 100 } }]
"""


def write_rows(path: Path, rows: int, seed: int, border: float = 0.0, names: str = "a,b,busy") -> Path:
    """Rows whose label is whether b is above a border; `a` says where they come from."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 2)) * [0.1, 1.0] + [3.0 * bool(border), border]
    labels = (x[:, 1] > border).astype(int)
    columns = {"a": x[:, 0], "b": x[:, 1], "busy": labels}
    lines = [",".join(str(columns[name][row]) for name in names.split(",")) for row in range(rows)]
    path.write_text("\n".join([names, *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its data, and version 1 of its model."""
    folder = tmp_path_factory.mktemp("room")
    (folder / "room.toml").write_text(RECIPE)
    write_rows(folder / "base.csv", 400, 1)
    assert main(["fit", str(folder / "room.toml"), "--out", str(folder / "v1"), "--prove-on", "none"]) == 0
    return folder


def retrain(room: Path, fresh: Path, *more: str, against: str = "v1", tolerance: str = "5") -> int:
    words = ["retrain", str(room / "room.toml"), "--fresh", str(fresh), "--against", str(room / against)]
    words += ["--tolerance", tolerance]
    return main([*words, "--out", str(fresh.parent / "out"), "--prove-on", "none", *more])


def test_what_moved_is_learnt_and_built(room: Path, tmp_path: Path) -> None:
    fresh = write_rows(tmp_path / "fresh.csv", 600, 2, border=2.0, names="busy,b,a")
    assert retrain(room, fresh, "--lineage", "proposal=pr-1", against="v1/variants/numpy-fp32") == 0
    verdict = codec.decode(RetrainVerdict, (tmp_path / "out" / "verdict.json").read_bytes())
    assert verdict.won
    assert verdict.newest.running < 0.7 < 0.95 < verdict.newest.retrained
    assert (verdict.newest.rows, verdict.train_rows, verdict.running_variant) == (180, 300 + 420, "numpy-fp32")
    assert verdict.built is not None
    assert verdict.built.retrained == pytest.approx(verdict.newest.retrained, abs=0.02)
    card = codec.decode(VersionRecord, (tmp_path / "out" / "version" / "version.json").read_bytes()).card
    assert card.lineage["proposal"] == "pr-1"
    assert (card.lineage["fresh_sha256"], card.lineage["base_sha256"]) == (verdict.fresh.sha256, verdict.base.sha256)
    assert card.lineage["parent_bundle"] == verdict.running_digest
    assert card.heldout_rows == 100 + 180  # none of them was trained on


def test_the_newest_rows_are_never_trained_on(room: Path, tmp_path: Path) -> None:
    """Only the newest rows moved: who trained on them would be right there."""
    older = write_rows(tmp_path / "older.csv", 300, 3)
    newest = write_rows(tmp_path / "newest.csv", 100, 4, border=2.0)
    fresh = tmp_path / "fresh.csv"
    fresh.write_text(older.read_text() + newest.read_text().partition("\n")[2])
    assert retrain(room, fresh, "--newest", "25") == 1
    verdict = codec.decode(RetrainVerdict, (tmp_path / "out" / "verdict.json").read_bytes())
    assert (verdict.won, verdict.newest.rows) == (False, 100)
    assert verdict.newest.retrained < 0.7


def test_nothing_is_built_where_nothing_is_won(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fresh = write_rows(tmp_path / "fresh.csv", 300, 5)
    assert retrain(room, fresh, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["won"] is False
    assert "are asked" in told["reason"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["verdict.json"]
    assert retrain(room, fresh) == 2  # what a former run left is not written over


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--set", "model=hall"], 2, "the running version is of room"),
        (["--set", "task=clustering"], 78, "no labels to be judged by"),
        (["--margin", "200"], 2, "margin and tolerance"),
        (["--lineage", "proposal"], 2, "KEY=VALUE"),
        (["--set", "gates=[{metric='accuracy', at_least=0.999}]"], 1, "gate not met"),
        (["--drop", "b"], 78, "no column 'b'"),
    ],
)
def test_what_does_not_fit_is_said(
    room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], code: int, words: str
) -> None:
    fresh = write_rows(tmp_path / "fresh.csv", 300, 6, border=2.0)
    assert retrain(room, fresh, *more) == code
    assert words in " ".join("".join(capsys.readouterr()).split())
    assert not (tmp_path / "out" / "version").exists()


def test_a_changed_bundle_is_no_opponent(room: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fresh = write_rows(tmp_path / "fresh.csv", 300, 7, border=2.0)
    bundle = room / "v1" / "variants" / "onnx-fp32"
    copy = tmp_path / "bundle"
    copy.mkdir()
    for path in bundle.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "baseline.json").write_text("{}")
    assert retrain(room, fresh, against=str(copy)) == 2
    assert "baseline.json is not the file" in " ".join(capsys.readouterr().err.split())


def test_values_are_judged_by_their_errors(tmp_path: Path) -> None:
    recipe = (
        RECIPE.replace("classification", "regression").replace("LogisticRegression", "Ridge").replace("C =", "alpha =")
    )
    (tmp_path / "room.toml").write_text(recipe.replace('"busy"', '"y"'))
    rng = np.random.default_rng(8)
    for name, slope in (("base", 1.0), ("fresh", 3.0)):
        x = rng.normal(size=400)
        lines = [f"{bool(slope - 1):d},{value},{slope * value + rng.normal() / 10}" for value in x.tolist()]
        (tmp_path / f"{name}.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    assert main(["fit", str(tmp_path / "room.toml"), "--out", str(tmp_path / "v1"), "--prove-on", "none"]) == 0
    assert retrain(tmp_path, tmp_path / "fresh.csv", tolerance="100") == 1  # one line cannot do both
    verdict = codec.decode(RetrainVerdict, (tmp_path / "out" / "verdict.json").read_bytes())
    assert verdict.metric == "mae"
    assert verdict.newest.gain == pytest.approx(1 - verdict.newest.retrained / verdict.newest.running)
    assert verdict.newest.lower > 0
    assert verdict.backtest.gain < -1
