"""The lowered graph refuses what does not fit together."""

import numpy as np
import pytest

from trainer.core.graph import Apply, Function, Graph, apply, chain, dense, scale


def test_a_chain_knows_its_widths() -> None:
    graph = chain(4, scale(np.zeros(4), np.ones(4)), dense(np.ones((4, 3)), np.zeros(3)), apply(Function.SOFTMAX))
    assert graph.widths == (4, 4, 3, 3)


@pytest.mark.parametrize(
    "part",
    [scale(np.zeros(3), np.ones(3)), dense(np.ones((3, 2)), np.zeros(2)), dense(np.ones((4, 2)), np.zeros(3))],
)
def test_parts_that_do_not_fit_are_refused(part: object) -> None:
    with pytest.raises(ValueError, match="node 0"):
        chain(4, part)  # type: ignore[arg-type]


def test_order_and_emptiness_are_refused() -> None:
    with pytest.raises(ValueError, match="does not come before"):
        Graph(2, (Apply(1, Function.RELU),))
    with pytest.raises(ValueError, match="one node"):
        Graph(2, ())
