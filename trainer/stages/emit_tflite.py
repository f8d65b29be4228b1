"""Writes a lowered graph as a TFLite flatbuffer, with the schema alone: a table from primitive to operators.

House rules: weights in eight bits have one scale a tensor, and activations stay float (the hybrid kernels). No
operator joins what another could be given: the result must not depend on the runtime's fusing.
"""

from collections.abc import Callable

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_agent.kernels.graph import Graph, sources
from edge_agent.kernels.primitives import (
    Apply,
    Combine,
    Constant,
    Dense,
    Distance,
    Fill,
    Function,
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
from trainer.core.arrays import share_rows
from trainer.stages.emit_tflite_trees import emit_trees
from trainer.stages.emit_tflite_writer import BOOL, FLOAT, INT, OPS, TfliteWriter

# Float input with symmetric int8 weights: the first version of FULLY_CONNECTED that knows it.
HYBRID_VERSION = 3
# Differences (points times columns) that one row may take at once: a thousand rows then take 64 MiB.
DIFFERENCES = 1 << 14


def emit(graph: Graph) -> bytes:
    """Return the flatbuffer of a graph: float32 `x` (rows, columns) to float32 `scores` (rows, width).

    Raises:
        UnbuildableError: TFLite cannot say what a node means.
    """
    w = TfliteWriter(graph.columns)
    tensors = [w.input]
    for index, node in enumerate(graph.nodes):
        given = [tensors[source] for source in sources(node)]
        if isinstance(node, Join) and len({w.rows(tensor) for tensor in given}) > 1:
            given = [w.every_row(tensor) if w.rows(tensor) == 1 else tensor for tensor in given]
        tensor = EMISSIONS[type(node)](w, node, *given)
        last = index == len(graph.nodes) - 1
        tensors.append(w.every_row(tensor) if last and w.rows(tensor) == 1 else tensor)
    return w.finish(tensors[-1])


def _constant(w: TfliteWriter, node: Constant) -> int:
    return w.floats(node.values)


def _scale(w: TfliteWriter, node: Scale, x: int) -> int:
    shape = (w.rows(x), w.width(x))
    if node.center.any():
        x = w.op(OPS.SUB, [x, w.floats(node.center[None])], shape, schema.SubOptionsT())
    if (node.factor == 1).all():
        return x
    return w.op(OPS.MUL, [x, w.floats(node.factor[None])], shape, schema.MulOptionsT())


def _dense(w: TfliteWriter, node: Dense, x: int) -> int:
    options, shape = schema.FullyConnectedOptionsT(), (w.rows(x), node.weights.shape[1])
    # FULLY_CONNECTED keeps its weights as (outputs, inputs).
    turned = np.ascontiguousarray(node.weights.T)
    if turned.dtype == np.int8:
        weights, version = w.constant(turned, node.scale), HYBRID_VERSION
    else:
        weights, version = w.floats(turned), 1
    return w.op(OPS.FULLY_CONNECTED, [x, weights, w.floats(node.bias)], shape, options, version=version)


def _apply(w: TfliteWriter, node: Apply, x: int) -> int:
    shape = (w.rows(x), w.width(x))
    match node.function:
        case Function.SOFTMAX:
            options = schema.SoftmaxOptionsT()
            options.beta = 1.0
            return w.op(OPS.SOFTMAX, [x], shape, options)
        case Function.SHARE:
            total = w.fold(OPS.SUM, x, (shape[0], 1))
            return w.op(OPS.DIV, [x, total], shape, schema.DivOptionsT())
        case Function.SIGN:
            zero = w.floats([[0.0]])
            above = w.op(OPS.GREATER, [x, zero], shape, schema.GreaterOptionsT(), kind=BOOL)
            below = w.op(OPS.LESS, [x, zero], shape, schema.LessOptionsT(), kind=BOOL)
            both = [w.cast(side, shape, kind=BOOL, to=FLOAT) for side in (above, below)]
            return w.op(OPS.SUB, both, shape, schema.SubOptionsT())
        case _:
            return w.op(FUNCTIONS[node.function], [x], shape)


def _pick(w: TfliteWriter, node: Pick, x: int) -> int:
    return w.gather(x, w.integers(node.columns), (w.rows(x), len(node.columns)), axis=1)


def _join(w: TfliteWriter, _: Join, *parts: int) -> int:
    options = schema.ConcatenationOptionsT()
    options.axis = 1
    return w.op(OPS.CONCATENATION, list(parts), (w.rows(parts[0]), sum(w.width(part) for part in parts)), options)


def _combine(w: TfliteWriter, node: Combine, left: int, right: int) -> int:
    shape = (min(w.rows(left), w.rows(right)), max(w.width(left), w.width(right)))
    code, options = OPERATIONS[node.operation]
    if node.operation not in COMPARISONS:
        return w.op(code, [left, right], shape, options())
    return w.cast(w.op(code, [left, right], shape, options(), kind=BOOL), shape, kind=BOOL, to=FLOAT)


def _reduce(w: TfliteWriter, node: Reduce, x: int) -> int:
    rows = w.rows(x)
    match node.reduction:
        case Reduction.ARGMAX | Reduction.ARGMIN:
            largest = node.reduction is Reduction.ARGMAX
            options = schema.ArgMaxOptionsT() if largest else schema.ArgMinOptionsT()
            options.outputType = INT
            code = OPS.ARG_MAX if largest else OPS.ARG_MIN
            place = w.op(code, [x, w.integers(1)], (rows,), options, kind=INT)
            return w.expand(w.cast(place, (rows,), kind=INT, to=FLOAT), (rows, 1))
        case _:
            codes = {Reduction.SUM: OPS.SUM, Reduction.MAX: OPS.REDUCE_MAX, Reduction.MIN: OPS.REDUCE_MIN}
            return w.fold(codes[node.reduction], x, (rows, 1))


def _distance(w: TfliteWriter, node: Distance, x: int) -> int:
    rows, (points, columns) = w.rows(x), node.points.shape
    single, parts = w.expand(x, (rows, 1, columns)), []
    at_once = max(1, DIFFERENCES // columns)
    for begin in range(0, points, at_once):
        some = node.points[None, begin : begin + at_once]
        shape = (rows, *some.shape[1:])
        apart = w.op(OPS.SUB, [single, w.weights(some, node.scale)], shape, schema.SubOptionsT())
        apart = w.op(OPS.SQUARE if node.metric is Metric.SQUARED else OPS.ABS, [apart], shape)
        parts.append(w.fold(OPS.REDUCE_MAX if node.metric is Metric.CHEBYSHEV else OPS.SUM, apart, shape[:2], axis=2))
    return parts[0] if len(parts) == 1 else _join(w, Join((0,)), *parts)


def _vote(w: TfliteWriter, node: Vote, distances: int) -> int:
    rows, columns = w.rows(distances), node.values.shape[1]
    shape = (rows, node.k)
    near, nearest = _least(w, node.k, distances)
    table, places = share_rows(node.values)
    if len(table) <= len(places) // 2:
        # Many are alike, as the classes' rows are: the numbers of the rows are smaller than the rows.
        words = w.gather(w.floats(table), w.gather(w.integers(places), nearest, shape, kind=INT), (*shape, columns))
    else:
        words = w.gather(w.floats(node.values), nearest, (*shape, columns))
    if node.weighting is Weighting.UNIFORM:
        return w.fold(OPS.MEAN, words, (rows, columns))
    zero, one = w.floats([[0.0]]), w.floats([[1.0]])
    touches = w.op(OPS.EQUAL, [near, zero], shape, schema.EqualOptionsT(), kind=BOOL)
    touching = w.cast(touches, shape, kind=BOOL, to=FLOAT)
    none_touches = w.op(OPS.SUB, [one, w.fold(OPS.REDUCE_MAX, touching, (rows, 1))], (rows, 1), schema.SubOptionsT())
    # Touching ones count 1; where there are none, each counts 1 / distance.
    apart = w.op(OPS.SUB, [touching, near], shape, schema.SubOptionsT())
    inverse = w.op(OPS.DIV, [none_touches, apart], shape, schema.DivOptionsT())
    weights = w.op(OPS.ADD, [touching, inverse], shape, schema.AddOptionsT())
    shares = w.op(OPS.DIV, [weights, w.fold(OPS.SUM, weights, (rows, 1))], shape, schema.DivOptionsT())
    by = [w.expand(shares, (*shape, 1), axis=2), words]
    return w.fold(OPS.SUM, w.op(OPS.MUL, by, (*shape, columns), schema.MulOptionsT()), (rows, columns))


def _least(w: TfliteWriter, k: int, x: int) -> tuple[int, int]:
    """Add the k least of each row, negated, and where they stand."""
    # TOPK_V2 knows the largest only; among equals it gives the first.
    turned = w.op(OPS.NEG, [x], (w.rows(x), w.width(x)), schema.NegOptionsT())
    options, results = schema.TopKV2OptionsT(), [((w.rows(x), k), FLOAT), ((w.rows(x), k), INT)]
    near, nearest = w.op_of(OPS.TOPK_V2, [turned, w.integers(k)], results, options)
    return near, nearest


def _nearest(w: TfliteWriter, node: Nearest, x: int) -> int:
    shape = (w.rows(x), node.k)
    near, places = _least(w, node.k, x)
    least = w.op(OPS.NEG, [near], shape, schema.NegOptionsT())
    belonging = [w.gather(w.floats(column), places, shape) for column in node.values.T]
    return _join(w, Join((0,)), least, *belonging)


def _fill(w: TfliteWriter, node: Fill, x: int) -> int:
    shape = (w.rows(x), w.width(x))
    given = [w.is_missing(x, shape), w.floats(node.values[None]), x]
    return w.op(OPS.SELECT_V2, given, shape, schema.SelectV2OptionsT())


def _missing(w: TfliteWriter, _: Missing, x: int) -> int:
    shape = (w.rows(x), w.width(x))
    return w.cast(w.is_missing(x, shape), shape, kind=BOOL, to=FLOAT)


def _lookup(w: TfliteWriter, node: Lookup, index: int) -> int:
    rows, zero = w.rows(index), w.floats([[0.0]])
    # Not by MAXIMUM, which lets NaN through.
    above = w.op(OPS.GREATER, [index, zero], (rows, 1), schema.GreaterOptionsT(), kind=BOOL)
    positive = w.op(OPS.SELECT_V2, [above, index, zero], (rows, 1), schema.SelectV2OptionsT())
    end = w.floats([[len(node.table) - 1]])
    inside = w.op(OPS.MINIMUM, [positive, end], (rows, 1), schema.MaximumMinimumOptionsT())
    options = schema.SqueezeOptionsT()
    options.squeezeDims = [1]
    place = w.op(OPS.SQUEEZE, [w.cast(inside, (rows, 1), kind=FLOAT, to=INT)], (rows,), options, kind=INT)
    return w.gather(w.floats(node.table), place, (rows, node.table.shape[1]))


FUNCTIONS = {
    Function.RELU: OPS.RELU,
    Function.LOGISTIC: OPS.LOGISTIC,
    Function.TANH: OPS.TANH,
    Function.EXP: OPS.EXP,
    Function.LOG: OPS.LOG,
    Function.SQRT: OPS.SQRT,
    Function.SQUARE: OPS.SQUARE,
    Function.ABS: OPS.ABS,
    Function.FLOOR: OPS.FLOOR,
    Function.NEGATE: OPS.NEG,
    Function.SIN: OPS.SIN,
    Function.COS: OPS.COS,
}

COMPARISONS = {
    Operation.GE: (OPS.GREATER_EQUAL, schema.GreaterEqualOptionsT),
    Operation.GT: (OPS.GREATER, schema.GreaterOptionsT),
    Operation.LE: (OPS.LESS_EQUAL, schema.LessEqualOptionsT),
    Operation.LT: (OPS.LESS, schema.LessOptionsT),
    Operation.EQ: (OPS.EQUAL, schema.EqualOptionsT),
}

OPERATIONS = COMPARISONS | {
    Operation.ADD: (OPS.ADD, schema.AddOptionsT),
    Operation.SUB: (OPS.SUB, schema.SubOptionsT),
    Operation.MUL: (OPS.MUL, schema.MulOptionsT),
    Operation.DIV: (OPS.DIV, schema.DivOptionsT),
    Operation.MAX: (OPS.MAXIMUM, schema.MaximumMinimumOptionsT),
    Operation.MIN: (OPS.MINIMUM, schema.MaximumMinimumOptionsT),
    Operation.POW: (OPS.POW, schema.PowOptionsT),
}

EMISSIONS: dict[type, Callable[..., int]] = {
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
