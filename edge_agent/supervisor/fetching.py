"""Fetching the chunks of a set: first each bundle's parcel, then the chunks that it lists.

House rules: what is on disk is not asked for. Chunks are read retained from the cohort's topics, a few at a time; one
that does not come is asked of the server. Only time with a connection counts against the fetch, so an offline device
fails nothing. All bytes are verified and stored by the disk's thread before they count.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_agent.adapters.artifacts import ChunkStore, RejectedBytesError
from edge_agent.adapters.broker import Broker
from edge_agent.contract import codec
from edge_agent.contract.artifacts import CHUNK_BYTES
from edge_agent.contract.messages import DesiredBundle, Get
from edge_agent.contract.states import Reason, Result
from edge_agent.contract.topics import Topics, Up
from edge_agent.core.fetch_plan import FetchPlan, TokenBucket
from edge_agent.core.update_machine import Verdict
from edge_agent.supervisor.config import FetchConfig
from edge_agent.supervisor.disk import Disk, disk_reason, read_parcel

_GET_EXPIRY_S = 60
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """Every chunk is on disk."""


@dataclass(slots=True)
class _Fetch:
    """One fetch under way: `plan` is of the parcels first, then of their chunks."""

    bundles: tuple[DesiredBundle, ...]
    plan: FetchPlan
    bucket: TokenBucket
    cohorts: dict[str, str]
    of_parcels: bool
    progress_at: float
    storing: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)


class Fetcher:
    """Fetches for one document at a time."""

    def __init__(
        self,
        device: str,
        topics: Topics,
        broker: Broker,
        chunks: ChunkStore,
        disk: Disk,
        config: FetchConfig,
        disk_free_mb: Callable[[], float],
    ) -> None:
        self._device = device
        self._topics = topics
        self._broker = broker
        self._chunks = chunks
        self._disk = disk
        self._config = config
        self._disk_free_mb = disk_free_mb
        self._fetch: _Fetch | None = None
        self._connected = False
        self._total = 0
        self._base = 0

    @property
    def counts(self) -> tuple[int, int]:
        """Chunks on disk and in all, of the fetch under way or the last one."""
        if self._fetch is None or self._fetch.of_parcels:
            return (0, 0) if self._fetch else (self._total, self._total)
        return self._total - self._fetch.plan.missing, self._total

    def begin(self, bundles: tuple[DesiredBundle, ...], now: float) -> None:
        """Begin to fetch these bundles."""
        self.end()
        self._total = 0
        cohorts = {bundle.parcel: bundle.cohort for bundle in bundles}
        missing = [digest for digest in cohorts if not self._chunks.has(digest)]
        self._fetch = _Fetch(bundles, self._plan(missing), self._bucket(CHUNK_BYTES, now), cohorts, True, now)

    def end(self) -> None:
        """Stop fetching; what was stored stays."""
        if self._fetch is not None:
            self._give_up(self._fetch, self._fetch.plan.open)
            self._fetch = None

    def connected(self, now: float) -> None:
        """A connection is there: subscribe again what was open."""
        self._connected = True
        if self._fetch is not None:
            self._fetch.progress_at = now
            self._fetch.asked.clear()
            self._subscribe(self._fetch, self._fetch.plan.reconnected(now))

    def disconnected(self) -> None:
        """The connection is gone."""
        self._connected = False

    def arrived(self, topic: str, payload: bytes) -> None:
        """A chunk or block came, or something else that is passed over."""
        try:
            digest = self._topics.parse_digest(topic)
        except ValueError:
            return
        fetch = self._fetch
        if payload and fetch is not None and fetch.plan.awaits(digest) and digest not in fetch.storing:
            fetch.storing.add(digest)
            self._disk.store(digest, payload)

    def stored(self, digest: str, now: float) -> None:
        """A chunk is on disk."""
        fetch = self._fetch
        if fetch is None:
            return
        fetch.storing.discard(digest)
        if fetch.plan.arrived(digest):
            fetch.progress_at = now
            self._give_up(fetch, (digest,))

    def refused(self, digest: str) -> None:
        """The bytes that came were not the chunk: it stays open and is asked for when overdue."""
        if self._fetch is not None:
            self._fetch.storing.discard(digest)

    def tick(self, now: float) -> Fetched | Verdict | None:
        """Ask for more; say when all is there, or that it will not come."""
        fetch = self._fetch
        if fetch is None:
            return None
        if fetch.plan.missing == 0:
            return self._next_step(fetch, now)
        if not self._connected:
            return None
        if now >= fetch.progress_at + self._config.timeout_s:  # as `next_due` has it, to the last bit
            detail = f"no chunk came within {self._config.timeout_s:g} s; {fetch.plan.missing} are missing"
            return Verdict(Result.FAILED, Reason.FETCH_TIMEOUT, detail)
        chosen = fetch.plan.refill(now, fetch.bucket.chunks(now))
        fetch.bucket.spend(len(chosen))
        self._subscribe(fetch, chosen)
        self._repair(fetch, tuple(one for one in fetch.plan.overdue(now) if one not in fetch.storing))
        return None

    def next_due(self, now: float) -> float | None:
        """Return when `tick` has something to do."""
        fetch = self._fetch
        if fetch is None:
            return None
        if fetch.plan.missing == 0:
            return now
        if not self._connected:
            return None
        due = [fetch.progress_at + self._config.timeout_s]
        if (overdue := fetch.plan.next_due()) is not None:
            due.append(overdue)
        if fetch.bucket.wait_s() > 0:
            due.append(now + fetch.bucket.wait_s())
        return min(due)

    def _next_step(self, fetch: _Fetch, now: float) -> Fetched | Verdict | None:
        """After the parcels come their chunks; after those the fetch is done."""
        if not fetch.of_parcels:
            self._fetch = None
            return Fetched()
        try:
            parcels = [read_parcel(self._chunks, bundle) for bundle in fetch.bundles]
        except RejectedBytesError as error:
            return Verdict(Result.FAILED, error.reason, error.detail)
        except OSError as error:
            return Verdict(Result.FAILED, disk_reason(error), f"a parcel cannot be read: {error.strerror}")
        size = sum(file.size + file.packed_size for parcel in parcels for file in parcel.files)
        if size / MIB > (free := self._disk_free_mb()):
            return Verdict(Result.FAILED, Reason.DISK_FULL, f"{size / MIB:.0f} MiB to store, {free:.0f} MiB free")
        cohorts = {
            chunk: bundle.cohort
            for bundle, parcel in zip(fetch.bundles, parcels, strict=True)
            for chunk in parcel.chunks
        }
        self._total = len(cohorts)
        missing = [digest for digest in cohorts if not self._chunks.has(digest)]
        largest = max((parcel.chunk_bytes for parcel in parcels), default=CHUNK_BYTES)
        self._fetch = _Fetch(fetch.bundles, self._plan(missing), self._bucket(largest, now), cohorts, False, now)
        return self.tick(now)

    def _plan(self, digests: list[str]) -> FetchPlan:
        return FetchPlan(digests, window=self._config.window, timeout_s=self._config.chunk_timeout_s)

    def _bucket(self, chunk_bytes: int, now: float) -> TokenBucket:
        return TokenBucket(self._config.max_rate_kib_s * 1024, chunk_bytes, now)

    def _subscribe(self, fetch: _Fetch, digests: tuple[str, ...]) -> None:
        self._broker.subscribe(*(self._topics.chunk(fetch.cohorts[digest], digest) for digest in digests))

    def _repair(self, fetch: _Fetch, digests: tuple[str, ...]) -> None:
        """Ask the server for what did not come; its answers come on this device's own topics."""
        if not digests:
            return
        blocks = [digest for digest in digests if digest not in fetch.asked]
        self._broker.subscribe(*(self._topics.block(self._device, digest) for digest in blocks))
        fetch.asked.update(blocks)
        wanted = codec.encode(Get(digests))
        self._broker.publish(self._topics.up(self._device, Up.GET), wanted, expiry_s=_GET_EXPIRY_S)

    def _give_up(self, fetch: _Fetch, digests: tuple[str, ...]) -> None:
        topics = [self._topics.chunk(fetch.cohorts[digest], digest) for digest in digests if digest in fetch.cohorts]
        topics += [self._topics.block(self._device, digest) for digest in digests if digest in fetch.asked]
        self._broker.unsubscribe(*topics)
