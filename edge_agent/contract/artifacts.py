"""How a bundle travels: each file compressed with xz, cut in chunks named by SHA-256, listed by a parcel.

The parcel is itself one chunk, named by SHA-256 in the signed desired document; so that document stays small and
everything below it is verified by content. xz needs no wheel on any board and was the smallest on every model tried.
"""

import hashlib
import lzma
from dataclasses import dataclass

from edge_agent.contract import codec
from edge_agent.contract.topics import check_digest, check_name

CHUNK_BYTES = 128 * 1024
CHUNK_BYTES_SLOW_LINK = 64 * 1024
MAX_FILE_BYTES = 512 * 1024 * 1024
_DICTIONARY_BYTES = 8 * 1024 * 1024
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": _DICTIONARY_BYTES}]
# liblzma's own figure for a decoder is the dictionary plus some tens of kilobytes; above this, refuse.
DECODER_MEMORY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One file of a bundle on the wire: its content, and the chunks of its compressed form in order."""

    name: str
    sha256: str
    size: int
    packed_size: int
    chunks: tuple[str, ...]

    def __post_init__(self) -> None:
        check_name(self.name)
        check_digest(self.sha256)
        for chunk in self.chunks:
            check_digest(chunk)
        if not 0 <= self.size <= MAX_FILE_BYTES or self.packed_size < 0:
            raise ValueError(f"{self.name!r}: a size of {self.size} bytes is out of range 0..{MAX_FILE_BYTES}")


@dataclass(frozen=True, slots=True)
class Parcel:
    """Every file of one bundle, `manifest.json` first; `bundle` is the bundle's digest."""

    bundle: str
    chunk_bytes: int
    files: tuple[PackedFile, ...]

    def __post_init__(self) -> None:
        check_digest(self.bundle)
        if not self.files or self.files[0].sha256 != self.bundle:
            raise ValueError("the first file of a parcel is the manifest, whose SHA-256 is the bundle's digest")
        if not 0 < self.chunk_bytes <= CHUNK_BYTES:
            raise ValueError(f"chunks of {self.chunk_bytes} bytes are out of range 1..{CHUNK_BYTES}")

    @property
    def chunks(self) -> tuple[str, ...]:
        """Digests of all chunks, each once, in the order of the files."""
        return tuple(dict.fromkeys(chunk for file in self.files for chunk in file.chunks))

    @property
    def packed_size(self) -> int:
        """Bytes of all compressed files."""
        return sum(file.packed_size for file in self.files)


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def compress(data: bytes) -> bytes:
    """Return `data` as an .xz stream (preset 6, dictionary 8 MiB, CRC64)."""
    return lzma.compress(data, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=_FILTERS)


def cut(packed: bytes, chunk_bytes: int = CHUNK_BYTES) -> tuple[bytes, ...]:
    """Cut a compressed file in chunks of `chunk_bytes`, the last one shorter."""
    return tuple(packed[start : start + chunk_bytes] for start in range(0, len(packed), chunk_bytes))


def parse_parcel(data: bytes) -> Parcel:
    """Parse a parcel's bytes.

    Raises:
        codec.MalformedError: larger than a chunk, or not a parcel.
    """
    if len(data) > CHUNK_BYTES:
        raise codec.MalformedError(f"Parcel: {len(data)} bytes are over the limit of {CHUNK_BYTES}")
    return codec.decode(Parcel, data)
