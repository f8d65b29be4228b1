"""Hostile ONNX and TFLite files whose digests hold, in a device's worker: each fails with a reason of the contract.

The server would never release them; a device that is shown one all the same loses a worker at most.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper, numpy_helper

from edge_agent.contract.manifest import Runtime
from tests.attacks.test_mutations_on_device import Prover, prover
from tests.fakes import bundles
from tests.fakes.bundle_files import FakeBundle, Recipe, write_bundle
from tests.fakes.tflite_models import endless_recursion, softmax_regression

__all__ = ["prover"]

WIDTH = 2
WEIGHTS, BIAS = np.eye(WIDTH, dtype=np.float32), np.zeros(WIDTH, np.float32)
_FAILURES = {"load failed", "golden mismatch", "out of memory", "crashed", "hung"}
Node = onnx.NodeProto
pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]


def _onnx(nodes: list[Node], *constants: TensorProto, opsets: tuple[tuple[str, int], ...] = (("", 18),)) -> bytes:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", WIDTH])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", WIDTH])],
        list(constants),
    )
    imports = [helper.make_opsetid(*one) for one in opsets]
    return bytes(helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString())


def _numbers(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def _outside() -> bytes:
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../../../etc/passwd")
    return _onnx([helper.make_node("MatMul", ["x", "w"], ["scores"])], tensor)


def _claims(*dims: int) -> bytes:
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    del tensor.dims[:]
    tensor.dims.extend(dims)
    return _onnx([helper.make_node("MatMul", ["x", "w"], ["scores"])], tensor)


def _cyclic() -> bytes:
    return _onnx([helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Add", ["a", "x"], ["b"]),
                  helper.make_node("Identity", ["b"], ["scores"])])  # fmt: skip


def _nested(levels: int) -> bytes:
    """If within If, each of which the parser follows by recursion."""
    node = helper.make_node("Identity", ["x"], ["deep"])
    for level in range(levels):
        out = helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
        body = helper.make_graph([node], f"b{level}", [], [out])
        node = helper.make_node("If", ["c"], [f"n{level}"], then_branch=body, else_branch=body)
        if body.ByteSize() > 1 << 20:
            break
    last = helper.make_node("Identity", [node.output[0]], ["scores"])
    return _onnx([node, last], numpy_helper.from_array(np.array(True), "c"))


ONNX_FILES: dict[str, Callable[[], bytes]] = {
    "external-data": _outside,
    "custom-operator": lambda: _onnx(
        [helper.make_node("Evil", ["x"], ["scores"], domain="evil")], opsets=(("", 18), ("evil", 1))
    ),
    "huge-shape": lambda: _claims(2**31, 2**31),
    "length-2^63": lambda: _claims(2**63 - 1, 2),
    "negative-size": lambda: _claims(-1, 2),
    "cycle": _cyclic,
    "nesting": lambda: _nested(40),
    "size-bomb": lambda: _onnx(
        [
            helper.make_node("ConstantOfShape", ["n"], ["h"]),
            helper.make_node("ReduceSum", ["h"], ["s"], keepdims=0),
            helper.make_node("Add", ["x", "s"], ["scores"]),
        ],
        _numbers("n", 2**36),
    ),
    "future-version": lambda: _onnx([helper.make_node("Identity", ["x"], ["scores"])], opsets=(("", 9999),)),
    "empty": lambda: b"",
}


def _tflite(spoil: Callable[[Any], None]) -> bytes:
    model = schema.ModelT.InitFromPackedBuf(softmax_regression(WEIGHTS, BIAS), 0)
    spoil(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _shape(*dims: int) -> Callable[[Any], None]:
    def spoil(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            if tensor.buffer and len(tensor.shape) == 2:
                tensor.shape = list(dims)

    return spoil


def _wires(inputs: list[int], outputs: list[int]) -> Callable[[Any], None]:
    def spoil(model: Any) -> None:
        model.subgraphs[0].operators[0].inputs, model.subgraphs[0].operators[0].outputs = inputs, outputs

    return spoil


def _custom(model: Any) -> None:
    code = model.operatorCodes[0]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, b"Evil"


def _offset(at: int) -> bytes:
    data = bytearray(softmax_regression(WEIGHTS, BIAS))
    data[at : at + 4] = b"\xff\xff\xff\x7f"
    return bytes(data)


TFLITE_FILES: dict[str, Callable[[], bytes]] = {
    "endless-recursion": lambda: endless_recursion(WIDTH),
    "huge-shape": lambda: _tflite(_shape(2**31 - 1, 2**31 - 1)),
    "negative-size": lambda: _tflite(_shape(-5, 2)),
    "tensors-that-are-not-there": lambda: _tflite(_wires([10**6, -7, 3], [10**6])),
    "an-operator-that-eats-its-output": lambda: _tflite(_wires([1, 1, 1], [1])),
    "custom-operator": lambda: _tflite(_custom),
    "root-offset": lambda: _offset(0),
    "inner-offset": lambda: _offset(32),
    "cut": lambda: softmax_regression(WEIGHTS, BIAS)[:200],
    "empty": lambda: b"",
}


def _bundle(folder: Path, runtime: Runtime, model: bytes) -> FakeBundle:
    recipe = Recipe(variant=f"{runtime}-fp32", runtime=runtime)
    return write_bundle(folder, recipe, f"model.{runtime}", model, lambda x: x * 0 + np.float32(0.5))


@pytest.mark.parametrize(
    ("runtime", "files"), [(Runtime.ONNX, ONNX_FILES), (Runtime.TFLITE, TFLITE_FILES)], ids=["onnx", "tflite"]
)
def test_a_hostile_file_fails_with_a_reason(
    tmp_path: Path, prover: Prover, runtime: Runtime, files: dict[str, Callable[[], bytes]]
) -> None:
    found = {name: prover.outcome(_bundle(tmp_path / name, runtime, make())) for name, make in files.items()}
    assert set(found.values()) <= _FAILURES, found
    assert prover.outcome(bundles.logistic(tmp_path / "good")) == "ok"


def test_a_loop_that_does_not_end_and_a_bomb_cost_a_worker(tmp_path: Path, prover: Prover) -> None:
    endless = bundles.slow(tmp_path / "endless", iterations=2**40)
    assert prover.outcome(endless) == "hung"
    assert prover.outcome(bundles.memory_bomb(tmp_path / "bomb", megabytes=2048)) in ("out of memory", "crashed")
    assert prover.outcome(bundles.logistic(tmp_path / "good")) == "ok"


def test_a_file_outside_of_the_bundle_is_not_read(tmp_path: Path, prover: Prover) -> None:
    """External data that exist, and are of the right size: still they are no part of what was signed."""
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    tensor = numpy_helper.from_array(WEIGHTS, "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    model = _onnx([helper.make_node("MatMul", ["x", "w"], ["scores"])], tensor)
    recipe = Recipe()
    bundle = write_bundle(tmp_path / "bundle", recipe, "model.onnx", model, lambda x: x @ WEIGHTS)
    assert prover.outcome(bundle) == "load failed"
