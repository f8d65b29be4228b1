"""Refuses ONNX graphs that are unsafe to load or to run, before anything but a parser has seen them.

House rules: deny by default. The checker of ONNX accepts endless loops and huge tensors, so operators are on a list of
plain functions of tensors: no subgraphs, no functions of the file's own, no data outside of it, nothing that could make
a tensor whose size is not known. What a tensor says of itself must be what it holds.
"""

import math
from collections.abc import Iterator, Mapping

import onnx
from onnx import TensorProto

from trainer.errors import RejectedError
from trainer.stages.onnx_trees import refuse_broken_trees

MAX_OPSET = 21
MAX_ML_OPSET = 3
MAX_NODES = 10_000
MAX_TENSORS = 10_000
MAX_RANK = 8
# Of one tensor of the file, or made from such alone: 256 MiB as float32.
MAX_ELEMENTS = 2**26
# Of one tensor that follows from one row of the input: 16 MiB as float32, and every row of a batch has its own.
MAX_ROW_ELEMENTS = 2**22
MAX_TEXT_BYTES = 64 * 1024
MAX_TEXTS = 100_000
_NAMES = """
    Abs Acos Add And ArgMax ArgMin Asin Atan AveragePool BatchNormalization Cast Ceil Clip Concat Constant
    ConstantOfShape Conv Cos DequantizeLinear Div Dropout Elu Equal Erf Exp Expand Flatten Floor Gather GatherElements
    GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GreaterOrEqual HardSigmoid Identity IsInf IsNaN
    LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax MatMul Max MaxPool Mean Min Mod Mul Neg Not OneHot Or
    PRelu Pad Pow QuantizeLinear Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
    ReduceSumSquare Relu Reshape Round Selu Shape Sigmoid Sign Sin Slice Softmax Softplus Softsign Split Sqrt Squeeze
    Sub Sum Tan Tanh ThresholdedRelu TopK Transpose Unsqueeze Where Xor
    ArrayFeatureExtractor Binarizer FeatureVectorizer Imputer LinearClassifier LinearRegressor Normalizer
    SVMClassifier SVMRegressor Scaler TreeEnsembleClassifier TreeEnsembleRegressor ZipMap
    """
ALLOWED = frozenset(_NAMES.split())
# These make a tensor as large as numbers in another tensor say: those numbers must be known.
_GROWING = frozenset({"ConstantOfShape", "Expand", "OneHot", "Pad"})
# Bytes of one element in `raw_data`; 4-bit types and strings are not among them.
_RAW_BYTES: Mapping[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
    TensorProto.FLOAT16: 2,
    TensorProto.BFLOAT16: 2,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.INT16: 2,
    TensorProto.UINT16: 2,
    TensorProto.INT32: 4,
    TensorProto.UINT32: 4,
    TensorProto.INT64: 8,
    TensorProto.UINT64: 8,
    TensorProto.BOOL: 1,
}
Shapes = Mapping[str, tuple[int, ...]]
_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def refuse_unsafe(model: onnx.ModelProto, columns: int) -> None:
    """Let a parsed model pass that may be loaded and run on rows of `columns` columns.

    Raises:
        RejectedError: it may not; the message names the place.
    """
    _refuse_parts(model)
    for node in model.graph.node:
        _refuse_node(node)
    for tensor in _tensors(model):
        _refuse_tensor(tensor)
    shapes = _infer_shapes(model, columns)
    _refuse_sizes(model, shapes)
    for node in model.graph.node:
        width = shapes.get(node.input[0]) if node.input else None
        refuse_broken_trees(node, width[-1] if width else None)


def _refuse_parts(model: onnx.ModelProto) -> None:
    graph = model.graph
    if model.functions:
        raise RejectedError("the ONNX model defines functions of its own, which are not accepted", "inline them")
    if model.training_info:
        raise RejectedError("the ONNX model holds a training graph, which is not accepted", "export it for inference")
    if graph.sparse_initializer:
        raise RejectedError("the ONNX model holds sparse tensors, which are not accepted", "save them as dense ones")
    if len(graph.node) > MAX_NODES or len(graph.initializer) > MAX_TENSORS:
        raise RejectedError(
            f"the ONNX graph has {len(graph.node)} nodes and {len(graph.initializer)} tensors, "
            f"the limits are {MAX_NODES} and {MAX_TENSORS}"
        )
    texts = [entry.key + entry.value for entry in (*model.metadata_props, *graph.metadata_props)]
    if sum(map(len, texts)) > MAX_TEXT_BYTES or len(texts) > MAX_TEXTS:
        raise RejectedError("the ONNX model carries too much metadata", f"leave it out: {MAX_TEXT_BYTES} bytes may be")
    for entry in model.opset_import:
        limit = MAX_ML_OPSET if entry.domain == "ai.onnx.ml" else MAX_OPSET
        if entry.version > limit:
            raise RejectedError(f"opset {entry.version} of {entry.domain or 'ai.onnx'} is over {limit}", "export lower")


