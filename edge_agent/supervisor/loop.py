"""The supervisor's one loop: takes an input, hands it to whom it concerns, does what is due, waits for the next."""

import logging
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge_agent.adapters.broker import Acked, Arrived, Broker, BrokerInput, Connected, Disconnected
from edge_agent.adapters.verifier_process import Verified, VerifierFailed, VerifierInput
from edge_agent.adapters.worker_process import WorkerGone, WorkerInput, WorkerSaid
from edge_agent.contract.states import EventCode, Presence, Reason, UpdateState
from edge_agent.supervisor import news as news_room
from edge_agent.supervisor.disk import ChunkRefused, ChunkStored, Disk, DiskBroke, DiskFailed, DiskInput, Staged
from edge_agent.supervisor.fetching import Fetcher
from edge_agent.supervisor.reporter import epoch_ms, progress
from edge_agent.supervisor.service import Service
from edge_agent.supervisor.status import AgentStatus
from edge_agent.supervisor.telemetry import Telemetry
from edge_agent.supervisor.trust_desk import TrustDesk
from edge_agent.supervisor.updates import Updates
from edge_agent.supervisor.uplink import Uplink
from edge_agent.supervisor.watch import Watch

_log = logging.getLogger(__name__)
_IDLE_WAIT_S = 5.0
_PROGRESS_EVERY_S = 2.0
_STATUS_EVERY_S = 0.2
_LAST_WORDS_S = 3.0
_DRAIN_S = 15.0


@dataclass(frozen=True, slots=True)
class StopRequested:
    """SIGTERM or SIGINT came."""


Input = BrokerInput | WorkerInput | DiskInput | VerifierInput | StopRequested
Inputs = queue.SimpleQueue[Input]


@dataclass(frozen=True, slots=True)
class LoopParts:
    """All that the loop drives."""

    broker: Broker
    uplink: Uplink
    disk: Disk
    trust: TrustDesk
    fetcher: Fetcher
    service: Service
    updates: Updates
    telemetry: Telemetry
    watch: Watch
    write_status: Callable[[AgentStatus], None]


