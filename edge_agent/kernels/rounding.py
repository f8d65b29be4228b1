"""How weights become float32."""

import numpy as np
from numpy.typing import NDArray

from edge_agent.kernels.primitives import Floats, Smalls

Singles = NDArray[np.float32]


def to_singles(values: Floats | Smalls, scale: float = 1.0) -> Singles:
    """Return the nearest float32 values, C-contiguous; what is beyond float32's range becomes infinite.

    Small integers are multiplied with their scale as a runtime does it: both are float32.
    """
    with np.errstate(over="ignore"):
        singles = np.ascontiguousarray(values, dtype=np.float32)
        return singles if scale == 1 else singles * np.float32(scale)


def floor_singles(values: Floats) -> Singles:
    """Return the largest float32 values that are not above.

    For a float32 x, `x <= floor_singles(t)` holds exactly where `x <= t` does.
    """
    nearest = to_singles(values)
    with np.errstate(over="ignore", under="ignore"):
        return np.where(nearest > values, np.nextafter(nearest, np.float32(-np.inf)), nearest)
