"""Counters for dashboards that go on over restarts of the worker: pure sums over beats."""

from dataclasses import dataclass

from edge_agent.core.control import Beat, ModelBeat


@dataclass(frozen=True, slots=True)
class Counters:
    """Cumulative counts of one model version since the agent began."""

    infer_n: int = 0
    err_n: int = 0
    rejected_n: int = 0

    def plus(self, other: "Counters") -> "Counters":
        """Return the sum."""
        return Counters(self.infer_n + other.infer_n, self.err_n + other.err_n, self.rejected_n + other.rejected_n)


class HealthLedger:
    """The latest beat of the serving worker, on top of what the workers before it had counted."""

    def __init__(self) -> None:
        self._worker = 0
        self._latest: tuple[ModelBeat, ...] = ()
        self._before: dict[tuple[str, int], Counters] = {}
        self.worker_memory_mb = 0.0

    def count(self, worker: int, beat: Beat) -> None:
        """Take in a beat of worker number `worker`; a new number begins its counts from zero."""
        if worker != self._worker:
            self.close()
            self._worker = worker
        self._latest = beat.models
        self.worker_memory_mb = beat.memory_mb

    def close(self) -> None:
        """The worker is gone: keep what it had counted."""
        for beat in self._latest:
            key = (beat.model, beat.version)
            self._before[key] = self._before.get(key, Counters()).plus(_counters(beat))
        self._latest = ()
        self.worker_memory_mb = 0.0

    def figures(self) -> tuple[tuple[ModelBeat, Counters], ...]:
        """Return each serving model's latest beat, and its counts since the agent began."""
        return tuple(
            (beat, self._before.get((beat.model, beat.version), Counters()).plus(_counters(beat)))
            for beat in self._latest
        )


def _counters(beat: ModelBeat) -> Counters:
    return Counters(beat.infer_n, beat.err_n, beat.rejected_n)
