"""Messages between the supervisor and its worker, over a socket pair: one JSON object a line.

House rules: the supervisor commands, the worker answers; every command but `Configure` has exactly one answer, so a
missing one is a hang. Either end closing the socket means that its process is gone. A worker that loses its
supervisor ends.

    supervisor                        worker
    Load(models, prove) ───────────►  loads, replays golden vectors, measures
                        ◄───────────  Loaded(proofs) | LoadFailed(digest, reason)
    Serve() ───────────────────────►  accepts on the listeners handed to it
                        ◄───────────  Serving()
    Configure(settings, thresholds)►
                        ◄───────────  Beat(...) every `beat_s` from its main loop, from Serving on
                        ◄───────────  WindowUnderWay(...) every `snapshot_s`, where more was counted
                        ◄───────────  FeedbackSample(...)?, WindowClosed(...) whenever a window closes
    Drain(deadline_s) ─────────────►  stops accepting, answers open connections once more, closes its windows
                        ◄───────────  WindowClosed(...)*, then Drained(); the process ends with status 0
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from edge_agent.contract import codec
from edge_agent.contract.feedback import LabelledRow
from edge_agent.contract.messages import AgentSettings, Proof
from edge_agent.contract.states import Reason
from edge_agent.contract.windows import WindowCounts

MAX_LINE_BYTES = 4 * 1024 * 1024
# With the worker's beat and the spool's batches, less than 60 s of a window are lost in a power cut.
SNAPSHOT_S = 45.0


@dataclass(frozen=True, slots=True)
class LoadModel:
    """One verified bundle to load: the folder with its files, and the decision threshold if not the manifest's."""

    model: str
    version: int
    variant: str
    digest: str
    path: str
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """Load these bundles; replay golden vectors and measure those whose digest is in `prove`.

    Copies of windows under way come every `snapshot_s`. Inputs of answered rows are kept for feedback where this
    device's own configuration allows it (`feedback`).
    """

    models: tuple[LoadModel, ...]
    prove: tuple[str, ...]
    settings: AgentSettings
    device: str
    beat_s: float = 1.0
    snapshot_s: float = SNAPSHOT_S
    feedback: bool = False


@dataclass(frozen=True, slots=True)
class Serve:
    """Begin to accept on the listeners."""


@dataclass(frozen=True, slots=True)
class Configure:
    """New settings, and decision thresholds by model name, without a restart."""

    settings: AgentSettings
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Drain:
    """Finish: stop accepting, answer open keep-alive connections once more, end within the deadline in seconds."""

    deadline_s: float


@dataclass(frozen=True, slots=True)
class Loaded:
    """All models are loaded, and those to prove are proven."""

    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class LoadFailed:
    """A bundle could not be loaded or proven; nothing serves."""

    digest: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Serving:
    """The worker accepts."""


@dataclass(frozen=True, slots=True)
class ModelBeat:
    """Cumulative counters of one model since the worker began, and quantiles since the beat before last window."""

    model: str
    version: int
    infer_n: int
    err_n: int
    rejected_n: int
    infer_ms_p50: float
    infer_ms_p95: float
    infer_ms_p99: float
    conf_mean: float
    drift_psi_max: float
    missing_ratio: float
    out_of_range_ratio: float


@dataclass(frozen=True, slots=True)
class Beat:
    """The worker's main loop turns. `oldest_request_s` is the age of the longest inference under way (0 if none).

    `memory_mb` is what is resident and anonymous, `data_mb` what its limit (RLIMIT_DATA) counts.
    """

    models: tuple[ModelBeat, ...]
    oldest_request_s: float
    memory_mb: float
    data_mb: float = 0.0


@dataclass(frozen=True, slots=True)
class WindowClosed:
    """One closed window; the supervisor adds device, boot and number, signs and spools it."""

    model: str
    version: int
    digest: str
    started: int
    ended: int
    counts: WindowCounts


@dataclass(frozen=True, slots=True)
class WindowUnderWay:
    """A copy of the window that a model's worker counts into; the next copy, or the closed window, replaces it."""

    model: str
    version: int
    digest: str
    started: int
    ended: int
    counts: WindowCounts


@dataclass(frozen=True, slots=True)
class FeedbackSample:
    """Labelled rows of the window that is closed next: a uniform sample of those whose truth came back."""

    model: str
    version: int
    digest: str
    columns: tuple[str, ...]
    rows: tuple[LabelledRow, ...]


@dataclass(frozen=True, slots=True)
class Drained:
    """Every connection was answered and every window handed over."""


Command = Load | Serve | Configure | Drain
Answer = Loaded | LoadFailed | Serving | Beat | WindowUnderWay | FeedbackSample | WindowClosed | Drained

_KINDS: Mapping[str, type[Any]] = {kind.__name__: kind for kind in (*get_args(Command), *get_args(Answer))}


def write_line(message: Command | Answer) -> bytes:
    """Return one line: the type's name and its fields."""
    return codec.encode({"kind": type(message).__name__, "body": codec.to_plain(message)}) + b"\n"


def read_line(line: bytes) -> Command | Answer:
    """Parse one line.

    Raises:
        codec.MalformedError: no message of this protocol.
    """
    try:
        plain = json.loads(line)
        kind = _KINDS[plain["kind"]]
        body = plain["body"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise codec.MalformedError(f"control: no message: {repr(error)[:200]}") from error
    message: Command | Answer = codec.from_plain(kind, body)
    return message
