"""Refuses trees in ONNX that do not end: a node that leads back to one before it is a loop, and runtimes follow it.

Source: TreeEnsembleClassifier and TreeEnsembleRegressor of ai.onnx.ml 1 and 3.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from trainer.errors import RejectedError

Integers = NDArray[np.int64]

TREES = frozenset({"TreeEnsembleClassifier", "TreeEnsembleRegressor"})
_MODES = frozenset({b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GTE", b"BRANCH_GT", b"BRANCH_EQ", b"BRANCH_NEQ", b"LEAF"})
MAX_DEPTH = 4096
_LISTS = ("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids")


def refuse_broken_trees(node: onnx.NodeProto, columns: int | None) -> None:
    """Let a node pass whose trees, if it has any, end on every path and ask for columns that are there.

    `columns` is the width of its input, where it is known.

    Raises:
        RejectedError: lists differ in length, a child or column is missing, or a path does not end.
    """
    if node.op_type not in TREES:
        return
    attributes = {attribute.name: attribute for attribute in node.attribute}
    ints = {name: np.array(attributes[name].ints if name in attributes else (), dtype=np.int64) for name in _LISTS}
    modes: Sequence[bytes] = attributes["nodes_modes"].strings if "nodes_modes" in attributes else ()
    count = len(modes)
    if count == 0 or any(len(values) != count for values in ints.values()):
        raise RejectedError(f"the lists of {node.op_type} differ in length, or are empty")
    if not _MODES.issuperset(modes):
        raise RejectedError(f"{node.op_type} has a node of an unknown mode")
    branch = np.array([mode != b"LEAF" for mode in modes])
    asked = ints["nodes_featureids"][branch]
    if asked.size and (asked.min() < 0 or (columns is not None and asked.max() >= columns)):
        raise RejectedError(f"{node.op_type} asks for a column that its input does not have")
    places = {key: place for place, key in enumerate(zip(ints["nodes_treeids"], ints["nodes_nodeids"], strict=True))}
    if len(places) != count:
        raise RejectedError(f"{node.op_type} has two nodes of one number in a tree")
    left, right = (_children(ints, branch, places, side) for side in ("nodes_truenodeids", "nodes_falsenodeids"))
    if (left[branch] < 0).any() or (right[branch] < 0).any():
        raise RejectedError(f"{node.op_type} has a branch to a node that is not there")
    _refuse_loops(node.op_type, left, right)


def _children(
    ints: dict[str, Integers], branch: NDArray[np.bool_], places: dict[tuple[int, int], int], side: str
) -> Integers:
    """Return the place of each branch's child on one side; -1 where there is none."""
    found = np.full(len(branch), -1, dtype=np.int64)
    keys = zip(ints["nodes_treeids"][branch], ints[side][branch], strict=True)
    found[branch] = [places.get(key, -1) for key in keys]
    return found


def _refuse_loops(name: str, left: Integers, right: Integers) -> None:
    """Refuse paths that do not end: taken from the roots level by level, whoever is never reached goes round."""
    waits_for = np.bincount(np.concatenate([left[left >= 0], right[right >= 0]]), minlength=len(left))
    level, seen, depth = np.flatnonzero(waits_for == 0), 0, 0
    while level.size:
        seen, depth = seen + len(level), depth + 1
        if depth > MAX_DEPTH:
            raise RejectedError(f"{name} has a tree of more than {MAX_DEPTH} levels")
        below = np.concatenate([left[level], right[level]])
        below = below[below >= 0]
        np.subtract.at(waits_for, below, 1)
        level = np.unique(below[waits_for[below] == 0])
    if seen < len(left):
        raise RejectedError(f"{name} has a path that leads back to itself and never ends")
