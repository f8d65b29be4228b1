"""The deny-list: what it covers, where it holds, and that a wrong entry is an error and not a gap."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge_agent.contract.codec import MalformedError, from_plain
from edge_agent.contract.manifest import Runtime
from edge_agent.contract.runtimes import (
    DENIALS_NAME,
    DISTRIBUTIONS,
    Denial,
    judge_board,
    judge_release,
    parse_denials,
    runtime_of,
)

SHIPPED = Path(__file__).parents[3] / "firmware_configs" / DENIALS_NAME
PROFILES = SHIPPED.parent / "profiles"
DENIALS = parse_denials(SHIPPED.read_text())


@pytest.mark.parametrize(
    ("distribution", "version", "denied"),
    [
        ("onnxruntime", "1.21.0", True),
        ("onnxruntime", "1.21.1", False),
        ("onnxruntime", "1.22.0", True),
        ("onnxruntime", "1.26.0", True),
        ("onnxruntime", "1.27.3", True),
        ("onnxruntime", "1.2", False),
        ("onnxruntime", "1.260", False),
        ("onnxruntime", "1.32.0", False),
        ("tflite-runtime", "2.14.0", False),  # a feature of it is denied, which is never used
        ("ai-edge-litert", "1.26.0", False),
        ("numpy", "1.26.4", False),
    ],
)
def test_what_the_trainer_proves_nothing_on(distribution: str, version: str, denied: bool) -> None:
    reason = judge_release(DENIALS, distribution, version)
    assert (reason is not None) == denied
    if reason is not None:
        assert reason.startswith(f"{distribution} {version} is denied: ")


@pytest.mark.parametrize(
    ("runtime", "version", "machine", "profile", "denied"),
    [
        ("onnx", "1.21.0", "aarch64", "pi4", True),
        ("onnx", "1.21.0", "aarch64", "pi5", False),
        ("onnx", "1.21.0", "x86_64", "pi4", False),  # a simulated one
        ("onnx", "1.21.0", "aarch64", "generic", True),  # it may be any board
        ("onnx", "1.22.0", "aarch64", "pi-zero2w", True),
        ("onnx", "1.22.0", "aarch64", "pi4", False),
        ("onnx", "1.22.0", "aarch64", "my-own", True),
        ("onnx", "1.26.1", "x86_64", "generic", True),
        ("onnx", "1.26.1", "aarch64", "pi5", True),
        ("tflite", "1.26.1", "aarch64", "pi5", False),
        ("tflite", "2.14.0", "armv7l", "pi-32bit", False),
        ("onnx", "", "aarch64", "pi4", False),
    ],
)
def test_what_a_board_is_offered_nothing_on(
    runtime: str, version: str, machine: str, profile: str, denied: bool
) -> None:
    assert (judge_board(DENIALS, runtime, version, machine, profile) is not None) == denied


def test_the_shipped_list_names_boards_that_there_are() -> None:
    boards = {path.stem for path in PROFILES.glob("*.toml")}
    assert {board for denial in DENIALS for board in denial.spared} <= boards


GOOD = {"distribution": "onnxruntime", "versions": ["1.0"], "why": "it is wrong", "source": "seen"}


@pytest.mark.parametrize(
    "change",
    [
        {"distribution": "torch"},
        {"versions": []},
        {"versions": [">=1.0"]},
        {"versions": ["1.*.0"]},
        {"versions": ["*"]},
        {"why": ""},
        {"source": ""},
        {"spared": "pi4"},
        {"colour": "red"},
    ],
    ids=str,
)
def test_a_wrong_entry_is_refused(change: dict[str, Any]) -> None:
    assert from_plain(Denial, GOOD, unknown="refuse")
    with pytest.raises(MalformedError):
        from_plain(Denial, {**GOOD, **change}, unknown="refuse")


def test_a_list_that_is_no_list_is_refused() -> None:
    for text in ("denials", "[[denial]]\n", "denials = 1\n"):
        with pytest.raises(MalformedError, match=r"runtimes\.toml"):
            parse_denials(text)
    assert parse_denials("denials = []\n") == ()


def test_every_runtime_has_its_libraries() -> None:
    assert set(DISTRIBUTIONS) == set(Runtime)
    assert runtime_of("tflite-runtime") is Runtime.TFLITE
    assert runtime_of("torch") is None


def test_the_extras_exclude_what_is_denied() -> None:
    """pip keeps a user from what the list denies."""
    project = tomllib.loads((SHIPPED.parents[1] / "pyproject.toml").read_text())["project"]
    (wanted,) = [item for item in project["optional-dependencies"]["onnx"] if item.startswith("onnxruntime")]
    denied = [item for denial in DENIALS if denial.distribution == "onnxruntime" for item in denial.versions]
    assert [item for item in denied if f"!={item}" not in wanted] == []
