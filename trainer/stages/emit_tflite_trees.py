"""Writes trees as TFLite operators: all rows walk through all trees at once, one level after the other.

`at = child[at] + (x[feature[at]] > threshold[at])`, repeated for each level; `tree_layout` says why it ends. A
comparison with NaN is false, so NaN goes left. Where it must go right at some nodes, the columns are doubled: once with
-inf for NaN, once with +inf, and a node looks at the one that leads it the right way.
"""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_agent.kernels.primitives import Trees
from edge_agent.kernels.rounding import Singles
from edge_agent.kernels.tree_layout import TreeLayout, lay_out
from trainer.errors import UnbuildableError
from trainer.stages.emit_tflite_writer import BOOL, INT, OPS, TfliteWriter

_LARGEST = np.float32(np.finfo(np.float32).max)


def emit_trees(w: TfliteWriter, node: Trees, x: int) -> int:
    """Add the sum over all trees of their leaves' rows of the table.

    Raises:
        UnbuildableError: NaN goes right where no finite number does.
    """
    layout = lay_out(node)
    feature, threshold = layout.feature, layout.threshold
    if layout.missing_right is not None:
        feature = np.where(layout.missing_right, feature + w.width(x), feature)
        threshold = _finite(layout)
        x = _double(w, x)
    at = _walk(w, layout, feature, threshold, x)
    rows, columns = w.rows(x), node.table.shape[1]
    leaf = w.gather(w.integers(layout.leaf), at, (rows, layout.trees), kind=INT)
    words = w.gather(w.weights(node.table, node.scale), leaf, (rows, layout.trees, columns))
    total = w.fold(OPS.SUM, words, (rows, columns))
    if not node.base.any():
        return total
    return w.op(OPS.ADD, [total, w.floats(node.base[None])], (rows, columns), schema.AddOptionsT())


def _walk(w: TfliteWriter, layout: TreeLayout, feature: "np.ndarray", threshold: Singles, x: int) -> int:
    """Add the walk from the roots to the leaves."""
    shape = (w.rows(x), layout.trees)
    roots = slice(0, layout.trees)
    asked = w.gather(x, w.integers(feature[roots]), shape, axis=1)
    at = _step(w, asked, w.constant(threshold[None, roots]), w.integers(layout.child[None, roots]), shape)
    features, thresholds, children = w.integers(feature), w.constant(threshold), w.integers(layout.child)
    for _ in range(layout.depth - 1):
        asked = w.gather(x, w.gather(features, at, shape, kind=INT), shape, axis=1, own=True)
        at = _step(w, asked, w.gather(thresholds, at, shape), w.gather(children, at, shape, kind=INT), shape)
    return at


def _step(w: TfliteWriter, asked: int, threshold: int, child: int, shape: tuple[int, int]) -> int:
    right = w.op(OPS.GREATER, [asked, threshold], shape, schema.GreaterOptionsT(), kind=BOOL)
    step = w.cast(right, shape, kind=BOOL, to=INT)
    return w.op(OPS.ADD, [child, step], shape, schema.AddOptionsT(), kind=INT)


def _double(w: TfliteWriter, x: int) -> int:
    """Add the columns twice: with NaN below every threshold, then with NaN above every threshold."""
    shape = (w.rows(x), w.width(x))
    missing = w.is_missing(x, shape)
    # Infinity itself stays at the largest number, so that it still goes left where the threshold was infinite.
    below_infinity = w.op(OPS.MINIMUM, [x, w.floats([[_LARGEST]])], shape, schema.MaximumMinimumOptionsT())
    low = w.op(OPS.SELECT_V2, [missing, w.floats([[-np.inf]]), x], shape, schema.SelectV2OptionsT())
    high = w.op(OPS.SELECT_V2, [missing, w.floats([[np.inf]]), below_infinity], shape, schema.SelectV2OptionsT())
    options = schema.ConcatenationOptionsT()
    options.axis = 1
    return w.op(OPS.CONCATENATION, [low, high], (shape[0], 2 * shape[1]), options)


def _finite(layout: TreeLayout) -> Singles:
    """Return the thresholds, with the largest number for infinity where NaN goes right."""
    right = layout.missing_right
    largest = (layout.threshold == _LARGEST) & right
    if largest.any():
        raise UnbuildableError("NaN goes right at a threshold beyond float32: TFLite cannot tell it from infinity")
    return np.where((layout.threshold == np.inf) & right, _LARGEST, layout.threshold)
