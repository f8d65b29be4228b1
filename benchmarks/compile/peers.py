"""Other compilers to set beside ours, where they are installed: they write C, and gcc makes a library of it.

House rules: none of them is a dependency; what is not importable is said to be not installed. Each library is wrapped
in the same loop over rows, and called by ctypes; the time of gcc counts as conversion, since without it nothing runs.
"""

import importlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from c_library import load_library
from routes import Built, NotBuilt
from sklearn.base import is_classifier

COMPILE_S = 100
_OUT_OF_TIME = 124
# Generated trees nest as deeply as the estimator's.
DEPTH = 100_000
_FLAGS = ("-O1", "-s", "-shared", "-fPIC", "-w")
_LOOP = """
void answer(const float *x, int rows, float *out) {
    for (int row = 0; row < rows; row++, x += COLUMNS, out += WIDTH) { ONE_ROW }
}
"""
_DOUBLES = "double given[COLUMNS]; for (int i = 0; i < COLUMNS; i++) given[i] = x[i];"


def _compile(code: str, one_row: str, columns: int, width: int, path: Path, *options: str) -> None:
    source = path.with_suffix(".c")
    source.write_text(f"#define COLUMNS {columns}\n#define WIDTH {width}\n{code}\n{_LOOP.replace('ONE_ROW', one_row)}")
    # `timeout` ends the compiler proper too, of which gcc is only the driver.
    command = ["timeout", str(COMPILE_S), "gcc", *_FLAGS, *options, str(source), "-o", str(path), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == _OUT_OF_TIME:
        raise NotBuilt(f"gcc takes over {COMPILE_S} s")
    if done.returncode:
        raise NotBuilt(f"gcc refuses its code: {done.stderr.strip().splitlines()[0][:80]}")


def _m2cgen(library: Any, estimator: Any, columns: int, path: Path) -> int:
    code = library.export_to_c(estimator)
    single = "double score(double * input)" in code
    width = 1 if single else len(estimator.classes_)
    one = f"{_DOUBLES} out[0] = score(given);"
    several = f"{_DOUBLES} double got[WIDTH]; score(given, got); for (int i = 0; i < WIDTH; i++) out[i] = got[i];"
    _compile(code, one if single else several, columns, width, path)
    return width


def _emlearn(library: Any, estimator: Any, columns: int, path: Path) -> int:
    code = library.convert(estimator, method="inline", dtype="float").save(name="model")
    if is_classifier(estimator) and "model_predict_proba" in code:
        width, one_row = len(estimator.classes_), "model_predict_proba(x, COLUMNS, out, WIDTH);"
    elif is_classifier(estimator) and "model_regress(" in code:
        width, one_row = len(estimator.classes_), "model_regress(x, COLUMNS, out, WIDTH);"
    else:
        width, one_row = 1, "out[0] = model_predict(x, COLUMNS);"
    _compile(code, one_row, columns, width, path, f"-I{library.includedir}")
    return width


def _tl2cgen(library: Any, estimator: Any, columns: int, path: Path) -> int:
    model = importlib.import_module("treelite").sklearn.import_model(estimator)
    folder = path.with_suffix(".folder")
    library.generate_c_code(model, str(folder), params={"parallel_comp": 8})
    sources = [str(source) for source in sorted(folder.glob("*.c"))]
    width = int(model.get_header_accessor().get_field("num_class")[0])
    one_row = (
        "union Entry given[COLUMNS]; for (int i = 0; i < COLUMNS; i++) given[i].fvalue = x[i];"
        "ELEMENT got[WIDTH]; predict(given, 0, got); for (int i = 0; i < WIDTH; i++) out[i] = got[i];"
    )
    header = (folder / "header.h").read_text()
    element = "double" if "void predict(union Entry* data, int pred_margin, double* result)" in header else "float"
    _compile(f'#define ELEMENT {element}\n#include "header.h"', one_row, columns, width, path, f"-I{folder}", *sources)
    return width


_PEERS: dict[str, Callable[[Any, Any, int, Path], int]] = {
    "emlearn": _emlearn,
    "m2cgen": _m2cgen,
    "tl2cgen": _tl2cgen,
}
PEERS = tuple(_PEERS)


def build_peer(peer: str, estimator: Any, columns: int, folder: Path) -> Built:
    """Take one peer's way.

    Raises:
        NotBuilt: it is not installed, or does not know this estimator.
    """
    try:
        library = importlib.import_module(peer)
    except ImportError:
        raise NotBuilt("not installed") from None
    sys.setrecursionlimit(DEPTH)
    path, began = folder / f"{peer}.so", time.perf_counter()
    try:
        # One of them makes numpy raise at every overflow from then on.
        with np.errstate():
            width = _PEERS[peer](library, estimator, columns, path)
    except NotBuilt:
        raise
    except Exception as error:  # each raises a dozen types for what it does not know
        raise NotBuilt(f"{type(error).__name__}: {str(error).strip().splitlines()[0][:80]}") from error
    taken = time.perf_counter() - began
    return Built(peer, f"c:{width}", path, lambda: load_library(str(path), width), taken)
