"""What a primitive checks of its own arrays; all raise ValueError with what is wrong."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def expect(holds: bool, otherwise: str) -> None:
    """Refuse with a message what does not hold."""
    if not holds:
        raise ValueError(otherwise)


def refuse_nan(*arrays: NDArray[Any]) -> None:
    """Refuse a NaN among weights."""
    if any(bool(np.isnan(array).any()) for array in arrays):
        raise ValueError("a weight is NaN")


def expect_walks(roots: NDArray[Any], left: NDArray[Any], right: NDArray[Any], inner: NDArray[np.bool_]) -> None:
    """Refuse trees in which a walk does not end, or in which a node is walked to from two places."""
    children = np.concatenate([left[inner], right[inner]])
    after = children > np.tile(np.flatnonzero(inner), 2)
    expect(bool((after & (children < len(left))).all()), "a child does not stand after its parent")
    expect(bool(((roots >= 0) & (roots < len(left))).all()), "a root is not among the nodes")
    reached = np.bincount(np.concatenate([roots, children]), minlength=len(left))
    expect(int(reached.max()) == 1, "a node has two parents, or is a root and a child")
