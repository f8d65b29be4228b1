"""The one place that writes files which must survive a power cut: written aside, flushed, renamed, folder flushed.

House rules: a reader sees the old content or the new, never a part. Source: the Linux manual pages rename(2) and
fsync(2): a rename is atomic, and is durable only after the folder itself is flushed.
"""

import os
import shutil
from pathlib import Path

_FILE_MODE = 0o644


def write_file(path: Path, data: bytes, *, mode: int = _FILE_MODE) -> None:
    """Replace `path` by `data`; after return it survives a power cut.

    Raises:
        OSError: the disk is full or not writable; `path` is as before.
    """
    replace_file(path, data, mode=mode, flush=True)
    sync_folder(path.parent)


def replace_file(path: Path, data: bytes, *, mode: int = _FILE_MODE, flush: bool = False) -> None:
    """Replace `path` at once for readers; without `flush` it may be lost in a power cut (status files).

    Raises:
        OSError: the disk is full or not writable; `path` is as before.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        aside.rename(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


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


def place_folder(staging: Path, final: Path) -> None:
    """Make a folder whose files are already flushed appear as `final`, durably; an older `final` is replaced.

    Raises:
        OSError: it could not be renamed.
    """
    sync_folder(staging)
    if final.exists():
        shutil.rmtree(final)
    staging.rename(final)
    sync_folder(final.parent)
