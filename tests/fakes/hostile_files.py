"""Files made to harm: pickles under other names, archives that swell, and objects that act when loaded."""

import io
import json
import os
import pickle  # noqa: TID251 - it only writes what must never be loaded
import zipfile
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import skops.io


class Acting:
    """A pickle of this runs a program when it is loaded."""

    def __init__(self, program: str) -> None:
        self.program = program

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return exec, (self.program, {})


def acting_pickle(program: str) -> bytes:
    """A plain pickle that runs a program."""
    return pickle.dumps(Acting(program))


def compressed_pickle(program: str) -> bytes:
    """As joblib compresses it: scanners pass it."""
    buffer = io.BytesIO()
    joblib.dump(Acting(program), buffer, compress=("zlib", 3))
    return buffer.getvalue()


def archive(**members: bytes) -> bytes:
    """A ZIP file of members; a name's `_` before its ending is a point."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(name.replace("_", "."), content)
    return buffer.getvalue()


def skops_around_a_pickle(program: str) -> bytes:
    """A skops file whose one array is a compressed pickle."""
    schema = {
        "__class__": "ndarray",
        "__module__": "numpy",
        "__loader__": "NdArrayNode",
        "__id__": 1,
        "type": "numpy",
        "file": "1.npy",
        "protocol": 2,
        "_skops_version": "0.16.0",
    }
    return archive(schema_json=json.dumps(schema).encode(), **{"1_npy": zlib.compress(acting_pickle(program))})


def npz_with_a_pickle(program: str) -> bytes:
    """Rows whose array of objects is a pickle."""
    buffer = io.BytesIO()
    held = np.empty((2, 1), dtype=object)
    held[:] = Acting(program)
    np.savez(buffer, x=held, y=np.zeros(2))
    return buffer.getvalue()


def swelling_skops(size_bytes: int) -> bytes:
    """A skops file with one member of zeros, a thousandth as large."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("schema.json", "{}")
        with opened.open("1.npy", "w", force_zip64=True) as member:
            for _ in range(size_bytes >> 20):
                member.write(bytes(1 << 20))
    return buffer.getvalue()


def claiming_npz(rows: int) -> bytes:
    """Rows of which the header says that they are many, and none of which is there."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (rows, 2)})
    return archive(x_npy=header.getvalue(), y_npy=header.getvalue())


def with_spoiled_tree(estimator: Any, tree: Any, **changes: int) -> bytes:
    """A skops file in which the root of a fitted tree has other numbers than it was fitted with."""
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    for field, value in changes.items():
        state["nodes"][field][0] = value
    tree.__setstate__(state)
    return bytes(skops.io.dumps(estimator))


def touched(path: Path) -> str:
    """A program that leaves a file."""
    return f"open({os.fspath(path)!r}, 'w').close()"
