"""Deletes what a build left, which may be made to resist: folders nested deeper than a path is long, or closed to all.

`shutil.rmtree` descends as deep as the folders do; this lifts them to the top, one level after the other.
"""

import itertools
import secrets
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_OPEN = stat.S_IRWXU


def remove_tree(folder: Path) -> None:
    """Delete a folder and all below it, following no link; what cannot be deleted stays."""
    if folder.is_symlink() or not folder.is_dir():
        return
    mark = secrets.token_hex(8)
    names = (folder / f".{mark}-{number}" for number in itertools.count())
    with suppress(OSError):
        folder.chmod(_OPEN)
        while inner := [place for place in folder.iterdir() if _is_folder(place)]:
            gone = [_flatten(place, names) for place in inner]
            if not all(gone):
                return  # it would not end
        for place in folder.iterdir():
            place.unlink()
        folder.rmdir()


def _flatten(inner: Path, names: Iterator[Path]) -> bool:
    """Delete a folder, after its own folders were given new names; return whether it is gone."""
    with suppress(OSError):
        inner.chmod(_OPEN)
        for place in list(inner.iterdir()):
            if _is_folder(place):
                place.chmod(_OPEN)  # to move a folder, its own `..` is written
                place.rename(next(names))
            else:
                place.unlink()
        inner.rmdir()
        return True
    return False


def _is_folder(place: Path) -> bool:
    return stat.S_ISDIR(place.lstat().st_mode)
