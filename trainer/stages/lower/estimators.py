"""The door of the lowerings: from a whole fitted estimator to its graph."""

from dataclasses import replace
from typing import Any

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.graph import Graph
from edge_agent.kernels.primitives import Trees
from trainer.stages.lower.registry import lower_part


def lower(estimator: Any, columns: int, *, missing: bool = True) -> Graph:
    """Return the graph that computes the scores of a fitted estimator or pipeline over `columns` inputs.

    `missing` says whether a value may be NaN; where none may, as a device makes sure of by the manifest, trees need
    not ask for it at every node.

    Raises:
        CannotLower: a step has no lowering; the message is the reason.
    """
    b = Builder(columns)
    graph = b.build(lower_part(estimator, b, b.input))
    return graph if missing else without_missing(graph)


def without_missing(graph: Graph) -> Graph:
    """Return the graph for rows without NaN."""
    nodes = (replace(node, missing_left=None) if isinstance(node, Trees) else node for node in graph.nodes)
    return Graph(graph.columns, tuple(nodes))
