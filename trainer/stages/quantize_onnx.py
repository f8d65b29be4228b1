"""Stores the matrix weights of an fp32 ONNX graph in eight bits; everything is still computed in float32.

House rules: only weights of matrix products, one scale a tensor. The graph says `DequantizeLinear` in front of the
product; ONNX Runtime must not fuse that into integer products (18 times slower on one row): hence `RUNTIME_OPTIONS`.
"""

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper

from trainer.core.quantization import judge_worth, quantize
from trainer.errors import UnbuildableError
from trainer.stages.onnx_graph import checked_bytes, operators

RUNTIME_OPTIONS: Mapping[str, str] = {"session.disable_quant_qdq": "1"}
_PRODUCTS = frozenset({"MatMul", "Gemm"})


def quantize_weights(data: bytes) -> bytes:
    """Return the model with its matrix weights in eight bits.

    Raises:
        UnbuildableError: there is nothing that eight bits would make smaller.
    """
    model = onnx.load_from_string(data)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found = [weights[name] for name in _matrix_weights(model, weights)]
    if not found:
        kinds = ", ".join([kind for kind in operators(model) if kind != "Identity"][:4])
        raise UnbuildableError(f"no matrix weights to quantize: the graph computes by {kinds}")
    if reason := judge_worth(sum(int(np.prod(tensor.dims)) for tensor in found)):
        raise UnbuildableError(reason)
    nodes = [_replace(model.graph, tensor) for tensor in found]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])
    return checked_bytes(model)


def _matrix_weights(model: onnx.ModelProto, weights: Mapping[str, onnx.TensorProto]) -> list[str]:
    """Return the names of float32 matrices that are the right side of products and nothing else."""
    rights = {node.input[1] for node in model.graph.node if node.op_type in _PRODUCTS}
    others = {
        name
        for node in model.graph.node
        for index, name in enumerate(node.input)
        if node.op_type not in _PRODUCTS or index != 1
    }
    return [
        name
        for name, tensor in weights.items()
        if name in rights - others and tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
    ]


def _replace(graph: onnx.GraphProto, tensor: onnx.TensorProto) -> onnx.NodeProto:
    """Put int8 values and a scale in the place of a weight; return the node that gives the weight its old name."""
    values, scale = quantize(numpy_helper.to_array(tensor).astype(np.float64))
    name = tensor.name
    graph.initializer.remove(tensor)
    graph.initializer.append(numpy_helper.from_array(values, f"{name}_int8"))
    graph.initializer.append(numpy_helper.from_array(np.array(scale, dtype=np.float32), f"{name}_scale"))
    return helper.make_node("DequantizeLinear", [f"{name}_int8", f"{name}_scale"], [name])
