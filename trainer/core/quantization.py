"""Weights in eight bits: symmetric, one scale a tensor.

One scale a *tensor*, not a channel: tflite-runtime 2.14 loads per-channel weights and predicts at chance, silently.
Activations stay float: in eight bits they ruin tabular models. A scaler is never folded into int8 weights.
"""

from dataclasses import replace

import numpy as np

from edge_agent.kernels.graph import Graph
from edge_agent.kernels.primitives import Dense
from trainer.core.arrays import Floats, Int8s

LIMIT = 127
# Below this many weights the names and shapes in the file outweigh what could be saved.
LEAST_WEIGHTS = 1024


def quantize(weights: Floats) -> tuple[Int8s, float]:
    """Return int8 weights in -127..127 and the scale such that `weights ≈ int8 * scale`.

    Raises:
        ValueError: a weight is not finite.
    """
    if not np.isfinite(weights).all():
        raise ValueError("a weight is not finite")
    peak = float(np.abs(weights).max(initial=0.0))
    # The scale is stored as float32: divide by what will be multiplied.
    scale = float(np.float32(peak / LIMIT)) or 1.0
    return np.clip(np.rint(weights / scale), -LIMIT, LIMIT).astype(np.int8), scale


def quantize_graph(graph: Graph) -> Graph:
    """Return the graph with its matrix weights in eight bits; everything else stays as it was fitted.

    Raises:
        ValueError: a weight is not finite.
    """

    def small(node: Dense) -> Dense:
        weights, scale = quantize(np.asarray(node.weights, dtype=np.float64))
        return replace(node, weights=weights, scale=scale)

    return Graph(graph.columns, tuple(small(node) if isinstance(node, Dense) else node for node in graph.nodes))


def judge_worth(weights: int) -> str | None:
    """Return why so few matrix weights are not worth quantizing, or nothing where they are."""
    if weights >= LEAST_WEIGHTS:
        return None
    return f"nothing to gain: {weights} matrix weights, {4 * weights} bytes in float32"
