"""A file that is given up when the disk is full, so that what the device does can still be journalled (agent.reserve).

House rules: real bytes, since a sparse file keeps nothing free. It is kept again only where there is plenty of room.
"""

import contextlib
import os
from pathlib import Path

from edge_agent.adapters import durable

RESERVE_BYTES = 256 * 1024
# Below this the reserve would itself be what fills the disk.
_PLENTY = 8


class Reserve:
    """The file, kept or given up."""

    def __init__(self, path: Path, size_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        self._size = size_bytes

    def keep(self) -> None:
        """Have the file where there is room for it; nothing happens where there is not."""
        with contextlib.suppress(OSError):
            if not self._path.exists() and self._has_plenty():
                durable.write_file(self._path, bytes(self._size))

    def give_up(self) -> bool:
        """Free the file's room; return whether there was any."""
        try:
            self._path.unlink()
            durable.sync_folder(self._path.parent)  # some file systems free nothing before
        except OSError:
            return False
        return True

    def _has_plenty(self) -> bool:
        found = os.statvfs(self._path.parent)
        return found.f_bavail * found.f_frsize >= _PLENTY * self._size
