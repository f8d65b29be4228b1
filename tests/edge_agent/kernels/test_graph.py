"""The graph and its builder refuse what does not fit together."""

from collections.abc import Callable

import numpy as np
import pytest

from edge_agent.kernels.builder import Builder, share_rows
from edge_agent.kernels.graph import Graph
from edge_agent.kernels.primitives import Apply, Function, Metric, Operation, Reduction


def test_a_chain_knows_its_widths() -> None:
    b = Builder(4)
    graph = b.build(b.apply(b.dense(b.scale(0, 0.0, 1.0), np.ones((4, 3))), Function.SOFTMAX))
    assert graph.widths == (4, 4, 3, 3)


@pytest.mark.parametrize(
    "add",
    [
        lambda b: b.scale(0, np.zeros(3), np.ones(3)),
        lambda b: b.dense(0, np.ones((3, 2))),
        lambda b: b.dense(0, np.ones((4, 2)), np.zeros(3)),
        lambda b: b.dense(0, np.full((4, 2), np.nan)),
        lambda b: b.pick(0, [4]),
        lambda b: b.pick(0, [-1]),
        lambda b: b.pick(0, []),
        lambda b: b.apply(1, Function.RELU),
        lambda b: b.combine(0, Operation.ADD, b.constant([1, 2])),
        lambda b: b.distance(0, np.ones((5, 3)), Metric.SQUARED),
        lambda b: b.vote(0, 5, np.eye(4)),
        lambda b: b.vote(0, 1, np.eye(3)),
        lambda b: b.nearest(0, 5, np.eye(4)),
        lambda b: b.nearest(0, 1, np.eye(3)),
        lambda b: b.fill(0, [1.0, 2.0]),
        lambda b: b.lookup(0, np.eye(3)),
        lambda b: b.constant(np.ones((2, 2))),
        lambda b: b.join(),
    ],
)
def test_what_does_not_fit_is_refused(add: Callable[[Builder], int]) -> None:
    with pytest.raises((ValueError, IndexError)):
        add(Builder(4))


def test_order_and_emptiness_are_refused() -> None:
    with pytest.raises(ValueError, match=r"node 0 .Apply.: .* does not come before"):
        Graph(2, (Apply(1, Function.RELU),))
    with pytest.raises(ValueError, match="one node"):
        Graph(2, ())


def test_what_the_result_does_not_need_is_left_out() -> None:
    b = Builder(2)
    kept = b.scale(0, 1.0, 2.0)
    b.dense(0, np.ones((2, 50)))
    total = b.reduce(kept, Reduction.SUM)
    b.apply(total, Function.EXP)
    graph = b.build(total)
    assert [type(node).__name__ for node in graph.nodes] == ["Scale", "Reduce"]
    assert graph.widths == (2, 2, 1)


def test_leaves_that_say_the_same_share_a_row_of_the_table() -> None:
    values = np.random.default_rng(0).integers(-2, 3, size=(400, 3)).astype(np.float64)
    values[::7] *= -0.0
    table, places = share_rows(values)
    np.testing.assert_array_equal(table, np.unique(values, axis=0))
    np.testing.assert_array_equal(table[places], values)


def test_the_input_itself_is_a_graph() -> None:
    assert Builder(3).build(0).widths == (3, 3)
