"""Artifacts on their way: chunks retained on a cohort's topics, sent once for any number of devices.

House rules: look first, publish what is missing, read it back, and only then may a desired document name it. Publishing
goes in windows that the broker has to acknowledge, so a slow broker slows the server and nothing queues. What the
broker held before a reconnection is looked up again: it may be another broker, or one that keeps nothing.
"""

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import structlog

from edge_agent.contract.artifacts import parse_parcel, sha256
from edge_agent.contract.messages import Get
from edge_agent.contract.topics import Topics
from fleet_server.broker.session import BrokerUnavailableError, Message, Session

log = structlog.get_logger(__name__)

_WINDOW = 16
_WINDOW_TIMEOUT_S = 60.0
_LOOK_TIMEOUT_S = 2.0
_READ_BACK_TIMEOUT_S = 10.0
_BLOCK_EXPIRY_S = 60
# A device that lost everything repairs a large model within minutes; a broken one cannot eat the server's uplink.
_REPAIR_BYTES = 32 * 2**20
_REPAIR_SPAN_S = 60.0

ReadChunk = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Shipped:
    """What shipping one parcel took: chunks and bytes published now, and chunks that the broker held already."""

    cohort: str
    parcel: str
    published: int
    published_bytes: int
    present: int


@dataclass(frozen=True, slots=True)
class _Allowance:
    began: float
    spent_bytes: int


class Distribution:
    """Ships parcels to cohorts, answers repair requests, clears topics. One shipment at a time."""

    def __init__(self, session: Session, topics: Topics, *, max_rate_bytes_s: float = 0.0) -> None:
        self._session = session
        self._topics = topics
        self._max_rate_bytes_s = max_rate_bytes_s
        self._shipping = threading.Lock()
        self._closing = threading.Event()
        self._held: set[tuple[str, str]] = set()
        self._held_since = 0
        self._published_bytes = 0
        self._repaired_bytes = 0
        self._allowances: dict[str, _Allowance] = {}

    @property
    def published_bytes(self) -> int:
        """Bytes published on chunk topics so far."""
        return self._published_bytes

    @property
    def repaired_bytes(self) -> int:
        """Bytes sent in answer to single devices' requests so far."""
        return self._repaired_bytes

    def close(self) -> None:
        """End a paced shipment that is under way; later ones fail."""
        self._closing.set()

    def ship(self, cohort: str, parcel: bytes, read: ReadChunk) -> Shipped:
        """Have a parcel and all its chunks lie on the cohort's topics. May be repeated.

        `read` returns the bytes of a chunk by its digest.

        Raises:
            BrokerUnavailableError: try again later.
            codec.MalformedError: no parcel.
            ValueError: `read` returned other bytes than the digest says.
        """
        parcel_digest = sha256(parcel)
        digests = [*parse_parcel(parcel).chunks, parcel_digest]
        published = published_bytes = 0
        with self._shipping:
            self._forget_after_reconnection()
            wanted = [digest for digest in digests if (cohort, digest) not in self._held]
            for start in range(0, len(wanted), _WINDOW):
                window = wanted[start : start + _WINDOW]
                there = self._look(cohort, window, patient=False)
                missing = [digest for digest in window if digest not in there]
                chunks = {digest: parcel if digest == parcel_digest else read(digest) for digest in missing}
                published_bytes += self._publish(cohort, chunks)
                published += len(missing)
                self._held.update((cohort, digest) for digest in window)
        return Shipped(cohort, parcel_digest, published, published_bytes, len(digests) - published)

    def clear(self, cohort: str, digests: Collection[str]) -> None:
        """Take chunks off the cohort's topics.

        Raises:
            BrokerUnavailableError: try again later.
        """
        ordered = sorted(digests)
        with self._shipping:
            self._held.difference_update((cohort, digest) for digest in ordered)
            for start in range(0, len(ordered), _WINDOW):
                topics = [self._topics.chunk(cohort, digest) for digest in ordered[start : start + _WINDOW]]
                self._session.publish_many([(topic, b"") for topic in topics], retain=True)

    def answer(self, device: str, get: Get, allowed: Collection[str], read: ReadChunk) -> int:
        """Send a device the chunks that it asked for and may have; return how many. `read` also knows parcels.

        Raises:
            BrokerUnavailableError: the device will ask again.
        """
        sent = 0
        for digest in get.digests:
            if digest not in allowed:
                log.warning("repair_refused", device=device, digest=digest)
                continue
            chunk = read(digest)
            if not self._spend(device, len(chunk)):
                log.warning("repair_deferred", device=device, bytes_per_span=_REPAIR_BYTES, span_s=_REPAIR_SPAN_S)
                break
            self._session.publish(self._topics.block(device, digest), chunk, expiry_s=_BLOCK_EXPIRY_S)
            self._repaired_bytes += len(chunk)
            sent += 1
        return sent

    def _publish(self, cohort: str, chunks: dict[str, bytes]) -> int:
        """Publish a window, wait for it, read it back; return its bytes."""
        if not chunks:
            return 0
        for digest, chunk in chunks.items():
            if sha256(chunk) != digest:
                raise ValueError(f"the store returned other bytes than {digest}")
        size_bytes = sum(len(chunk) for chunk in chunks.values())
        messages = [(self._topics.chunk(cohort, digest), chunk) for digest, chunk in chunks.items()]
        self._session.publish_many(messages, retain=True, timeout_s=_WINDOW_TIMEOUT_S)
        self._published_bytes += size_bytes
        kept = self._look(cohort, list(chunks), patient=True)
        if lost := [digest for digest in chunks if digest not in kept]:
            raise BrokerUnavailableError(f"the broker did not keep {len(lost)} chunks, the first is {lost[0]}")
        if self._max_rate_bytes_s > 0 and self._closing.wait(size_bytes / self._max_rate_bytes_s):
            raise BrokerUnavailableError("the server is ending")
        return size_bytes

    def _look(self, cohort: str, digests: Sequence[str], *, patient: bool) -> set[str]:
        """Return which of the chunks the broker holds, whole.

        A missing retained message has no answer. So the server's own status, which is always there, is asked for behind
        the chunks: a broker that answers in order is done when it comes. A patient look waits for every chunk.
        """
        found: set[str] = set()
        done = threading.Event()
        wanted = {self._topics.chunk(cohort, digest): digest for digest in digests}
        status = self._topics.server_status()

        def receive(message: Message) -> None:
            if message.topic == status:
                if not patient:
                    done.set()
            elif (digest := wanted.get(message.topic)) is not None and sha256(message.payload) == digest:
                found.add(digest)
                if len(found) == len(wanted):
                    done.set()

        filters = [*wanted] if patient else [*wanted, status]
        self._session.subscribe(filters, receive)
        try:
            done.wait(_READ_BACK_TIMEOUT_S if patient else _LOOK_TIMEOUT_S)
        finally:
            self._session.unsubscribe(filters)
        return set(found)

    def _forget_after_reconnection(self) -> None:
        connects = self._session.counters.connects
        if connects != self._held_since:
            self._held.clear()
            self._held_since = connects

    def _spend(self, device: str, size_bytes: int) -> bool:
        """Take bytes from a device's allowance of this minute; False where it is used up."""
        now = time.monotonic()
        known = self._allowances.get(device)
        if known is None or now - known.began >= _REPAIR_SPAN_S:
            known = _Allowance(now, 0)
        if known.spent_bytes + size_bytes > _REPAIR_BYTES:
            return False
        self._allowances[device] = _Allowance(known.began, known.spent_bytes + size_bytes)
        return True