class Loop:
    """Runs until it is asked to stop."""

    def __init__(
        self,
        parts: LoopParts,
        inputs: Inputs,
        blank: AgentStatus,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parts = parts
        self._inputs = inputs
        self._clock = clock
        self._status = blank
        self._status_at = 0.0
        self._progress_at = 0.0
        self._progress_counts = (0, 0)
        self._health_s = 0.0
        self._stopping = False
        self._restarting = False

    def run(self) -> None:
        """Serve until a stop is requested; then drain, say so, and return.

        Raises:
            Exception: a bug; the process ends, and its supervisor starts it again.
        """
        now = self._clock()
        self._parts.updates.start(now)
        self._parts.trust.start(now)
        self._parts.uplink.latest_report(self._parts.updates.last_report)
        self._parts.watch.ready()
        while not self._stopping:
            self._due(self._clock())
            self._take(self._wait_s(self._clock()))
        self._stop()

    def _take(self, timeout_s: float) -> None:
        try:
            item = self._inputs.get(timeout=timeout_s)
        except queue.Empty:
            return
        self._handle(item, self._clock())

    def _handle(self, item: Input, now: float) -> None:
        match item:
            case Connected() | Disconnected() | Arrived() | Acked():
                self._handle_broker(item, now)
            case WorkerSaid() | WorkerGone():
                for news in self._parts.service.handle(item, now):
                    self._handle_news(news, now)
                if isinstance(item, WorkerGone):
                    self._parts.telemetry.gone(item.worker)
            case ChunkStored(digest):
                self._parts.fetcher.stored(digest, now)
            case ChunkRefused(digest, detail):
                _log.warning("chunk_refused detail=%r", detail)
                self._parts.fetcher.refused(digest)
            case Staged() | DiskFailed():
                self._parts.updates.disk_done(item, now)
            case Verified() | VerifierFailed():
                if (finding := self._parts.trust.done(item, now)) is not None:
                    self._parts.updates.trust_found(finding, now)
            case DiskBroke(error):
                raise error
            case StopRequested():
                self._stopping = True

    def _handle_broker(self, item: BrokerInput, now: float) -> None:
        match item:
            case Connected(link):
                _log.info("broker_connected link=%d", link)
                self._parts.uplink.latest_report(self._parts.updates.last_report)
                self._parts.uplink.connected(link, now)
                self._parts.broker.subscribe(*self._parts.trust.filters)
                self._parts.telemetry.returned(now)
                self._parts.fetcher.connected(now)
            case Disconnected(link, detail):
                _log.info("broker_disconnected link=%d detail=%r", link, detail)
                self._parts.uplink.disconnected()
                self._parts.fetcher.disconnected()
            case Arrived(_, topic, payload):
                if self._parts.trust.takes(topic):
                    self._parts.trust.arrived(topic, payload, now)
                else:
                    self._parts.fetcher.arrived(topic, payload)
            case Acked():
                self._parts.uplink.acked(item, now)

    def _handle_news(self, news: news_room.News, now: float) -> None:
        telemetry = self._parts.telemetry
        match news:
            case news_room.Counted(worker, beat):
                telemetry.counted(worker, beat)
            case news_room.Told():
                telemetry.told(news)
            case news_room.ServingLost(reason, detail, storm):
                code = EventCode.WORKER_HUNG if reason is Reason.WORKER_HUNG else EventCode.WORKER_CRASHED
                again = "; it does so again and again" if storm else ""
                _log.log(logging.ERROR if storm else logging.WARNING, "worker_lost reason=%s detail=%r", reason, detail)
                telemetry.tell(code, f"{detail}{again}", None, {"reason": str(reason)})
                self._restarting = True
            case news_room.Worn(reason, detail):
                _log.warning("worker_worn detail=%r", detail)
                telemetry.tell(EventCode.WORKER_RESTARTED, detail, None, {"reason": str(reason)})
            case news_room.NowServing(trial):
                if self._restarting and not trial:
                    telemetry.tell(EventCode.WORKER_RESTARTED, "a fresh worker serves")
                self._restarting = False
            case _:
                pass
        self._parts.updates.news(news, now)

    def _due(self, now: float) -> None:
        """Do what is due, in the order of its weight."""
        parts = self._parts
        for news in parts.service.tick(now):
            self._handle_news(news, now)
        parts.updates.tick(now)
        parts.trust.tick(now)
        health_s = parts.updates.settings.health_s
        if health_s != self._health_s:
            self._health_s = health_s
            parts.telemetry.hasten(now, health_s)
        parts.telemetry.tick(now, health_s)
        self._report_progress(now)
        parts.uplink.latest_report(parts.updates.last_report)
        parts.uplink.pump(now)
        self._write_status(now)
        parts.watch.tick(now)

    def _report_progress(self, now: float) -> None:
        counts = self._parts.fetcher.counts
        fetching = self._parts.updates.update.state is UpdateState.FETCHING
        if fetching and counts != self._progress_counts and now >= self._progress_at:
            self._progress_at, self._progress_counts = now + _PROGRESS_EVERY_S, counts
            self._parts.updates.refresh_report()

    def _write_status(self, now: float) -> None:
        """Write status.json where something has changed; small changes within a fifth of a second are one."""
        parts, update = self._parts, self._parts.updates.update
        new = replace(
            self._status,
            worker_pid=parts.service.pid,
            broker_connected=parts.uplink.is_connected,
            state=update.state,
            desired_seq=update.highest_seq,
            running=parts.updates.running,
            spool_n=parts.telemetry.spooled,
            progress=progress(update, parts.fetcher.counts),
            outcome=update.outcome,
        )
        same_state = (new.state, new.worker_pid, new.running) == (
            self._status.state,
            self._status.worker_pid,
            self._status.running,
        )
        if new == self._status or (same_state and now < self._status_at):
            return
        self._status_at = now + _STATUS_EVERY_S
        self._status = new
        parts.write_status(replace(new, ts=epoch_ms()))

    def _wait_s(self, now: float) -> float:
        parts = self._parts
        due = [parts.service.next_due(), parts.updates.next_due(now), parts.telemetry.next_due(), now + _IDLE_WAIT_S]
        due += [parts.uplink.next_due(now), parts.trust.next_due(), parts.watch.next_due()]
        return max(0.0, min(time for time in due if time is not None) - now)

    def _stop(self) -> None:
        """Let open requests finish, hand over what was counted, say goodbye."""
        _log.info("agent_stopping")
        self._parts.watch.stopping()
        now = self._clock()
        self._parts.service.drain_all(now)
        self._until(now + _DRAIN_S, lambda: self._parts.service.is_empty)
        self._parts.uplink.pump(now)
        self._parts.uplink.say(Presence.STOPPED)
        self._until(self._clock() + _LAST_WORDS_S, lambda: self._parts.uplink.is_idle)
        self._parts.broker.stop()
        self._parts.trust.stop()
        self._parts.disk.stop(_LAST_WORDS_S)
        self._parts.write_status(replace(self._status, worker_pid=None, broker_connected=False, ts=epoch_ms()))

    def _until(self, deadline: float, done: Callable[[], bool]) -> None:
        """Go on handling what drains: windows, ends of workers, acknowledgements."""
        while not done() and (now := self._clock()) < deadline:
            try:
                item = self._inputs.get(timeout=deadline - now)
            except queue.Empty:
                return
            match item:
                case WorkerSaid() | WorkerGone():
                    for news in self._parts.service.handle(item, self._clock()):
                        if isinstance(news, news_room.Told):
                            self._parts.telemetry.told(news)
                    if isinstance(item, WorkerGone):
                        self._parts.telemetry.gone(item.worker)
                case Acked():
                    self._parts.uplink.acked(item, now)
                case Disconnected():
                    self._parts.uplink.disconnected()
                case _:
                    pass
