"""Finds sums over Gaussian kernels in a graph: ONNX has one operator for the whole of it, the regressor of an SVM.

    Distance (squared) -> Scale (by one negative number) -> exp -> Dense (one column)

The operator takes differences as `Distance` does, and is twice as fast as the four.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edge_agent.kernels.graph import Graph, sources
from edge_agent.kernels.primitives import Apply, Dense, Distance, Floats, Function, Metric, Node, Scale
from edge_agent.kernels.rounding import to_singles
from trainer.stages.onnx_writer import OnnxWriter


@dataclass(frozen=True, slots=True, eq=False)
class KernelSum:
    """`exp(-gamma |x - point|²) @ weights + bias`; `nodes` are the indices of the nodes in whose place it stands."""

    source: int
    points: Floats
    gamma: float
    weights: Floats
    bias: float
    nodes: tuple[int, ...]


def find_kernel_sums(graph: Graph) -> Mapping[int, KernelSum]:
    """Return the sums by the index of the node that gives their value; what is within is taken by nothing else."""
    uses = Counter(source for node in graph.nodes for source in sources(node))
    found = {}
    for index, node in enumerate(graph.nodes):
        if isinstance(node, Dense) and node.weights.shape[1] == 1 and node.weights.dtype.kind == "f":
            chain = _chain(graph, index, uses)
            match chain:
                case [Apply(_, Function.EXP), Scale(_, center, factor), Distance(source, points, Metric.SQUARED)] if (
                    not center.any() and factor[0] < 0 and (factor == factor[0]).all() and points.dtype.kind == "f"
                ):
                    nodes = _indices(graph, index)
                    weights, kept = (np.asarray(array, dtype=np.float64) for array in (node.weights, points))
                    found[index] = KernelSum(source, kept, -float(factor[0]), weights, float(node.bias[0]), nodes)
    return found


def _chain(graph: Graph, index: int, uses: Mapping[int, int]) -> list[Node]:
    """Return the three nodes in front of one, the nearest first, as far as each is taken once."""
    chain: list[Node] = []
    value = sources(graph.nodes[index])[0]
    while value and uses[value] == 1 and len(chain) < 3:
        node = graph.nodes[value - 1]
        chain.append(node)
        if len(sources(node)) != 1:
            break
        value = sources(node)[0]
    return chain


def _indices(graph: Graph, index: int) -> tuple[int, ...]:
    indices = [index]
    for _ in range(3):
        indices.append(sources(graph.nodes[indices[-1]])[0] - 1)
    return tuple(indices)


def emit_kernel_sum(w: OnnxWriter, found: KernelSum, x: str) -> str:
    """Add the sum as one operator."""
    return w.op(
        "SVMRegressor",
        x,
        domain="ai.onnx.ml",
        kernel_type="RBF",
        kernel_params=[np.float32(found.gamma), np.float32(0), np.float32(0)],
        n_supports=len(found.points),
        support_vectors=to_singles(found.points).reshape(-1),
        coefficients=to_singles(found.weights).reshape(-1),
        rho=[float(np.float32(found.bias))],
    )
