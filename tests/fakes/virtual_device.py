"""The whole supervisor of one device on virtual time: every real part, but for its workers, its broker and its threads.

Journal, spool, chunk store, slots, updates, service, uplink, telemetry and the loop itself are the real ones, on real
files; each passes the points of the `Cutter`. A cut drops all objects; `live` composes them anew from what the files
hold.
"""

import queue
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nacl.signing import SigningKey

from edge_agent.adapters.artifacts import ChunkStore
from edge_agent.adapters.journal import Journal, Report
from edge_agent.adapters.markers import Markers
from edge_agent.adapters.slots import Slots
from edge_agent.adapters.spool import Spool
from edge_agent.adapters.trust import DeviceKey
from edge_agent.adapters.watchdog import Watchdog
from edge_agent.adapters.worker_process import WorkerProcess
from edge_agent.contract.artifacts import PackedFile, Parcel
from edge_agent.contract.messages import Capabilities, DesiredBundle
from edge_agent.contract.states import EventCode, UpdateState
from edge_agent.core.update_machine import Update
from edge_agent.supervisor.config import FetchConfig
from edge_agent.supervisor.disk import Disk
from edge_agent.supervisor.fetching import Fetcher
from edge_agent.supervisor.keeping import Keeper
from edge_agent.supervisor.loop import Loop, LoopParts
from edge_agent.supervisor.reporter import Reporter
from edge_agent.supervisor.service import Service
from edge_agent.supervisor.status import AgentStatus
from edge_agent.supervisor.telemetry import Telemetry
from edge_agent.supervisor.trust_desk import TrustDesk
from edge_agent.supervisor.update_parts import UpdateParts, UpdateSettings
from edge_agent.supervisor.updates import Updates
from edge_agent.supervisor.uplink import Uplink
from edge_agent.supervisor.watch import Watch
from edge_agent.supervisor.worker_phases import ServiceTimes
from tests.fakes.virtual import Cutter, PowerCut, Settled, VirtualInputs, World
from tests.fakes.virtual_broker import DEVICE, TOPICS, VirtualBroker, VirtualServer
from tests.fakes.virtual_trust import VirtualVerifier, read_signed
from tests.fakes.virtual_worker import VirtualWorker

BOARD = Capabilities("aarch64", 4, 4096.0, 2048.0, 9000.0, {"onnx": "1.20.0"}, "3.11.2", "0.1.0", "pi4")
TIMES = ServiceTimes(hang_s=10.0, load_timeout_s=20.0, memory_mb=512.0)


class CutJournal(Journal):
    """The real journal; its points are the states that are saved."""

    cutter: Cutter

    def save(self, update: Update, report: Report | None = None) -> None:
        self.cutter.at(f"{update.state}<")
        super().save(update, report)
        self.cutter.at(f"{update.state}>")

    def acknowledge(self, number: int) -> None:
        self.cutter.at("acked<")
        super().acknowledge(number)
        self.cutter.at("acked>")


class CutChunks(ChunkStore):
    """The real chunk store."""

    def __init__(self, folder: Path, cutter: Cutter) -> None:
        super().__init__(folder)
        self._cutter = cutter

    def put(self, digest: str, data: bytes) -> None:
        self._cutter.at("chunk<")
        super().put(digest, data)
        self._cutter.at("chunk>")

    def assemble(self, file: PackedFile, path: Path) -> None:
        self._cutter.at("assemble<")
        super().assemble(file, path)
        self._cutter.at("assemble>")

    def keep_only(self, digests: Iterable[str]) -> None:
        self._cutter.at("sweep-chunks<")
        super().keep_only(digests)
        self._cutter.at("sweep-chunks>")


class CutSlots(Slots):
    """The real slots."""

    def __init__(self, folder: Path, cutter: Cutter) -> None:
        super().__init__(folder)
        self._cutter = cutter

    def stage(self, bundle: DesiredBundle, parcel: Parcel, chunks: ChunkStore) -> None:
        self._cutter.at("stage<")
        super().stage(bundle, parcel, chunks)
        self._cutter.at("stage>")

    def keep_only(self, digests: Iterable[str]) -> None:
        self._cutter.at("sweep-slots<")
        super().keep_only(digests)
        self._cutter.at("sweep-slots>")


class SteppedDisk(Disk):
    """The real disk work, one thing at a time instead of in a thread."""

    def start(self) -> None:
        pass

    def stop(self, timeout_s: float) -> None:
        while self.step():
            pass

    def step(self) -> bool:
        try:
            work = self._queue.get_nowait()
        except queue.Empty:
            return False
        assert work is not None
        if (done := work()) is not None:
            self._put(done)
        return True


