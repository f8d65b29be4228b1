"""LiteRT, or `tflite_runtime` where only that exists (32-bit boards).

An interpreter is for one thread at a time, so a lock stands before each. The interpreter for one row stays allocated;
one for batches is made with the first batch and resized when the number of rows changes.
"""

import contextlib
import importlib
import importlib.metadata
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.adapters.runtimes import SignatureError, translate
from edge_agent.contract.manifest import Manifest

Matrix = NDArray[np.float32]

_PACKAGES = (("ai_edge_litert.interpreter", "ai-edge-litert"), ("tflite_runtime.interpreter", "tflite-runtime"))


def _find_interpreter() -> tuple[Any, str]:
    """Return the interpreter class that is installed, and its distribution's version."""
    for module, distribution in _PACKAGES:
        with contextlib.suppress(ImportError):
            return importlib.import_module(module).Interpreter, importlib.metadata.version(distribution)
    raise ImportError("neither ai_edge_litert nor tflite_runtime can be imported")


class TfliteRuntime:
    """A TFLite model; all calls take turns."""

    def __init__(self, path: Path, manifest: Manifest, threads: int) -> None:
        self._path = str(path)
        self._threads = threads
        self._features = len(manifest.input.features)
        self._lock = threading.Lock()
        self._interpreter_class, self._version = _find_interpreter()
        self._row = self._open(1)
        _check_signature(self._row, self._features, manifest.output.columns)
        self._batch: _Interpreter | None = None

    @property
    def version(self) -> str:
        """The version of the LiteRT or TFLite distribution."""
        return self._version

    def predict(self, x: Matrix) -> Matrix:
        """See `ModelRuntime.predict`."""
        with self._lock:
            try:
                if len(x) == 1:
                    return self._row.predict(x)
                if self._batch is None:
                    self._batch = self._open(len(x))
                self._batch.resize(len(x), self._features)
                return self._batch.predict(x)
            except (RuntimeError, ValueError, MemoryError) as error:
                self._batch = None
                raise translate(error) from error

    def _open(self, rows: int) -> "_Interpreter":
        try:
            interpreter = self._interpreter_class(model_path=self._path, num_threads=self._threads)
            return _Interpreter(interpreter, rows, self._features)
        except (RuntimeError, ValueError, MemoryError) as error:
            raise translate(error) from error


class _Interpreter:
    """An interpreter allocated for a number of rows."""

    def __init__(self, interpreter: Any, rows: int, features: int) -> None:
        self._interpreter = interpreter
        self.inputs = interpreter.get_input_details()
        self.outputs = interpreter.get_output_details()
        self._in, self._out = self.inputs[0]["index"], self.outputs[0]["index"]
        self._rows = 0
        self.resize(rows, features)

    def resize(self, rows: int, features: int) -> None:
        """Allocate for `rows` rows, unless it is so already."""
        if rows != self._rows:
            self._interpreter.resize_tensor_input(self._in, (rows, features))
            self._interpreter.allocate_tensors()
            self._rows = rows

    def predict(self, x: Matrix) -> Matrix:
        self._interpreter.set_tensor(self._in, x)
        self._interpreter.invoke()
        scores: Matrix = self._interpreter.get_tensor(self._out)
        return scores


def _check_signature(row: _Interpreter, features: int, columns: int) -> None:
    for what, details, width in (("input", row.inputs, features), ("output", row.outputs, columns)):
        if len(details) != 1:
            raise SignatureError(f"the model has {len(details)} {what}s; a bundle's has one")
        shape = tuple(int(size) for size in details[0]["shape_signature"])
        if details[0]["dtype"] is not np.float32 or len(shape) != 2 or shape[1] not in (-1, width):
            kind = np.dtype(details[0]["dtype"])
            raise SignatureError(f"the model's {what} is {kind} {shape}, the manifest's float32 (rows, {width})")
