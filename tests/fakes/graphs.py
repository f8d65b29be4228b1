"""Random lowered graphs in which every primitive occurs, and the back-ends that run them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter as LiteRt
from hypothesis import strategies as st

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.graph import Graph
from edge_agent.kernels.interpreter import Interpreter
from edge_agent.kernels.primitives import Function, Metric, Operation, Reduction, Trees, Weighting
from trainer.stages import emit_onnx, emit_tflite

Array = np.ndarray[Any, Any]
Run = Callable[[Array], Array]
# A function that amplifies the last digit, or that is not defined everywhere, has its own place below.
SMOOTH = (Function.RELU, Function.LOGISTIC, Function.TANH, Function.SOFTMAX, Function.ABS, Function.NEGATE)
PRIMITIVES = (
    "constant", "scale", "dense", "apply", "pick", "join", "combine", "reduce", "trees", "distance", "vote", "nearest",
    "fill", "missing", "lookup",
)  # fmt: skip


def on_numpy(graph: Graph) -> Run:
    return Interpreter(graph).run


def on_onnx(graph: Graph) -> Run:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(emit_onnx.emit(graph), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0]


def on_tflite(graph: Graph) -> Run:
    interpreter = LiteRt(model_content=emit_tflite.emit(graph), num_threads=1)
    given, wanted = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(x: Array) -> Array:
        interpreter.resize_tensor_input(given, x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given, x)
        interpreter.invoke()
        return np.array(interpreter.get_tensor(wanted))

    return run


BACKENDS = {"numpy": on_numpy, "onnx": on_onnx, "tflite": on_tflite}


def add_trees(b: Builder, source: int, chance: np.random.Generator, *, k: int, trees: int, missing: bool) -> int:
    """Add random trees whose thresholds stand on a coarse grid, so that rows stand on them."""
    feature, threshold, left, right, roots = [], [], [], [], []

    def grow(depth: int) -> int:
        own = len(feature)
        feature.append(int(chance.integers(b.width(source))))
        threshold.append(float(chance.integers(-4, 5)) / 4 + float(chance.choice([0.0, 1e-9, -1e-9])))
        left.append(-1)
        right.append(-1)
        if depth and chance.random() < 0.8:
            left[own] = grow(depth - 1)
            right[own] = grow(depth - 1)
        return own

    for _ in range(trees):
        roots.append(grow(int(chance.integers(0, 5))))
    return b.trees(
        source,
        roots=roots,
        feature=feature,
        threshold=threshold,
        left=left,
        right=right,
        values=chance.integers(-8, 9, size=(len(feature), k)) / 8,
        missing_left=chance.random(len(feature)) < 0.5 if missing else None,
        base=chance.integers(-8, 9, size=k) / 8,
    )


def add_random(b: Builder, kind: str, source: int, other: int, chance: np.random.Generator) -> int:  # noqa: C901 - a case a kind
    """Add a primitive of a kind; values stay within a few units, so that errors are comparable."""
    width = b.width(source)

    def some(*shape: int) -> Array:
        return chance.normal(size=shape) / 2

    match kind:
        case "constant":
            return b.constant(some(width))
        case "scale":
            return b.scale(source, some(width), some(width))
        case "dense":
            return b.dense(source, some(width, 3) / width, some(3))
        case "apply":
            return b.apply(source, SMOOTH[chance.integers(len(SMOOTH))])
        case "pick":
            return b.pick(source, chance.integers(width, size=chance.integers(1, 5)))
        case "join":
            return b.join(source, other, b.constant(some(2)))
        case "combine":
            left = source if width == b.width(other) else b.reduce(source, Reduction.MAX)
            operations = (Operation.ADD, Operation.SUB, Operation.MAX, Operation.MIN)
            return b.combine(left, operations[chance.integers(4)], other)
        case "reduce":
            return b.reduce(source, (Reduction.SUM, Reduction.MAX, Reduction.MIN)[chance.integers(3)])
        case "trees":
            # Only the input has values that stand on the grid exactly.
            return add_trees(
                b, 0, chance, k=int(chance.integers(1, 4)), trees=int(chance.integers(1, 5)), missing=False
            )
        case "distance":
            return b.distance(source, some(4, width), tuple(Metric)[chance.integers(3)])
        case "vote":
            distances = b.distance(0, chance.integers(-4, 5, size=(6, b.width(0))) / 4, Metric.MANHATTAN)
            weighting = tuple(Weighting)[chance.integers(2)]
            return b.vote(distances, int(chance.integers(1, 7)), some(6, 2), weighting)
        case "nearest":
            # What stands apart by less than a rounding may change places.
            columns = b.distance(0, chance.integers(-4, 5, size=(6, b.width(0))) / 4, Metric.MANHATTAN)
            return b.nearest(columns, int(chance.integers(1, 7)), some(6, int(chance.integers(1, 3))))
        case "fill":
            return b.fill(source, some(width))
        case "missing":
            return b.missing(source)
        case _:
            index = b.reduce(b.pick(0, [0, b.width(0) - 1]), Reduction.ARGMAX)
            return b.lookup(index, some(2, 3))


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Draw a graph of some primitives in any order, each taking any values before it."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    b = Builder(draw(st.integers(1, 4)))
    value = 0
    kinds = draw(st.lists(st.sampled_from(PRIMITIVES), min_size=1, max_size=8))
    for place, kind in enumerate(kinds):
        sources = [value, int(chance.integers(0, place + 1))]
        value = add_random(b, kind, *(min(source, value) for source in sources), chance)
    return b.build(value)


def grid_rows(columns: int, rows: int, seed: int = 0) -> Array:
    """Rows of multiples of a quarter, on which random trees and points stand."""
    return np.random.default_rng(seed).integers(-5, 6, size=(rows, columns)).astype(np.float32) / 4


def threshold_rows(trees: Trees, columns: int) -> Array:
    """Rows on each threshold and one float32 step to either side of it, in every column."""
    near = np.unique(trees.threshold[trees.left >= 0].astype(np.float32))
    steps = np.concatenate([near, np.nextafter(near, np.float32(-np.inf)), np.nextafter(near, np.float32(np.inf))])
    # XNNPACK takes a subnormal number for 0.
    normal = steps[(steps == 0) | (np.abs(steps) >= np.finfo(np.float32).tiny)]
    return np.repeat(normal[:, None], columns, axis=1)
