"""Records and manifests of a version as the trainer hands them over, made without a build, with users' own names."""

from collections.abc import Mapping
from dataclasses import replace

from edge_agent.contract.card import (
    Bound,
    Budget,
    DataFingerprint,
    FrontierPoint,
    Gate,
    ModelCard,
    SourceKind,
    VariantEntry,
    VersionRecord,
)
from edge_agent.contract.manifest import (
    Cost,
    Feature,
    FileSpec,
    Golden,
    InputSpec,
    Manifest,
    OutputSpec,
    Parity,
    Precision,
    Proof,
    Requirements,
    Runtime,
    ScoreKind,
    Task,
)

FORMS = {
    "fp32": ("as it was fitted", 1.0, -1e-15),
    "int8": ("weights in 8 bits", 0.26, 0.2),
    "cut25": ("the first 25 % of its trees", 0.25, -0.1),
    "pruned3": ("pruned to 3 % of its nodes", 0.03, 14.9),
}
_LABELS = OutputSpec("scores", ScoreKind.PROBABILITY, 2, ("<no>", "<yes>"))
_VALUES = OutputSpec("scores", ScoreKind.VALUE, 1)


def record(metric: str = "accuracy", *, name: str = "made", task: Task = Task.CLASSIFICATION) -> VersionRecord:
    """A version of three variants and one that was not built; `name` stands wherever a user's own text may."""
    card = ModelCard(
        model="made",
        task=task,
        source=SourceKind.RECIPE,
        estimator=f"Forest({name})",
        created="2026-11-01T08:30:00+00:00",
        data=DataFingerprint(name, "0123456789abcdef" * 4, 1500, 3),
        train_rows=1000,
        heldout_rows=500,
        seed=7,
        metrics={metric: 0.97, "log_loss": 0.1},
        gates=(Gate(metric, Bound.AT_LEAST, 0.9, 0.97),),
        libraries={"scikit-learn": "1.9.1"},
        estimator_latency_p50_us=12_000.0,
        description=name,
        lineage={"recipe": name},
    )
    entries = [VariantEntry(f"{item}-fp32", item, Precision.FP32, digest="1" * 64) for item in Runtime]
    entries.append(VariantEntry("onnx-int8", Runtime.ONNX, Precision.INT8, reason=f"nothing to gain: {name}"))
    points = tuple(point(runtime, form) for runtime in Runtime for form in FORMS)
    return VersionRecord(card, tuple(entries), Budget(0.5), points, (f"much smaller: {name}",))


def point(runtime: Runtime, form: str) -> FrontierPoint:
    """A form on a runtime; each runtime's files are of another size."""
    words, share, loss = FORMS[form]
    size = int(1_000_000 * share * (1 + 0.3 * list(Runtime).index(runtime)))
    within = loss <= 0.5
    marks = ("smallest", "fastest") if form == "cut25" else ()
    return FrontierPoint(runtime, form, words, size, 20.0 * within, 0.97 - loss / 100, loss, 0.3, within, marks)


def manifests(version: VersionRecord, *, name: str = "made", metric: str = "accuracy") -> Mapping[str, Manifest]:
    """The manifests of a record's variants, one of them smaller, and one that fails on a release."""
    made = {entry.variant: _manifest(version, entry, name, metric) for entry in version.variants if entry.digest}
    failed = Proof("onnxruntime", "1.27.0", reason=f"scores differ: {name}")
    first = made["onnx-fp32"]
    made["onnx-fp32"] = replace(first, certificate=(*first.certificate, failed))
    made["numpy-fp32"] = replace(made["numpy-fp32"], form=f"weights in 8 bits: {name}")
    return made


def _manifest(version: VersionRecord, entry: VariantEntry, name: str, metric: str) -> Manifest:
    place = 1 + list(Runtime).index(entry.runtime)
    files = tuple(FileSpec(file, "2" * 64, 1000) for file in ("model", "golden.npz", "baseline.json"))
    return Manifest(
        model=version.card.model,
        variant=entry.variant,
        task=version.card.task,
        runtime=entry.runtime,
        precision=entry.precision,
        input=InputSpec("x", (Feature(name, 0.0, 1.0),)),
        output=_VALUES if version.card.task is Task.REGRESSION else _LABELS,
        model_file="model",
        baseline_file="baseline.json",
        golden=Golden("golden.npz", 4, 1e-5, 1e-5),
        files=files,
        requires=Requirements(20.0, 1.0),
        parity=Parity(500, 1.0, 1e-6, 1e-7, metric, 0.97, 0.97, "1.0"),
        cost=Cost(250_000 * place, 60_000, 15.0 * place, 50.0 * place, 3.0, 1.5, 40.0, 20.0),
        certificate=(Proof(entry.runtime, "1.0", 500, 200, 1e-6, 0.01),),
    )
