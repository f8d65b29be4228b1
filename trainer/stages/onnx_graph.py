"""Shapes an ONNX graph into the form of every bundle: input `x`, one float32 output `scores`, nothing unused.

House rules: IR 8, opset 18, ai.onnx.ml 3 where we write the graph: ONNX Runtime 1.15 to 1.32 load it. A graph from
elsewhere keeps its opset. Functions here return a new model or change the one that they were given, as they say.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trainer.errors import RejectedError

IR_VERSION = 8
INPUT_NAME = "x"
OUTPUT_NAME = "scores"


def keep_scores(model: onnx.ModelProto, wanted: str, columns: int, first: int = 0) -> onnx.ModelProto:
    """Return a model whose only output is `scores`: columns `first` to `first + columns` of the tensor `wanted`.

    The result is reshaped to (rows, columns) and is float32. Nodes and weights that it does not need are dropped.
    """
    graph = model.graph
    tail, extra = _tail(wanted, tensor_kind(model, wanted), columns, first)
    nodes = [*graph.node, *tail]
    kept = _needed(_free_name(nodes, OUTPUT_NAME), OUTPUT_NAME)
    used = {name for node in kept for name in node.input}
    pruned = helper.make_graph(
        kept,
        "scores",
        [value for value in graph.input if value.name in used],
        [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, [None, columns])],
        [tensor for tensor in (*graph.initializer, *extra) if tensor.name in used],
    )
    domains = {node.domain for node in kept}
    imports = [entry for entry in model.opset_import if entry.domain in domains | {""}]
    return helper.make_model(
        pruned, ir_version=min(model.ir_version, IR_VERSION), opset_imports=imports, producer_name="edgeloop"
    )


@dataclass(frozen=True, slots=True)
class Kind:
    """Element type and sizes of a tensor; 0 stands for what ONNX cannot infer, `sizes` is None without a rank."""

    element: int
    sizes: tuple[int, ...] | None


def tensor_kind(model: onnx.ModelProto, name: str) -> Kind:
    """Infer what a tensor of the graph is; what the file *declares* of its outputs is believed only without that.

    skl2onnx declares one column where it gives two.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    for value in bare.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    inferred = [*_values(bare), *model.graph.output]
    kinds = [_kind(value) for value in inferred if value.name == name]
    known = [kind for kind in kinds if kind.sizes is not None]
    complete = [kind for kind in known if kind.sizes and kind.sizes[-1]]
    return (complete or known or kinds or [Kind(0, None)])[0]


def _values(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    graph = onnx.shape_inference.infer_shapes(model).graph
    return [*graph.value_info, *graph.output]


def _kind(value: onnx.ValueInfoProto) -> Kind:
    tensor = value.type.tensor_type
    sizes = tuple(size.dim_value for size in tensor.shape.dim) if tensor.HasField("shape") else None
    return Kind(tensor.elem_type, sizes)


def _tail(wanted: str, kind: Kind, columns: int, first: int) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return the nodes (and their constants) that turn the tensor `wanted` into `scores`."""
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    extra: list[onnx.TensorProto] = []

    def constant(name: str, values: list[int]) -> str:
        extra.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
        return name

    if first:
        begin, end = constant("scores_begin", [first]), constant("scores_end", [first + columns])
        steps.append(("Slice", [begin, end, constant("scores_axis", [1])], {}))
    if kind.sizes is None or len(kind.sizes) != 2:
        steps.append(("Reshape", [constant("scores_shape", [-1, columns])], {}))
    if kind.element != TensorProto.FLOAT:
        steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
    nodes, current = [], wanted
    for index, (operator, constants, attributes) in enumerate(steps or [("Identity", [], {})]):
        following = OUTPUT_NAME if index == max(len(steps), 1) - 1 else f"scores_{index}"
        nodes.append(helper.make_node(operator, [current, *constants], [following], **attributes))
        current = following
    return nodes, extra


def _free_name(nodes: list[onnx.NodeProto], name: str) -> list[onnx.NodeProto]:
    """Return copies of the nodes in which only the last one's output bears `name`."""
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for names in (copy.input, copy.output) if node is not nodes[-1] else (copy.input,):
            for index, taken in enumerate(names):
                if taken == name:
                    names[index] = f"{name}_of_source"
        copies.append(copy)
    return copies


def _needed(nodes: list[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """Return, in their order, the nodes on which `output` depends."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def rename_input(model: onnx.ModelProto, name: str = INPUT_NAME) -> None:
    """Give the model's single input a name, in place."""
    (value,) = model.graph.input
    taken = {output for node in model.graph.node for output in node.output}
    if value.name != name and name in taken | {tensor.name for tensor in model.graph.initializer}:
        raise RejectedError(f"the graph uses the name {name!r} for another tensor than its input", "rename that tensor")
    for node in model.graph.node:
        for index, taken_name in enumerate(node.input):
            if taken_name == value.name:
                node.input[index] = name
    value.name = name


def free_batch(model: onnx.ModelProto, columns: int) -> None:
    """Make the input float32 of (any number of rows, columns), in place."""
    (value,) = model.graph.input
    value.CopyFrom(helper.make_tensor_value_info(value.name, TensorProto.FLOAT, [None, columns]))


def operators(model: onnx.ModelProto) -> list[str]:
    """Return the kinds of operators, each once, in the order of the graph."""
    return list(dict.fromkeys(node.op_type for node in model.graph.node))


def checked_bytes(model: onnx.ModelProto) -> bytes:
    """Return the model's bytes.

    Raises:
        RejectedError: the checker of ONNX does not accept it.
    """
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise RejectedError(f"the ONNX graph is not valid: {str(error).splitlines()[0]}") from error
    return bytes(model.SerializeToString(deterministic=True))
