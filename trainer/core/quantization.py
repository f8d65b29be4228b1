"""Weights in small integers: symmetric, one scale a tensor.

One scale a *tensor*, not a channel: tflite-runtime 2.14 loads per-channel weights and predicts at chance, silently.
Activations stay float: in eight bits they ruin tabular models. A scaler is never folded into int8 weights, and
thresholds of trees are never rounded: rows would go the other way.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.kernels.graph import Graph
from edge_agent.kernels.primitives import Dense, Distance, Node, Trees
from trainer.core.arrays import Floats

# The largest integer of each type that is symmetric about 0.
LIMITS = {np.dtype(np.int8): 127, np.dtype(np.int16): 32767}
# Below this many numbers the names and shapes in the file outweigh what could be saved.
LEAST_WEIGHTS = 1024


def quantize(weights: Floats, kind: type[np.signedinteger[Any]] = np.int8) -> tuple[NDArray[Any], float]:
    """Return weights as integers of a type (never its least one) and the scale: `weights ≈ integers * scale`.

    Raises:
        ValueError: a weight is not finite.
    """
    if not np.isfinite(weights).all():
        raise ValueError("a weight is not finite")
    limit = LIMITS[np.dtype(kind)]
    peak = float(np.abs(weights).max(initial=0.0))
    # The scale is stored as float32: divide by what will be multiplied.
    scale = float(np.float32(peak / limit)) or 1.0
    return np.clip(np.rint(weights / scale), -limit, limit).astype(kind), scale


def quantize_graph(graph: Graph) -> Graph:
    """Return the graph with its matrices and stored points in eight bits; everything else stays as it was fitted.

    Raises:
        ValueError: a weight is not finite.
    """

    def small(node: Node) -> Node:
        match node:
            case Dense(_, weights):
                values, scale = quantize(np.asarray(weights, dtype=np.float64))
                return replace(node, weights=values, scale=scale)
            case Distance(_, points):
                values, scale = quantize(np.asarray(points, dtype=np.float64))
                return replace(node, points=values, scale=scale)
            case _:
                return node

    return Graph(graph.columns, tuple(map(small, graph.nodes)))


def quantize_leaves(graph: Graph, kind: type[np.signedinteger[Any]]) -> Graph:
    """Return the graph with what the leaves of its trees say in small integers.

    Raises:
        ValueError: a leaf is not finite.
    """

    def small(node: Node) -> Node:
        if not isinstance(node, Trees):
            return node
        values, scale = quantize(np.asarray(node.table, dtype=np.float64), kind)
        table, places = np.unique(values, axis=0, return_inverse=True)
        leaf = places.reshape(-1)[node.leaf].astype(np.int32)
        return replace(node, table=table, leaf=leaf, scale=scale)

    return Graph(graph.columns, tuple(map(small, graph.nodes)))


def count_weights(graph: Graph) -> int:
    """Return how many numbers of a graph stand in matrices or in points: those that eight bits make smaller."""
    return sum(
        node.weights.size if isinstance(node, Dense) else node.points.size
        for node in graph.nodes
        if isinstance(node, Dense | Distance)
    )


def count_leaf_values(graph: Graph) -> int:
    """Return how many numbers the leaves of a graph's trees say."""
    return sum(node.table.size for node in graph.nodes if isinstance(node, Trees))


def judge_worth(weights: int) -> str | None:
    """Return why so few matrix weights are not worth quantizing, or nothing where they are."""
    if weights >= LEAST_WEIGHTS:
        return None
    return f"nothing to gain: {weights} matrix weights, {4 * weights} bytes in float32"
