"""The chunk store (chunks/): verified chunks of what is being fetched, and the files made of them.

House rules: a chunk is stored only under the SHA-256 that its bytes have, durably, so that a download resumes where a
cut left it. Decompression is bounded in memory and in size before a byte is trusted; the result must have exactly the
listed size and SHA-256.
"""

import contextlib
import hashlib
import lzma
from collections.abc import Iterable, Iterator
from pathlib import Path

from edge_agent.adapters import durable
from edge_agent.contract.artifacts import CHUNK_BYTES, DECODER_MEMORY_BYTES, PackedFile, sha256
from edge_agent.contract.states import Reason

_PIECE_BYTES = 256 * 1024


class RejectedBytesError(Exception):
    """These bytes are not what was signed; never the same bytes again. `reason` is the one to report."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class ChunkStore:
    """The folder of chunks, each a file named by its SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, and remove what a cut left half written.

        Raises:
            OSError: the folder is not writable.
        """
        durable.make_folder(self._folder)
        durable.clear_remains(self._folder)

    def put(self, digest: str, data: bytes) -> None:
        """Store a chunk durably.

        Raises:
            RejectedBytesError: the bytes have another digest, or are larger than a chunk may be.
            OSError: the disk is full or failing.
        """
        if len(data) > CHUNK_BYTES or sha256(data) != digest:
            raise RejectedBytesError(Reason.DIGEST_MISMATCH, f"a chunk of {len(data)} bytes is not {digest[:12]}")
        if self.has(digest):
            return
        try:
            durable.write_file(self._folder / digest, data)
        except OSError:
            with contextlib.suppress(OSError):  # it may be there and not surely: what counts as here must stay
                (self._folder / digest).unlink()
            raise

    def has(self, digest: str) -> bool:
        """Whether a chunk is here."""
        return (self._folder / digest).is_file()

    def get(self, digest: str) -> bytes:
        """Return a chunk's bytes, verified again, since disks rot.

        Raises:
            RejectedBytesError: absent or damaged; a damaged one is removed.
            OSError: it cannot be read.
        """
        path = self._folder / digest
        try:
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise RejectedBytesError(Reason.DIGEST_MISMATCH, f"chunk {digest[:12]} is not in the store") from error
        if sha256(data) != digest:
            path.unlink(missing_ok=True)
            raise RejectedBytesError(Reason.DIGEST_MISMATCH, f"chunk {digest[:12]} was damaged on disk")
        return data

    def keep_only(self, digests: Iterable[str]) -> None:
        """Remove every other chunk; what is being written at this moment is let be, and what resists waits."""
        kept = set(digests)
        for path in self._folder.iterdir():
            if path.name not in kept and not path.name.startswith("."):
                with contextlib.suppress(OSError):
                    path.unlink()

    def assemble(self, file: PackedFile, path: Path) -> None:
        """Write the file that `file`'s chunks make, flushed to disk; its folder is flushed by the caller.

        Raises:
            RejectedBytesError: not xz, over the memory limit, or not of the listed size and SHA-256.
            OSError: the disk is full or failing.
        """
        durable.write_pieces(path, self._checked(file))

    def _checked(self, file: PackedFile) -> Iterator[bytes]:
        """Give the file's bytes on, none beyond its listed size, and reject them at the end where they are others."""
        digest, size = hashlib.sha256(), 0
        for piece in self._decompress(file):
            size += len(piece)
            if size > file.size:
                raise _rejected(file, f"expands beyond its {file.size} bytes")
            digest.update(piece)
            yield piece
        if size != file.size or digest.hexdigest() != file.sha256:
            raise _rejected(file, f"{size} bytes of SHA-256 {digest.hexdigest()[:12]} came out")

    def _decompress(self, file: PackedFile) -> Iterator[bytes]:
        try:
            decoder = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=DECODER_MEMORY_BYTES)
            for chunk in file.chunks:
                if decoder.eof:
                    raise _rejected(file, "has bytes after its end")
                yield decoder.decompress(self.get(chunk), _PIECE_BYTES)
                while not decoder.needs_input and not decoder.eof:
                    yield decoder.decompress(b"", _PIECE_BYTES)
        except lzma.LZMAError as error:
            raise _rejected(file, f"does not decompress: {error}") from error
        if not decoder.eof or decoder.unused_data:
            raise _rejected(file, "is cut short or has bytes after its end")


def _rejected(file: PackedFile, what: str) -> RejectedBytesError:
    return RejectedBytesError(Reason.DIGEST_MISMATCH, f"{file.name}: {what}")
