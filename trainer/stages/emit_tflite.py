"""Writes a lowered graph as a TFLite flatbuffer, with the schema alone: no TensorFlow.

House rules: the lowest operator versions that say what is meant, so that old runtimes on old boards load the file; a
batch of any size by `shape_signature`; one signature `serving_default` that names input and output. Weights in eight
bits have one scale a tensor, and activations stay float (the hybrid kernels).

Source: the schema and the operator versions of tensorflow/lite (schema.fbs, tools/versioning/op_version.cc).
"""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_agent.kernels.graph import Graph
from edge_agent.kernels.primitives import Apply, Dense, Floats, Function, Node, Scale
from trainer.core.quantization import quantize

INPUT_NAME = "x"
OUTPUT_NAME = "scores"
_SCHEMA_VERSION = 3
_IDENTIFIER = b"TFL3"
_OPS = schema.BuiltinOperator
_PLAIN_VERSION = 1
# Float input with symmetric int8 weights: the first version that knows it.
_HYBRID_VERSION = 3
_FUNCTIONS = {Function.LOGISTIC: _OPS.LOGISTIC, Function.TANH: _OPS.TANH, Function.RELU: _OPS.RELU}


def emit(graph: Graph, *, int8: bool) -> bytes:
    """Return the flatbuffer of a graph; with `int8`, matrix weights in eight bits."""
    writer = _Writer(graph, int8=int8)
    return writer.write()


class _Writer:
    """Collects tensors, buffers and operators of one subgraph."""

    def __init__(self, graph: Graph, *, int8: bool) -> None:
        self._graph = graph
        self._int8 = int8
        self._tensors: list[schema.TensorT] = []
        # By the schema's rule, buffer 0 is the empty one.
        self._buffers = [schema.BufferT()]
        self._codes: dict[tuple[int, int], int] = {}
        self._operators: list[schema.OperatorT] = []

    def write(self) -> bytes:
        values = [self._value(INPUT_NAME, self._graph.columns)]
        widths = self._graph.widths
        for index, node in enumerate(self._graph.nodes):
            name = OUTPUT_NAME if index == len(self._graph.nodes) - 1 else f"value_{index + 1}"
            values.append(
                self._emit(
                    node,
                    values[node.source],  # type: ignore[union-attr]
                    widths[index + 1],
                    name,
                )
            )
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(self._model(values[0], values[-1]).Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def _emit(self, node: Node, source: int, width: int, name: str) -> int:
        match node:
            case Scale():
                return self._emit_scale(node, source, width, name)
            case Dense():
                return self._emit_dense(node, source, width, name)
            case Apply(_, Function.SOFTMAX):
                options = schema.SoftmaxOptionsT()
                options.beta = 1.0
                return self._op(_OPS.SOFTMAX, [source], width, name, options)
            case Apply(_, Function.SHARE):
                return self._emit_share(source, width, name)
            case Apply(_, function):
                return self._op(_FUNCTIONS[function], [source], width, name)

    def _emit_scale(self, node: Scale, source: int, width: int, name: str) -> int:
        center = self._constant(f"{name}/center", node.center.astype(np.float32))
        factor = self._constant(f"{name}/factor", node.factor.astype(np.float32))
        moved = self._op(_OPS.SUB, [source, center], width, f"{name}/moved", schema.SubOptionsT())
        return self._op(_OPS.MUL, [moved, factor], width, name, schema.MulOptionsT())

    def _emit_dense(self, node: Dense, source: int, width: int, name: str) -> int:
        bias = self._constant(f"{name}/bias", node.bias.astype(np.float32))
        version = _HYBRID_VERSION if self._int8 else _PLAIN_VERSION
        # FULLY_CONNECTED keeps its weights as (outputs, inputs).
        weights = self._weights(f"{name}/weights", node.weights.T)
        options = schema.FullyConnectedOptionsT()
        return self._op(_OPS.FULLY_CONNECTED, [source, weights, bias], width, name, options, version)

    def _emit_share(self, source: int, width: int, name: str) -> int:
        axis = self._constant(f"{name}/axis", np.array([1], dtype=np.int32))
        options = schema.ReducerOptionsT()
        options.keepDims = True
        total = self._op(_OPS.SUM, [source, axis], 1, f"{name}/total", options)
        return self._op(_OPS.DIV, [source, total], width, name, schema.DivOptionsT())

    def _weights(self, name: str, weights: Floats) -> int:
        if not self._int8:
            return self._constant(name, weights.astype(np.float32))
        values, scale = quantize(weights)
        tensor = self._constant(name, values)
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = [scale], [0]
        self._tensors[tensor].quantization = quantization
        return tensor

    def _constant(self, name: str, values: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]") -> int:
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), dtype=np.uint8)
        self._buffers.append(buffer)
        kinds = {"f": schema.TensorType.FLOAT32, "i": schema.TensorType.INT32}
        kind = schema.TensorType.INT8 if values.dtype == np.int8 else kinds[values.dtype.kind]
        return self._tensor(name, list(values.shape), kind, len(self._buffers) - 1)

    def _value(self, name: str, width: int) -> int:
        tensor = self._tensor(name, [1, width], schema.TensorType.FLOAT32, 0)
        self._tensors[tensor].shapeSignature = [-1, width]
        return tensor

    def _tensor(self, name: str, shape: list[int], kind: int, buffer: int) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, shape, kind, buffer
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def _op(
        self, code: int, inputs: list[int], width: int, name: str, options: object = None, version: int = _PLAIN_VERSION
    ) -> int:
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault((code, version), len(self._codes))
        operator.inputs, operator.outputs = inputs, [self._value(name, width)]
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self._operators.append(operator)
        return int(operator.outputs[0])

    def _model(self, first: int, last: int) -> schema.ModelT:
        subgraph = schema.SubGraphT()
        subgraph.name, subgraph.tensors, subgraph.operators = "main", self._tensors, self._operators
        subgraph.inputs, subgraph.outputs = [first], [last]
        model = schema.ModelT()
        model.version, model.description = _SCHEMA_VERSION, "edgeloop"
        model.operatorCodes = [_code(code, version) for code, version in self._codes]
        model.subgraphs, model.buffers = [subgraph], self._buffers
        model.signatureDefs = [_signature(first, last)]
        return model


def _code(code: int, version: int) -> schema.OperatorCodeT:
    """Return an operator code; readers from before 2020 look into the deprecated field."""
    entry = schema.OperatorCodeT()
    entry.builtinCode = entry.deprecatedBuiltinCode = code
    entry.version = version
    return entry


def _signature(first: int, last: int) -> schema.SignatureDefT:
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs, signature.outputs = [_mapping(INPUT_NAME, first)], [_mapping(OUTPUT_NAME, last)]
    return signature


def _mapping(name: str, tensor: int) -> schema.TensorMapT:
    mapping = schema.TensorMapT()
    mapping.name, mapping.tensorIndex = name, tensor
    return mapping