def _refuse_node(node: onnx.NodeProto) -> None:
    if node.domain not in ("", "ai.onnx", "ai.onnx.ml") or node.op_type not in ALLOWED:
        raise RejectedError(f"the operator {node.domain[:80] or 'ai.onnx'}.{node.op_type[:80]} is not accepted")
    for attribute in node.attribute:
        # What an attribute holds counts, not the type that it claims.
        if attribute.HasField("g") or attribute.graphs:
            raise RejectedError(f"the operator {node.op_type} carries a graph of its own, which is not accepted")
        if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
            raise RejectedError(f"the operator {node.op_type} holds sparse tensors, which are not accepted")
        if attribute.HasField("tp") or attribute.type_protos or attribute.ref_attr_name:
            raise RejectedError(f"the operator {node.op_type} has an attribute of a kind that is not accepted")
        if max(map(len, attribute.strings), default=len(attribute.s)) > MAX_TEXT_BYTES or (
            len(attribute.strings) > MAX_TEXTS
        ):
            raise RejectedError(f"the operator {node.op_type} holds more or longer strings than are accepted")


def _tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    yield from model.graph.initializer
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _refuse_tensor(tensor: TensorProto) -> None:
    name = repr(tensor.name[:80])
    if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
        raise RejectedError(f"the tensor {name} lies outside of the file", "save the model as one file")
    if tensor.HasField("segment"):
        raise RejectedError(f"the tensor {name} is a part of one, which is not accepted")
    if len(tensor.dims) > MAX_RANK or min(tensor.dims, default=0) < 0:
        raise RejectedError(f"the tensor {name} has {len(tensor.dims)} axes or a negative size")
    size = math.prod(tensor.dims)
    if size > MAX_ELEMENTS:
        raise RejectedError(f"the tensor {name} has {size} elements, the limit is {MAX_ELEMENTS}")
    if tensor.data_type != TensorProto.STRING and tensor.data_type not in _RAW_BYTES:
        raise RejectedError(f"the tensor {name} is of the type {tensor.data_type}, which is not accepted")
    if max(map(len, tensor.string_data), default=0) > MAX_TEXT_BYTES:
        raise RejectedError(f"the tensor {name} holds longer strings than are accepted")
    counts = [len(getattr(tensor, field)) for field in _FIELDS if len(getattr(tensor, field))]
    if tensor.raw_data:
        width = _RAW_BYTES.get(tensor.data_type, 0)
        counts.append(len(tensor.raw_data) // width if width and len(tensor.raw_data) % width == 0 else -1)
    if counts != ([size] if size else []):
        raise RejectedError(f"the tensor {name} says that it has {size} elements and holds {sum(counts)}")


def _refuse_sizes(model: onnx.ModelProto, shapes: Shapes) -> None:
    """Refuse a graph that makes a huge tensor of a small file, by the shapes that follow for one row."""
    rows_follow = {value.name for value in model.graph.input}
    for node in model.graph.node:
        follows = bool(rows_follow.intersection(node.input))
        if follows and node.op_type != "Shape":
            rows_follow.update(node.output)
        limit = MAX_ROW_ELEMENTS if follows else MAX_ELEMENTS
        for name in node.output:
            size = math.prod(shapes[name]) if name in shapes else None
            if size is None and node.op_type in _GROWING:
                raise RejectedError(
                    f"{node.op_type} makes {name[:80]!r}, whose size is not known before it runs",
                    "make its shape a constant",
                )
            if size is not None and size > limit:
                raise RejectedError(f"{node.op_type} makes {name[:80]!r} of {size} elements, the limit is {limit}")


def _infer_shapes(model: onnx.ModelProto, columns: int) -> Shapes:
    """Return the shape of each tensor for one row, where ONNX can infer it.

    Large weights are left out on the way, as inputs of their shape: only small ones say how large something becomes.
    """
    light = onnx.ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.graph.name = "shapes"
    light.graph.node.extend(model.graph.node)
    light.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in model.graph.output)
    weights = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in weights:
            light.graph.input.append(onnx.helper.make_tensor_value_info(value.name, TensorProto.FLOAT, [1, columns]))
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= MAX_RANK * MAX_RANK:
            light.graph.initializer.append(tensor)
        else:
            value = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            light.graph.input.append(value)
    try:
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    except Exception as error:  # protobuf's and ONNX's own, by version; any failure means the same
        raise RejectedError(
            f"the shapes of the ONNX graph do not follow: {str(error).splitlines()[0][:200]}"
        ) from error
    found = {}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        shape = value.type.tensor_type.shape
        if value.type.tensor_type.HasField("shape") and all(axis.HasField("dim_value") for axis in shape.dim):
            found[value.name] = tuple(axis.dim_value for axis in shape.dim)
    return found
