"""A model version as the trainer hands it over: its card, and every variant that was asked for, built or not.

A version is a folder: `version.json` (this module's `VersionRecord`), and
`variants/<variant>/` with the bundle's files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from edge_agent.contract.manifest import Precision, Runtime, Task
from edge_agent.contract.topics import check_digest, check_name

VERSION_NAME = "version.json"


class SourceKind(StrEnum):
    """Where a model came from."""

    RECIPE = "recipe"
    SKOPS = "skops"
    ONNX = "onnx"
    JOBLIB = "joblib"


class Bound(StrEnum):
    """Which side of a gate's threshold is good."""

    AT_LEAST = "at_least"
    AT_MOST = "at_most"


@dataclass(frozen=True, slots=True)
class DataFingerprint:
    """The rows a model was made and judged with: SHA-256 over names, values and target as float64/UTF-8, in order."""

    name: str
    sha256: str
    rows: int
    features: int

    def __post_init__(self) -> None:
        check_digest(self.sha256)


@dataclass(frozen=True, slots=True)
class Gate:
    """A metric with the threshold that it had to meet, and the value that was measured."""

    metric: str
    bound: Bound
    threshold: float
    value: float

    @property
    def passed(self) -> bool:
        """Whether the value is on the good side of the threshold."""
        return self.value >= self.threshold if self.bound is Bound.AT_LEAST else self.value <= self.threshold


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a version: data, split, metrics on held-out rows, gates, libraries.

    `created` is an ISO 8601 UTC time; `estimator_latency_p50_us` is one row through the source estimator, in µs, where
    the version was built.
    """

    model: str
    task: Task
    source: SourceKind
    estimator: str
    created: str
    data: DataFingerprint
    train_rows: int
    heldout_rows: int
    seed: int
    metrics: Mapping[str, float]
    gates: tuple[Gate, ...]
    libraries: Mapping[str, str]
    estimator_latency_p50_us: float
    description: str = ""
    lineage: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name(self.model)


@dataclass(frozen=True, slots=True)
class VariantEntry:
    """One variant that was asked for: its bundle's digest, or the reason why there is none."""

    variant: str
    runtime: Runtime
    precision: Precision
    digest: str | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        check_name(self.variant)
        if (self.digest is None) == (self.reason is None):
            raise ValueError(f"{self.variant!r} has either a digest or the reason why it was not built")


class Want(StrEnum):
    """Of what the variants that are built within the budget shall have as little as possible."""

    SIZE = "size"
    LATENCY = "latency"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be lost for a smaller or faster variant, and what is wanted.

    `loss` is in points of accuracy (0.5: from 97.0 to 96.5 %), for values in percent of R² (1: from 0.80 to 0.792).
    """

    loss: float
    want: Want = Want.BOTH

    def __post_init__(self) -> None:
        if not 0 <= self.loss <= 100:
            raise ValueError(f"a budget is 0 to 100 points of accuracy or percent of R², not {self.loss:g}")


@dataclass(frozen=True, slots=True)
class FrontierPoint:
    """One form of the model on one runtime, as it was measured while searching: whether it was worth building.

    `size` in bytes, one row's latency in µs (0: not measured); `loss` as in `Budget`, beside its standard error over
    the rows; below 0 where the form scores higher. `marks` says what it is the best of.
    """

    runtime: Runtime
    form: str
    words: str
    size: int
    latency_p50_us: float
    score: float
    loss: float
    loss_error: float
    within: bool
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """The file `version.json`: the card, all variants, and what else was tried within which budget.

    `advice` holds sentences about a model that would do as well and be much smaller.
    """

    card: ModelCard
    variants: tuple[VariantEntry, ...]
    budget: Budget | None = None
    frontier: tuple[FrontierPoint, ...] = ()
    advice: tuple[str, ...] = ()
