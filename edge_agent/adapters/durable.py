"""The one place that writes files which must survive a power cut: written aside, flushed, renamed, folder flushed.

House rules: a reader sees the old content or the new, never a part. A name becomes visible only when all behind it is
on the disk, and disappears whole before anything behind it does. After a flush that failed nothing is taken for
written: the kernel reports a lost page once and then calls it clean, so the next try writes anew, into a new file.
Only `os.open`, `os.write` and their like are used here, since tests record them and enumerate what a cut may leave.
Source: the Linux manual pages rename(2) and fsync(2): a rename is atomic, and is durable only after the folder itself
is flushed; a new file's name likewise.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

_FILE_MODE = 0o644
_GONE = ".gone-"
_CHECKSUM_BYTES = 64


class DamagedError(Exception):
    """Sealed bytes are not what was written."""


def write_file(path: Path, data: bytes, *, mode: int = _FILE_MODE) -> None:
    """Replace `path` by `data`; after return it survives a power cut.

    Raises:
        OSError: the disk is full or failing; readers see the old content whole, or the new one if only the folder
            could not be flushed, which a power cut may then take back.
    """
    replace_file(path, data, mode=mode, flush=True)
    sync_folder(path.parent)


def replace_file(path: Path, data: bytes, *, mode: int = _FILE_MODE, flush: bool = False) -> None:
    """Replace `path` at once for readers; without `flush` it may be lost in a power cut (status files).

    Raises:
        OSError: the disk is full or not writable; `path` is as before.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        _write(aside, (data,), mode, flush=flush)
        os.rename(aside, path)  # noqa: PTH104 - seen by tests, as the house rules say
    except OSError:
        with contextlib.suppress(OSError):  # on a disk that is read-only by now it stays, and is cleared later
            aside.unlink()
        raise


def write_pieces(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file of a folder that is not placed yet, flushed; whoever places the folder flushes its names.

    Raises:
        OSError: the disk is full or failing; a part may be there.
    """
    _write(path, pieces, _FILE_MODE, flush=True)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries.

    Raises:
        OSError: the folder cannot be opened or flushed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, durably; one that is here is flushed, and so is its name.

    Whoever made it, or put something into it, may have been killed before it was flushed.

    Raises:
        OSError: it cannot be made or flushed.
    """
    if not path.parent.is_dir():
        make_folder(path.parent)
    is_new = not path.is_dir()
    path.mkdir(exist_ok=True)
    try:
        sync_folder(path)
        sync_folder(path.parent)
    except OSError:
        if is_new:  # or the next try would find it, and not flush the names above it
            path.rmdir()
        raise


def place_folder(staging: Path, final: Path) -> None:
    """Make a folder whose files are already flushed appear as `final`, durably; both lie in the same folder.

    There is no replacing: between two renames there would be neither. Name folders by content or generation, and flip
    a pointer to them by `write_file`.

    Raises:
        OSError: `final` is here already (and not empty), or the disk is failing; `final` is as before.
    """
    sync_folder(staging)
    os.rename(staging, final)  # noqa: PTH104 - seen by tests, as the house rules say
    try:
        sync_folder(final.parent)
    except OSError:
        os.rename(final, staging)  # noqa: PTH104 - what is not surely there shall not be found there
        raise


def remove_folder(path: Path) -> None:
    """Remove a folder so that no power cut leaves a part of it under its name; an absent one is fine.

    Raises:
        OSError: it could not be renamed or removed; under its name it is whole or absent.
    """
    gone = path.with_name(f"{_GONE}{path.name}")
    if gone.exists():
        shutil.rmtree(gone)
    with contextlib.suppress(FileNotFoundError):
        os.rename(path, gone)  # noqa: PTH104 - seen by tests, as the house rules say
        sync_folder(path.parent)  # or a cut could bring the name back with half of its files
        shutil.rmtree(gone)


def clear_remains(folder: Path, *patterns: str) -> None:
    """Remove what cuts left in a folder: files half written, folders half removed, and what matches `patterns`.

    Raises:
        OSError: it cannot be removed.
    """
    for pattern in (".*.new", f"{_GONE}*", *patterns):
        for left in folder.glob(pattern):
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left)
            else:
                left.unlink(missing_ok=True)


def seal(data: bytes) -> bytes:
    """Return `data` behind a line with its SHA-256 in hex, so that a disk's rot is found."""
    return hashlib.sha256(data).hexdigest().encode() + b"\n" + data


def unseal(sealed: bytes) -> bytes:
    """Return what was sealed.

    Raises:
        DamagedError: it is not what was written.
    """
    checksum, data = sealed[:_CHECKSUM_BYTES], sealed[_CHECKSUM_BYTES + 1 :]
    if sealed[_CHECKSUM_BYTES : _CHECKSUM_BYTES + 1] != b"\n" or hashlib.sha256(data).hexdigest().encode() != checksum:
        raise DamagedError(f"{len(sealed)} bytes do not have the checksum before them")
    return data


def _write(path: Path, pieces: Iterable[bytes], mode: int, *, flush: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        for piece in pieces:
            left = memoryview(piece)
            while left:
                left = left[os.write(descriptor, left) :]
        if flush:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
