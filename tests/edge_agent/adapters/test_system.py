"""What the agent says of its board."""

import sys
from pathlib import Path

import pytest

from edge_agent.adapters import system
from edge_agent.contract.manifest import Runtime


def test_this_machine_has_figures(tmp_path: Path) -> None:
    board = system.find_board("pi4", simulated=True, offered=(Runtime.ONNX, Runtime.TFLITE))
    found = system.capabilities(board, tmp_path)
    assert 0 < found.memory_free_mb <= found.memory_mb
    assert found.cores >= 1
    assert found.disk_free_mb > 0
    assert (found.profile, found.simulated) == ("pi4", True)


def test_runtimes_are_found_by_their_folders_without_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime-1.31.1.dist-info", "tflite_runtime-2.14.0.dist-info", "numpy-1.24.2-py3.11.egg-info"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", ["/nowhere", str(tmp_path)])
    assert system.find_runtimes((Runtime.ONNX, Runtime.TFLITE, Runtime.NUMPY)) == {
        "onnx": "1.31.1",
        "tflite": "2.14.0",
        "numpy": "1.24.2",
    }
    assert system.find_runtimes((Runtime.TFLITE,)) == {"tflite": "2.14.0"}


@pytest.mark.parametrize(
    ("text", "machine", "profile"),
    [
        ("Raspberry Pi 4 Model B Rev 1.4", "aarch64", "pi4"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "aarch64", "pi-zero2w"),
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", "pi5"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "armv7l", "pi-32bit"),
        ("Some other board", "aarch64", "generic"),
    ],
)
def test_profiles_are_detected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, machine: str, profile: str
) -> None:
    monkeypatch.setattr(system.platform, "machine", lambda: machine)
    (tmp_path / "model").write_bytes(text.encode() + b"\0")
    assert system.detect_profile(tmp_path / "model") == profile
    assert system.detect_profile(tmp_path / "absent") == "generic"


def test_cpu_is_a_share_of_the_time_between_readings(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    meter = system.CpuMeter(stat)
    stat.write_text("cpu  100 0 100 700 100 0 0 0 0 0\n")
    assert meter.percent() == 20.0
    stat.write_text("cpu  150 0 150 800 100 0 0 0 0 0\n")
    assert meter.percent() == 50.0
    assert meter.percent() == 0.0
    stat.unlink()
    assert meter.percent() == 0.0


def test_what_the_system_does_not_give_is_zero_but_memory_is_an_error(tmp_path: Path) -> None:
    assert system.temperature_c(tmp_path / "absent") == 0.0
    (tmp_path / "meminfo").write_text("MemTotal: 1000 kB\n")
    with pytest.raises(OSError, match="MemAvailable"):
        system.memory_mb(tmp_path / "meminfo")
