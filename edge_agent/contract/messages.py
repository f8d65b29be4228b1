"""Messages between a device and the server; each type is the payload of one topic (see `topics`).

House rules: units in names; `ts` is the sender's clock in epoch milliseconds and orders nothing; order is by
(boot, seq), counters that the device persists. `Reported`, `Event`, `Window` and `Desired` travel in a signed
envelope; `Status` and `Health` do not, and no decision rests on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edge_agent.contract.manifest import Runtime
from edge_agent.contract.states import EventCode, Presence, Reason, Result, UpdateState
from edge_agent.contract.topics import check_device_id, check_digest, check_name

MAX_GET_DIGESTS = 64
MAX_FEEDBACK_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a board is and has, as it says itself; the server chooses variants by it.

    Memory and disk in MiB (2**20 bytes); `runtimes` maps a runtime's name to its version. `simulated` marks a device
    whose profile is played: its measurements never count as a board's.
    """

    arch: str
    cores: int
    memory_mb: float
    memory_free_mb: float
    disk_free_mb: float
    runtimes: Mapping[str, str]
    python: str
    agent: str
    profile: str
    simulated: bool = False

    def __post_init__(self) -> None:
        check_name(self.profile)


@dataclass(frozen=True, slots=True)
class Status:
    """Birth (`ready`), orderly end (`stopped`) or will (`lost`) of a device; retained.

    A `lost` overrules only a `ready` of the same boot, so a stale will cannot overrule a newer birth.
    """

    state: Presence
    boot: int
    ts: int


@dataclass(frozen=True, slots=True)
class Proof:
    """What a bundle showed on this very board before it served: golden vectors replayed, time and memory measured.

    Latency is of one row in microseconds; memory in MiB is the proving worker's anonymous memory, at its end and peak.
    """

    digest: str
    golden_rows: int
    max_abs_diff: float
    label_agreement: float
    latency_p50_us: float
    latency_p99_us: float
    load_ms: float
    memory_mb: float
    memory_peak_mb: float


@dataclass(frozen=True, slots=True)
class Running:
    """One bundle that serves on the device, and whether it was proven and soaked here (`attested`)."""

    model: str
    version: int
    variant: str
    digest: str
    attested: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """The update under way: its state, which trial it is (from 1), and chunks fetched of all."""

    desired_seq: int
    state: UpdateState
    trial: int
    chunks_done: int = 0
    chunks_total: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the update to the desired document `desired_seq` ended; `model` is the guilty one where one is known."""

    desired_seq: int
    result: Result
    reason: Reason
    detail: str
    ts: int
    model: str | None = None
    proofs: tuple[Proof, ...] = ()


@dataclass(frozen=True, slots=True)
class TrustHeld:
    """Versions of the trust metadata that a device holds (0: none yet), and why it refused the newest it was shown.

    `refused` is absent where the newest was taken. A server that was restored from a backup jumps over these versions.
    """

    image_root: int = 0
    image_timestamp: int = 0
    image_snapshot: int = 0
    image_targets: int = 0
    director_root: int = 0
    director_timestamp: int = 0
    director_snapshot: int = 0
    director_targets: int = 0
    refused: Reason | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reported:
    """What a device says it runs; signed by the device, retained, sent on change only."""

    device: str
    boot: int
    seq: int
    ts: int
    desired_seq: int
    running: tuple[Running, ...]
    capabilities: Capabilities
    progress: Progress | None = None
    outcome: Outcome | None = None
    trust: TrustHeld = TrustHeld()

    def __post_init__(self) -> None:
        check_device_id(self.device)


@dataclass(frozen=True, slots=True)
class Soak:
    """When a new bundle set counts as healthy: few enough of the predicted rows in error (not finite, or raised).

    It is judged after `min_s` seconds and `min_rows` rows, whichever is later, but no later than `max_s`. With fewer
    than `min_rows` rows at `max_s` the soak succeeds: a quiet device is no failure.
    It fails at once when it cannot come right any more: with more errors than `max_error_ratio` of the rows so far
    or of `min_rows`, whichever is more.
    """

    min_s: float = 10.0
    max_s: float = 60.0
    min_rows: int = 20
    max_error_ratio: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_s <= self.max_s or self.min_rows < 0 or not 0 <= self.max_error_ratio <= 1:
            raise ValueError("a soak has 0 <= min_s <= max_s, min_rows >= 0 and max_error_ratio within 0..1")


@dataclass(frozen=True, slots=True)
class DesiredBundle:
    """One bundle that a device should run; `parcel` is the digest of the list of its chunks, read on `cohort`.

    `threshold` overrules the manifest's decision threshold; `memory_mb` is what the bundle needs at least.
    """

    model: str
    version: int
    variant: str
    digest: str
    parcel: str
    cohort: str
    size: int
    runtime: Runtime
    memory_mb: float
    threshold: float | None = None

    def __post_init__(self) -> None:
        check_name(self.model)
        check_name(self.variant)
        check_name(self.cohort)
        check_digest(self.digest)
        check_digest(self.parcel)


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How often a device reports: health every `health_s`; a window closes after `window_s` or `window_rows`.

    `feedback_rows` is how many labelled rows may go with a window at most. A device sends them only where its own
    configuration allows it as well.
    """

    health_s: float = 60.0
    window_s: float = 3600.0
    window_rows: int = 10_000
    feedback_rows: int = 0

    def __post_init__(self) -> None:
        if self.health_s < 1 or self.window_s < 1 or self.window_rows < 1:
            raise ValueError("health_s, window_s and window_rows are 1 at least")
        if not 0 <= self.feedback_rows <= MAX_FEEDBACK_ROWS:
            raise ValueError(f"feedback_rows is within 0..{MAX_FEEDBACK_ROWS}")


@dataclass(frozen=True, slots=True)
class Desired:
    """The whole set of bundles that one device should run; signed by the server, retained; the newest `seq` holds."""

    device: str
    seq: int
    ts: int
    bundles: tuple[DesiredBundle, ...]
    soak: Soak = Soak()
    settings: AgentSettings = AgentSettings()

    def __post_init__(self) -> None:
        check_device_id(self.device)
        if len({bundle.model for bundle in self.bundles}) != len(self.bundles):
            raise ValueError("a model stands twice in the set")


@dataclass(frozen=True, slots=True)
class Event:
    """A lifecycle event of a device; `n` counts within a boot, so that a repeat is known."""

    device: str
    boot: int
    n: int
    ts: int
    code: EventCode
    detail: str = ""
    model: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """One flat object of numbers and constant strings for dashboards; counters are cumulative since `uptime_s`.

    The order of the fields is the order on the wire. `seq` counts the messages of this model in this boot.
    """

    ts: int
    seq: int
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
    cpu_pct: float
    mem_mb: float
    temp_c: float
    disk_free_mb: float
    spool_n: int
    uptime_s: float
    agent: str


@dataclass(frozen=True, slots=True)
class Get:
    """A device asks for chunks that it did not find retained on its cohort's topics."""

    digests: tuple[str, ...]

    def __post_init__(self) -> None:
        if not 0 < len(self.digests) <= MAX_GET_DIGESTS:
            raise ValueError(f"a request names 1 to {MAX_GET_DIGESTS} digests")
        for digest in self.digests:
            check_digest(digest)


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """Birth and death of the control plane; retained."""

    state: Presence
    ts: int
