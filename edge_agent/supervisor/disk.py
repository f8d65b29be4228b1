"""The supervisor's slow work on disk, in one thread: storing chunks, staging bundles. Results come as inputs.

House rules: the main loop never waits for a flush or a decompression. One thing at a time, in order. A bug here is
handed to the main loop, which ends the process with it.
"""

import errno
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.adapters.artifacts import ChunkStore, RejectedBytesError
from edge_agent.adapters.slots import Slots
from edge_agent.contract import codec
from edge_agent.contract.artifacts import Parcel, parse_parcel
from edge_agent.contract.messages import DesiredBundle
from edge_agent.contract.states import Reason

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@dataclass(frozen=True, slots=True)
class ChunkStored:
    """A chunk is on disk."""

    digest: str


@dataclass(frozen=True, slots=True)
class ChunkRefused:
    """Bytes that came as this chunk were not it; it is asked for again."""

    digest: str
    detail: str


@dataclass(frozen=True, slots=True)
class Staged:
    """All bundles of document `seq` are verified and in place."""

    seq: int


@dataclass(frozen=True, slots=True)
class DiskFailed:
    """The work for document `seq` did not succeed (a chunk's storing speaks of the present document: 0)."""

    seq: int
    reason: Reason
    detail: str
    model: str | None = None


@dataclass(frozen=True, slots=True)
class DiskBroke:
    """A bug in the disk's thread."""

    error: Exception


DiskInput = ChunkStored | ChunkRefused | Staged | DiskFailed | DiskBroke


def read_parcel(chunks: ChunkStore, bundle: DesiredBundle) -> Parcel:
    """Return the parcel of a bundle from the chunk store.

    Raises:
        RejectedBytesError: absent, damaged, malformed, or of another bundle.
        OSError: it cannot be read.
    """
    try:
        parcel = parse_parcel(chunks.get(bundle.parcel))
    except codec.MalformedError as error:
        raise RejectedBytesError(Reason.MANIFEST_MISMATCH, f"{bundle.model}: {error}") from error
    if parcel.bundle != bundle.digest:
        detail = f"{bundle.model}: the parcel is of {parcel.bundle[:12]}, not of {bundle.digest[:12]}"
        raise RejectedBytesError(Reason.MANIFEST_MISMATCH, detail)
    return parcel


def disk_reason(error: OSError) -> Reason:
    """Return the reason that a failing disk gives to an update."""
    return Reason.DISK_FULL if error.errno in _FULL else Reason.INTERRUPTED


class Disk:
    """The thread and its queue."""

    def __init__(self, chunks: ChunkStore, slots: Slots, put: Callable[[DiskInput], None]) -> None:
        self._chunks = chunks
        self._slots = slots
        self._put = put
        self._queue: queue.SimpleQueue[Callable[[], DiskInput | None] | None] = queue.SimpleQueue()
        self.turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="disk", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Finish what is in the queue, within the time."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def store(self, digest: str, data: bytes) -> None:
        """Store a chunk; `ChunkStored`, `ChunkRefused` or `DiskFailed` follows."""
        self._queue.put(lambda: self._store(digest, data))

    def stage(self, seq: int, bundles: tuple[DesiredBundle, ...], trusted: frozenset[str]) -> None:
        """Stage or verify bundles, but those whose digests are `trusted`; `Staged` or `DiskFailed` follows."""
        self._queue.put(lambda: self._stage(seq, bundles, trusted))

    def ping(self) -> None:
        """Turn once more, when all before it is done."""
        self._queue.put(lambda: None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            try:
                if (done := work()) is not None:
                    self._put(done)
            except Exception as error:  # noqa: BLE001 - a bug must reach the main loop, not end this thread in silence
                self._put(DiskBroke(error))
            self.turned_at = time.monotonic()

    def _store(self, digest: str, data: bytes) -> DiskInput:
        try:
            self._chunks.put(digest, data)
        except RejectedBytesError as error:
            return ChunkRefused(digest, error.detail)
        except OSError as error:
            return DiskFailed(0, disk_reason(error), f"chunk {digest[:12]} cannot be stored: {error.strerror}")
        return ChunkStored(digest)

    def _stage(self, seq: int, bundles: tuple[DesiredBundle, ...], trusted: frozenset[str]) -> DiskInput:
        for bundle in bundles:
            try:
                if not self._slots.has(bundle.digest):
                    self._slots.stage(bundle, read_parcel(self._chunks, bundle), self._chunks)
                elif bundle.digest not in trusted:
                    self._slots.verify(bundle)
            except RejectedBytesError as error:
                return DiskFailed(seq, error.reason, error.detail, bundle.model)
            except OSError as error:
                detail = f"{bundle.model} cannot be staged: {error.strerror}"
                return DiskFailed(seq, disk_reason(error), detail, bundle.model)
        return Staged(seq)
