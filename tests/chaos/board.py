"""A simulated board: chunks and bundles in memory, the disk's work in virtual time, workers that misbehave on order.

All of it is whole: what the agent's own parts ask of the real ones is done, and what was made durable outlives a crash.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge_agent.adapters.artifacts import RejectedBytesError
from edge_agent.adapters.reserve import Reserve
from edge_agent.adapters.worker_process import WorkerGone, WorkerInput, WorkerSaid
from edge_agent.contract.artifacts import Parcel, sha256
from edge_agent.contract.messages import Desired, DesiredBundle, Proof
from edge_agent.contract.states import Reason
from edge_agent.core.control import (
    Answer,
    Beat,
    Command,
    Configure,
    Drain,
    Drained,
    Load,
    Loaded,
    LoadFailed,
    LoadModel,
    ModelBeat,
    Serve,
    Serving,
)
from edge_agent.supervisor.disk import Disk, DiskInput
from tests.chaos.timeline import Points, Timeline

_BEATS_S = (1.0, 2.0, 3.0, 4.0, 60.0)
_ROWS = 10


class Flaw(StrEnum):
    """What is wrong with a version on a board."""

    NONE = "none"
    NO_LOAD = "no_load"
    OTHER_ANSWERS = "other_answers"
    CRASH_AT_LOAD = "crash_at_load"
    HANG_AT_LOAD = "hang_at_load"
    ERRORS = "errors"
    CRASH_EARLY = "crash_early"
    CRASH_ONCE_LATE = "crash_once_late"
    FALL_SILENT = "fall_silent"


class NoReserve(Reserve):
    """A journal in memory keeps no room free."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent/agent.reserve"))

    def keep(self) -> None:
        """Nothing to keep."""

    def give_up(self) -> bool:
        return False


class MemoryMarkers:
    """The markers of what is good: the boot and the document seen last."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self.boot = 0

    def see(self, *, boot: int = 0, highest_seq: int = 0) -> None:
        self._points.pass_by()
        self.boot = max(self.boot, boot)

    def mark(self, good: Desired, proofs: tuple[Proof, ...]) -> None:
        self._points.pass_by()


class MemoryChunks:
    """The chunk store, in memory that outlives the agent."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._held: dict[str, bytes] = {}

    def put(self, digest: str, data: bytes) -> None:
        if sha256(data) != digest:
            raise RejectedBytesError(Reason.DIGEST_MISMATCH, "other bytes")
        self._points.pass_by()
        self._held[digest] = data

    def has(self, digest: str) -> bool:
        return digest in self._held

    def get(self, digest: str) -> bytes:
        if digest not in self._held:
            raise RejectedBytesError(Reason.DIGEST_MISMATCH, f"chunk {digest[:12]} is not in the store")
        return self._held[digest]

    def keep_only(self, digests: Iterable[str]) -> None:
        kept = set(digests)
        for digest in tuple(self._held):
            self._points.pass_by()
            if digest not in kept:
                del self._held[digest]


class MemorySlots:
    """The bundles, in memory that outlives the agent."""

    def __init__(self, points: Points) -> None:
        self._points = points
        self._held: dict[str, None] = {}

    def path(self, digest: str) -> Path:
        return Path("/bundles") / digest

    def has(self, digest: str) -> bool:
        return digest in self._held

    def digests(self) -> frozenset[str]:
        return frozenset(self._held)

    def stage(self, bundle: DesiredBundle, parcel: Parcel, chunks: MemoryChunks) -> None:
        for chunk in parcel.chunks:
            chunks.get(chunk)
        self._points.pass_by()
        self._held[bundle.digest] = None

    def verify(self, bundle: DesiredBundle) -> None:
        if bundle.digest not in self._held:
            raise RejectedBytesError(Reason.MANIFEST_MISMATCH, f"{bundle.model} is not here")

    def keep_only(self, digests: Iterable[str]) -> None:
        kept = set(digests)
        for digest in tuple(self._held):
            self._points.pass_by()
            if digest not in kept:
                del self._held[digest]


class SimDisk(Disk):
    """The disk's own work, done later instead of in a thread."""

    def __init__(
        self, chunks: MemoryChunks, slots: MemorySlots, put: Callable[[DiskInput], None], later: "Later"
    ) -> None:
        self._chunks = chunks  # type: ignore[assignment]  # whole, but of no common class
        self._slots = slots  # type: ignore[assignment]  # as above
        self._put = put
        self._later = later

    def store(self, digest: str, data: bytes) -> None:
        self._later(lambda: self._put(self._store(digest, data)))

    def stage(self, seq: int, bundles: tuple[DesiredBundle, ...], trusted: frozenset[str]) -> None:
        self._later(lambda: self._put(self._stage(seq, bundles, trusted)))


Later = Callable[[Callable[[], None]], None]


