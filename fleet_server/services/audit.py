"""The audit log: who did what to what, recorded in the transaction of the thing itself; and proof that it is whole.

House rules: an actor is a user's or a key's name, `controller`, `builder`, `device:ID` or `operation:ID`. Checkpoints
are signed by the server's key and kept outside of the database; a failure to write one stops nothing, and is logged
until it is mended.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import structlog
from sqlalchemy import Connection

from fleet_server.core.audit_chain import (
    GENESIS,
    AuditRow,
    ChainVerdict,
    Checkpoint,
    is_checkpoint_due,
    judge_chain,
    write_checkpoint,
    write_detail,
)
from fleet_server.services.clock import Clock
from fleet_server.services.keys import SIGNING_KEY_NAME, load_signing_key, verify_signature
from fleet_server.store.audit import AuditEntry, AuditFilter, all_rows, append_entry, last_row, page_audit
from fleet_server.store.checkpoints import CheckpointError, CheckpointFile, SignedCheckpoint
from fleet_server.store.database import Database
from fleet_server.store.pages import Page, PageRequest

_log = structlog.get_logger(__name__)
CHECKPOINT_ROWS = 100
CHECKPOINT_MS = 60 * 1000
FOLDER_NAME = "audit"
DATABASE_NAME = "server.db"


def record_audit(
    connection: Connection, at: int, actor: str, action: str, subject: str, detail: Mapping[str, Any] | None = None
) -> None:
    """Record that `actor` did `action` (past tense, as `device_enrolled`) to `subject` at `at` (epoch ms).

    `detail` has JSON's own types and no secret. What is recorded here is saved or lost together with the change.
    """
    append_entry(connection, AuditEntry(at, actor, action, subject, write_detail(detail or {})))


class Signer(Protocol):
    """What signs checkpoints: the server's key; `public` is the raw Ed25519 key in hexadecimal."""

    @property
    def public(self) -> str:
        """The raw public key in hexadecimal."""

    @property
    def keyid(self) -> str:
        """The key's id."""

    def sign(self, data: bytes) -> bytes:
        """Return the signature over `data`."""


class Audit:
    """Reads and verifies the log, and writes its checkpoints."""

    def __init__(self, database: Database, folder: Path, signer: Signer, clock: Clock) -> None:
        self._database = database
        self._file = CheckpointFile(folder)
        self._signer = signer
        self._clock = clock
        self._last: Checkpoint | None = None

    def list_audit(self, request: PageRequest, wanted: AuditFilter, *, newest_first: bool = True) -> Page[AuditRow]:
        """Return one page of the log."""
        with self._database.read() as connection:
            return page_audit(connection, request, wanted, newest_first=newest_first)

    def checkpoint(self, *, at_once: bool = False) -> bool:
        """Write a checkpoint where one is due (`at_once`: where there is any new row); return whether it was written.

        Raises:
            UnavailableError: the database cannot be read now.
        """
        with self._database.read() as connection:
            n, row_hash = last_row(connection)
        now = self._clock()
        try:
            last = self._last or self._newest()
            if last is not None and not is_checkpoint_due(
                last, n, now, 1 if at_once else CHECKPOINT_ROWS, CHECKPOINT_MS
            ):
                self._last = last
                return False
            made = Checkpoint(n, row_hash, now)
            signature = self._signer.sign(write_checkpoint(made)).hex()
            self._file.append(SignedCheckpoint(made, self._signer.keyid, signature))
        except (OSError, CheckpointError) as error:
            _log.error("audit_checkpoint_failed", error=str(error), file=str(self._file.path))
            return False
        self._last = made
        return True

    def verify(self) -> ChainVerdict:
        """Check every row, and the checkpoints with their signatures."""
        return verify_log(self._database, self._file, {self._signer.keyid: self._signer.public})

    def _newest(self) -> Checkpoint | None:
        found = self._file.read()
        return found[-1].checkpoint if found else None


def verify_log(database: Database, file: CheckpointFile, keys: Mapping[str, str]) -> ChainVerdict:
    """Return whether a log is whole under its checkpoints; `keys` are raw public keys in hexadecimal, by their ids.

    Raises:
        UnavailableError: the database cannot be read.
        OSError: the checkpoints cannot be read.
    """
    # The checkpoints first: rows that come meanwhile are then simply not covered yet.
    try:
        signed = file.read()
    except CheckpointError as error:
        return ChainVerdict(0, 0, None, f"{file.path.name}: {error}")
    for number, item in enumerate(signed, start=1):
        if not _holds(item, keys):
            return ChainVerdict(0, 0, None, f"{file.path.name}: line {number} is not signed by this server")
    with database.read() as connection:
        verdict = judge_chain(all_rows(connection), [item.checkpoint for item in signed])
    # A server writes its first checkpoint before its first row, so a file that begins later lost its beginning.
    if verdict.whole and verdict.rows > 0 and (not signed or signed[0].checkpoint.n != 0):
        reason = f"{file.path.name} is missing, or its beginning: nothing proves how long the log was"
        return ChainVerdict(verdict.rows, verdict.proven, None, reason)
    return verdict


def verify_folder(data_dir: Path) -> ChainVerdict:
    """Check the log of a data folder, whether its server runs or not; nothing is written.

    Raises:
        UnavailableError: the database cannot be read.
        OSError: the folder holds no database or no key, or cannot be read.
        ValueError: the key is malformed.
    """
    path, keys = data_dir / DATABASE_NAME, data_dir / "keys"
    for needed in (path, keys / SIGNING_KEY_NAME):
        if not needed.is_file():
            raise FileNotFoundError(f"there is no {needed}")
    signing = load_signing_key(keys)
    database = Database(f"sqlite:///file:{quote(str(path.absolute()))}?mode=ro&uri=true")
    try:
        return verify_log(database, CheckpointFile(data_dir / FOLDER_NAME), {signing.keyid: signing.public})
    finally:
        database.close()


def _holds(signed: SignedCheckpoint, keys: Mapping[str, str]) -> bool:
    public = keys.get(signed.keyid)
    if public is None or (signed.checkpoint.n == 0 and signed.checkpoint.hash != GENESIS):
        return False
    try:
        signature = bytes.fromhex(signed.signature)
    except ValueError:
        return False
    return verify_signature(bytes.fromhex(public), signature, write_checkpoint(signed.checkpoint))
