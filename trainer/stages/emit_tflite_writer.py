"""Collects the tensors, buffers and operators of one TFLite subgraph and packs the flatbuffer.

House rules: the lowest operator versions that say what is meant, so that old runtimes on old boards load the file; a
batch of any size by `shape_signature` (ROWS stands for it); one signature `serving_default` that names input and
output. Equal constants are kept once.

Source: the schema and the operator versions of tensorflow/lite (schema.fbs, tools/versioning/op_version.cc).
"""

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edge_agent.kernels.primitives import Floats, Smalls
from edge_agent.kernels.rounding import to_singles

INPUT_NAME = "x"
OUTPUT_NAME = "scores"
ROWS = -1
OPS = schema.BuiltinOperator
FLOAT, INT, BOOL = schema.TensorType.FLOAT32, schema.TensorType.INT32, schema.TensorType.BOOL
_SCHEMA_VERSION = 3
_IDENTIFIER = b"TFL3"
_KINDS = {"float32": FLOAT, "int32": INT, "int16": schema.TensorType.INT16, "int8": schema.TensorType.INT8}
# The first versions of DEQUANTIZE that know these types.
_DEQUANTIZE_VERSIONS = {"int8": 2, "int16": 3}

Shape = tuple[int, ...]


class TfliteWriter:
    """A subgraph in the making; every method that adds something returns the number of the tensor that it gives."""

    def __init__(self, columns: int) -> None:
        self._tensors: list[schema.TensorT] = []
        # By the schema's rule, buffer 0 is the empty one.
        self._buffers = [schema.BufferT()]
        self._constants: dict[tuple[str, Shape, bytes, float], int] = {}
        self._codes: dict[tuple[int, int], int] = {}
        self._operators: list[schema.OperatorT] = []
        self._zeros = -1
        self.input = self._tensor(INPUT_NAME, (ROWS, columns), FLOAT)

    def op(
        self, code: int, inputs: list[int], shape: Shape, options: Any = None, *, kind: int = FLOAT, version: int = 1
    ) -> int:
        """Add an operator with one result of a shape and element type."""
        return self.op_of(code, inputs, [(shape, kind)], options, version=version)[0]

    def op_of(
        self,
        code: int,
        inputs: list[int],
        results: Sequence[tuple[Shape, int]],
        options: Any = None,
        *,
        version: int = 1,
    ) -> list[int]:
        """Add an operator with several results."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault((code, version), len(self._codes))
        operator.inputs = inputs
        operator.outputs = [self._tensor(f"v{len(self._tensors)}", shape, kind) for shape, kind in results]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self._operators.append(operator)
        return [int(output) for output in operator.outputs]

    def floats(self, values: Any) -> int:
        """Add a float32 constant."""
        return self.constant(to_singles(np.asarray(values, dtype=np.float64)))

    def integers(self, values: Any) -> int:
        """Add an int32 constant."""
        return self.constant(np.ascontiguousarray(values, dtype=np.int32))

    def weights(self, values: Floats | Smalls, scale: float) -> int:
        """Add a float32 constant that may be kept in small integers: the runtime multiplies them once."""
        kind = str(values.dtype)
        if kind not in _DEQUANTIZE_VERSIONS:
            return self.floats(values)
        small, version = self.constant(np.ascontiguousarray(values), scale), _DEQUANTIZE_VERSIONS[kind]
        return self.op(OPS.DEQUANTIZE, [small], values.shape, schema.DequantizeOptionsT(), version=version)

    def constant(self, values: NDArray[Any], scale: float = 1.0) -> int:
        """Add a constant as it is; of small integers with the scale that they are multiplied by."""
        data = values.tobytes()
        key = (str(values.dtype), values.shape, data, scale)
        if key not in self._constants:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data, dtype=np.uint8)
            self._buffers.append(buffer)
            tensor = self._tensor(f"c{len(self._tensors)}", values.shape, _KINDS[str(values.dtype)])
            self._tensors[tensor].buffer = len(self._buffers) - 1
            if str(values.dtype) in _DEQUANTIZE_VERSIONS:
                quantization = schema.QuantizationParametersT()
                quantization.scale, quantization.zeroPoint = [scale], [0]
                self._tensors[tensor].quantization = quantization
            self._constants[key] = tensor
        return self._constants[key]

    def width(self, tensor: int) -> int:
        """Return the last size of a tensor."""
        return int(self._tensors[tensor].shape[-1])

    def rows(self, tensor: int) -> int:
        """Return ROWS, or 1 where a tensor holds one row for every row."""
        signature = self._tensors[tensor].shapeSignature
        return 1 if signature is None else ROWS

    def cast(self, source: int, shape: Shape, *, kind: int, to: int) -> int:
        """Add the cast from one element type to another."""
        options = schema.CastOptionsT()
        options.inDataType, options.outDataType = kind, to
        return self.op(OPS.CAST, [source], shape, options, kind=to)

    def gather(
        self, table: int, places: int, shape: Shape, *, kind: int = FLOAT, axis: int = 0, own: bool = False
    ) -> int:
        """Add the entries of `table` along an axis; with `own`, each row's places are into its own row."""
        options = schema.GatherOptionsT()
        options.axis, options.batchDims = axis, int(own)
        return self.op(OPS.GATHER, [table, places], shape, options, kind=kind, version=5 if own else 1)

    def fold(self, code: int, source: int, shape: Shape, *, axis: int = 1) -> int:
        """Add a reduction along an axis; the axis stays, with size 1, where `shape` is as long as the source's."""
        options = schema.ReducerOptionsT()
        options.keepDims = len(shape) == len(self._tensors[source].shape)
        return self.op(code, [source, self.integers([axis])], shape, options)

    def expand(self, source: int, shape: Shape, *, axis: int = 1) -> int:
        """Add an axis of size 1."""
        return self.op(OPS.EXPAND_DIMS, [source, self.integers([axis])], shape, schema.ExpandDimsOptionsT())

    def is_missing(self, source: int, shape: Shape) -> int:
        """Add whether each element is NaN: the only value that differs from itself."""
        return self.op(OPS.NOT_EQUAL, [source, source], shape, schema.NotEqualOptionsT(), kind=BOOL)

    def every_row(self, row: int) -> int:
        """Add the repetition of a constant row for each row of the input."""
        if self._zeros < 0:
            first = self.gather(self.input, self.integers([0]), (ROWS, 1), axis=1)
            # What comes in may be NaN or infinite, so that no multiple of it is zero for sure.
            missing = self.cast(self.is_missing(first, (ROWS, 1)), (ROWS, 1), kind=BOOL, to=FLOAT)
            self._zeros = self.op(OPS.MUL, [missing, self.floats([[0.0]])], (ROWS, 1), schema.MulOptionsT())
        return self.op(OPS.ADD, [self._zeros, row], (ROWS, self.width(row)), schema.AddOptionsT())

    def finish(self, result: int) -> bytes:
        """Return the flatbuffer that gives `result`."""
        if not self._operators or result not in self._operators[-1].outputs:
            result = self.op(OPS.ADD, [result, self.floats([[0.0]])], (ROWS, self.width(result)), schema.AddOptionsT())
        self._tensors[result].name = OUTPUT_NAME
        subgraph = schema.SubGraphT()
        subgraph.name, subgraph.tensors, subgraph.operators = "main", self._tensors, self._operators
        subgraph.inputs, subgraph.outputs = [self.input], [result]
        model = schema.ModelT()
        model.version, model.description = _SCHEMA_VERSION, "edgeloop"
        model.operatorCodes = [_code(code, version) for code, version in self._codes]
        model.subgraphs, model.buffers = [subgraph], self._buffers
        model.signatureDefs = [_signature(self.input, result)]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())

    def _tensor(self, name: str, shape: Shape, kind: int) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = name, kind, 0
        tensor.shape = [1 if size == ROWS else size for size in shape]
        if ROWS in shape:
            tensor.shapeSignature = list(shape)
        self._tensors.append(tensor)
        return len(self._tensors) - 1


def _code(code: int, version: int) -> schema.OperatorCodeT:
    """Return an operator code; readers from before 2020 look into the deprecated field, which is a byte."""
    entry = schema.OperatorCodeT()
    entry.builtinCode, entry.deprecatedBuiltinCode = code, min(code, OPS.PLACEHOLDER_FOR_GREATER_OP_CODES)
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
