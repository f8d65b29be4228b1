"""The Open Inference Protocol v2's tensors: requests in JSON or binary into a matrix, predictions out again.

Sources: the protocol's REST specification and Triton's binary tensor extension (`Inference-Header-Content-Length`
both ways, `binary_data_size`, `binary_data`, `binary_data_output`). House rules: shapes and sizes are checked before
memory is taken by them; every numeric datatype is converted to float32, the type that models take.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.adapters.http_message import Answer
from edge_agent.contract.manifest import LabelType, Manifest, Runtime, ScoreKind
from edge_agent.worker.engine import BadInputError, Prediction
from edge_agent.worker.rows import parse_json

HEADER = "inference-header-content-length"
LABEL = "label"
_NUMERIC: Mapping[str, np.dtype[Any]] = {
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
}
_LABEL_DATATYPES = {LabelType.INTEGER: "INT64", LabelType.NUMBER: "FP64"}
_PLATFORMS = {Runtime.ONNX: "onnxruntime_onnx", Runtime.TFLITE: "tflite", Runtime.NUMPY: "numpy"}
_JSON_NUMBERS = {int, float}


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A parsed request: the input, and which outputs are wanted (name → whether as binary)."""

    id: str
    x: NDArray[Any]
    outputs: Mapping[str, bool]
    threshold: Any


def label_datatype(manifest: Manifest) -> str | None:
    """Return the datatype of the `label` output, None for a regression."""
    if manifest.output.kind is ScoreKind.VALUE:
        return None
    return _LABEL_DATATYPES.get(manifest.output.label_type, "BYTES")


def model_metadata(manifest: Manifest, version: int) -> dict[str, Any]:
    """Return a model's metadata: its one input and its outputs, -1 for the number of rows."""
    outputs = [{"name": manifest.output.name, "datatype": "FP32", "shape": [-1, manifest.output.columns]}]
    datatype = label_datatype(manifest)
    if datatype is not None:
        outputs.append({"name": LABEL, "datatype": datatype, "shape": [-1]})
    return {
        "name": manifest.model,
        "versions": [str(version)],
        "platform": _PLATFORMS[manifest.runtime],
        "inputs": [{"name": manifest.input.name, "datatype": "FP32", "shape": [-1, len(manifest.input.features)]}],
        "outputs": outputs,
    }


def parse_infer(body: bytes, header_length: str | None, manifest: Manifest) -> InferRequest:
    """Parse the body of an `infer` request; `header_length` is the length of its JSON part where tensors follow.

    Raises:
        BadInputError: malformed, or not this model's signature.
    """
    head, tail = _split(body, header_length)
    plain = parse_json(head)
    if not isinstance(plain, dict):
        raise BadInputError("expected an object with 'inputs'")
    name = plain.get("id", "")
    if not isinstance(name, str) or len(name) > 128:
        raise BadInputError("id: expected a string of 128 characters at most")
    parameters = _object(plain.get("parameters", {}), "parameters")
    wanted = manifest.input.name
    inputs = plain.get("inputs")
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise BadInputError(f"inputs: expected a list of one tensor, {wanted!r}")
    if inputs[0].get("name") != wanted:
        raise BadInputError(f"inputs[0].name is {str(inputs[0].get('name'))[:64]!r}; expected {wanted!r}")
    x = _tensor(inputs[0], tail, len(manifest.input.features))
    return InferRequest(name, x, _wanted_outputs(plain, parameters, manifest), parameters.get("threshold"))


