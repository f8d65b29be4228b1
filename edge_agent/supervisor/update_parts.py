"""What updates act on, the settings that they need, and how a bundle set becomes a worker's load."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.adapters.artifacts import ChunkStore, RejectedBytesError
from edge_agent.adapters.slots import Slots
from edge_agent.contract.messages import AgentSettings, Capabilities, Desired, DesiredBundle, Outcome
from edge_agent.contract.states import EventCode, Reason, Result, UpdateState
from edge_agent.core.control import SNAPSHOT_S, Load, LoadModel
from edge_agent.core.update_machine import Update
from edge_agent.supervisor.disk import Disk
from edge_agent.supervisor.fetching import Fetcher
from edge_agent.supervisor.keeping import Keeper
from edge_agent.supervisor.reporter import Reporter
from edge_agent.supervisor.service import Service

# A download that is tried again soon finds its chunks here.
KEEP_CHUNKS = frozenset({Reason.FETCH_TIMEOUT, Reason.SUPERSEDED, Reason.INTERRUPTED})
_EVENTS = {
    Result.SUCCEEDED: EventCode.UPDATE_SUCCEEDED,
    Result.FAILED: EventCode.UPDATE_FAILED,
    Result.REFUSED: EventCode.UPDATE_REFUSED,
}
Tell = Callable[[EventCode, str, str | None, dict[str, str]], None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpdateParts:
    """What the updates act on."""

    keeper: Keeper
    chunks: ChunkStore
    slots: Slots
    disk: Disk
    fetcher: Fetcher
    service: Service
    reporter: Reporter
    board: Callable[[], Capabilities]
    tell: Tell


@dataclass(frozen=True, slots=True)
class UpdateSettings:
    """The few values of the configuration that updates need."""

    device: str
    worker_memory_mb: float
    beat_s: float
    restore_timeout_s: float
    snapshot_s: float = SNAPSHOT_S
    feedback: bool = False


def make_load(
    slots: Slots,
    settings: UpdateSettings,
    desired: Desired | None,
    disabled: frozenset[str],
    prove: tuple[str, ...] = (),
) -> Load:
    """Return what a worker shall load for a set, without disabled digests; no set is an empty load."""
    if desired is None:
        return _load((), (), AgentSettings(), settings)
    models = tuple(
        LoadModel(
            model=bundle.model,
            version=bundle.version,
            variant=bundle.variant,
            digest=bundle.digest,
            path=str(slots.path(bundle.digest)),
            threshold=bundle.threshold,
        )
        for bundle in desired.bundles
        if bundle.digest not in disabled
    )
    return _load(models, prove, desired.settings, settings)


def _load(
    models: tuple[LoadModel, ...], prove: tuple[str, ...], reporting: AgentSettings, settings: UpdateSettings
) -> Load:
    own = settings.device, settings.beat_s, settings.snapshot_s, settings.feedback
    return Load(models, prove, reporting, *own)


def damaged(slots: Slots, desired: Desired | None) -> tuple[tuple[DesiredBundle, str], ...]:
    """Read a set's bundles again, every byte; return those that are damaged, with what is wrong."""
    found = []
    for bundle in desired.bundles if desired is not None else ():
        try:
            slots.verify(bundle)
        except RejectedBytesError as error:
            found.append((bundle, error.detail))
        except OSError as error:
            found.append((bundle, f"{bundle.model} cannot be read: {error.strerror}"))
    return tuple(found)


def model_of(update: Update, digest: str | None) -> str | None:
    """Return the name of the model of a digest in the update's target or the good set."""
    bundles = (bundle for desired in (update.target, update.good) if desired is not None for bundle in desired.bundles)
    return next((bundle.model for bundle in bundles if bundle.digest == digest), None)


def next_due(update: Update, since: float, settings: UpdateSettings, fetcher: Fetcher, now: float) -> float | None:
    """Return when a state that began at `since` has something to do, if time alone brings it about."""
    match update:
        case Update(state=UpdateState.FETCHING):
            return fetcher.next_due(now)
        case Update(state=UpdateState.SOAKING, target=Desired(soak=soak)):
            edges = (since + soak.min_s, since + soak.max_s)
            return next((edge for edge in edges if edge > now), now + settings.beat_s)
        case Update(state=UpdateState.RESTORING):
            return since + settings.restore_timeout_s
        case _:
            return None


def tell_outcome(outcome: Outcome, tell: Tell) -> None:
    """Say how an update ended, to the server and in the log."""
    fields = {"reason": str(outcome.reason), "desired_seq": str(outcome.desired_seq)}
    tell(_EVENTS[outcome.result], outcome.detail, outcome.model, fields)
    level = logging.INFO if outcome.result is Result.SUCCEEDED else logging.WARNING
    _log.log(level, "update_ended result=%s reason=%s detail=%r", outcome.result, outcome.reason, outcome.detail)
