"""The door of the lowerings: from a whole fitted estimator to its graph."""

from typing import Any

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.graph import Graph
from trainer.stages.lower.registry import lower_part


def lower(estimator: Any, columns: int) -> Graph:
    """Return the graph that computes the scores of a fitted estimator or pipeline over `columns` inputs.

    Raises:
        CannotLower: a step has no lowering; the message is the reason.
    """
    b = Builder(columns)
    return b.build(lower_part(estimator, b, b.input))
