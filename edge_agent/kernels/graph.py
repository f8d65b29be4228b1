"""The lowered form of a model: a small typed graph of primitives that every back-end knows, and its builder.

House rules: value 0 is the input matrix, value i + 1 is what node i gives; a node's sources come before it, and the
last node gives the scores. Whatever exists as a `Graph` fits together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.kernels.primitives import (
    Apply,
    Combine,
    Constant,
    Dense,
    Distance,
    Fill,
    Join,
    Lookup,
    Missing,
    Nearest,
    Node,
    Pick,
    Reduce,
    Scale,
    Trees,
    Vote,
)


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Nodes in order; the last one gives the scores."""

    columns: int
    nodes: tuple[Node, ...]

    def __post_init__(self) -> None:
        if self.columns < 1 or not self.nodes:
            raise ValueError("a graph has one input column and one node at least")
        _ = self.widths

    @property
    def widths(self) -> tuple[int, ...]:
        """Columns of every value, the input first."""
        widths = [self.columns]
        for index, node in enumerate(self.nodes):
            try:
                widths.append(measure(node, widths))
            except ValueError as error:
                raise ValueError(f"node {index} ({type(node).__name__}): {error}") from error
        return tuple(widths)


def sources(node: Node) -> tuple[int, ...]:
    """Return the values that a node takes."""
    match node:
        case Constant():
            return ()
        case Join(taken):
            return taken
        case Combine(left, _, right):
            return left, right
        case _:
            return (node.source,)


def measure(node: Node, widths: Sequence[int]) -> int:
    """Return the columns of what a node gives, where the values before it have `widths`.

    Raises:
        ValueError: it takes a value that does not come before it, or one of another width than it needs.
    """
    for source in sources(node):
        if not 0 <= source < len(widths):
            raise ValueError(f"it takes value {source}, which does not come before it")
    match node:
        case Constant(values):
            return int(values.shape[1])
        case Join(taken):
            return sum(widths[source] for source in taken)
        case Combine(left, _, right):
            return _measure_pair(widths[left], widths[right])
        case _:
            return _measure_one(node, widths[node.source])


def _measure_pair(left: int, right: int) -> int:
    if left != right and 1 not in (left, right):
        raise ValueError(f"{left} columns meet {right}")
    return max(left, right)


def _measure_one(node: Node, incoming: int) -> int:  # noqa: C901 - one case a primitive
    needed, given = incoming, incoming
    match node:
        case Scale(_, center, _):
            needed = len(center)
        case Dense(_, weights):
            needed, given = weights.shape
        case Pick(_, columns):
            if int(columns.min()) < 0 or int(columns.max()) >= incoming:
                raise ValueError(f"it picks a column beyond the {incoming} that there are")
            given = len(columns)
        case Reduce():
            given = 1
        case Trees():
            if int(node.feature[node.left >= 0].max(initial=-1)) >= incoming:
                raise ValueError(f"it asks for a column beyond the {incoming} that there are")
            given = int(node.table.shape[1])
        case Distance(_, points):
            given, needed = points.shape
        case Vote(_, _, values, _):
            needed, given = values.shape
        case Nearest(_, k, values):
            needed, given = len(values), k * (1 + values.shape[1])
        case Fill(_, values):
            needed = len(values)
        case Lookup(_, table):
            needed, given = 1, int(table.shape[1])
        case Apply() | Missing() | Constant() | Join() | Combine():
            pass
    if needed != incoming:
        raise ValueError(f"it needs {needed} columns, not {incoming}")
    return given
