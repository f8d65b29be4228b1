"""A simulated device: the agent's real parts, as its composition root joins them, over a broker in virtual time.

House rules: the journal and the spool are real SQLite in memory, and with the board's chunks and bundles they are what
outlives a crash. A crash may come at every step that touches the world.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.adapters import journal as journal_room
from edge_agent.adapters.broker import Arrived, Connected, Disconnected
from edge_agent.adapters.spool import Spool
from edge_agent.adapters.trust import DeviceKey, public_key
from edge_agent.adapters.watchdog import Watchdog
from edge_agent.contract import codec
from edge_agent.contract.messages import Capabilities, Status
from edge_agent.contract.states import EventCode, Presence
from edge_agent.contract.topics import Up
from edge_agent.core.update_machine import Update
from edge_agent.supervisor.config import FetchConfig
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
from tests.chaos.board import Flaw, MemoryChunks, MemoryMarkers, MemorySlots, SimDisk, SimWorker, WorkerWorld
from tests.chaos.broker import TOPICS, Port, SimBroker
from tests.chaos.ends import Client, WatchedJournal
from tests.chaos.timeline import Crash, Points, Timeline, Weather
from tests.fakes.packs import peek_order
from tests.fakes.virtual_trust import VirtualVerifier

HANG_S, LOAD_TIMEOUT_S = 150.0, 20.0
_BACKFILL_PER_S = 2.0
_FETCH = FetchConfig(window=4, chunk_timeout_s=5.0, timeout_s=300.0)


def capabilities() -> Capabilities:
    """What every simulated board says of itself."""
    return Capabilities(
        "aarch64", 4, 4096.0, 3000.0, 9000.0, {"onnx": "1.23"}, "3.11", "0.1.0", "made-up", simulated=True
    )


class Device:
    """A device with its durable state, and its agent while one lives."""

    def __init__(
        self,
        identity: str,
        timeline: Timeline,
        weather: Weather,
        broker: SimBroker,
        flaw: Callable[[str, str], Flaw],
        watch: Any,
    ) -> None:
        self.id = identity
        self.timeline, self.weather, self.broker = timeline, weather, broker
        self.points = Points()
        self._seed = timeline.rng.randbytes(32)
        self.public_key = public_key(self._seed)
        self._flaw = flaw
        self._watch = watch
        tables, _ = journal_room._connect(Path(":memory:"), lambda: None)
        self._journal = WatchedJournal(tables, self.points, lambda *what: watch.saved(self, *what))
        self._markers, self._packs = MemoryMarkers(self.points), dict[str, bytes]()
        self._spool_file = Spool.open(Path(":memory:"), 1.0)._db
        self.chunks, self.slots = MemoryChunks(self.points), MemorySlots(self.points)
        self.workers: list[SimWorker] = []
        self.loop: Loop | None = None
        self.parts: LoopParts | None = None
        self.client = Client(self)
        self.gone = False
        self._life = 0
        self._wake_at = math.inf

    @property
    def updates(self) -> Updates | None:
        """The updates of the agent that lives now."""
        return None if self.parts is None else self.parts.updates

    # Life and death.

    def boot(self) -> None:
        """Start the agent on its durable state."""
        if self.gone or self.loop is not None:
            return
        self._life += 1
        self._wake_at = math.inf
        try:
            boot = self._journal.count_boot(self._markers.boot)
            self._markers.see(boot=boot)
            update = self._journal.load()
            self._watch.booted(self, boot, update)
            self.loop, self.parts = self._compose(boot, update)
            now = self.timeline.now
            self.parts.telemetry.tell(EventCode.BOOTED, f"boot {boot}")
            self.parts.updates.start(now)
            self.parts.trust.start(now)
            self.parts.uplink.latest_report(self.parts.updates.last_report)
        except Crash:
            self.die()
            return
        self._after_step()
        self._connect()

    def die(self) -> None:
        """Lose all that is not durable; come back some time later."""
        self._life += 1
        self.points.crash_in = 0
        self.loop = self.parts = None
        self.client.link = 0
        for worker in self.workers:
            worker.vanish()
        self.workers.clear()
        self.broker.cut(self.id)
        self.timeline.after(self.timeline.rng.uniform(0.5, 25.0), self.boot)

    def leave(self) -> None:
        """Be taken out of the fleet for good."""
        self.gone = True
        self.die()

    def lose_link(self) -> None:
        """The connection is gone; the agent learns of it a little later."""
        self.broker.cut(self.id)
        if self.loop is not None:
            told = self.of_this_life(self._told_of_loss)
            self.timeline.after(self.timeline.rng.uniform(0.0, 10.0), told)

    def of_this_life(self, action: Callable[[], None]) -> Callable[[], None]:
        """Return the action, which does nothing once this agent has died."""
        life = self._life

        def still() -> None:
            if life == self._life:
                action()

        return still

    def take(self, item: Any) -> None:
        """Hand an input to the agent's loop, and do what is due."""
        if self.loop is None or self.parts is None:
            return
        now = self.timeline.now
        try:
            if item is not None:
                self.loop._handle(item, now)
            self.loop._due(now)
        except Crash:
            self.die()
            return
        self._after_step()

    # Within.

    def _after_step(self) -> None:
        self.workers = [worker for worker in self.workers if worker._alive]
        self._watch.stepped(self)
        parts, now = self.parts, self.timeline.now
        if parts is None:
            return
        due = [parts.service.next_due(), parts.updates.next_due(now), parts.trust.next_due()]
        due.append(parts.uplink.next_due(now) if self.client.link else None)
        due += [parts.telemetry.next_due()] if parts.telemetry.spooled else []
        soonest = min((time for time in due if time is not None), default=now + 3600)
        if soonest < self._wake_at:
            self._wake_at = max(soonest, now + 0.01)
            self.timeline.after(self._wake_at - now, self.of_this_life(self._wake))

    def _wake(self) -> None:
        self._wake_at = math.inf
        self.take(None)

    def _connect(self) -> None:
        if self.loop is None or self.client.link:
            return
        arrived = lambda link, topic, payload: self.take(Arrived(link, topic, payload))  # noqa: E731
        lost = codec.encode(Status(Presence.LOST, self.parts.uplink._boot if self.parts else 0, 0))
        port = Port(arrived, (TOPICS.up(self.id, Up.STATUS), lost))
        link = self.broker.connect(self.id, port)
        if link:
            self.client.link = link
            self.take(Connected(link))
        else:
            self.timeline.after(self.timeline.rng.uniform(1.0, 10.0), self.of_this_life(self._connect))

    def _told_of_loss(self) -> None:
        link, self.client.link = self.client.link, 0
        if link:
            self.take(Disconnected(link, "gone"))
            self.timeline.after(self.timeline.rng.uniform(0.5, 8.0), self.of_this_life(self._connect))

    def _compose(self, boot: int, update: Update) -> tuple[Loop, LoopParts]:
        now, device = self.timeline.now, self.id
        self.client = Client(self)
        spool = Spool(self._spool_file, 1 << 20)
        life = self._life
        put = lambda item: self.take(item) if life == self._life else None  # noqa: E731
        disk = SimDisk(self.chunks, self.slots, put, self._later)
        reporter = Reporter(device, boot, TOPICS, DeviceKey(self._seed), capabilities)
        telemetry = Telemetry(spool, reporter, capabilities, now)
        fetcher = Fetcher(device, TOPICS, self.client, self.chunks, disk, _FETCH, lambda: 9000.0)  # type: ignore[arg-type]
        service = Service(lambda number: self._spawn(number, put), ServiceTimes(HANG_S, LOAD_TIMEOUT_S))  # type: ignore[arg-type,return-value]
        parts = UpdateParts(
            Keeper(self._journal, self._markers),  # type: ignore[arg-type]
            self.chunks,
            self.slots,
            disk,
            fetcher,
            service,
            reporter,
            capabilities,
            telemetry.tell,  # type: ignore[arg-type]
        )
        settings = UpdateSettings(device, 2000.0, 2.0, LOAD_TIMEOUT_S + 10.0)
        updates = Updates(parts, settings, update)
        parts_of = (TOPICS, self.client, self._journal, spool)
        uplink = Uplink(device, boot, *parts_of, _BACKFILL_PER_S, self.timeline.rng.random)  # type: ignore[arg-type]
        verifier = VirtualVerifier(device, peek_order, self._packs, put, self._later)
        watch = Watch(Watchdog({}), disk, self.client, 60.0)  # type: ignore[arg-type]
        all_parts = LoopParts(
            self.client,
            uplink,
            disk,
            TrustDesk(device, TOPICS, verifier, lambda: updates.update.highest_seq),
            fetcher,
            service,
            updates,
            telemetry,
            watch,
            lambda _status: None,  # type: ignore[arg-type]
        )
        blank = AgentStatus(device, boot, 0, 1, None, "", "", False, update.state, update.highest_seq, (), 0)
        return Loop(all_parts, None, blank, lambda: self.timeline.now), all_parts  # type: ignore[arg-type]

    def _later(self, work: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except Crash:
                self.die()

        self.timeline.after(self.timeline.rng.uniform(0.01, 0.6), self.of_this_life(guarded))

    def _spawn(self, number: int, put: Callable[[Any], None]) -> SimWorker:
        self.points.pass_by()
        world = WorkerWorld(
            self.timeline,
            put,
            lambda model: self._flaw(self.id, f"{model.model} {model.version}"),
            lambda digest: self._watch.proven(self, digest),
            self.points,
        )
        worker = SimWorker(number, world)
        self.workers.append(worker)
        return worker
