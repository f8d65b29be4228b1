"""SQLite's calls of the system, watched: a VFS laid over its own for Unix while a test runs, without a rebuild.

The wrapped calls are those that change files: open, write, truncate, sync, delete, and the flush of a folder, which the
Unix VFS does by its replaceable system call `openDirectory`. Memory that is shared by mapping (`-shm`) is not seen and
needs not be: after a power cut the first connection makes it anew. Source: sqlite.org/c3ref, `vfs` and `io_methods`.
"""

import _sqlite3
import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import CFUNCTYPE, POINTER, c_char_p, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

from tests.fakes.disk_calls import Cut, Made, Removed, Synced, Watcher, Written

# The name is passed as an address: SQLite keeps it.
_OPEN = CFUNCTYPE(c_int, c_void_p, c_void_p, c_void_p, c_int, POINTER(c_int))
_DELETE = CFUNCTYPE(c_int, c_void_p, c_char_p, c_int)
_GET_CALL = CFUNCTYPE(c_void_p, c_void_p, c_char_p)
_SET_CALL = CFUNCTYPE(c_int, c_void_p, c_char_p, c_void_p)
_OPEN_FOLDER = CFUNCTYPE(c_int, c_char_p, POINTER(c_int))
_CLOSE = CFUNCTYPE(c_int, c_void_p)
_MOVE = CFUNCTYPE(c_int, c_void_p, c_void_p, c_int, c_int64)
_TRUNCATE = CFUNCTYPE(c_int, c_void_p, c_int64)
_SYNC = CFUNCTYPE(c_int, c_void_p, c_int)
_OK, _FULL, _CANTOPEN = 0, 13, 14
_IOERR = {"read": 266, "write": 778, "fsync": 1034, "folder": 1290, "truncate": 1546, "unlink": 2570}


class _Methods(ctypes.Structure):
    _fields_ = (
        ("version", c_int),
        ("close", c_void_p),
        ("read", c_void_p),
        ("write", c_void_p),
        ("truncate", c_void_p),
        ("sync", c_void_p),
        ("others", c_void_p * 13),
    )


class _File(ctypes.Structure):
    _fields_ = (("methods", POINTER(_Methods)),)


class _Vfs(ctypes.Structure):
    _fields_ = (
        ("version", c_int),
        ("file_bytes", c_int),
        ("path_bytes", c_int),
        ("next", c_void_p),
        ("name", c_char_p),
        ("data", c_void_p),
        ("open", c_void_p),
        ("delete", c_void_p),
        ("others", c_void_p * 11),
        ("set_call", c_void_p),
        ("get_call", c_void_p),
        ("next_call", c_void_p),
    )


def _library() -> ctypes.CDLL:
    """The SQLite that Python's module uses: its own dependency, or a part of Python itself."""
    name = getattr(_sqlite3, "__file__", None)
    library = ctypes.CDLL(name)
    library.sqlite3_vfs_find.restype = POINTER(_Vfs)
    return library


@contextmanager
def sqlite_watched(folder: Path, watcher: Watcher) -> Iterator[None]:
    """Let connections that are opened within be watched, as far as their files are below `folder`."""
    library = _library()
    layer = _Layer(library.sqlite3_vfs_find(None), folder, watcher)
    library.sqlite3_vfs_register(ctypes.byref(layer.vfs), 1)
    layer.watch_folders()
    try:
        yield
    finally:
        layer.unwatch_folders()
        library.sqlite3_vfs_unregister(ctypes.byref(layer.vfs))
        library.sqlite3_vfs_register(layer.below, 1)
        _KEPT.append(layer)


# A connection that a test lets go late still calls what it was opened with.
_KEPT: list["_Layer"] = []


