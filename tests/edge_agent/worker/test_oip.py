"""The Open Inference Protocol's tensors: what is refused, and every datatype."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.fakes import bundles
from tests.fakes.bundles import FakeBundle
from tests.fakes.local_device import Device


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> FakeBundle:
    return bundles.logistic(tmp_path_factory.mktemp("demo"), features=3, classes=3, nan_allowed=("x3",))


@pytest.fixture
def device(demo: FakeBundle) -> Device:
    return Device(demo)


def _infer(plain: dict[str, Any], tail: bytes = b"") -> tuple[bytes, dict[str, str]]:
    head = json.dumps(plain).encode()
    return head + tail, ({"inference_header_content_length": str(len(head))} if tail else {})


TENSOR = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
BAD_TENSORS: list[tuple[str, Callable[[], tuple[bytes, dict[str, str]]], list[str]]] = [
    ("no inputs", lambda: _infer({}), ["inputs", "'x'"]),
    ("two inputs", lambda: _infer({"inputs": [TENSOR, TENSOR]}), ["one tensor"]),
    ("wrong name", lambda: _infer({"inputs": [{**TENSOR, "name": "y"}]}), ["'y'", "'x'"]),
    ("wrong type", lambda: _infer({"inputs": [{**TENSOR, "datatype": "BYTES"}]}), ["BYTES", "FP32"]),
    ("wrong shape", lambda: _infer({"inputs": [{**TENSOR, "shape": [3]}]}), ["[rows, 3]"]),
    ("negative shape", lambda: _infer({"inputs": [{**TENSOR, "shape": [-1, 3]}]}), ["[rows, 3]"]),
    ("too few", lambda: _infer({"inputs": [{**TENSOR, "data": [1, 2]}]}), ["expected 3"]),
    ("text", lambda: _infer({"inputs": [{**TENSOR, "data": [1, 2, "3"]}]}), ["numbers"]),
    ("null", lambda: _infer({"inputs": [{**TENSOR, "data": [None, 2, 3]}]}), ["x1", "missing"]),
    ("fraction", lambda: _infer({"inputs": [{**TENSOR, "datatype": "INT32", "data": [1.5, 2, 3]}]}), ["int32"]),
    ("unknown output", lambda: _infer({"inputs": [TENSOR], "outputs": [{"name": "z"}]}), ["'z'", "scores, label"]),
    ("huge shape", lambda: _infer({"inputs": [{**TENSOR, "shape": [2**30, 3]}]}), ["expected 3221225472"]),
    (
        "short tail",
        lambda: _infer(
            {"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}]},
            b"1234",
        ),
        ["4 bytes", "expected 12"],
    ),
    ("header too long", lambda: (b"{}", {"inference_header_content_length": "99"}), ["99", "2 bytes"]),
    ("header no number", lambda: (b"{}", {"inference_header_content_length": "-1"}), ["-1"]),
]


@pytest.mark.parametrize(("make", "words"), [case[1:] for case in BAD_TENSORS], ids=[case[0] for case in BAD_TENSORS])
def test_a_bad_tensor_is_refused_with_what_was_expected(
    demo: FakeBundle, make: Callable[[], tuple[bytes, dict[str, str]]], words: list[str]
) -> None:
    device = Device(demo)
    body, headers = make()
    status, answer = device.call("POST", "/v2/models/demo/infer", body, **headers)
    assert status == 400
    for word in words:
        assert word in answer["error"]
    beat = device.models["demo"].meter.beat()
    assert (beat.infer_n, beat.rejected_n) == (0, 1)


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT64"])
def test_every_numeric_datatype_is_taken_as_binary(device: Device, datatype: str) -> None:
    kind = {"FP": "<f", "IN": "<i", "UI": "<u"}[datatype[:2]] + str(int(datatype.strip("FPINTU")) // 8)
    tail = np.array([[1, 2, 3]], kind).tobytes()
    tensor = {"name": "x", "shape": [1, 3], "datatype": datatype, "parameters": {"binary_data_size": len(tail)}}
    body, headers = _infer({"id": "my-7", "inputs": [tensor]}, tail)
    status, answer = device.call("POST", "/v2/models/demo/versions/3/infer", body, **headers)
    assert status == 200
    assert answer["id"] == "my-7"
    _status, expected = device.predict([1, 2, 3])
    assert answer["outputs"][1] == {"name": "label", "datatype": "INT64", "shape": [1], "data": expected["labels"]}
    np.testing.assert_allclose(answer["outputs"][0]["data"], expected["scores"][0], rtol=1e-6)
