"""Uploaded files on their way to disk: names are checked, sizes counted, nothing is left behind on failure."""

import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from fastapi import UploadFile

from fleet_server.services.errors import InvalidError, TooLargeError

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_MAX_FILES = 300
_MAX_DEPTH = 4
_BLOCK = 1 << 20


@contextmanager
def temporary_folder(root: Path) -> Iterator[Path]:
    """Give a private folder below `root`, gone afterwards."""
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = Path(tempfile.mkdtemp(dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def save_all(files: list[UploadFile], folder: Path, limit: int) -> None:
    """Save files at the relative paths that their names state.

    Raises:
        InvalidError: a name leads elsewhere, repeats, or there are too many.
        TooLargeError: together they are over `limit` bytes.
    """
    if not 1 <= len(files) <= _MAX_FILES:
        raise InvalidError(f"a version folder has 1 to {_MAX_FILES} files")
    left = limit
    for file in files:
        place = folder / check_path(file.filename or "")
        if place.exists():
            raise InvalidError(f"{file.filename!r} comes twice")
        place.parent.mkdir(parents=True, exist_ok=True)
        left -= save(file, place, left)


def save(file: UploadFile, place: Path, limit: int) -> int:
    """Save one file and return its size in bytes.

    Raises:
        TooLargeError: it is over `limit` bytes.
    """
    size = 0
    with place.open("xb") as out:
        while block := file.file.read(_BLOCK):
            size += len(block)
            if size > limit:
                raise TooLargeError(f"more than {limit} bytes were left for {place.name!r}")
            out.write(block)
    return size


def check_path(name: str) -> PurePosixPath:
    """Return a relative path that stays where it is put.

    Raises:
        InvalidError: it does not.
    """
    path = PurePosixPath(name)
    if not 1 <= len(path.parts) <= _MAX_DEPTH or not all(_PART.fullmatch(part) for part in path.parts):
        raise InvalidError(f"{name[:100]!r} is no path inside a version folder")
    return path
