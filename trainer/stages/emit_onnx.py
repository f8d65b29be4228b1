"""Writes a lowered graph as an ONNX model: a table from primitive to operators.

House rules: only operators that ONNX Runtime 1.15 knows. Trees are a TreeEnsembleRegressor, whatever they are for: the
classifier is wrong on some releases, and three times larger. Weights in eight bits are given back by DequantizeLinear.
"""

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from edge_agent.kernels.graph import Graph, sources
from edge_agent.kernels.primitives import (
    Apply,
    Combine,
    Constant,
    Dense,
    Distance,
    Fill,
    Floats,
    Function,
    Int8s,
    Join,
    Lookup,
    Metric,
    Missing,
    Nearest,
    Operation,
    Pick,
    Reduce,
    Reduction,
    Scale,
    Trees,
    Vote,
    Weighting,
)
from edge_agent.kernels.rounding import to_singles
from trainer.core.arrays import share_rows
from trainer.stages.emit_onnx_kernels import emit_kernel_sum, find_kernel_sums
from trainer.stages.emit_onnx_trees import emit_trees
from trainer.stages.onnx_blocks import add_matrix
from trainer.stages.onnx_graph import INPUT_NAME
from trainer.stages.onnx_writer import OnnxWriter

# Differences (points times columns) that one row may take at once: a thousand rows then take 64 MiB.
DIFFERENCES = 1 << 14
# As many rows have numbers of one byte.
SHARED_ROWS = 1 << 8
# Up to so many copies of a value side by side are named one by one, which takes less than naming their columns.
MOST_COPIES = 64


def emit(graph: Graph) -> bytes:
    """Return the ONNX model of a graph: float32 `x` (rows, columns) to float32 `scores` (rows, width).

    Raises:
        RejectedError: the checker of ONNX does not accept it.
    """
    w = OnnxWriter(graph.columns)
    names = [INPUT_NAME]
    # Values that are the same for every row are kept as one row, until the rows of others stand beside them.
    single = [False]
    sums = find_kernel_sums(graph)
    within = {index for found in sums.values() for index in found.nodes[1:]}
    for index, node in enumerate(graph.nodes):
        taken = sources(node) if index not in sums else (sums[index].source,)
        alike = all(single[source] for source in taken)
        mixed = isinstance(node, Join) and not alike
        given = [w.every_row(names[source]) if mixed and single[source] else names[source] for source in taken]
        if index in within:
            name = ""
        elif index in sums:
            name = emit_kernel_sum(w, sums[index], *given)
        else:
            name = EMISSIONS[type(node)](w, node, *given)
        w.widths[name] = graph.widths[index + 1]
        last = index == len(graph.nodes) - 1
        names.append(w.every_row(name) if last and alike else name)
        single.append(alike)
    return w.finish(names[-1], graph.widths[-1])


def _constant(w: OnnxWriter, node: Constant) -> str:
    return w.floats(node.values)


def _scale(w: OnnxWriter, node: Scale, x: str) -> str:
    center, factor = to_singles(node.center), to_singles(node.factor)
    if not center.any():
        return x if (factor == 1).all() else w.op("Mul", x, w.constant(factor))
    if (factor == 1).all():
        return w.op("Sub", x, w.constant(center))
    return w.op("Scaler", x, domain="ai.onnx.ml", offset=center.tolist(), scale=factor.tolist())


def _dense(w: OnnxWriter, node: Dense, x: str) -> str:
    bias = [w.floats(node.bias)] if node.bias.any() else []
    return w.op("Gemm", x, _weights(w, node.weights, node.scale), *bias)


def _weights(w: OnnxWriter, values: Floats | Int8s, scale: float) -> str:
    if values.dtype == np.int8:
        return w.op("DequantizeLinear", w.constant(values), w.floats(scale))
    return add_matrix(w, to_singles(values)) if values.ndim == 2 else w.floats(values)


def _apply(w: OnnxWriter, node: Apply, x: str) -> str:
    match node.function:
        case Function.SOFTMAX:
            return w.op("Softmax", x, axis=1)
        case Function.SHARE:
            return w.op("Div", x, w.op("ReduceSum", x, w.integers(1)))
        case Function.SQUARE:
            return w.op("Mul", x, x)
        case Function.SIGN:
            zero = w.floats(0.0)
            return w.op("Sub", w.cast(w.op("Greater", x, zero)), w.cast(w.op("Less", x, zero)))
        case _:
            return w.op(FUNCTIONS[node.function], x)


def _pick(w: OnnxWriter, node: Pick, x: str) -> str:
    width = w.widths[x]
    times, rest = divmod(len(node.columns), width)
    if not rest and 1 < times <= MOST_COPIES and (node.columns == np.tile(np.arange(width), times)).all():
        return w.op("Concat", *[x] * times, axis=1)
    return w.op("Gather", x, w.constant(node.columns.astype(np.int32)), axis=1)


def _join(w: OnnxWriter, _: Join, *parts: str) -> str:
    return w.op("Concat", *parts, axis=1)


def _combine(w: OnnxWriter, node: Combine, left: str, right: str) -> str:
    result = w.op(OPERATIONS[node.operation], left, right)
    return w.cast(result) if node.operation in COMPARISONS else result


