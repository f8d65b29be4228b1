"""Pickles in every disguise that we know of; each runs a shell command, or a program, where somebody loads it."""

import bz2
import gzip
import io
import lzma
import pickle  # noqa: TID251 - it only writes what must never be loaded
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np

from tests.fakes import hostile_files
from tests.fakes.hostile_files import Acting


class ActingLater:
    """The program stands in the state: it runs when the object is built, after harmless looking globals."""

    def __init__(self, program: str) -> None:
        self.program = program

    def __reduce__(self) -> tuple[object, ...]:
        return list, (), None, iter([Acting(self.program)])


def raw_global(place: Path) -> bytes:
    """Protocol 0 by hand: the oldest opcodes."""
    return f"cos\nsystem\n(S'touch {place}'\ntR.".encode()


def raw_instance(place: Path) -> bytes:
    """The INST opcode, which names its class without GLOBAL."""
    return f"(S'touch {place}'\nios\nsystem\n.".encode()


def raw_object(place: Path) -> bytes:
    """The OBJ opcode, for those who look for REDUCE alone."""
    return f"(cos\nsystem\nS'touch {place}'\no.".encode()


def dotted(place: Path) -> bytes:
    """STACK_GLOBAL with a dotted name, past a list of forbidden names."""
    name, module, text = b"path.os.system", b"os", f"touch {place}".encode()
    short = lambda data: b"\x8c" + bytes([len(data)]) + data  # noqa: E731
    words = b"X" + len(text).to_bytes(4, "little") + text
    return b"\x80\x04" + short(module) + short(name) + b"\x93" + words + b"\x85R."


def object_array(place: Path) -> bytes:
    """An .npy file of objects."""
    held = np.empty(1, dtype=object)
    held[0] = Acting(hostile_files.touched(place))
    buffer = io.BytesIO()
    np.save(buffer, held, allow_pickle=True)
    return buffer.getvalue()


def object_npz(place: Path) -> bytes:
    """Golden vectors whose arrays are of objects."""
    held = np.empty((64, 2), dtype=object)
    held[:] = Acting(hostile_files.touched(place))
    buffer = io.BytesIO()
    np.savez(buffer, x=held, scores=held)
    return buffer.getvalue()


def by_joblib(method: str) -> Callable[[Path], bytes]:
    """As joblib writes it, compressed."""

    def made(place: Path) -> bytes:
        buffer = io.BytesIO()
        joblib.dump(Acting(hostile_files.touched(place)), buffer, compress=(method, 3))
        return buffer.getvalue()

    return made


def plain(protocol: int) -> Callable[[Path], bytes]:
    """As pickle writes it."""
    return lambda place: pickle.dumps(Acting(hostile_files.touched(place)), protocol)


def _wrapped(wrap: Callable[[bytes], bytes]) -> Callable[[Path], bytes]:
    return lambda place: wrap(pickle.dumps(Acting(hostile_files.touched(place)), 4))


def _in_zip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("archive/data.pkl", data)
        opened.writestr("x.npy", data)
    return buffer.getvalue()


def _in_tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        info = tarfile.TarInfo("model.pkl")
        info.size = len(data)
        opened.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


DISGUISES: dict[str, Callable[[Path], bytes]] = {
    **{f"protocol-{number}": plain(number) for number in range(6)},
    "state": lambda place: pickle.dumps(ActingLater(hostile_files.touched(place)), 2),
    "global": raw_global,
    "instance": raw_instance,
    "object": raw_object,
    "dotted-name": dotted,
    **{f"joblib-{method}": by_joblib(method) for method in ("zlib", "gzip", "bz2", "xz", "lzma")},
    "zlib": _wrapped(zlib.compress),
    "gzip": _wrapped(gzip.compress),
    "bz2": _wrapped(bz2.compress),
    "xz": _wrapped(lzma.compress),
    "zip": _wrapped(_in_zip),
    "tar": _wrapped(_in_tar),
    "npy": object_array,
    "npz": object_npz,
    "skops": lambda place: hostile_files.skops_around_a_pickle(hostile_files.touched(place)),
    "onnx-magic": _wrapped(lambda data: b"\x08\x07\x12\x00" + data),
    "tflite-magic": _wrapped(lambda data: b"\x1c\x00\x00\x00TFL3" + data),
    "pickle-then-zip": _wrapped(lambda data: data + _in_zip(b"")),
}
