"""The forms that a lowered model may take: as it was fitted, or smaller in one of the ways that suit its family.

House rules: a form is a graph, so that every back-end has every form; what a form loses is measured, never assumed.
Matrix weights and stored points may be rounded to 8 bits, what leaves say to 16 or 8; forests may be pruned, or cut to
their first trees. Thresholds are never rounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_agent.contract.manifest import Precision
from edge_agent.kernels.graph import Graph
from trainer.core.quantization import (
    LEAST_WEIGHTS,
    count_leaf_values,
    count_weights,
    judge_worth,
    quantize_graph,
    quantize_leaves,
)
from trainer.errors import UnbuildableError
from trainer.stages.lower.estimators import without_missing

EIGHT_BITS = "weights in 8 bits"
PRUNED = (75, 50, 35, 25, 12, 6, 3)
CUT = (75, 50, 25, 12)


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """A form of a model: its name in variants, what was done in words, and whether numbers were only rounded."""

    key: str
    words: str
    precision: Precision
    graph: Graph
    rounded: bool


def eight_bits(graph: Graph) -> Graph:
    """Return the graph with its matrix weights and points in eight bits.

    Raises:
        UnbuildableError: it has too few for that to make it smaller.
    """
    if reason := judge_worth(count_weights(graph)):
        raise UnbuildableError(reason)
    return quantize_graph(graph)


def smaller_forms(estimator: Any, graph: Graph, *, missing: bool = True) -> Iterator[Form]:
    """Yield every smaller form of a fitted estimator whose lowered graph is given; `missing` as for `lower`."""
    if count_weights(graph) >= LEAST_WEIGHTS:
        yield Form("int8", EIGHT_BITS, Precision.INT8, quantize_graph(graph), rounded=True)
    leaves = count_leaf_values(graph)
    if leaves >= LEAST_WEIGHTS:
        yield Form("int16", "leaves in 16 bits", Precision.INT16, quantize_leaves(graph, np.int16), rounded=True)
        yield Form("leaf8", "leaves in 8 bits", Precision.INT8, quantize_leaves(graph, np.int8), rounded=True)
    if not leaves:
        return
    for key, words, shrunk in _shrunk(estimator, graph.columns):
        smaller = shrunk if missing else without_missing(shrunk)
        yield Form(key, words, Precision.FP32, smaller, rounded=False)
        if count_leaf_values(smaller) >= LEAST_WEIGHTS:
            rounded = quantize_leaves(smaller, np.int16)
            yield Form(f"{key}-int16", f"{words}, leaves in 16 bits", Precision.INT16, rounded, rounded=False)


def _shrunk(estimator: Any, columns: int) -> Iterator[tuple[str, str, Graph]]:
    from trainer.stages.lower.registry import lower_part
    from trainer.stages.lower.shrinking import Shrinking, ShrinkingBuilder, Way

    words = {Way.PRUNE: "pruned to {} % of its nodes", Way.CUT: "the first {} % of its trees"}
    for way, percents in ((Way.PRUNE, PRUNED), (Way.CUT, CUT)):
        for percent in percents:
            b = ShrinkingBuilder(columns, Shrinking(way, percent))
            smaller = b.build(lower_part(estimator, b, b.input))
            if not b.applied:
                break
            yield f"{way}{percent}", words[way].format(percent), smaller
