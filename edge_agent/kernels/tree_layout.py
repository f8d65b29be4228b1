"""Trees in the order in which a machine walks them: level by level, children side by side.

The walk of all rows through all trees at once is then `at = child[at] + (x[feature[at]] > threshold[at])`, repeated
`depth` times: a leaf has itself as its child and +inf as its threshold, so that whoever arrived stays.
"""

from dataclasses import dataclass

import numpy as np

from edge_agent.kernels.primitives import Flags, Ints, Trees
from edge_agent.kernels.rounding import Singles, floor_singles


@dataclass(frozen=True, slots=True, eq=False)
class TreeLayout:
    """Node arrays in walking order; the roots are the first `trees` nodes.

    `missing_right` is None where NaN need not go right anywhere. `tree` is the number of the tree of each node.
    """

    trees: int
    depth: int
    feature: Ints
    threshold: Singles
    child: Ints
    missing_right: Flags | None
    leaf: Ints
    tree: Ints

    @property
    def is_leaf(self) -> Flags:
        """Whether each node is a leaf."""
        stays: Flags = self.child == np.arange(len(self.child))
        return stays


def lay_out(trees: Trees) -> TreeLayout:
    """Return the trees in walking order, with thresholds floored to float32; nodes without a root are left out."""
    levels, owners, children = [trees.roots], [np.arange(len(trees.roots), dtype=np.int32)], []
    start = 0
    while True:
        level, own = levels[-1], np.arange(start, start + len(levels[-1]), dtype=np.int32)
        start += len(level)
        inner = trees.left[level] >= 0
        child = own.copy()
        child[inner] = start + 2 * np.arange(np.count_nonzero(inner), dtype=np.int32)
        children.append(child)
        if not inner.any():
            break
        parents = level[inner]
        levels.append(np.column_stack([trees.left[parents], trees.right[parents]]).reshape(-1))
        owners.append(np.repeat(owners[-1][inner], 2))
    order = np.concatenate(levels)
    inner = trees.left[order] >= 0
    missing_right = None if trees.missing_left is None else ~trees.missing_left[order] & inner
    return TreeLayout(
        trees=len(trees.roots),
        depth=len(levels) - 1,
        feature=np.where(inner, trees.feature[order], 0).astype(np.int32),
        threshold=np.where(inner, floor_singles(trees.threshold[order]), np.float32(np.inf)),
        child=np.concatenate(children),
        missing_right=missing_right if missing_right is not None and missing_right.any() else None,
        leaf=np.where(inner, 0, trees.leaf[order]).astype(np.int32),
        tree=np.concatenate(owners),
    )