@dataclass
class WorkerWorld:
    """What a worker needs of the world: time, where its words go, flaws by bundle, and who watches."""

    timeline: Timeline
    put: Callable[[WorkerInput], None]
    flaw: Callable[[LoadModel], Flaw]
    proven: Callable[[str], None]
    points: Points


class SimWorker:
    """One worker; it speaks in order, as a socket does."""

    def __init__(self, number: int, world: WorkerWorld) -> None:
        self.number = number
        self.pid = 1000 + number
        self._world = world
        self._alive = True
        self._next_s = 0.0
        self._heard_s = 0.0
        self._rows = 0
        self.load: Load | None = None
        self.accepting = False  # its supervisor has been told so
        self.leaving = False

    @property
    def serves(self) -> tuple[LoadModel, ...]:
        """What it answers requests for, as far as its supervisor lets it."""
        return self.load.models if self.load is not None and self.accepting and not self.leaving else ()

    def send(self, command: Command) -> None:
        self._world.points.pass_by()
        self.leaving = self.leaving or isinstance(command, Drain)
        rng = self._world.timeline.rng
        self._heard_s = max(self._heard_s, self._world.timeline.now + rng.uniform(0.01, 0.5)) + 1e-6
        self._world.timeline.after(self._heard_s - self._world.timeline.now, self._take, command)

    def kill(self) -> None:
        if self._alive:
            self._end(Reason.WORKER_CRASHED, "killed")

    def vanish(self) -> None:
        """End with the supervisor: nobody is left to be told."""
        self._alive = False
        self.accepting = False

    def _take(self, command: Command) -> None:
        if not self._alive:
            return
        rng = self._world.timeline.rng
        match command:
            case Load():
                self.load = command
                self._world.timeline.after(rng.uniform(0.1, 2.0), self._do_load, command)
            case Serve():
                self._say(Serving())
                self._world.timeline.after(_BEATS_S[0], self._beat, 0, rng.uniform(60.0, 200.0))
            case Drain():
                self._say(Drained())
                self._alive = False
                self._tell(WorkerGone(self.number, True, Reason.OK, ""))
            case Configure():
                pass

    def _do_load(self, load: Load) -> None:
        proofs = []
        for model in load.models:
            flaw = self._world.flaw(model) if model.digest in load.prove else Flaw.NONE
            match flaw:
                case Flaw.NO_LOAD:
                    return self._say(LoadFailed(model.digest, Reason.LOAD_FAILED, "it does not load"))
                case Flaw.OTHER_ANSWERS:
                    return self._say(LoadFailed(model.digest, Reason.GOLDEN_MISMATCH, "0.5 off"))
                case Flaw.CRASH_AT_LOAD:
                    return self._end(Reason.WORKER_CRASHED, "signal 11")
                case Flaw.HANG_AT_LOAD:
                    return None
            if model.digest in load.prove:
                self._world.proven(model.digest)
                proofs.append(Proof(model.digest, 4, 0.0, 1.0, 9.0, 12.0, 3.0, 30.0, 40.0))
        return self._say(Loaded(tuple(proofs)))

    def _beat(self, count: int, late_s: float) -> None:
        if not self._alive or self.load is None:
            return None
        flaws = {model.model: self._world.flaw(model) for model in self.load.models}
        self._rows += _ROWS
        if Flaw.CRASH_EARLY in flaws.values():
            return self._end(Reason.WORKER_CRASHED, "signal 6")
        if Flaw.FALL_SILENT in flaws.values():
            return None
        if Flaw.CRASH_ONCE_LATE in flaws.values() and count == len(_BEATS_S) and self.number == 1:
            return self._end(Reason.OUT_OF_MEMORY, "it grew and grew")
        beats = tuple(
            ModelBeat(
                model.model,
                model.version,
                self._rows,
                self._rows if flaws[model.model] is Flaw.ERRORS else 0,
                *(0, 0.1, 0.2, 0.3, 0.9, 0.0, 0.0, 0.0),
            )
            for model in self.load.models
        )
        self._say(Beat(beats, 0.0, 30.0))
        return self._world.timeline.after(_BEATS_S[min(count, len(_BEATS_S) - 1)], self._beat, count + 1, late_s)

    def _end(self, reason: Reason, detail: str) -> None:
        self._alive = False
        self.accepting = False
        self._tell(WorkerGone(self.number, False, reason, detail))

    def _say(self, answer: Answer) -> None:
        if self._alive:
            self._tell(WorkerSaid(self.number, answer))

    def _tell(self, item: WorkerInput) -> None:
        timeline = self._world.timeline
        self._next_s = max(self._next_s, timeline.now + timeline.rng.uniform(0.01, 0.3)) + 1e-6
        timeline.after(self._next_s - timeline.now, self._deliver, item)

    def _deliver(self, item: WorkerInput) -> None:
        if isinstance(item, WorkerSaid) and isinstance(item.answer, Serving):
            self.accepting = self._alive and not self.leaving
        self._world.put(item)
