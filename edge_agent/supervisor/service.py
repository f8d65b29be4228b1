"""Keeps the wanted bundle set served: starts, watches, replaces and drains workers.

House rules: the wanted set is state, and `tick` makes the world agree with it: no worker, or one with another set,
means that a fresh one is started; when it serves, the one before drains. A trial worker of an update stands beside and
takes the place of the serving one on `promote`. A silent worker, or one stuck in a request, is killed; one that crashes
is started again after a growing delay; one whose memory grows towards its limit is replaced before it dies. A model at
work in too many ends, or answering nothing right, is named guilty. News are returned; no update is decided here.
"""

import random
from collections.abc import Callable

from edge_agent.adapters.worker_process import WorkerGone, WorkerInput, WorkerProcess, WorkerSaid
from edge_agent.contract.messages import Proof
from edge_agent.contract.states import Reason
from edge_agent.core.control import (
    Beat,
    Drain,
    FeedbackSample,
    Load,
    Loaded,
    LoadFailed,
    Serve,
    Serving,
    WindowClosed,
    WindowUnderWay,
)
from edge_agent.core.retry import Backoff, CrashLog
from edge_agent.core.suspect_rules import StrikeLog, judge_memory
from edge_agent.supervisor.news import (
    Counted,
    Guilty,
    News,
    NowServing,
    Proven,
    ServingLost,
    Told,
    TrialFailed,
    Worn,
)
from edge_agent.supervisor.worker_phases import Phase, ServiceTimes, Worker, configuration, overdue, same_bundles

_BACKOFF = Backoff(first_s=0.5, max_s=60.0)
_DRAIN_S = 10.0
_DRAIN_GRACE_S = 3.0

Spawn = Callable[[int], WorkerProcess]


