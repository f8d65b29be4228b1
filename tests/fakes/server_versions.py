"""A valid version folder without a trainer: contract types all through, any bytes for the model."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_agent.contract import codec
from edge_agent.contract.artifacts import sha256
from edge_agent.contract.baseline import Baseline, FeatureBaseline, OutputBaseline
from edge_agent.contract.card import DataFingerprint, ModelCard, SourceKind, VariantEntry, VersionRecord
from edge_agent.contract.manifest import (
    Cost,
    Feature,
    FileSpec,
    Golden,
    InputSpec,
    LabelType,
    Manifest,
    OutputSpec,
    Parity,
    Precision,
    Requirements,
    Runtime,
    ScoreKind,
    Task,
    bundle_digest,
)

FEATURES = ("a", "b", "c")
EDGES = (-1.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A variant to make: its name, runtime and precision."""

    name: str
    runtime: Runtime
    precision: Precision


ONNX = Wanted("onnx-fp32", Runtime.ONNX, Precision.FP32)
TFLITE = Wanted("tflite-int8", Runtime.TFLITE, Precision.INT8)


def write_version(
    folder: Path, model: str = "digits", content: bytes = b"one", wanted: tuple[Wanted, ...] = (ONNX, TFLITE)
) -> Path:
    """Write a version folder and return it; another `content` makes another version."""
    entries = [_write_variant(folder / "variants" / item.name, model, content, item) for item in wanted]
    entries.append(VariantEntry("onnx-int8", Runtime.ONNX, Precision.INT8, reason="nothing to quantize"))
    record = VersionRecord(_card(model), tuple(entries))
    (folder / "version.json").write_bytes(codec.encode(record))
    return folder


def read_files(folder: Path) -> list[tuple[str, tuple[str, bytes]]]:
    """Return the folder's files as the parts of an upload."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [("files", (path.relative_to(folder).as_posix(), path.read_bytes())) for path in paths]


def baseline() -> Baseline:
    """A baseline of three columns with four bins each, 400 training rows."""
    return Baseline(
        400,
        tuple(FeatureBaseline(name, -4.0, 4.0, EDGES, (100, 100, 100, 100), 0, 0.0, 1.0) for name in FEATURES),
        OutputBaseline((), (200, 200), (0,) * 9 + (400,)),
    )


def _write_variant(place: Path, model: str, content: bytes, item: Wanted) -> VariantEntry:
    place.mkdir(parents=True)
    arrays = io.BytesIO()
    np.savez(arrays, x=np.zeros((4, 3), np.float32), scores=np.full((4, 2), 0.5, np.float32))
    name = "model.onnx" if item.runtime is Runtime.ONNX else "model.tflite"
    files = {
        name: content * 50_000 + item.name.encode(),
        "golden.npz": arrays.getvalue(),
        "baseline.json": codec.encode(baseline()),
    }
    for file, data in files.items():
        (place / file).write_bytes(data)
    specs = tuple(FileSpec(file, sha256(data), len(data)) for file, data in files.items())
    manifest = codec.encode(_manifest(model, item, name, specs))
    (place / "manifest.json").write_bytes(manifest)
    return VariantEntry(item.name, item.runtime, item.precision, digest=bundle_digest(manifest))


def _manifest(model: str, item: Wanted, model_file: str, files: tuple[FileSpec, ...]) -> Manifest:
    size = sum(file.size for file in files)
    return Manifest(
        model=model,
        variant=item.name,
        task=Task.CLASSIFICATION,
        runtime=item.runtime,
        precision=item.precision,
        input=InputSpec("x", tuple(Feature(name, -4.0, 4.0) for name in FEATURES)),
        output=OutputSpec("scores", ScoreKind.PROBABILITY, 2, ("0", "1"), LabelType.INTEGER),
        model_file=model_file,
        baseline_file="baseline.json",
        golden=Golden("golden.npz", 4, 1e-5, 1e-5),
        files=files,
        requires=Requirements(20.0, 1.0),
        parity=Parity(100, 1.0, 0.0, 0.0, "accuracy", 0.97, 0.97, "1.0"),
        cost=Cost(size, size // 4, 10.0, 20.0, 5.0),
    )


def _card(model: str) -> ModelCard:
    return ModelCard(
        model=model,
        task=Task.CLASSIFICATION,
        source=SourceKind.RECIPE,
        estimator="LogisticRegression",
        created="2026-11-01T00:00:00+00:00",
        data=DataFingerprint("made", "0" * 64, 500, 3),
        train_rows=400,
        heldout_rows=100,
        seed=1,
        metrics={"accuracy": 0.97},
        gates=(),
        libraries={"scikit-learn": "1.9.1"},
        estimator_latency_p50_us=100.0,
    )
