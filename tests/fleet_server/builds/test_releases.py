"""Builds are proven on what devices report, as far as it is here; what is not is said with the command for it."""

from importlib import metadata
from pathlib import Path

import pytest

from edge_agent.contract.runtimes import name_release
from fleet_server.builds.releases import Releases

OWN = f"onnxruntime=={metadata.version('onnxruntime')}"


def fleet(folder: Path, *names: str) -> Releases:
    """Some releases in the folder, and devices that report an old one, the trainer's own and what is no runtime."""
    for name in names:
        (folder / "cpython-311-x86_64" / name).mkdir(parents=True)
    own = OWN.partition("==")[2]
    return Releases(folder, lambda: [("onnx", "1.20.1"), ("onnx", own), ("tflite", "2.14.0"), ("gpu", "1.0")])


def test_what_is_here_becomes_an_option(tmp_path: Path) -> None:
    found = fleet(tmp_path, "onnxruntime==1.20.1", "onnxruntime==1.19.0")
    assert found.options() == ["--prove-on", "onnxruntime==1.20.1"]
    assert found.environment() == {"EDGELOOP_RUNTIMES": str(tmp_path)}
    (note,) = found.notes()
    assert note.endswith("trainer runtimes add tflite-runtime==2.14.0")
    assert str(tmp_path) in note


def test_without_any_the_trainer_is_told_so(tmp_path: Path) -> None:
    found = fleet(tmp_path / "absent")
    assert found.options() == ["--prove-on", "none"]
    assert found.environment() == {}
    assert [OWN in note for note in found.notes()] == [False, False]


@pytest.mark.parametrize(
    ("runtime", "version", "name"),
    [
        ("onnx", "1.20.1", "onnxruntime==1.20.1"),
        ("tflite", "2.14.0", "tflite-runtime==2.14.0"),
        ("tflite", "2.1.0", "ai-edge-litert==2.1.0"),
        ("numpy", "1.26.4", "numpy==1.26.4"),
        ("gpu", "1.0", None),
        ("onnx", "1.20.1; rm -rf", None),
        ("onnx", "--index-url=x", None),
    ],
)
def test_a_devices_words_become_a_release_or_nothing(runtime: str, version: str, name: str | None) -> None:
    assert name_release(runtime, version) == name
