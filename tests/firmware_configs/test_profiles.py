"""Every profile that is shipped parses, is named as its file, and makes sense on its board."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge_agent.contract import codec
from edge_agent.contract.artifacts import CHUNK_BYTES
from edge_agent.contract.codec import MalformedError
from edge_agent.contract.manifest import Precision, Runtime
from edge_agent.contract.profile import Prefer, Profile

FOLDER = Path(__file__).parents[2] / "firmware_configs" / "profiles"
FILES = sorted(FOLDER.glob("*.toml"))


def read(path: Path) -> Profile:
    """One profile, unknown keys refused."""
    return codec.from_plain(Profile, tomllib.loads(path.read_text()), unknown="refuse")


def test_the_promised_boards_are_there() -> None:
    """Zero 2 W, 3, 4 and 5, a 32-bit one, and one for anything else."""
    assert {path.stem for path in FILES} == {"pi-zero2w", "pi3", "pi4", "pi5", "pi-32bit", "generic"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_profile_parses_and_fits_its_board(path: Path) -> None:
    """Named as its file; a model and its runtime fit the worker; a chunk fits the wire."""
    profile = read(path)
    assert profile.name == path.stem
    assert profile.max_model_mb * 2 < profile.worker_memory_mb, "a runtime holds a model up to twice while it loads"
    assert profile.worker_memory_mb <= profile.memory_mb / 2, "the system and the supervisor need the other half"
    assert 1024 <= profile.chunk_bytes <= CHUNK_BYTES
    assert (profile.arch == "armv7l") == (path.stem == "pi-32bit")


def test_small_boards_take_the_smallest_variant_and_int8_first() -> None:
    """Half a gigabyte is the Zero 2 W's bottleneck; elsewhere it is latency."""
    zero = read(FOLDER / "pi-zero2w.toml")
    assert (zero.memory_mb, zero.prefer, zero.precisions[0]) == (512, Prefer.SIZE, Precision.INT8)
    assert read(FOLDER / "pi-32bit.toml").runtimes == (Runtime.TFLITE, Runtime.NUMPY)
    assert all(read(FOLDER / f"{name}.toml").prefer is Prefer.LATENCY for name in ("pi3", "pi4", "pi5", "generic"))


@pytest.mark.parametrize(
    "change",
    [
        {"colour": "red"},
        {"runtimes": []},
        {"precisions": ["fp8"]},
        {"worker_memory_mb": 0},
        {"worker_memory_mb": 100_000},
        {"name": "Pi 4"},
        {"prefer": "cheap"},
        {"cores": "four"},
    ],
    ids=str,
)
def test_a_wrong_profile_is_refused(change: dict[str, Any]) -> None:
    """A typing error in a profile is an error, not a default."""
    plain = tomllib.loads((FOLDER / "pi4.toml").read_text())
    with pytest.raises(MalformedError):
        codec.from_plain(Profile, {**plain, **change}, unknown="refuse")