def _reduce(w: OnnxWriter, node: Reduce, x: str) -> str:
    match node.reduction:
        case Reduction.ARGMAX | Reduction.ARGMIN:
            return w.cast(w.op("ArgMax" if node.reduction is Reduction.ARGMAX else "ArgMin", x, axis=1))
        case _:
            return w.op(f"Reduce{node.reduction.capitalize()}", x, w.integers(1))


def _distance(w: OnnxWriter, node: Distance, x: str) -> str:
    rows = w.op("Unsqueeze", x, w.integers(1))
    at_once = max(1, DIFFERENCES // node.points.shape[1])
    parts = []
    for begin in range(0, len(node.points), at_once):
        apart = w.op("Sub", rows, _weights(w, node.points[None, begin : begin + at_once], node.scale))
        if node.metric is Metric.CHEBYSHEV:
            apart = w.op("Abs", apart)
        parts.append(w.op(METRICS[node.metric], apart, w.integers(2), keepdims=0))
    return parts[0] if len(parts) == 1 else w.op("Concat", *parts, axis=1)


def _vote(w: OnnxWriter, node: Vote, distances: str) -> str:
    near, nearest = w.op_of_two("TopK", distances, w.integers(node.k), axis=1, largest=0, sorted=1)
    words = _words(w, node, nearest)
    if node.weighting is Weighting.UNIFORM:
        return w.op("ReduceMean", words, w.integers(1), keepdims=0)
    touches = w.op("Equal", near, w.floats(0.0))
    touching = w.cast(touches)
    inverse = w.op("Reciprocal", w.op("Where", touches, w.floats(1.0), near))
    any_touches = w.op("Greater", w.op("ReduceMax", touching, w.integers(1)), w.floats(0.0))
    weights = w.op("Where", any_touches, touching, inverse)
    shares = w.op("Div", weights, w.op("ReduceSum", weights, w.integers(1)))
    return w.op("ReduceSum", w.op("Mul", w.op("Unsqueeze", shares, w.integers(2)), words), w.integers(1), keepdims=0)


def _words(w: OnnxWriter, node: Vote, nearest: str) -> str:
    """Add the rows of `values` of the nearest; where many are alike, by the number of the row: a byte each."""
    table, places = share_rows(node.values)
    if len(table) > SHARED_ROWS or len(table) > len(places) // 2:
        return w.op("Gather", w.floats(node.values), nearest, axis=0)
    place = w.op("Gather", w.constant(places.astype(np.uint8)), nearest, axis=0)
    return w.op("Gather", w.floats(table), w.op("Cast", place, to=TensorProto.INT32), axis=0)


def _nearest(w: OnnxWriter, node: Nearest, x: str) -> str:
    least, places = w.op_of_two("TopK", x, w.integers(node.k), axis=1, largest=0, sorted=1)
    belonging = [w.op("Gather", w.floats(column), places, axis=0) for column in node.values.T]
    return w.op("Concat", least, *belonging, axis=1)


def _fill(w: OnnxWriter, node: Fill, x: str) -> str:
    return w.op("Where", w.op("IsNaN", x), w.floats(node.values), x)


def _missing(w: OnnxWriter, _: Missing, x: str) -> str:
    return w.cast(w.op("IsNaN", x))


def _lookup(w: OnnxWriter, node: Lookup, index: str) -> str:
    zero = w.floats(0.0)
    # Not by Max, which lets NaN through.
    positive = w.op("Where", w.op("Greater", index, zero), index, zero)
    inside = w.op("Min", positive, w.floats(len(node.table) - 1))
    return w.op(
        "Gather",
        w.floats(node.table),
        w.op("Squeeze", w.op("Cast", inside, to=TensorProto.INT64), w.integers(1)),
        axis=0,
    )


FUNCTIONS = {
    Function.RELU: "Relu",
    Function.LOGISTIC: "Sigmoid",
    Function.TANH: "Tanh",
    Function.EXP: "Exp",
    Function.LOG: "Log",
    Function.SQRT: "Sqrt",
    Function.ABS: "Abs",
    Function.FLOOR: "Floor",
    Function.NEGATE: "Neg",
    Function.SIN: "Sin",
    Function.COS: "Cos",
}

COMPARISONS = {
    Operation.GE: "GreaterOrEqual",
    Operation.GT: "Greater",
    Operation.LE: "LessOrEqual",
    Operation.LT: "Less",
    Operation.EQ: "Equal",
}

OPERATIONS = COMPARISONS | {
    Operation.ADD: "Add",
    Operation.SUB: "Sub",
    Operation.MUL: "Mul",
    Operation.DIV: "Div",
    Operation.MAX: "Max",
    Operation.MIN: "Min",
    Operation.POW: "Pow",
}

METRICS = {Metric.SQUARED: "ReduceSumSquare", Metric.MANHATTAN: "ReduceL1", Metric.CHEBYSHEV: "ReduceMax"}

EMISSIONS: dict[type, Callable[..., str]] = {
    Constant: _constant,
    Scale: _scale,
    Dense: _dense,
    Apply: _apply,
    Pick: _pick,
    Join: _join,
    Combine: _combine,
    Reduce: _reduce,
    Trees: emit_trees,
    Distance: _distance,
    Vote: _vote,
    Nearest: _nearest,
    Fill: _fill,
    Missing: _missing,
    Lookup: _lookup,
}
