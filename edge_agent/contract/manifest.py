"""The manifest of a bundle: what a model takes and gives, what it needs, and what was proven of it.

A bundle is a folder of a few content-addressed files: `manifest.json`, the model, golden vectors and baseline
histograms. The SHA-256 of `manifest.json` is the bundle's digest; the manifest names every other file by SHA-256.

House rules: every variant of every runtime takes one float32 matrix of shape (rows, features) and gives one float32
matrix of scores of shape (rows, columns); labels follow from the scores by the rule that the `ScoreKind` states, so
that a label means the same on every runtime.
"""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from edge_agent.contract import codec
from edge_agent.contract.topics import check_digest, check_name

MANIFEST_NAME = "manifest.json"
MAX_MANIFEST_BYTES = 1024 * 1024


class Task(StrEnum):
    """What a model does."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    CLUSTERING = "clustering"
    ANOMALY = "anomaly"


class Runtime(StrEnum):
    """What executes a variant."""

    ONNX = "onnx"
    TFLITE = "tflite"
    NUMPY = "numpy"


class Precision(StrEnum):
    """How a variant's weights are stored."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT16 = "int16"
    INT8 = "int8"


class ScoreKind(StrEnum):
    """What the columns of the scores are, and with it how a label follows.

    - `probability`: one column a class; the label is that of the largest. With two classes and a threshold t, the
      label is `labels[1]` where column 1 >= t, else `labels[0]`.
    - `margin`: as `probability`, but unbounded. With a single column the label is `labels[1]` where it is > threshold.
    - `value`: regression; the columns are the targets and there is no label.
    - `distance`: one column a cluster; the label is that of the smallest.
    - `normality`: one column; the label is `labels[1]` (inlier) where it is >= threshold, else `labels[0]` (outlier).
    """

    PROBABILITY = "probability"
    MARGIN = "margin"
    VALUE = "value"
    DISTANCE = "distance"
    NORMALITY = "normality"


class LabelType(StrEnum):
    """The JSON type in which labels are answered; they are kept as text."""

    INTEGER = "integer"
    NUMBER = "number"
    STRING = "string"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column: its original name, the training range, and whether NaN (missing) may come in."""

    name: str
    low: float
    high: float
    nan_allowed: bool = False


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The input tensor: float32 of shape (rows, len(features))."""

    name: str
    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        if not self.features:
            raise ValueError("an input has at least one feature")
        if len({feature.name for feature in self.features}) != len(self.features):
            raise ValueError("names of features repeat")


@dataclass(frozen=True, slots=True)
class OutputSpec:
    """The output tensor: float32 scores of shape (rows, columns), and the labels that they stand for."""

    name: str
    kind: ScoreKind
    columns: int
    labels: tuple[str, ...] = ()
    label_type: LabelType = LabelType.STRING
    threshold: float | None = None

    def __post_init__(self) -> None:
        wanted = {ScoreKind.VALUE: 0, ScoreKind.NORMALITY: 2}.get(self.kind, max(self.columns, 2))
        if self.columns < 1 or len(self.labels) != wanted:
            raise ValueError(
                f"{self.kind} scores of {self.columns} columns need {wanted} labels, not {len(self.labels)}"
            )
        if self.columns == 1 and self.kind in (ScoreKind.MARGIN, ScoreKind.NORMALITY) and self.threshold is None:
            raise ValueError(f"{self.kind} scores of one column need a threshold")


@dataclass(frozen=True, slots=True)
class FileSpec:
    """A file of the bundle by content: name inside the bundle, SHA-256, size in bytes."""

    name: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        check_name(self.name)
        check_digest(self.sha256)
        if self.name == MANIFEST_NAME or self.size < 0:
            raise ValueError(f"{self.name!r} with {self.size} bytes is no file that a manifest may name")


@dataclass(frozen=True, slots=True)
class Requirements:
    """The least that a board must have to carry this variant: free memory and disk in MiB (2**20 bytes)."""

    memory_mb: float
    disk_mb: float


@dataclass(frozen=True, slots=True)
class Parity:
    """The variant against the source estimator on held-out rows, measured where it was built.

    `label_agreement` is the share of rows with equal labels (1.0 for regression); differences are of the scores;
    `score` is the model's own metric on these rows by this variant, `source_score` by the estimator.
    """

    rows: int
    label_agreement: float
    max_abs_diff: float
    mean_abs_diff: float
    metric: str
    score: float
    source_score: float
    runtime_version: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What the variant costs where it was built: sizes in bytes (packed: after xz), one row's latency in µs.

    `batch_us` is the latency of each of a thousand rows together; memory is what a fresh process gained, in MiB, at its
    peak and after the work. A figure that was not measured is 0.
    """

    size: int
    packed_size: int
    latency_p50_us: float
    latency_p99_us: float
    load_ms: float
    batch_us: float = 0.0
    memory_peak_mb: float = 0.0
    memory_steady_mb: float = 0.0


@dataclass(frozen=True, slots=True)
class Proof:
    """What one version of a runtime made of this variant: a line of its parity certificate.

    `rows` are the held-out ones, `hard_rows` those that were made to go wrong: on thresholds and one float32 step
    beside them, missing, extreme. `worst_excess` is the largest difference as a multiple of what is tolerated of an
    exact variant; of a smaller one it is for information. `reason` says why this version may not run the variant.
    """

    package: str
    version: str
    rows: int = 0
    hard_rows: int = 0
    max_abs_diff: float = 0.0
    worst_excess: float = 0.0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Golden:
    """How golden vectors are judged on the device: every |score - expected| <= atol + rtol * |expected|."""

    file: str
    rows: int
    atol: float
    rtol: float


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a device gets for one variant of one model version. Unknown fields are ignored, so it can grow.

    The number of the version is not in it: the server numbers, and the signed desired document binds the number to
    the digest.
    """

    model: str
    variant: str
    task: Task
    runtime: Runtime
    precision: Precision
    input: InputSpec
    output: OutputSpec
    model_file: str
    baseline_file: str
    golden: Golden
    files: tuple[FileSpec, ...]
    requires: Requirements
    parity: Parity
    cost: Cost
    schema: int = 1
    runtime_options: codec.JsonObject = field(default_factory=dict)
    # How the variant was made smaller, in words; empty where nothing is lost by design.
    form: str = ""
    certificate: tuple[Proof, ...] = ()
    # Room for artifacts that are encrypted end to end. Nothing writes it yet; whoever sees it set refuses the bundle.
    encryption: codec.JsonObject | None = None

    def __post_init__(self) -> None:
        check_name(self.model)
        check_name(self.variant)
        if self.schema != 1:
            raise ValueError(f"schema {self.schema} of a manifest is not known here; known is 1")
        if self.encryption is not None:
            raise ValueError("its artifacts are encrypted, and this release opens none")
        names = [file.name for file in self.files]
        if len(set(names)) != len(names):
            raise ValueError("names of files repeat")
        for name in (self.model_file, self.baseline_file, self.golden.file):
            if name not in names:
                raise ValueError(f"the file {name!r} is not listed")


def parse_manifest(data: bytes) -> Manifest:
    """Parse the bytes of `manifest.json`.

    Raises:
        codec.MalformedError: too large, or not a manifest.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise codec.MalformedError(f"Manifest: {len(data)} bytes are over the limit of {MAX_MANIFEST_BYTES}")
    return codec.decode(Manifest, data)


def bundle_digest(manifest: bytes) -> str:
    """Return the digest of a bundle: the SHA-256 of the bytes of its `manifest.json`."""
    return hashlib.sha256(manifest).hexdigest()
