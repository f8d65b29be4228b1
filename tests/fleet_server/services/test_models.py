"""Uploads: a finished version is taken whole and numbered; anything altered is refused and leaves nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge_agent.contract.artifacts import parse_parcel
from fleet_server.services.packing import unpack_file
from fleet_server.store.artifacts import ArtifactFolder
from tests.fakes.server_app import Served, served
from tests.fakes.server_versions import read_files, write_version


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        yield found


def test_version_is_numbered_shown_and_listed(fleet: Served) -> None:
    first, second = fleet.upload("a", b"one"), fleet.upload("b", b"two")
    assert (first["version"], second["version"]) == (1, 2)
    by_name = {item["variant"]: item for item in first["variants"]}
    assert by_name["onnx-fp32"]["built"]
    assert by_name["onnx-fp32"]["packed_size"] < by_name["onnx-fp32"]["size"]
    assert (by_name["onnx-int8"]["built"], by_name["onnx-int8"]["reason"]) == (False, "nothing to quantize")
    assert fleet.call("GET", "/models/digits")["latest"] == 2
    listed = fleet.call("GET", "/models/digits/versions")["items"]
    assert [item["version"] for item in listed] == [2, 1]
    assert fleet.call("GET", "/models/digits/versions/1/card")["estimator"] == "LogisticRegression"
    assert len(fleet.call("GET", "/models/digits/versions/1/variants")["items"]) == 3


def test_same_bundles_are_one_version(fleet: Served) -> None:
    fleet.upload("a", b"one")
    again = write_version(fleet.folder / "b", "digits", b"one")
    assert "version 1" in fleet.call("POST", "/models/digits/versions", 409, files=read_files(again))["detail"]


def test_what_travels_unpacks_to_what_was_uploaded(fleet: Served) -> None:
    fleet.upload("a", b"one")
    fleet.group()
    board = fleet.enrol("pi-1")
    fleet.roll(1, phases=["100%"])
    (bundle,) = board.desired().bundles
    artifacts = ArtifactFolder(fleet.folder / "data" / "artifacts")
    parcel = parse_parcel(artifacts.read(bundle.parcel))
    source = fleet.folder / "a" / "variants" / "onnx-fp32"
    for file in parcel.files:
        assert unpack_file(parcel, file.name, artifacts) == (source / file.name).read_bytes()


def flip(path: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        data = bytearray((folder / path).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / path).write_bytes(bytes(data))

    return change


def remove(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()


def claim(key: str, value: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        plain = json.loads((folder / "version.json").read_text())
        plain["card"][key] = value
        (folder / "version.json").write_text(json.dumps(plain))

    return change


@pytest.mark.parametrize(
    "change",
    [
        flip("variants/onnx-fp32/model.onnx"),
        flip("variants/onnx-fp32/golden.npz"),
        flip("variants/tflite-int8/baseline.json"),
        flip("variants/tflite-int8/manifest.json"),
        remove("variants/onnx-fp32/golden.npz"),
        remove("variants/onnx-fp32/manifest.json"),
        remove("version.json"),
        claim("model", "other"),
        claim("task", "regression"),
        claim("gates", [{"metric": "accuracy", "bound": "at_least", "threshold": 0.99, "value": 0.5}]),
    ],
)
def test_altered_version_is_refused_and_leaves_nothing(fleet: Served, change: Callable[[Path], None]) -> None:
    place = write_version(fleet.folder / "a")
    change(place)
    answer = fleet.call("POST", "/models/digits/versions", 422, files=read_files(place))
    assert answer["detail"]
    assert fleet.call("GET", "/models")["items"] == []
    assert list((fleet.folder / "data" / "uploads").iterdir()) == []


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "", ".hidden", "a//b/../c", "a\\..\\b"])
def test_names_that_lead_elsewhere_are_refused(fleet: Served, name: str) -> None:
    answer = fleet.client.request("POST", "/api/v1/models/digits/versions", files=[("files", (name, b"x"))])
    assert answer.status_code == 422
    assert not (fleet.folder / "data" / "evil").exists()


def test_upload_over_the_limit_is_refused(tmp_path: Path) -> None:
    with served(tmp_path, upload_mb=1) as fleet:
        big = [("files", ("version.json", b"x" * (3 << 20)))]
        answer = fleet.client.request("POST", "/api/v1/models/digits/versions", files=big)
        assert answer.status_code == 413
