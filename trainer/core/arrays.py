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


def as_matrix(scores: NDArray[Any]) -> Floats:
    """Return scores as a float64 matrix: one dimension becomes one column."""
    matrix = np.asarray(scores, dtype=np.float64)
    return matrix.reshape(len(matrix), -1)
