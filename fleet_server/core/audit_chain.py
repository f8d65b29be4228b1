"""The audit log's chain: what a row's hash covers, what a checkpoint says, and where a log was altered.

House rules: a row holds the SHA-256 (FIPS 180-4) over the hash before it and its own content, so that no row can be
changed, taken out, put in or moved without every later hash changing; rows are numbered from 1 without a gap. What was
cut off at the end, or written anew as a whole, is seen against checkpoints, which are signed and kept elsewhere.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

GENESIS = "0" * 64
# What a signature is over begins with this, so that it is never one over something else (domain separation).
CHECKPOINT_CONTEXT = b"edgeloop audit checkpoint v1\n"


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row; `detail` is JSON text as it is kept, `at` epoch ms, `hash` in hexadecimal."""

    n: int
    at: int
    actor: str
    action: str
    subject: str
    detail: str
    hash: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the log was at a moment: its last row's number and hash; 0 and `GENESIS` of a log without a row."""

    n: int
    hash: str
    at: int


@dataclass(frozen=True, slots=True)
class ChainVerdict:
    """Whether a log is whole; if not, the first row that is bad or missing, and why.

    `proven` is the last row that a checkpoint covers: what came after it could still be cut off unseen.
    """

    rows: int
    proven: int
    bad_row: int | None = None
    reason: str = ""

    @property
    def whole(self) -> bool:
        """Whether nothing was found."""
        return not self.reason


def write_detail(detail: Mapping[str, Any]) -> str:
    """Return JSON's own types as one text, the same for the same content.

    Raises:
        ValueError: a number is none.
        TypeError: something is not JSON's.
    """
    return json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def hash_row(before: str, n: int, at: int, actor: str, action: str, subject: str, detail: str) -> str:
    """Return the hash of a row that follows the row with the hash `before`."""
    content = json.dumps([n, at, actor, action, subject, detail], separators=(",", ":"), ensure_ascii=True)
    return sha256(f"{before}\n{content}".encode()).hexdigest()


def write_checkpoint(checkpoint: Checkpoint) -> bytes:
    """Return what a checkpoint's signature is over."""
    return CHECKPOINT_CONTEXT + f"{checkpoint.n}\n{checkpoint.hash}\n{checkpoint.at}".encode()


def is_checkpoint_due(last: Checkpoint, newest: int, now: int, every_rows: int, every_ms: int) -> bool:
    """Whether the rows since the last checkpoint are too many, or have waited too long."""
    fresh = newest - last.n
    return fresh >= every_rows or (fresh > 0 and now - last.at >= every_ms)


def judge_chain(rows: Iterable[AuditRow], checkpoints: Sequence[Checkpoint]) -> ChainVerdict:
    """Return whether rows in the order of their numbers are whole, under checkpoints whose signatures hold.

    A log that was written anew with fresh hashes has its first bad row somewhere after the last checkpoint that still
    fits; `bad_row` is then the first row that could be it, and the reason names the last.
    """
    # Of two that speak of one row, the older: the younger may be of a log that was cut off and went on.
    expected = {checkpoint.n: checkpoint.hash for checkpoint in reversed(checkpoints)}
    newest = max(expected, default=0)
    count, proven, before = 0, 0, GENESIS
    for row in rows:
        if row.n != count + 1:
            what = f"row {count + 1} is missing" if row.n > count + 1 else f"row {row.n} comes again"
            return ChainVerdict(count, proven, min(row.n, count + 1), what)
        if hash_row(before, row.n, row.at, row.actor, row.action, row.subject, row.detail) != row.hash:
            return ChainVerdict(count, proven, row.n, f"row {row.n} was changed, or put in")
        count, before = row.n, row.hash
        if (due := expected.get(row.n)) is not None:
            if due != row.hash:
                reason = f"rows were written anew: one of {proven + 1} to {row.n} is not what the checkpoint says"
                return ChainVerdict(count, proven, proven + 1, reason)
            proven = row.n
    if newest > count:
        return ChainVerdict(count, proven, count + 1, f"row {count + 1} is missing: a checkpoint says {newest} rows")
    return ChainVerdict(count, proven)
