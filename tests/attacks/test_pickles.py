"""A pickle runs code where it is loaded. None is: not by the trainer without a word, nor the server, nor the device.

Each of them leaves a mark where it runs; the first test shows that it would.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge_agent.contract import codec
from edge_agent.contract.artifacts import sha256
from edge_agent.contract.card import VersionRecord
from edge_agent.contract.manifest import FileSpec, Manifest, bundle_digest, parse_manifest
from edge_agent.contract.states import Reason
from edge_agent.core.control import LoadFailed
from fleet_server.services.bundle_rules import check_version
from fleet_server.services.errors import InvalidError
from tests.fakes.bundles import logistic, numpy_logistic, tflite_logistic
from tests.fakes.hostile_pickles import DISGUISES
from tests.fakes.server_versions import ONNX, write_version
from tests.fakes.workers import worker
from trainer.errors import TrainerError
from trainer.stages.data import read_file
from trainer.stages.sources import load_estimator

_LOADS = "import pickle, sys; pickle.load(open(sys.argv[1], 'rb'))"
_LOADS_NUMPY = "import numpy, sys; numpy.load(sys.argv[1], allow_pickle=True)"
_LOADS_JOBLIB = "import joblib, sys; joblib.load(sys.argv[1])"
_NAMES = ("model.skops", "model.onnx", "model.joblib", "model.pkl", "model.npz", "model")


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """What a pickle leaves that has run; it must never be there."""
    place = tmp_path / "ran"
    yield place
    assert not place.exists(), "a pickle was loaded"


@pytest.mark.parametrize(
    ("disguise", "program"),
    [
        *((name, _LOADS) for name in ("protocol-0", "state", "global", "instance", "object", "dotted-name")),
        ("pickle-then-zip", _LOADS),
        ("npy", _LOADS_NUMPY),
        ("joblib-zlib", _LOADS_JOBLIB),
    ],
    ids=lambda one: one if " " not in one else "",
)
def test_these_pickles_do_run_where_they_are_loaded(tmp_path: Path, disguise: str, program: str) -> None:
    place, mark = tmp_path / "file", tmp_path / "ran"
    place.write_bytes(DISGUISES[disguise](mark))
    subprocess.run([sys.executable, "-c", program, str(place)], check=False, capture_output=True)
    assert mark.exists()


@pytest.mark.parametrize("name", _NAMES)
def test_the_trainer_loads_none_without_the_operators_word(tmp_path: Path, mark: Path, name: str) -> None:
    place = tmp_path / name
    for disguise, make in DISGUISES.items():
        place.write_bytes(make(mark))
        with pytest.raises(TrainerError):
            load_estimator(place, allow_pickle=False)
        assert not mark.exists(), disguise


@pytest.mark.parametrize("file", ["manifest.json", "baseline.json", "golden.npz", "model.onnx"])
def test_the_server_loads_none_that_a_version_holds(tmp_path: Path, mark: Path, file: str) -> None:
    """Listed by its manifest, and so with digests that hold; a model's bytes are kept as they are."""
    for disguise, make in DISGUISES.items():
        place = write_version(tmp_path / disguise, wanted=(ONNX,))
        folder = place / "variants" / ONNX.name
        if file == "manifest.json":
            (folder / file).write_bytes(make(mark))
        else:
            manifest = parse_manifest((folder / "manifest.json").read_bytes())
            digest = _put(folder, manifest, file, make(mark))
            record = codec.decode(VersionRecord, (place / "version.json").read_bytes())
            entries = tuple(replace(one, digest=digest) if one.digest else one for one in record.variants)
            (place / "version.json").write_bytes(codec.encode(replace(record, variants=entries)))
        with nullcontext() if file == "model.onnx" else pytest.raises(InvalidError):
            check_version(place)
        assert not mark.exists(), disguise


def _put(folder: Path, manifest: Manifest, name: str, data: bytes) -> str:
    """Put another file in place of a bundle's own, list it in the manifest, and return the bundle's new digest."""
    (folder / name).write_bytes(data)
    other = FileSpec(name, sha256(data), len(data))
    files = tuple(other if file.name == name else file for file in manifest.files)
    written = codec.encode(replace(manifest, files=files))
    (folder / "manifest.json").write_bytes(written)
    return bundle_digest(written)


_MAKERS: dict[str, tuple[Any, str]] = {
    "onnx": (logistic, "model.onnx"),
    "tflite": (tflite_logistic, "model.tflite"),
    "numpy": (numpy_logistic, "model.graph"),
    "golden": (logistic, "golden.npz"),
    "baseline": (logistic, "baseline.json"),
}


@pytest.mark.system
@pytest.mark.parametrize("place", _MAKERS)
def test_a_device_loads_none_that_a_bundle_holds(tmp_path: Path, mark: Path, place: str) -> None:
    """Through a real worker, whose digests all hold: signed nonsense is refused with a reason."""
    make, file = _MAKERS[place]
    with worker(()) as process:
        for disguise, hide in DISGUISES.items():
            bundle = make(tmp_path / disguise)
            digest = _put(bundle.path, bundle.manifest, file, hide(mark))
            answer = process.load(replace(bundle, digest=digest))
            assert isinstance(answer, LoadFailed), disguise
            assert answer.reason in (Reason.LOAD_FAILED, Reason.MANIFEST_MISMATCH), (disguise, answer)
            assert not mark.exists(), disguise
        assert not isinstance(process.load(logistic(tmp_path / "good")), LoadFailed)


def test_a_manifest_that_is_a_pickle_is_refused(tmp_path: Path, mark: Path) -> None:
    for make in DISGUISES.values():
        with pytest.raises(codec.MalformedError):
            parse_manifest(make(mark))


def test_rows_that_hold_one_are_text_or_are_refused(tmp_path: Path, mark: Path) -> None:
    for number, (disguise, make) in enumerate(DISGUISES.items()):
        for name, data in ((f"{number}.npz", make(mark)), (f"{number}.csv", b"a,target\n" + make(mark).hex().encode())):
            (tmp_path / name).write_bytes(data)
            with suppress(TrainerError):
                read_file(tmp_path / name, "target")
            assert not mark.exists(), disguise
