"""Telemetry of the device: health at its interval, windows and events into the spool, batches onto the disk."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edge_agent.adapters import system
from edge_agent.adapters.held_windows import Holder
from edge_agent.adapters.spool import Spool
from edge_agent.contract.messages import Capabilities, Health
from edge_agent.contract.states import EventCode
from edge_agent.core.control import Beat, FeedbackSample, ModelBeat, WindowClosed, WindowUnderWay
from edge_agent.core.health_rules import Counters, HealthLedger
from edge_agent.core.spool_rules import Message, Priority
from edge_agent.supervisor.news import Told
from edge_agent.supervisor.reporter import Reporter, epoch_ms

_FLUSH_S = 10.0
# While a full spool loses messages all the time, events of each loss would fill it in their place.
_LOSSES_EVERY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class _DeviceFigures:
    """What is of the device, and so the same in the health of each model."""

    cpu_pct: float
    mem_mb: float
    temp_c: float
    disk_free_mb: float
    spool_n: int
    uptime_s: float
    agent: str


class Telemetry:
    """What the device tells besides its reports.

    `phase`, uniform in [0, 1), is this device's place in the interval of health, so that a fleet that got its power
    back in one moment does not report in one moment ever after.
    """

    def __init__(
        self,
        spool: Spool,
        reporter: Reporter,
        board: Callable[[], Capabilities],
        started: float,
        phase: float = 0.0,
        *,
        allows_feedback: bool = False,
    ) -> None:
        self._spool = spool
        self._reporter = reporter
        self._board = board
        self._started = started
        self._ledger = HealthLedger()
        self._cpu = system.CpuMeter()
        self._phase = phase
        self._allows_feedback = allows_feedback
        self._health_at = float("inf")  # until `hasten` knows the interval
        self._flush_at = started + _FLUSH_S
        self._losses_at = started
        self._numbers: dict[Holder, int] = {}

    @property
    def spooled(self) -> int:
        """How many messages wait for the broker."""
        return len(self._spool)

    def tell(
        self, code: EventCode, detail: str, model: str | None = None, fields: dict[str, str] | None = None
    ) -> None:
        """Spool a signed event."""
        self._spool.put(self._reporter.event(code, detail, model, fields))

    def told(self, news: Told) -> None:
        """Take in what a worker counted."""
        match news.what:
            case WindowUnderWay():
                self.hold(news.worker, news.what)
            case WindowClosed():
                self.window(news.worker, news.what)
            case FeedbackSample():
                self.feedback(news.what)

    def hold(self, worker: int, under_way: WindowUnderWay) -> None:
        """Keep a signed copy of a window under way: whatever ends the worker or the device, it will be sent."""
        holder = Holder(worker, under_way.model)
        if holder not in self._numbers:
            self._numbers[holder] = self._reporter.next_window()
        self._spool.hold(holder, self._reporter.window(under_way, self._numbers[holder]))

    def window(self, worker: int, closed: WindowClosed) -> None:
        """Spool a signed window, under the number of its copies where there are any."""
        holder = Holder(worker, closed.model)
        number = self._numbers.pop(holder, None) or self._reporter.next_window()
        self._spool.put(self._reporter.window(closed, number), instead_of=holder)

    def feedback(self, sample: FeedbackSample) -> None:
        """Spool labelled rows, signed; nothing where this device's configuration does not allow it."""
        if self._allows_feedback:
            for message in self._reporter.feedback(sample):
                self._spool.put(message)

    def gone(self, worker: int) -> None:
        """A worker has ended: what it had not closed is closed with its last copy."""
        self._numbers = {holder: number for holder, number in self._numbers.items() if holder.worker != worker}
        self._spool.release(worker)

    def counted(self, worker: int, beat: Beat) -> None:
        """Take in a beat of the serving worker."""
        self._ledger.count(worker, beat)

    def tick(self, now: float, health_s: float) -> None:
        """Spool health where it is due, and write what is in memory for long."""
        if now >= self._health_at:
            self._health_at = now + health_s
            for message in self._healths(now):
                self._spool.put(message)
        if now >= self._flush_at:
            self._flush_at = now + _FLUSH_S
            self._spool.flush()
            self._tell_losses(now)

    def hasten(self, now: float, health_s: float) -> None:
        """The interval has changed: the next health is due within the new one, at this device's place in it."""
        self._health_at = min(self._health_at, now + health_s * (1.0 - self._phase))

    def returned(self, now: float) -> None:
        """The broker is there again: what was lost meanwhile is said before anything is sent.

        Later the room for it could be made of what is on its way just then, and would be told as lost for nothing.
        """
        self._losses_at = now
        self._spool.flush()
        self._tell_losses(now)

    def next_due(self) -> float:
        """Return when `tick` has something to do."""
        return min(self._health_at, self._flush_at)

    def _tell_losses(self, now: float) -> None:
        if self._spool.dropped and now >= self._losses_at:
            self._losses_at = now + _LOSSES_EVERY_S
            self._spool.tell_losses(self._loss)

    def _loss(self, lost: Mapping[Priority, int]) -> Message:
        names = {priority.name.lower(): str(count) for priority, count in lost.items()}
        detail = "messages lost: " + ", ".join(f"{count} of {name}" for name, count in names.items())
        return self._reporter.event(EventCode.SPOOL_DROPPED, detail, None, {"n": str(sum(lost.values()))} | names)

    def _healths(self, now: float) -> list[Message]:
        figures = self._ledger.figures()
        if not figures:
            return []
        board = self._board()
        device = _DeviceFigures(
            cpu_pct=self._cpu.percent(),
            mem_mb=round(self._ledger.worker_memory_mb + system.resident_mb(), 1),
            temp_c=system.temperature_c(),
            disk_free_mb=round(board.disk_free_mb, 1),
            spool_n=len(self._spool),
            uptime_s=round(now - self._started, 1),
            agent=board.agent,
        )
        return [self._reporter.health(self._health(beat, sums, device)) for beat, sums in figures]

    def _health(self, beat: ModelBeat, sums: Counters, device: "_DeviceFigures") -> Health:
        return Health(
            ts=epoch_ms(),
            seq=self._reporter.next_health(beat.model),
            model=beat.model,
            version=beat.version,
            infer_n=sums.infer_n,
            err_n=sums.err_n,
            rejected_n=sums.rejected_n,
            infer_ms_p50=beat.infer_ms_p50,
            infer_ms_p95=beat.infer_ms_p95,
            infer_ms_p99=beat.infer_ms_p99,
            conf_mean=beat.conf_mean,
            drift_psi_max=beat.drift_psi_max,
            missing_ratio=beat.missing_ratio,
            out_of_range_ratio=beat.out_of_range_ratio,
            cpu_pct=device.cpu_pct,
            mem_mb=device.mem_mb,
            temp_c=device.temp_c,
            disk_free_mb=device.disk_free_mb,
            spool_n=device.spool_n,
            uptime_s=device.uptime_s,
            agent=device.agent,
        )
