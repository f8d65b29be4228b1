"""The interpreter of lowered graphs: a runtime wherever numpy is, and nothing else to install.

One interpreter serves any number of threads, since it keeps no state between calls.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_agent.adapters.runtimes import RuntimeFaultError, SignatureError, translate
from edge_agent.contract.manifest import Manifest
from edge_agent.kernels.format import FormatError, decode
from edge_agent.kernels.interpreter import Interpreter

Matrix = NDArray[np.float32]


class NumpyRuntime:
    """A lowered graph, computed by numpy."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        try:
            self._interpreter = Interpreter(decode(path.read_bytes()))
        except (FormatError, OSError) as error:
            raise RuntimeFaultError(f"{path.name} cannot be loaded: {error}") from error
        except MemoryError as error:
            raise translate(error) from error
        found = (self._interpreter.columns, self._interpreter.width)
        wanted = (len(manifest.input.features), manifest.output.columns)
        if found != wanted:
            raise SignatureError(
                f"the model maps {found[0]} columns to {found[1]}, the manifest {wanted[0]} to {wanted[1]}"
            )

    @property
    def version(self) -> str:
        """The version of numpy."""
        return np.__version__

    def predict(self, x: Matrix) -> Matrix:
        """See `ModelRuntime.predict`."""
        try:
            return self._interpreter.run(x)
        except (ValueError, MemoryError) as error:
            raise translate(error) from error
