"""Names for the arrays that the trainer's parts exchange. Rows first, columns second, everywhere."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Int8s = NDArray[np.int8]
Indices = NDArray[np.intp]
# A target: float64 values, or labels of any one type.
Column = NDArray[Any]


def as_singles(x: Floats) -> Singles:
    """Round a matrix to float32 as a device gets it, C-contiguous."""
    return np.ascontiguousarray(x, dtype=np.float32)


def share_rows(matrix: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return the distinct rows of a matrix, sorted, and for each row which of them it is."""
    table, places = np.unique(matrix, axis=0, return_inverse=True)
    return table, places.reshape(-1).astype(np.int32)


def as_matrix(scores: NDArray[Any]) -> Floats:
    """Return scores as a float64 matrix: one dimension becomes one column."""
    matrix = np.asarray(scores, dtype=np.float64)
    return matrix.reshape(len(matrix), -1)