@dataclass
class VirtualDevice:
    """A device that lives, is cut off, and lives again on the same files."""

    folder: Path
    world: World = field(default_factory=World)
    server: VirtualServer = field(default_factory=VirtualServer)
    cutter: Cutter = field(default_factory=Cutter)
    seed: bytes = field(default_factory=lambda: bytes(SigningKey.generate()))
    spool_mb: float = 1.0
    fetch: FetchConfig = field(default_factory=lambda: FetchConfig(timeout_s=20.0, chunk_timeout_s=1.0))
    beat_s: float = 0.1
    times: ServiceTimes = TIMES
    backfill_per_s: float = 2.0
    chance: Callable[[], float] = lambda: 0.5
    lives: int = 0
    workers: list[VirtualWorker] = field(default_factory=list)
    status: AgentStatus | None = None
    packs: dict[str, bytes] = field(default_factory=dict)

    @property
    def served(self) -> dict[str, int]:
        """Versions by model, of the worker that accepts."""
        found = [worker.served for worker in self.workers if worker.alive and worker.serves]
        return found[-1] if found else {}

    @property
    def accepting(self) -> bool:
        """Whether some worker accepts."""
        return any(worker.alive and worker.serves for worker in self.workers)

    @property
    def is_idle(self) -> bool:
        """Whether no update is under way, nothing waits for the broker, and a worker serves."""
        idle = self.updates.update.state is UpdateState.IDLE and self.updates.update.waiting is None
        return idle and self.service.serves_wanted and not self.journal.reports()

    def live(self, until: Callable[[], bool]) -> bool:
        """Start the supervisor and let it run; `True` when `until` has come true, `False` when its power was cut."""
        try:
            self._compose(until).run()
        except Settled:
            return True
        except PowerCut:
            return False
        finally:
            self.fall()
        return True

    def fall(self) -> None:
        """The process is gone: memory, connection and workers with it; files stay as they are."""
        self.broker.vanish()
        for worker in self.workers:
            worker.vanish()
        self.workers.clear()
        self.journal._db.close()  # without a commit, and the spool without its batch, as a kill leaves them
        self.spool._db.close()

    def kill_workers(self) -> None:
        """SIGKILL to every worker; the supervisor lives."""
        for worker in self.workers:
            worker.kill()

    def _compose(self, until: Callable[[], bool]) -> Loop:
        """Make the parts, as the composition root of the supervisor does."""
        self.lives += 1
        self.cutter.passed.clear()
        inputs = VirtualInputs(self.world, until, lambda: self.disk.step())
        keeper = self._open()
        boot = keeper.count_boot()
        chunks, slots = CutChunks(self.folder / "chunks", self.cutter), CutSlots(self.folder / "bundles", self.cutter)
        chunks.prepare()
        slots.prepare()
        self.disk = SteppedDisk(chunks, slots, inputs.put)
        self.broker = VirtualBroker(self.world, self.cutter, self.server, inputs.put)
        reporter = Reporter(DEVICE, boot, TOPICS, DeviceKey(self.seed), lambda: BOARD)
        self.telemetry = Telemetry(self.spool, reporter, lambda: BOARD, self.world.now)
        fetcher = Fetcher(DEVICE, TOPICS, self.broker, chunks, self.disk, self.fetch, lambda: 9000.0)
        self.service = Service(lambda number: self._spawn(number, inputs), self.times, self.chance)
        parts = UpdateParts(
            keeper,
            chunks,
            slots,
            self.disk,
            fetcher,
            self.service,
            reporter,
            lambda: BOARD,
            self._tell,
        )
        settings = UpdateSettings(DEVICE, 512.0, self.beat_s, self.times.load_timeout_s + self.times.hang_s)
        self.updates = Updates(parts, settings, self.journal.load())
        uplink = Uplink(DEVICE, boot, TOPICS, self.broker, self.journal, self.spool, self.backfill_per_s, self.chance)
        trust = TrustDesk(DEVICE, TOPICS, self._verifier(inputs), lambda: self.updates.update.highest_seq)
        watch = Watch(Watchdog({}), self.disk, self.broker, 60.0)
        loop_parts = LoopParts(
            self.broker,
            uplink,
            self.disk,
            trust,
            fetcher,
            self.service,
            self.updates,
            self.telemetry,
            watch,
            self._note,
        )
        blank = AgentStatus(DEVICE, boot, 0, 1, None, "", "", False, self.updates.update.state, 0, (), 0)
        self.telemetry.tell(EventCode.BOOTED, f"boot {boot}")
        self.broker.start()
        return Loop(loop_parts, inputs, blank, self.world.clock)

    def _open(self) -> Keeper:
        """Open what outlives the supervisor."""
        markers = Markers(self.folder / "good")
        markers.prepare()
        self.journal = CutJournal.open(self.folder / "agent.db", markers.rebuilt)
        self.journal.cutter = self.cutter
        self.spool = Spool.open(self.folder / "spool.db", self.spool_mb)
        return Keeper(self.journal, markers)

    def _spawn(self, number: int, inputs: VirtualInputs) -> WorkerProcess:
        self.cutter.at("spawn<")
        made = VirtualWorker(number, self.world, self.cutter, inputs.put)
        self.workers.append(made)
        self.cutter.at("spawn>")
        return made

    def _verifier(self, inputs: VirtualInputs) -> VirtualVerifier:
        def later(work: Callable[[], None]) -> None:
            self.world.after(0.05, work)

        key = self.server.key.verify_key
        return VirtualVerifier(DEVICE, lambda pack: read_signed(pack, key), self.packs, inputs.put, later)

    def _tell(self, code: EventCode, detail: str, model: str | None, fields: dict[str, str]) -> None:
        self.cutter.at("tell<")
        self.telemetry.tell(code, detail, model, fields)
        self.cutter.at("tell>")

    def _note(self, status: AgentStatus) -> None:
        self.status = status


__all__ = ["DEVICE", "TOPICS", "VirtualDevice"]