def build_answer(request: InferRequest, prediction: Prediction, manifest: Manifest, version: int, name: str) -> Answer:
    """Return the answer with the wanted outputs, binary ones after the JSON part in the order of their listing."""
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for output, binary in request.outputs.items():
        datatype, shape, flat = _output(output, prediction, manifest)
        entry: dict[str, Any] = {"name": output, "datatype": datatype, "shape": shape}
        if binary:
            data = _pack(datatype, flat)
            entry["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            entry["data"] = flat.ravel().tolist() if isinstance(flat, np.ndarray) else flat
        outputs.append(entry)
    plain = {"model_name": manifest.model, "model_version": str(version), "id": name, "outputs": outputs}
    head = json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()
    if not tail:
        return Answer(200, head)
    extra = (("Inference-Header-Content-Length", str(len(head))),)
    return Answer(200, b"".join([head, *tail]), "application/octet-stream", extra)


def _split(body: bytes, header_length: str | None) -> tuple[bytes, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    if not (header_length.isascii() and header_length.isdigit()) or int(header_length[:18]) > len(body):
        raise BadInputError(
            f"Inference-Header-Content-Length is {header_length[:20]!r}; expected 0 to the body's {len(body)} bytes"
        )
    length = int(header_length)
    return body[:length], memoryview(body)[length:]


def _tensor(entry: Mapping[str, Any], tail: memoryview, features: int) -> NDArray[Any]:
    datatype = entry.get("datatype")
    kind = _NUMERIC.get(datatype) if isinstance(datatype, str) else None
    if kind is None:
        raise BadInputError(f"datatype is {str(datatype)[:20]!r}; expected FP32 or one of {', '.join(_NUMERIC)}")
    shape = entry.get("shape")
    if not isinstance(shape, list) or any(type(size) is not int or not 0 < size < 2**31 for size in shape):
        raise BadInputError(f"shape is {str(shape)[:40]}; expected [rows, {features}]")
    if len(shape) != 2 or shape[1] != features:
        raise BadInputError(f"shape is {shape}; expected [rows, {features}]")
    size = _object(entry.get("parameters", {}), "parameters").get("binary_data_size")
    if size is None:
        return _json_tensor(entry.get("data"), shape, kind)
    expected = math.prod(shape) * kind.itemsize
    if size != expected or type(size) is not int or len(tail) != expected:
        raise BadInputError(
            f"binary_data_size is {str(size)[:20]} with {len(tail)} bytes after the JSON part; "
            f"expected {expected} for {datatype} {shape}"
        )
    return _to_float32(np.frombuffer(tail, kind).reshape(shape))


def _json_tensor(data: Any, shape: Sequence[int], kind: np.dtype[Any]) -> NDArray[Any]:
    if not isinstance(data, list):
        raise BadInputError("data: expected a list of numbers, or binary_data_size with bytes after the JSON part")
    flat = [item for row in data for item in row] if data and isinstance(data[0], list) and _all_lists(data) else data
    if len(flat) != math.prod(shape):
        raise BadInputError(f"data has {len(flat)} numbers; expected {math.prod(shape)} for the shape {list(shape)}")
    kinds = set(map(type, flat))
    if type(None) in kinds:
        flat = [math.nan if item is None else item for item in flat]
        kinds.discard(type(None))
    if not kinds <= _JSON_NUMBERS or (kind.kind in "iu" and float in kinds):
        raise BadInputError(f"data: expected numbers of {kind.name}")
    try:
        with np.errstate(over="ignore"):  # becomes infinite, which the engine refuses by name
            return np.array(flat, np.float32).reshape(shape)
    except (OverflowError, ValueError) as error:
        raise BadInputError(f"data: a number does not fit into 32 bits: {error}") from error


def _all_lists(data: list[Any]) -> bool:
    return all(isinstance(row, list) for row in data)


def _to_float32(x: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(np.float32)


def _wanted_outputs(plain: Mapping[str, Any], parameters: Mapping[str, Any], manifest: Manifest) -> dict[str, bool]:
    known = [manifest.output.name] + ([LABEL] if label_datatype(manifest) else [])
    by_default = parameters.get("binary_data_output", False) is True
    listed = plain.get("outputs")
    if listed is None or listed == []:
        return dict.fromkeys(known, by_default)
    if not isinstance(listed, list):
        raise BadInputError("outputs: expected a list of objects with 'name'")
    wanted: dict[str, bool] = {}
    for item in listed:
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or name not in known:
            raise BadInputError(f"outputs: {str(name)[:64]!r} is not known; expected one of {', '.join(known)}")
        wanted[name] = _object(item.get("parameters", {}), "parameters").get("binary_data", by_default) is True
    return wanted


def _output(name: str, prediction: Prediction, manifest: Manifest) -> tuple[str, list[int], Any]:
    if name == LABEL and name != manifest.output.name:
        datatype = label_datatype(manifest) or "BYTES"
        labels = prediction.labels
        texts = manifest.output.label_type is LabelType.BOOLEAN
        return datatype, [len(labels)], [str(label).lower() for label in labels] if texts else labels
    return "FP32", list(prediction.scores.shape), prediction.scores


def _pack(datatype: str, flat: Any) -> bytes:
    """Return a tensor's bytes, little-endian; BYTES elements carry a 4-byte length each."""
    if datatype == "BYTES":
        encoded = [str(item).encode() for item in flat]
        return b"".join(len(item).to_bytes(4, "little") + item for item in encoded)
    packed: bytes = np.asarray(flat, _NUMERIC[datatype]).tobytes()
    return packed


def _object(value: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise BadInputError(f"{at}: expected an object")
    return value
