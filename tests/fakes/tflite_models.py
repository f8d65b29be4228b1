"""TFLite flatbuffers written or changed by hand, of forms that the trainer itself never emits."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

# Of FULLY_CONNECTED with int8 weights and float activations.
HYBRID_VERSION = 3
Array = np.ndarray[Any, Any]


def softmax_regression(weights: Array, bias: Array) -> bytes:
    """Return a model of x (rows, n) float32 → scores (rows, k) float32: softmax(x @ weights + bias)."""
    features, classes = weights.shape
    model = schema.ModelT()
    model.version = 3
    model.description = b"tests"
    model.buffers = [schema.BufferT() for _ in range(3)]
    for buffer, array in zip(model.buffers[1:], (weights.T, bias), strict=True):
        buffer.data = np.frombuffer(np.ascontiguousarray(array, np.float32).tobytes(), np.uint8)
    model.operatorCodes = [_code(9), _code(25)]
    graph = schema.SubGraphT()
    graph.tensors = [
        _tensor("x", [1, features], [-1, features], 0),
        _tensor("weights", [classes, features], None, 1),
        _tensor("bias", [classes], None, 2),
        _tensor("z", [1, classes], [-1, classes], 0),
        _tensor("scores", [1, classes], [-1, classes], 0),
    ]
    graph.inputs, graph.outputs = [0], [4]
    dense = schema.OperatorT()
    dense.opcodeIndex, dense.inputs, dense.outputs = 0, [0, 1, 2], [3]
    dense.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
    dense.builtinOptions = schema.FullyConnectedOptionsT()
    softmax = schema.OperatorT()
    softmax.opcodeIndex, softmax.inputs, softmax.outputs = 1, [3], [4]
    softmax.builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions
    softmax.builtinOptions = schema.SoftmaxOptionsT()
    softmax.builtinOptions.beta = 1.0
    graph.operators = [dense, softmax]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def one_scale_a_channel(data: bytes) -> bytes:
    """Return the model with the float32 weights of its FULLY_CONNECTED in eight bits, one scale for each output."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    (graph,) = model.subgraphs
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode != 9:
            continue
        tensor = graph.tensors[operator.inputs[1]]
        buffer = model.buffers[tensor.buffer]
        weights = np.frombuffer(bytes(buffer.data), np.float32).reshape(tensor.shape)
        scales = np.abs(weights).max(axis=1) / np.float32(127)
        buffer.data = np.frombuffer(np.rint(weights / scales[:, None]).astype(np.int8).tobytes(), np.uint8)
        tensor.type = schema.TensorType.INT8
        tensor.quantization = schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.zeroPoint = list(scales), [0] * len(scales)
        tensor.quantization.quantizedDimension = 0
        model.operatorCodes[operator.opcodeIndex].version = HYBRID_VERSION
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code(number: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = number
    code.version = 1
    return code


def _tensor(name: str, shape: list[int], signature: list[int] | None, buffer: int) -> Any:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.shapeSignature, tensor.buffer = name.encode(), shape, signature, buffer
    tensor.type = schema.TensorType.FLOAT32
    return tensor


def endless_recursion(width: int) -> bytes:
    """Return a model whose WHILE has the model itself as its body: preparing it overflows the stack (SIGSEGV)."""
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.array([1], np.uint8)
    model.operatorCodes = [_code(119)]
    loop = schema.OperatorT()
    loop.opcodeIndex, loop.inputs, loop.outputs = 0, [0], [1]
    loop.builtinOptionsType = schema.BuiltinOptions.WhileOptions
    loop.builtinOptions = schema.WhileOptionsT()
    loop.builtinOptions.condSubgraphIndex, loop.builtinOptions.bodySubgraphIndex = 1, 0
    main, condition = schema.SubGraphT(), schema.SubGraphT()
    main.tensors = [_tensor(name, [1, width], [-1, width], 0) for name in ("x", "scores")]
    main.inputs, main.outputs, main.operators = [0], [1], [loop]
    condition.tensors = [_tensor("state", [1, width], [-1, width], 0), _tensor("go_on", [1], None, 1)]
    condition.tensors[1].type = schema.TensorType.BOOL
    condition.inputs, condition.outputs, condition.operators = [0], [1], []
    model.subgraphs = [main, condition]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
