"""The walk through trees in numpy: all rows through all trees at once, one level after the other."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_agent.kernels.primitives import Trees
from edge_agent.kernels.rounding import Singles, to_singles
from edge_agent.kernels.tree_layout import lay_out

# As many positions (rows times trees times columns of the table) are kept at once as stay in a small processor's cache.
POSITIONS = 1 << 16


def make_walk(trees: Trees) -> Callable[[Singles], Singles]:
    """Return the function from rows to the sums over their leaves."""
    layout, table, base = lay_out(trees), to_singles(trees.table, trees.scale), to_singles(trees.base)
    feature, threshold = layout.feature.astype(np.intp), layout.threshold
    child, missing_right, leaf = layout.child.astype(np.intp), layout.missing_right, layout.leaf.astype(np.intp)
    roots = np.arange(layout.trees, dtype=np.intp)
    at_once = max(1, POSITIONS // (layout.trees * table.shape[1]))

    def walk(x: Singles) -> Any:
        rows, columns = x.shape
        flat, begins = x.reshape(-1), (np.arange(rows, dtype=np.intp) * columns)[:, None]
        # Rows without a gap, which most are, need not ask at every node.
        gaps = missing_right if missing_right is not None and np.isnan(x).any() else None
        at = np.broadcast_to(roots, (rows, layout.trees))
        for _ in range(layout.depth):
            asked = flat.take(feature.take(at) + begins)
            right = asked > threshold.take(at)
            if gaps is not None:
                right |= np.isnan(asked) & gaps.take(at)
            at = child.take(at) + right
        total = table.take(leaf.take(at), axis=0).sum(axis=1, dtype=np.float64) + base
        return total.astype(np.float32)

    def walk_in_parts(x: Singles) -> Singles:
        parts = [walk(x[begin : begin + at_once]) for begin in range(0, max(len(x), 1), at_once)]
        together: Singles = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return together

    return walk_in_parts