class Service:
    """The workers of the device."""

    def __init__(self, spawn: Spawn, times: ServiceTimes, chance: Callable[[], float] = random.random) -> None:
        self._spawn = spawn
        self._times = times
        self._count = 0
        self._wanted: Load | None = None
        self._serving: Worker | None = None
        self._fresh: Worker | None = None
        self._trial: Worker | None = None
        self._draining: dict[int, Worker] = {}
        self._chance = chance
        self._crashes = CrashLog()
        self._strikes = StrikeLog()
        self._retry_at = 0.0

    @property
    def pid(self) -> int | None:
        """The process id of the serving worker."""
        return self._serving.process.pid if self._serving else None

    @property
    def serves_wanted(self) -> bool:
        """Whether a worker serves the wanted set."""
        return self._serving is not None and self._wanted is not None and same_bundles(self._serving.load, self._wanted)

    def want(self, load: Load) -> None:
        """Set what shall be served; `tick` sees to it. Settings and thresholds alone are changed in place."""
        before, self._wanted = self._wanted, load
        if before is not None and not same_bundles(before, load):
            self._retry_at = 0.0
            self._kill_fresh("another set is wanted")
        for worker in (self._serving, self._fresh):
            if worker is not None and same_bundles(worker.load, load) and worker.load != load:
                worker.load = load
                worker.process.send(configuration(load))

    def begin_trial(self, load: Load, now: float) -> tuple[News, ...]:
        """Start a worker that loads and proves a set while the present one serves."""
        self.abandon_trial()
        try:
            self._trial = self._start(load, now)
        except OSError as error:
            return (TrialFailed(Reason.OUT_OF_MEMORY, f"no worker can be started: {error}", None),)
        return ()

    def promote(self, now: float) -> None:
        """Let the proven trial worker accept; `NowServing` follows."""
        if self._trial is not None:
            self._accept(self._trial, now)

    def abandon_trial(self) -> None:
        """End the trial worker, if there is one."""
        if self._trial is not None:
            self._trial.killed = "the trial was given up"
            self._trial.process.kill()
            self._draining[self._trial.process.number] = self._trial
            self._trial = None

    def drain_all(self, now: float) -> None:
        """Let every worker finish and end; nothing is started any more."""
        self._wanted = None
        self.abandon_trial()
        self._kill_fresh("the agent stops")
        if self._serving is not None:
            self._drain(self._serving, now)
            self._serving = None

    @property
    def is_settled(self) -> bool:
        """Whether no worker is on its way in or out: what is asked now, the serving worker answers."""
        return not self._draining and self._fresh is None and self._trial is None

    @property
    def is_empty(self) -> bool:
        """Whether no worker is left."""
        return self._serving is None and self.is_settled

    def tick(self, now: float) -> tuple[News, ...]:
        """Kill what is overdue; start a worker where the wanted set is not served."""
        for worker in self._all():
            if now >= worker.deadline and not worker.killed:
                worker.killed = overdue(worker.phase, self._times)
                worker.process.kill()
        if self._wanted is None or self._fresh is not None or self.serves_wanted or now < self._retry_at:
            return ()
        try:
            self._fresh = self._start(self._wanted, now)
        except OSError as error:
            return self._crashed(Reason.OUT_OF_MEMORY, f"no worker can be started: {error}", now)
        return ()

    def next_due(self) -> float | None:
        """Return when `tick` has something to do."""
        due = [worker.deadline for worker in self._all() if not worker.killed]
        if self._wanted is not None and self._fresh is None and not self.serves_wanted:
            due.append(self._retry_at)
        return min(due, default=None)

    def handle(self, event: WorkerInput, now: float) -> tuple[News, ...]:
        """Take in what a worker said, or its end."""
        worker = next((one for one in self._all() if one.process.number == event.worker), None)
        if worker is None:
            return ()
        if isinstance(event, WorkerGone):
            return self._gone(worker, event, now)
        return self._said(worker, event, now)

    def _said(self, worker: Worker, event: WorkerSaid, now: float) -> tuple[News, ...]:
        if isinstance(event.answer, (WindowClosed, WindowUnderWay, FeedbackSample)):
            return (Told(worker.process.number, event.answer),)
        if worker.killed:
            return ()
        match event.answer:
            case Loaded(proofs):
                return self._loaded(worker, proofs, now)
            case LoadFailed(digest, reason, detail):
                return self._load_failed(worker, digest, reason, detail, now)
            case Serving():
                return self._now_serving(worker, now)
            case Beat() as beat:
                return self._beat(worker, beat, now)
        return ()  # Drained: its end follows

    def _loaded(self, worker: Worker, proofs: tuple[Proof, ...], now: float) -> tuple[News, ...]:
        if worker is self._trial:
            worker.phase, worker.deadline = Phase.READY, float("inf")
            return (Proven(proofs),)
        if worker is self._fresh:
            self._accept(worker, now)
        return ()

    def _load_failed(self, worker: Worker, digest: str, reason: Reason, detail: str, now: float) -> tuple[News, ...]:
        worker.killed = detail
        worker.process.kill()
        self._draining[worker.process.number] = worker
        if worker is self._trial:
            self._trial = None
            return (TrialFailed(reason, detail, digest),)
        if worker is not self._fresh:
            return ()
        self._fresh = None
        if any(model.digest == digest for model in worker.load.models):
            return (Guilty(digest, f"{reason}: {detail}"),)
        return self._crashed(reason, detail, now)

    def _now_serving(self, worker: Worker, now: float) -> tuple[News, ...]:
        if worker is not self._trial and worker is not self._fresh:
            return ()
        trial = worker is self._trial
        if trial:
            self._trial = None
            self._kill_fresh("the update's worker serves")
        else:
            self._fresh = None
        before, self._serving = self._serving, worker
        worker.phase, worker.deadline = Phase.SERVING, now + self._times.hang_s
        if before is not None:
            self._drain(before, now)
        return (NowServing(trial),)

    def _beat(self, worker: Worker, beat: Beat, now: float) -> tuple[News, ...]:
        if worker is not self._serving:
            return ()
        if beat.oldest_request_s > self._times.hang_s:
            if not worker.killed:
                worker.killed = f"one request has taken {beat.oldest_request_s:.0f} s"
                worker.process.kill()
            return ()
        worker.deadline = now + self._times.hang_s
        worker.first_beat = worker.first_beat or beat
        return (Counted(worker.process.number, beat), *self._look_at(worker, beat, now))

    def _look_at(self, worker: Worker, beat: Beat, now: float) -> tuple[News, ...]:
        """Look for what a beat shows: a model that answers nothing right, memory that grows towards its limit."""
        sick = {one.model: one for one in worker.sick.sick(beat.models, now)}
        guilty = tuple(
            Guilty(model.digest, f"none of its last rows was answered: {sick[model.model].err_n} in error")
            for model in (self._wanted.models if self._wanted else ())  # not what is being replaced already
            if model.model in sick and model in worker.load.models
        )
        if guilty or worker.first_beat is None or self._fresh is not None or now < self._retry_at:
            return guilty
        if (worn := judge_memory(worker.first_beat, beat, self._times.memory_mb)) is None or self._wanted is None:
            return ()
        return self._replace(worn, self._wanted, now)

    def _replace(self, worn: str, wanted: Load, now: float) -> tuple[News, ...]:
        """Start the worker that takes the place of a worn one; a set that wears one out after the other has to wait."""
        self._count_end(now)
        try:
            self._fresh = self._start(wanted, now)
        except OSError as error:
            return (Worn(Reason.OUT_OF_MEMORY, f"{worn}; no worker can be started: {error}"),)
        return (Worn(Reason.OUT_OF_MEMORY, worn),)

    def _gone(self, worker: Worker, event: WorkerGone, now: float) -> tuple[News, ...]:
        if self._draining.pop(worker.process.number, None) is not None:
            return ()
        reason, detail = (Reason.WORKER_HUNG, worker.killed) if worker.killed else (event.reason, event.detail)
        if worker is self._trial:
            self._trial = None
            return (TrialFailed(reason, detail, None),)
        if worker is self._fresh:
            self._fresh = None
        else:
            self._serving = None
        lost = self._crashed(reason, detail, now)
        self._strikes = self._strikes.add(worker.digests(event.suspects), now, loading=worker.phase is Phase.LOADING)
        if (guilty := self._strikes.guilty()) is None:
            return lost
        self._strikes = self._strikes.without(guilty)
        return (*lost, Guilty(guilty, f"{reason} again and again while it was at work: {detail}"))

    def _crashed(self, reason: Reason, detail: str, now: float) -> tuple[News, ...]:
        self._count_end(now)
        return (ServingLost(reason, detail, self._crashes.is_storm),)

    def _count_end(self, now: float) -> None:
        self._crashes = self._crashes.add(now)
        if self._crashes.attempt > 0:  # the first restart is at once; chance keeps later ones of many devices apart
            self._retry_at = now + _BACKOFF.delay_s(self._crashes.attempt - 1, 0.5 + self._chance() / 2)

    def _start(self, load: Load, now: float) -> Worker:
        self._count += 1
        process = self._spawn(self._count)
        process.send(load)
        return Worker(process, load, Phase.LOADING, now + self._times.load_timeout_s)

    def _accept(self, worker: Worker, now: float) -> None:
        worker.phase, worker.deadline = Phase.STARTING, now + self._times.hang_s
        worker.process.send(Serve())

    def _drain(self, worker: Worker, now: float) -> None:
        worker.phase, worker.deadline = Phase.DRAINING, now + _DRAIN_S + _DRAIN_GRACE_S
        worker.process.send(Drain(_DRAIN_S))
        self._draining[worker.process.number] = worker

    def _kill_fresh(self, why: str) -> None:
        if self._fresh is not None:
            self._fresh.killed = why
            self._fresh.process.kill()
            self._draining[self._fresh.process.number] = self._fresh
            self._fresh = None

    def _all(self) -> tuple[Worker, ...]:
        live = (self._serving, self._fresh, self._trial)
        return (*(worker for worker in live if worker is not None), *self._draining.values())
