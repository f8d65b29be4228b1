"""Content-addressed files on disk: written durably under their SHA-256, so that a name never lies.

House rules: a file is complete and on the disk before its name appears; reading checks nothing again, since names are
content; the same content is kept once.
"""

import errno
import os
import tempfile
from pathlib import Path

from edge_agent.contract.artifacts import sha256
from edge_agent.contract.topics import check_digest
from fleet_server.store.errors import NotFoundError, UnavailableError


class ArtifactFolder:
    """A folder of files named by their SHA-256."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def put(self, data: bytes) -> str:
        """Keep `data` and return its SHA-256; it is on the disk when this returns.

        Raises:
            UnavailableError: the disk does not take it.
        """
        digest = sha256(data)
        path = self._path(digest)
        if not path.exists():
            try:
                path.parent.mkdir(mode=0o700, exist_ok=True)
                write_durably(path, data)
                sync_folder(self.root)
            except OSError as error:
                raise UnavailableError(f"cannot keep an artifact of {len(data)} bytes: {error}") from error
        return digest

    def read(self, digest: str) -> bytes:
        """Return the bytes with this SHA-256.

        Raises:
            NotFoundError: they are not kept here.
        """
        try:
            return self._path(digest).read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no artifact {digest}") from error

    def has(self, digest: str) -> bool:
        """Whether bytes with this SHA-256 are kept here."""
        return self._path(digest).exists()

    def _path(self, digest: str) -> Path:
        return self.root / check_digest(digest)[:2] / digest


def write_durably(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file so that, after a power cut, it has either this content or what was there before.

    Raises:
        OSError: the disk does not take it; nothing was changed.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where its file system can.

    Raises:
        OSError: the disk does not take it.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems cannot sync a folder
            raise
    finally:
        os.close(handle)
