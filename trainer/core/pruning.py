"""Cost-complexity pruning of fitted trees: which nodes become leaves when a leaf costs so much.

Source: Breiman, Friedman, Olshen and Stone, Classification and Regression Trees (1984), chapter 3. The cost of a
subtree is the sum over its leaves of their risk (the impurity weighted by the share of training rows) plus `alpha`
for each leaf; a node becomes a leaf where that costs no more. For one `alpha` the cheapest subtree of every node is
found from the leaves up, for all trees of an ensemble at once.

House rules: arrays of nodes as in `edge_agent.kernels.primitives.Trees`; what a node says as a leaf is known for every
node, also for the inner ones.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.core.arrays import Floats, Indices

Mask = NDArray[np.bool_]
# Halvings of the logarithm of alpha; more move no node of a fitted forest.
_STEPS = 40


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Trees side by side: `left` and `right` are negative at leaves, `risk` is what each node costs as a leaf."""

    roots: Indices
    left: Indices
    right: Indices
    risk: Floats

    def levels(self) -> list[Indices]:
        """Return the nodes of each depth, the roots first."""
        levels = [self.roots]
        while True:
            inner = levels[-1][self.left[levels[-1]] >= 0]
            if not len(inner):
                return levels
            levels.append(np.concatenate([self.left[inner], self.right[inner]]))


def collapsed(trees: Structure, levels: list[Indices], alpha: float) -> Mask:
    """Return which inner nodes become leaves where a leaf costs `alpha`; below them nothing is asked any more."""
    cost = trees.risk + alpha
    ends = np.zeros(len(cost), dtype=np.bool_)
    for level in reversed(levels):
        inner = level[trees.left[level] >= 0]
        below = cost[trees.left[inner]] + cost[trees.right[inner]]
        ends[inner] = cost[inner] <= below
        cost[inner] = np.minimum(cost[inner], below)
    return ends


def count_nodes(trees: Structure, ends: Mask) -> int:
    """Return how many nodes are left when some inner nodes have become leaves."""
    level, count = trees.roots, 0
    while len(level):
        count += len(level)
        inner = level[(trees.left[level] >= 0) & ~ends[level]]
        level = np.concatenate([trees.left[inner], trees.right[inner]])
    return count


def choose_ends(trees: Structure, most_nodes: int) -> Mask:
    """Return which inner nodes become leaves at the least `alpha` that leaves at most so many nodes.

    Every tree keeps its root, so there may be more where `most_nodes` is below the number of trees.
    """
    levels = trees.levels()
    high = float(np.log(max(trees.risk[trees.roots].sum(), np.finfo(np.float64).tiny) * 2))
    low = high - np.log(1e12)
    best = collapsed(trees, levels, float(np.exp(high)))
    for _ in range(_STEPS):
        middle = (low + high) / 2
        ends = collapsed(trees, levels, float(np.exp(middle)))
        if count_nodes(trees, ends) <= most_nodes:
            best, high = ends, middle
        else:
            low = middle
    return best
