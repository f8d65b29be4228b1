"""One worker as the service sees it: its load, its phase, and until when something must happen."""

from dataclasses import dataclass, field
from enum import StrEnum

from edge_agent.adapters.worker_process import WorkerProcess
from edge_agent.core.control import Beat, Configure, Load, LoadModel
from edge_agent.core.suspect_rules import SickLog


class Phase(StrEnum):
    """Where a worker is in its life; each phase but the last two has a deadline."""

    LOADING = "loading"
    READY = "ready"
    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(slots=True)
class Worker:
    """A live worker; `deadline` is when its phase must have ended, or its next beat have come."""

    process: WorkerProcess
    load: Load
    phase: Phase
    deadline: float
    killed: str = ""
    first_beat: Beat | None = None
    sick: SickLog = field(default_factory=SickLog)

    def digests(self, places: tuple[int, ...]) -> tuple[str, ...]:
        """Return the digests of the models at these places of its load."""
        return tuple(self.load.models[place].digest for place in places if place < len(self.load.models))


@dataclass(frozen=True, slots=True)
class ServiceTimes:
    """Patience in seconds: silence (or one request) of a serving worker, and loading; its limit of data memory, MiB."""

    hang_s: float
    load_timeout_s: float
    memory_mb: float = float("inf")


def same_bundles(a: Load, b: Load) -> bool:
    """Whether the same bundles are loaded, whatever their settings and thresholds."""
    return [(m.model, m.version, m.digest) for m in a.models] == [(m.model, m.version, m.digest) for m in b.models]


def configuration(load: Load) -> Configure:
    """Return the command that gives a worker a load's settings and thresholds."""
    return Configure(load.settings, _thresholds(load.models))


def _thresholds(models: tuple[LoadModel, ...]) -> dict[str, float]:
    return {model.model: model.threshold for model in models if model.threshold is not None}


def overdue(phase: Phase, times: ServiceTimes) -> str:
    """Return what a worker has not done in time."""
    match phase:
        case Phase.LOADING:
            return f"it did not load within {times.load_timeout_s:g} s"
        case Phase.STARTING:
            return f"it did not begin to serve within {times.hang_s:g} s"
        case Phase.SERVING:
            return f"it was silent for {times.hang_s:g} s"
        case Phase.DRAINING | Phase.READY:
            return "it did not end in time"
