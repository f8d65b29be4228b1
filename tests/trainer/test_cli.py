"""The command: exit codes, messages without tracebacks, and a version folder from a user's own CSV file."""

import json
from pathlib import Path

import joblib
import numpy as np
import pytest
import skops.io

from tests.fakes.trainer_models import fitted_logistic, rows, source
from trainer.cli import main
from trainer.stages.variants import make_onnx_fp32


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit"], 2, "requires an argument"),
        (["frobnicate"], 2, "Unknown command"),
        (["fit", "digits", "--loud"], 2, "Unknown option"),
        (["fit", "no-such-recipe"], 2, "there is no recipe 'no-such-recipe'"),
        (["verify", "nowhere"], 2, "is no version folder"),
        (["fit", "digits-mlp", "--set", "colour=1"], 78, "unknown key 'colour'"),
        (["fit", "diabetes", "--set", "metrics=['f1_macro']"], 78, "regression knows no metric 'f1_macro'"),
        (["fit", "diabetes", "--set", "gates.0.at_least=0.99"], 1, "gate not met: r2 is 0.3"),
        (["compile", "m.skops", "--data", "no.csv", "--name", "m"], 78, "there is no data file"),
        (["compile", "m.skops", "--data", "no.csv", "--name", "My Model"], 2, "a name is"),
    ],
)
def test_exit_codes_and_messages(
    arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    if arguments[0] == "fit" and len(arguments) > 2:
        arguments = [*arguments, "--out", str(tmp_path / "v")]
    assert main(arguments) == code
    printed = capsys.readouterr()
    assert message in printed.err + printed.out
    assert "Traceback" not in printed.err
    assert not (tmp_path / "v").exists()


def test_help_and_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert main(["recipes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"digits-mlp", "digits-forest", "digits-blind-spot"} <= {item["recipe"] for item in listed["items"]}


def test_an_error_is_json_where_json_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "nowhere", "--json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert "no version folder" in answer["error"]
    assert answer["hint"]


def write_csv(path: Path, x: np.ndarray, y: np.ndarray) -> None:
    """The rows as CSV with columns c0, c1, … in another order than the model's, and the target `kind`."""
    header = ",".join([*(f"c{index}" for index in range(x.shape[1])), "kind"])
    lines = [",".join([*map(repr, row), str(label)]) for row, label in zip(x.tolist(), y.tolist(), strict=True)]
    path.write_text("\n".join([header, *lines]) + "\n")


@pytest.mark.system
def test_a_users_model_and_csv_become_a_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, _, _ = fitted_logistic()
    x, y = rows(0)
    skops.io.dump(model, tmp_path / "mine.skops")
    write_csv(tmp_path / "rows.csv", x, y)
    common = ["--data", str(tmp_path / "rows.csv"), "--target", "kind", "--name", "mine", "--json"]
    out = tmp_path / "v1"
    assert main(["compile", str(tmp_path / "mine.skops"), *common, "--out", str(out)]) == 0
    printed = json.loads(capsys.readouterr().out)
    built = {entry["variant"]: entry for entry in printed["version"]["variants"]}
    assert {"onnx-fp32", "tflite-fp32"} <= {name for name, entry in built.items() if "digest" in entry}
    assert printed["manifests"]["onnx-fp32"]["output"]["labels"] == ["0", "1", "2"]
    header, first, *_ = (out / "heldout.csv").read_text().splitlines()
    assert header == "c0,c1,c2,c3,c4,target,prediction"
    assert first.split(",")[-2] == str(y[0])

    assert main(["verify", str(out)]) == 0
    baseline = out / "variants" / "tflite-fp32" / "baseline.json"
    baseline.write_bytes(baseline.read_bytes() + b" ")
    assert main(["verify", str(out)]) == 1
    assert "baseline.json is not the file" in capsys.readouterr().out

    assert main(["compile", str(tmp_path / "mine.skops"), *common, "--out", str(out)]) == 2
    assert "holds a version already" in capsys.readouterr().err


@pytest.mark.system
def test_an_onnx_file_becomes_a_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, x, y = fitted_logistic()
    (tmp_path / "mine.onnx").write_bytes(make_onnx_fp32(source(model)))
    write_csv(tmp_path / "rows.csv", x, y)
    common = ["--data", str(tmp_path / "rows.csv"), "--target", "kind", "--name", "mine", "--out", str(tmp_path / "v")]
    assert main(["compile", str(tmp_path / "mine.onnx"), *common]) == 2
    assert "add --task" in capsys.readouterr().err
    assert main(["compile", str(tmp_path / "mine.onnx"), *common, "--task", "classification"]) == 0
    printed = capsys.readouterr().out
    assert "not built: tflite-fp32: no lowering from an ONNX graph yet" in printed
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == [
        "heldout.csv",
        "report.html",
        "source.onnx",
        "variants",
        "version.json",
    ]


@pytest.mark.system
def test_joblib_needs_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, x, y = fitted_logistic()
    joblib.dump(model, tmp_path / "mine.joblib")
    write_csv(tmp_path / "rows.csv", x, y)
    command = ["compile", str(tmp_path / "mine.joblib"), "--data", str(tmp_path / "rows.csv"), "--target", "kind"]
    command += ["--name", "mine", "--out", str(tmp_path / "v")]
    assert main(command) == 1
    assert "add --allow-pickle" in capsys.readouterr().err
    assert main([*command, "--allow-pickle"]) == 0


def test_a_column_that_float32_cannot_hold_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, x, y = fitted_logistic()
    skops.io.dump(model, tmp_path / "mine.skops")
    write_csv(tmp_path / "rows.csv", x / x.std(axis=0) + 1.7e9, y)
    arguments = ["compile", str(tmp_path / "mine.skops"), "--data", str(tmp_path / "rows.csv"), "--target", "kind"]
    assert main([*arguments, "--name", "mine", "--out", str(tmp_path / "v")]) == 1
    assert "does not fit float32" in capsys.readouterr().err


def test_a_wrong_number_of_columns_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, x, y = fitted_logistic()
    skops.io.dump(model, tmp_path / "mine.skops")
    write_csv(tmp_path / "rows.csv", x, y)
    arguments = ["compile", str(tmp_path / "mine.skops"), "--data", str(tmp_path / "rows.csv"), "--name", "mine"]
    assert main([*arguments, "--out", str(tmp_path / "v")]) == 78
    assert "takes 5 features, the data have 6 columns" in capsys.readouterr().err
