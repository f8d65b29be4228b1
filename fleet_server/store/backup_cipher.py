"""A backup's bytes, encrypted and authenticated piece by piece under a passphrase, so that no size is held in memory.

House rules: nothing is handed out that was not authenticated; a piece that is missing, doubled, moved or cut is
noticed, and so is a wrong passphrase, before any later one is read.

Sources: the key is scrypt's (RFC 7914); pieces are sealed by AES-256-GCM (NIST SP 800-38D) in the STREAM construction
(Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance, 2015): the
nonce is a prefix, the piece's number and whether it is the last. The header is authenticated with every piece.
"""

import os
import struct
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

MAGIC = b"edgeloop-backup\x01"
PIECE_BYTES = 1024 * 1024
_TAG_BYTES = 16
# OWASP's first choice for scrypt: 128 MiB of memory and a few tenths of a second for each guess.
LOG2_COST = 17
# What a file may ask of the machine that opens it: 1 GiB.
_MAX_LOG2_COST = 20
_HEADER = struct.Struct(">16sB16s7s")
_MAX_PIECES = 2**32


class BackupError(Exception):
    """A backup cannot be made, read or restored; the message says why and what to do. Nothing was put in place."""


class SealedWriter:
    """A file that is only written to; `finish` seals the last piece, without which the whole is worthless."""

    def __init__(self, sink: BinaryIO, passphrase: str, log2_cost: int = LOG2_COST) -> None:
        salt, prefix = os.urandom(16), os.urandom(7)
        self._header = _HEADER.pack(MAGIC, log2_cost, salt, prefix)
        self._cipher = AESGCM(_derive_key(passphrase, salt, log2_cost))
        self._prefix = prefix
        self._sink = sink
        self._pending = bytearray()
        self._number = 0
        sink.write(self._header)

    def write(self, data: bytes) -> int:
        """Take some bytes in; whole pieces go out sealed. One piece is kept back, since it may be the last."""
        self._pending += data
        while len(self._pending) > PIECE_BYTES:
            self._seal(bytes(self._pending[:PIECE_BYTES]), last=False)
            del self._pending[:PIECE_BYTES]
        return len(data)

    def finish(self) -> None:
        """Seal the last piece."""
        self._seal(bytes(self._pending), last=True)

    def _seal(self, piece: bytes, *, last: bool) -> None:
        if self._number >= _MAX_PIECES:
            raise BackupError("a backup holds 4 PiB at most")
        nonce = _nonce(self._prefix, self._number, last=last)
        self._sink.write(self._cipher.encrypt(nonce, piece, self._header))
        self._number += 1


class SealedReader:
    """A file that is only read from, front to back; every byte that it returns is authentic and in its place."""

    def __init__(self, source: BinaryIO, passphrase: str) -> None:
        """Read the header and derive the key.

        Raises:
            BackupError: it is no backup of this form.
        """
        self._source = source
        self._header = source.read(_HEADER.size)
        if len(self._header) < _HEADER.size or not self._header.startswith(MAGIC):
            raise BackupError("this is no backup of Edgeloop, or one of a newer form")
        _, log2_cost, salt, self._prefix = _HEADER.unpack(self._header)
        if not 1 <= log2_cost <= _MAX_LOG2_COST:
            raise BackupError(f"its key asks for 2^{log2_cost} steps of scrypt; 2^{_MAX_LOG2_COST} at most are done")
        self._cipher = AESGCM(_derive_key(passphrase, salt, log2_cost))
        self._ahead = source.read(PIECE_BYTES + _TAG_BYTES)
        self._plain = b""
        self._number = 0
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes (all that are left if negative), fewer at the end alone.

        Raises:
            BackupError: the passphrase is wrong, or the file was changed or cut.
        """
        found = bytearray()
        while size < 0 or len(found) < size:
            if not self._plain:
                if self._ended:
                    break
                self._open()
                continue
            taken = self._plain if size < 0 else self._plain[: size - len(found)]
            found += taken
            self._plain = self._plain[len(taken) :]
        return bytes(found)

    def _open(self) -> None:
        piece, self._ahead = self._ahead, self._source.read(PIECE_BYTES + _TAG_BYTES)
        last = not self._ahead
        try:
            nonce = _nonce(self._prefix, self._number, last=last)
            self._plain = self._cipher.decrypt(nonce, piece, self._header)
        except InvalidTag as error:
            where = f"from byte {_HEADER.size + self._number * (PIECE_BYTES + _TAG_BYTES)} on it was changed or cut"
            why = where if self._number else "the passphrase is wrong, or the file was changed or cut"
            raise BackupError(f"the backup cannot be opened: {why}") from error
        self._number += 1
        self._ended = last


def _nonce(prefix: bytes, number: int, *, last: bool) -> bytes:
    return prefix + struct.pack(">IB", number, last)


def _derive_key(passphrase: str, salt: bytes, log2_cost: int) -> bytes:
    return Scrypt(salt=salt, length=32, n=2**log2_cost, r=8, p=1).derive(passphrase.encode())
