"""Writes trees as a TreeEnsembleRegressor, whatever they are for; see `emit_onnx` for the reason."""

from typing import Any

import numpy as np

from edge_agent.kernels.primitives import Flags, Ints, Trees
from edge_agent.kernels.rounding import Singles, to_singles
from edge_agent.kernels.tree_layout import lay_out
from trainer.stages.onnx_writer import OnnxWriter


def emit_trees(w: OnnxWriter, node: Trees, x: str) -> str:
    """Add the sum over all trees of their leaves' rows of the table."""
    layout = lay_out(node)
    # Trees one after the other, each from its root on, level by level.
    order = np.argsort(layout.tree, kind="stable")
    place = np.empty_like(order)
    starts = np.searchsorted(layout.tree[order], np.arange(layout.trees))
    place[order] = np.arange(len(order)) - starts[layout.tree[order]]
    tree, is_leaf = layout.tree[order], layout.is_leaf[order]
    child = place[layout.child[order]]
    right = np.where(is_leaf, 0, place[np.minimum(layout.child[order] + 1, len(order) - 1)])
    values = to_singles(node.table, node.scale)[layout.leaf[order]]
    named = _name_targets(values, tree, is_leaf, based=bool(node.base.any()))
    at, target = np.nonzero(named)
    extra: dict[str, Any] = {}
    if node.missing_left is not None:
        goes_right = np.zeros(len(order), bool) if layout.missing_right is None else layout.missing_right[order]
        extra["nodes_missing_value_tracks_true"] = (~goes_right & ~is_leaf).astype(int)
    return w.op(
        "TreeEnsembleRegressor",
        x,
        domain="ai.onnx.ml",
        n_targets=node.table.shape[1],
        aggregate_function="SUM",
        post_transform="NONE",
        base_values=to_singles(node.base) if node.base.any() else None,
        nodes_treeids=tree,
        nodes_nodeids=place[order],
        nodes_featureids=layout.feature[order],
        nodes_modes=np.where(is_leaf, b"LEAF", b"BRANCH_LEQ"),
        nodes_values=np.where(is_leaf, np.float32(0), layout.threshold[order]),
        nodes_truenodeids=np.where(is_leaf, 0, child),
        nodes_falsenodeids=right,
        target_treeids=tree[at],
        target_nodeids=place[order][at],
        target_ids=target,
        target_weights=values[at, target],
        **extra,
    )


def _name_targets(values: Singles, tree: Ints, is_leaf: Flags, *, based: bool) -> Flags:
    """Return which results each node names: a leaf those to which it adds something, and one at least.

    Where there is a base, the leaves of the first tree name also what no tree is sure to name: ONNX Runtime adds the
    base to such results only as some leaf named.
    """
    named: Flags = (values != 0) & is_leaf[:, None]
    if based:
        starts = np.searchsorted(tree, np.arange(int(tree[-1]) + 1))
        silent = np.add.reduceat(is_leaf[:, None] & ~named, starts)
        named |= (is_leaf & (tree == 0))[:, None] & (silent > 0).all(axis=0)
    named[:, 0] |= is_leaf & ~named.any(axis=1)
    return named
