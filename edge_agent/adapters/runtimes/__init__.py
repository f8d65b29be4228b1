"""Inference runtimes behind one small protocol: a float32 matrix in, a float32 matrix of scores out.

House rules: a runtime (and numpy) is imported when the first model of its kind is opened, never before. Exceptions of
the runtimes are translated here. Models are opened by path, on one thread: loading from bytes costs the file's size
again, and more threads lose on models of this size.
"""

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edge_agent.contract.manifest import Manifest, Runtime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Matrix = NDArray[np.float32]


class RuntimeFaultError(Exception):
    """The runtime could not load the model, or an inference raised; the message is the runtime's own."""


class RuntimeMissingError(RuntimeFaultError):
    """The runtime that the bundle needs is not installed on this device."""


class RuntimeMemoryError(RuntimeFaultError):
    """The runtime ran out of memory, by the board's or the worker's limit."""


class SignatureError(RuntimeFaultError):
    """The model's own input or output is not what the manifest states."""


class ModelRuntime(Protocol):
    """A loaded model. Safe to call from several threads."""

    @property
    def version(self) -> str:
        """The runtime library's version."""

    def predict(self, x: "Matrix") -> "Matrix":
        """Return the scores, float32 (rows, columns), of `x`, C-contiguous float32 (rows, features).

        Raises:
            RuntimeFaultError: the inference failed; RuntimeMemoryError where memory was the cause.
        """


def open_runtime(manifest: Manifest, folder: Path, *, threads: int = 1) -> ModelRuntime:
    """Load the model file of a bundle's folder with the runtime that its manifest names.

    Raises:
        RuntimeMissingError: that runtime is not installed.
        SignatureError: the model's input or output differs from the manifest.
        RuntimeMemoryError: no memory.
        RuntimeFaultError: the runtime refused the file.
    """
    path = folder / manifest.model_file
    try:
        match manifest.runtime:
            case Runtime.ONNX:
                from edge_agent.adapters.runtimes.onnx import OnnxRuntime

                model: ModelRuntime = OnnxRuntime(path, manifest, threads)
            case Runtime.TFLITE:
                from edge_agent.adapters.runtimes.tflite import TfliteRuntime

                model = TfliteRuntime(path, manifest, threads)
            case Runtime.NUMPY:
                from edge_agent.adapters.runtimes.numpy import NumpyRuntime

                model = NumpyRuntime(path, manifest)
    except ImportError as error:
        package = "numpy" if manifest.runtime is Runtime.NUMPY else f"edgeloop[{manifest.runtime!s}]"
        raise RuntimeMissingError(
            f"the runtime {manifest.runtime!s} is not installed here ({error}); install {package}"
        ) from error
    trim_memory()
    return model


def translate(error: Exception) -> RuntimeFaultError:
    """Return the fault that stands for a runtime's own exception."""
    text = " ".join(str(error).split())[:500]
    signs = ("bad_alloc", "bad allocation", "Failed to allocate", "failed to allocate", "out of memory")
    if isinstance(error, MemoryError) or any(sign in text for sign in signs):
        return RuntimeMemoryError(f"out of memory: {text}")
    return RuntimeFaultError(text or type(error).__name__)


def trim_memory() -> None:
    """Give freed heap back to the system; parsing a model leaves several times its size behind (glibc only)."""
    libc: Any = ctypes.CDLL(None)
    trim = getattr(libc, "malloc_trim", None)
    if trim is not None:
        trim(0)
