"""The command `trainer runtimes`: what is kept, what is denied and why, and errors without tracebacks."""

import json
from pathlib import Path

import pytest

from tests.fakes.wheels import only_from, write_wheel
from trainer.cli import main
from trainer.stages.environments import FOLDER_VARIABLE

pytestmark = pytest.mark.system


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    only_from(folder, monkeypatch)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "kept"))
    return folder


def test_one_is_added_listed_and_removed(wheels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wheel(wheels, "numpy", "9.9")
    assert main(["runtimes", "list"]) == 0
    assert "none in" in capsys.readouterr().out
    assert main(["runtimes", "add", "numpy==9.9"]) == 0
    assert "numpy==9.9 is in" in capsys.readouterr().out
    assert main(["runtimes", "list", "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert item["runtime"] == "numpy==9.9"
    assert Path(item["folder"], "numpy").is_dir()
    assert main(["runtimes", "list"]) == 0
    assert "numpy==9.9" in capsys.readouterr().out
    assert main(["runtimes", "remove", "numpy==9.9"]) == 0
    assert not Path(item["folder"]).exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["add", "onnxruntime==1.26.0"], 1, "denied: binary TreeEnsembleClassifier answers wrongly"),
        (["add", "onnxruntime==1.21.0"], 1, "denied: its import dies"),
        (["add", "torch==2.0"], 2, "is no release of a runtime"),
        (["add", "numpy==9.8"], 1, "has no wheel for Python"),
        (["remove", "numpy==9.8"], 2, "is not here"),
        (["frobnicate"], 2, "Unknown command"),
    ],
)
def test_exit_codes_and_messages(
    wheels: Path, arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wheel(wheels, "onnxruntime", "1.26.0")
    write_wheel(wheels, "onnxruntime", "1.21.0")
    write_wheel(wheels, "numpy", "9.9")
    assert main(["runtimes", *arguments]) == code
    printed = capsys.readouterr()
    assert message in " ".join((printed.err + printed.out).split())
    assert "Traceback" not in printed.err


def test_what_is_denied_is_listed_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runtimes", "denied"]) == 0
    assert "not on pi5" in capsys.readouterr().out
    assert main(["runtimes", "denied", "--json"]) == 0
    items = json.loads(capsys.readouterr().out)["items"]
    assert {"1.21.0", "1.22.0", "1.26.*", "1.27.*"} <= {text for item in items for text in item["versions"]}
