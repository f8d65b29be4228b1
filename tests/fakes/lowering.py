"""Compares what is lowered with the estimator that it came from, on every back-end that runs here.

`check_lowered(estimator, x)` is the whole of it: the rows are rounded to float32, the estimator answers for them, and
so does each back-end. `hard_rows` makes the rows on which compilers go wrong: on and around every threshold, extremes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from edge_agent.contract.manifest import OutputSpec, ScoreKind
from edge_agent.kernels.graph import Graph
from edge_agent.kernels.primitives import Trees
from trainer.core.arrays import Floats, Singles, as_matrix, as_singles
from trainer.core.parity import compare, judge_exact
from trainer.stages.lower.estimators import lower
from trainer.stages.signature import read_signature

Run = Callable[[Singles], Floats]
SCORED = ("predict", "fit_predict")
LEAST_NORMAL = np.finfo(np.float32).smallest_normal


def check_lowered(estimator: Any, x: Floats, *, trees: bool = False) -> Graph:
    """Assert that every back-end gives the scores of a fitted estimator (of a transformer, its features).

    The bound is that of the parity gate; with `trees` the wider one for sums over trees and for what follows them.
    """
    singles = as_singles(x)
    reference, output = reference_scores(estimator, singles)
    graph = lower(estimator, singles.shape[1])
    for name, run in backends(graph):
        verdict = judge_exact(compare(output, reference, run(singles), trees=trees))
        assert verdict is None, f"{name}: {verdict}"
        # Judged among all rows: the bound depends on how far their scores are spread.
        alone = np.concatenate([*(run(row[None]) for row in singles[:3]), reference[3:]])
        verdict = judge_exact(compare(output, reference, alone, trees=trees))
        assert verdict is None, f"{name}, one row at a time: {verdict}"
    return graph


def reference_scores(estimator: Any, singles: Singles) -> tuple[Floats, OutputSpec]:
    """Return what the estimator itself gives for float32 rows, and what kind of scores that is."""
    rows = singles.astype(np.float64)
    if any(hasattr(estimator, name) for name in SCORED):
        signature = read_signature(estimator)
        return signature.scores(rows), signature.output
    features = estimator.transform(rows)
    features = as_matrix(features.toarray() if hasattr(features, "toarray") else features)
    return features, OutputSpec("scores", ScoreKind.VALUE, features.shape[1])


def backends(graph: Graph) -> Iterator[tuple[str, Run]]:
    """Yield every back-end that is here, with the function that runs the graph on it."""
    from edge_agent.kernels.interpreter import Interpreter

    interpreter = Interpreter(graph)
    yield "numpy", lambda x: np.asarray(interpreter.run(x), dtype=np.float64)
    yield "onnx", _on_onnx(graph)
    yield "tflite", _on_tflite(graph)


def hard_rows(graph: Graph, x: Floats, *, seed: int = 0, most: int = 200) -> Singles:
    """Return rows that stand on a threshold of the graph's trees or one float32 step beside it, and extreme ones."""
    chance = np.random.default_rng(seed)
    splits = [
        (int(node.feature[index]), node.threshold[index])
        for node in graph.nodes
        if isinstance(node, Trees) and node.source == 0
        for index in np.flatnonzero(node.left >= 0)
        if np.isfinite(np.float32(node.threshold[index])) and node.feature[index] < x.shape[1]
    ]
    chosen = [splits[place] for place in chance.permutation(len(splits))[: most // 3]]
    base = as_singles(x)[chance.integers(0, len(x), size=3 * len(chosen))]
    for place, (feature, threshold) in enumerate(chosen):
        near = np.float32(threshold)
        steps = (np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf)))
        # A subnormal number may count as 0 on a device: it is no row that anything is promised of.
        base[3 * place : 3 * place + 3, feature] = [0 if abs(step) < LEAST_NORMAL else step for step in steps]
    low, high = x.min(axis=0), x.max(axis=0)
    flat = [np.zeros_like(low), low, high, low - 3 * (high - low), high + 3 * (high - low)]
    return np.concatenate([base, as_singles(np.array(flat))])


def with_missing(x: Floats, share: float, seed: int = 0) -> Floats:
    """Return the rows with a share of their values NaN, and one row of nothing else."""
    chance = np.random.default_rng(seed)
    holes = np.where(chance.random(x.shape) < share, np.nan, x)
    holes[-1] = np.nan
    return holes


def _on_onnx(graph: Graph) -> Run:
    import onnxruntime

    from trainer.stages.emit_onnx import emit

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(emit(graph), settings, providers=["CPUExecutionProvider"])
    return lambda x: np.asarray(session.run(None, {"x": x})[0], dtype=np.float64)


def _on_tflite(graph: Graph) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    from trainer.stages.emit_tflite import emit

    interpreter = Interpreter(model_content=emit(graph), num_threads=1)
    given, wanted = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def run(x: Singles) -> Floats:
        interpreter.resize_tensor_input(given, x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given, x)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(wanted), dtype=np.float64)

    return run
