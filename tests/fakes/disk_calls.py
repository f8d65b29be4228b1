"""Interposes on the calls by which Python and SQLite change files below a folder: to record them, or to let them fail.

House rules: every change must be seen here, so what is written past it (by `open`, which calls the kernel from C) is
found by `crash_states`, which compares its replay with the real folder. SQLite's calls are seen at its own interface
to the system; see `sqlite_calls`.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Made:
    """A file's or folder's name has come."""

    path: Path
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes were written into a file."""

    path: Path
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """A file was cut, or lengthened by zeros, to a size."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Synced:
    """A file or folder was flushed."""

    path: Path


@dataclass(frozen=True, slots=True)
class SyncFailed:
    """A flush failed: what was to be flushed may be lost, and no later flush will write it."""

    path: Path


@dataclass(frozen=True, slots=True)
class Renamed:
    """A name was moved."""

    path: Path
    target: Path


@dataclass(frozen=True, slots=True)
class Removed:
    """A name is gone."""

    path: Path


@dataclass(frozen=True, slots=True)
class Promised:
    """The procedure has said that what it did is durable."""


Change = Made | Written | Cut | Synced | SyncFailed | Renamed | Removed | Promised


class Watcher(Protocol):
    """Whoever looks on. `before` may raise an `OSError`, which the caller then gets instead of the call."""

    def before(self, call: str, path: Path) -> None: ...

    def after(self, change: Change) -> None: ...


class Recorder:
    """Writes down what was changed."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def before(self, call: str, path: Path) -> None:
        pass

    def after(self, change: Change) -> None:
        self.changes.append(change)

    def promise(self) -> None:
        """From here on a power cut must not take back what was done."""
        self.changes.append(Promised())


class Failing(Recorder):
    """Lets calls fail: those named, from the n-th on (0 is the first), `count` of them; and records the others."""

    def __init__(self, number: int, calls: frozenset[str], first: int = 0, count: int = 1_000_000) -> None:
        super().__init__()
        self._number = number
        self._calls = calls
        self.first = first
        self._count = count
        self.seen = 0

    @property
    def happened(self) -> bool:
        return self.seen > self.first

    def before(self, call: str, path: Path) -> None:
        if call not in self._calls:
            return
        self.seen += 1
        if self.first < self.seen <= self.first + self._count:
            if call == "fsync":
                self.changes.append(SyncFailed(path))
            raise OSError(self._number, os.strerror(self._number), str(path))


WRITES = frozenset({"open", "write", "mkdir"})
CHANGES = WRITES | {"rename", "unlink", "truncate", "fsync"}


@contextmanager
def watched(folder: Path, watcher: Watcher) -> Iterator[None]:
    """Hand every change below `folder`, by Python's `os` or by SQLite, to the watcher."""
    from tests.fakes.sqlite_calls import sqlite_watched

    real = {name: getattr(os, name) for name in _HOOKS}
    for name, make in _HOOKS.items():
        setattr(os, name, make(real, folder, watcher))
    try:
        with sqlite_watched(folder, watcher):
            yield
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def _place(path: Any, dir_fd: int | None = None) -> Path:
    if isinstance(path, int):
        return Path(f"/proc/self/fd/{path}").readlink()
    base = Path.cwd() if dir_fd is None else Path(f"/proc/self/fd/{dir_fd}").readlink()
    return base / os.fsdecode(path)


def _hook_open(real: dict[str, Any], folder: Path, watcher: Watcher) -> Callable[..., int]:
    def call(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        place = _place(path, dir_fd)
        if not place.is_relative_to(folder) or not flags & (os.O_CREAT | os.O_TRUNC):
            return int(real["open"](path, flags, mode, dir_fd=dir_fd))
        was_here = place.exists()
        watcher.before("open", place)
        descriptor = int(real["open"](path, flags, mode, dir_fd=dir_fd))
        if not was_here:
            watcher.after(Made(place, is_folder=False))
        elif flags & os.O_TRUNC:
            watcher.after(Cut(place, 0))
        return descriptor

    return call


def _hook_write(real: dict[str, Any], folder: Path, watcher: Watcher) -> Callable[..., int]:
    def call(descriptor: int, data: Any) -> int:
        place = _place(descriptor)
        if not place.is_relative_to(folder):
            return int(real["write"](descriptor, data))
        watcher.before("write", place)
        offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        count = int(real["write"](descriptor, data))
        watcher.after(Written(place, offset, bytes(data)[:count]))
        return count

    return call


def _hook(name: str, call: str, make: Callable[..., Change]) -> Callable[..., Callable[..., None]]:
    """A call that changes one path (or descriptor), or two."""

    def hook(real: dict[str, Any], folder: Path, watcher: Watcher) -> Callable[..., None]:
        def hooked(path: Any, *more: Any, **named: Any) -> None:
            place = _place(path, named.get("dir_fd"))
            if not place.is_relative_to(folder):
                real[name](path, *more, **named)
                return
            watcher.before(call, place)
            real[name](path, *more, **named)
            watcher.after(make(place, *more))

        return hooked

    return hook


_HOOKS: dict[str, Callable[[dict[str, Any], Path, Watcher], Callable[..., Any]]] = {
    "open": _hook_open,
    "write": _hook_write,
    "fsync": _hook("fsync", "fsync", lambda place: Synced(place)),
    "rename": _hook("rename", "rename", lambda place, target: Renamed(place, _place(target))),
    "replace": _hook("replace", "rename", lambda place, target: Renamed(place, _place(target))),
    "unlink": _hook("unlink", "unlink", lambda place: Removed(place)),
    "rmdir": _hook("rmdir", "unlink", lambda place: Removed(place)),
    "mkdir": _hook("mkdir", "mkdir", lambda place, *_: Made(place, is_folder=True)),
    "ftruncate": _hook("ftruncate", "truncate", lambda place, size: Cut(place, size)),
}