class _Layer:
    def __init__(self, below: Any, folder: Path, watcher: Watcher) -> None:
        self.below = below
        self._folder = folder
        self._watcher = watcher
        self._paths: dict[int, Path] = {}
        self._methods: dict[int, tuple[_Methods, Any]] = {}
        real = below.contents
        self.vfs = _Vfs.from_buffer_copy(real)
        self.vfs.name = b"watched"
        self._real_open, self._real_delete = _OPEN(real.open), _DELETE(real.delete)
        self._open, self._delete = _OPEN(self._on_open), _DELETE(self._on_delete)
        self.vfs.open = ctypes.cast(self._open, c_void_p)
        self.vfs.delete = ctypes.cast(self._delete, c_void_p)
        self._folder_call = _GET_CALL(real.get_call)(below, b"openDirectory")
        self._open_folder = _OPEN_FOLDER(self._on_open_folder)

    def watch_folders(self) -> None:
        _SET_CALL(self.below.contents.set_call)(self.below, b"openDirectory", ctypes.cast(self._open_folder, c_void_p))

    def unwatch_folders(self) -> None:
        _SET_CALL(self.below.contents.set_call)(self.below, b"openDirectory", self._folder_call)

    def _refused(self, call: str, path: Path) -> int:
        """What SQLite is told where the watcher lets the call fail."""
        try:
            self._watcher.before("fsync" if call == "folder" else call, path)
        except OSError as error:
            full = call in ("write", "open") and error.errno == errno.ENOSPC
            return _FULL if full else _CANTOPEN if call == "open" else _IOERR[call]
        return _OK

    def _on_open(self, _vfs: int, name: int | None, file: int, flags: int, out: Any) -> int:
        path = None if name is None else Path(os.fsdecode(ctypes.string_at(name)))
        if path is None or not path.is_relative_to(self._folder):
            return self._real_open(self.below, name, file, flags, out)
        was_here = path.exists()
        if not was_here and (code := self._refused("open", path)):
            ctypes.cast(file, POINTER(_File)).contents.methods = None
            return code
        if (code := self._real_open(self.below, name, file, flags, out)) == _OK:
            self._paths[file] = path
            self._patch(ctypes.cast(file, POINTER(_File)).contents)
            if not was_here and path.exists():
                self._watcher.after(Made(path, is_folder=False))
        return code

    def _on_delete(self, _vfs: int, name: bytes, flush: int) -> int:
        path = Path(os.fsdecode(name))
        watched = path.is_relative_to(self._folder) and path.exists()
        if watched and (code := self._refused("unlink", path)):
            return code
        code = self._real_delete(self.below, name, 0)
        if watched and code == _OK:
            self._watcher.after(Removed(path))
        if flush and code == _OK:  # as the Unix VFS does it: the folder's flush is a call of its own
            code = self._flush_folder(path.parent)
        return code

    def _flush_folder(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)  # recorded, and let fail, as any other
        except OSError:
            return _IOERR["folder"]
        finally:
            os.close(descriptor)
        return _OK

    def _on_open_folder(self, name: bytes, out: Any) -> int:
        code = _OPEN_FOLDER(self._folder_call)(name, out)
        path = Path(os.fsdecode(name)).parent
        if code == _OK and path.is_relative_to(self._folder):
            self._watcher.after(Synced(path))
        return code

    def _patch(self, file: _File) -> None:
        address = ctypes.addressof(file.methods.contents)
        if address not in self._methods:
            real = file.methods.contents
            mine = _Methods.from_buffer_copy(real)
            calls = self._calls(real)
            for name, call in calls.items():
                setattr(mine, name, ctypes.cast(call, c_void_p))
            self._methods[address] = (mine, calls)
        file.methods = ctypes.pointer(self._methods[address][0])

    def _calls(self, real: _Methods) -> dict[str, Any]:
        close, read, write = _CLOSE(real.close), _MOVE(real.read), _MOVE(real.write)
        truncate, sync = _TRUNCATE(real.truncate), _SYNC(real.sync)

        def on_close(file: int) -> int:
            self._paths.pop(file, None)
            return close(file)

        def on_read(file: int, data: int, count: int, offset: int) -> int:
            return self._refused("read", self._paths[file]) or read(file, data, count, offset)

        def on_write(file: int, data: int, count: int, offset: int) -> int:
            change = Written(self._paths[file], offset, ctypes.string_at(data, count))
            return self._changed("write", change, lambda: write(file, data, count, offset))

        def on_truncate(file: int, size: int) -> int:
            return self._changed("truncate", Cut(self._paths[file], size), lambda: truncate(file, size))

        def on_sync(file: int, flags: int) -> int:
            # The folder of a new file is flushed within; the record has the file first, as it happens.
            if code := self._refused("fsync", self._paths[file]):
                return code
            self._watcher.after(Synced(self._paths[file]))
            return sync(file, flags)

        return {
            "close": _CLOSE(on_close),
            "read": _MOVE(on_read),
            "write": _MOVE(on_write),
            "truncate": _TRUNCATE(on_truncate),
            "sync": _SYNC(on_sync),
        }

    def _changed(self, call: str, change: Written | Cut, do: Callable[[], int]) -> int:
        code = self._refused(call, change.path) or do()
        if code == _OK:
            self._watcher.after(change)
        return code
