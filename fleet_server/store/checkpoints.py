"""Signed checkpoints of the audit log: a file of JSON lines beside the database, only added to, durably.

House rules: a line counts once its end is on disk; what a power cut left of a last line is no evidence of anything, and
is cut off before the next one is added.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet_server.core.audit_chain import Checkpoint

CHECKPOINTS_NAME = "checkpoints.jsonl"


@dataclass(frozen=True, slots=True)
class SignedCheckpoint:
    """A checkpoint, the id of the key that signed it, and the signature; both in hexadecimal."""

    checkpoint: Checkpoint
    keyid: str
    signature: str


class CheckpointError(ValueError):
    """A line of the file is no checkpoint; the message says which line."""


class CheckpointFile:
    """The checkpoints in a folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / CHECKPOINTS_NAME

    def append(self, signed: SignedCheckpoint) -> None:
        """Add a line; when this returns, it survives a power cut.

        Raises:
            OSError: the disk does not take it.
        """
        made = not self.path.exists()
        if made:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        plain = {
            "n": signed.checkpoint.n,
            "hash": signed.checkpoint.hash,
            "at": signed.checkpoint.at,
            "keyid": signed.keyid,
            "signature": signed.signature,
        }
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(handle, "r+b") as file:
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            file.seek(whole)
            file.write(json.dumps(plain, separators=(",", ":")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if made:
            _sync(self.path.parent)

    def read(self) -> tuple[SignedCheckpoint, ...]:
        """Return all checkpoints in the order of their lines; none where there is no file.

        Raises:
            CheckpointError: a line that ended is no checkpoint.
            OSError: the file cannot be read.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return ()
        lines = data[: data.rfind(b"\n") + 1].splitlines()
        return tuple(_parse(number, line) for number, line in enumerate(lines, start=1))


def _parse(number: int, line: bytes) -> SignedCheckpoint:
    try:
        plain: Any = json.loads(line)
        checkpoint = Checkpoint(int(plain["n"]), str(plain["hash"]), int(plain["at"]))
        return SignedCheckpoint(checkpoint, str(plain["keyid"]), str(plain["signature"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"line {number} is no checkpoint") from error


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
