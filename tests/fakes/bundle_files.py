"""The files of a fake bundle: manifest, golden vectors and baseline around a model's bytes; see `bundles`."""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.contract import codec
from edge_agent.contract.baseline import Baseline, FeatureBaseline, OutputBaseline
from edge_agent.contract.manifest import (
    MANIFEST_NAME,
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

ROWS = 64
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class FakeBundle:
    """A bundle on disk: its folder, digest, manifest, and golden rows with their scores."""

    path: Path
    digest: str
    manifest: Manifest
    x: Array
    scores: Array


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a fake bundle is made of; the builders below fill it in."""

    model: str = "demo"
    variant: str = "onnx-fp32"
    features: int = 2
    classes: int = 2
    task: Task = Task.CLASSIFICATION
    kind: ScoreKind = ScoreKind.PROBABILITY
    label_type: LabelType = LabelType.INTEGER
    labels: tuple[str, ...] | None = None
    threshold: float | None = None
    nan_allowed: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    seed: int = 0
    runtime: Runtime = Runtime.ONNX
    golden_shift: float = 0.0
    memory_mb: float = 16.0

    @property
    def feature_names(self) -> tuple[str, ...]:
        return self.names or tuple(f"x{i + 1}" for i in range(self.features))


def write_bundle(
    folder: Path, recipe: Recipe, model_file: str, model: bytes, score: Callable[[Array], Array]
) -> FakeBundle:
    """Write a complete bundle around a model's bytes; `score` is what the model computes, for the golden vectors."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = np.random.default_rng(recipe.seed + 1)
    train = chance.standard_normal((1000, recipe.features)).astype(np.float32)
    x = chance.standard_normal((ROWS, recipe.features)).astype(np.float32)
    scores = score(x).astype(np.float32)
    (folder / model_file).write_bytes(model)
    with (folder / "golden.npz").open("wb") as file:
        np.savez(file, x=x, scores=scores + np.float32(recipe.golden_shift))
    baseline = baseline_of(train, score(train), recipe.feature_names, recipe.kind)
    (folder / "baseline.json").write_bytes(codec.encode(baseline))
    manifest = _manifest(folder, recipe, model_file, train, scores.shape[1])
    data = codec.encode(manifest)
    (folder / MANIFEST_NAME).write_bytes(data)
    return FakeBundle(folder, bundle_digest(data), manifest, x, scores)


def baseline_of(train: Array, scores: Array, names: Sequence[str], kind: ScoreKind) -> Baseline:
    """Return the baseline of training rows: 20 quantile bins a feature, and the counts of what was answered."""
    features = []
    for name, column in zip(names, train.T, strict=True):
        edges = np.unique(np.quantile(column, np.arange(1, 20) / 20))
        counts = np.bincount(np.searchsorted(edges, column, side="left"), minlength=len(edges) + 1)
        features.append(
            FeatureBaseline(
                name=name,
                low=float(column.min()),
                high=float(column.max()),
                edges=tuple(edges.tolist()),
                counts=tuple(counts.tolist()),
                missing=0,
                mean=float(column.mean()),
                std=float(column.std()),
            )
        )
    if kind is ScoreKind.VALUE:
        edges = np.unique(np.quantile(scores[:, 0], np.arange(1, 20) / 20))
        counts = np.bincount(np.searchsorted(edges, scores[:, 0], side="left"), minlength=len(edges) + 1)
        output = OutputBaseline(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))
    else:
        counts = np.bincount(scores.argmax(axis=1), minlength=scores.shape[1])
        confidence = np.bincount(np.clip((scores.max(axis=1) * 10).astype(int), 0, 9), minlength=10)
        is_probability = kind is ScoreKind.PROBABILITY
        output = OutputBaseline((), tuple(counts.tolist()), tuple(confidence.tolist()) if is_probability else ())
    return Baseline(rows=len(train), features=tuple(features), output=output)


def rewrite_manifest(bundle: FakeBundle, **changes: Any) -> FakeBundle:
    """Write the manifest anew with `changes` (fields of `Manifest`); the bundle gets a new digest."""
    manifest = dataclasses.replace(bundle.manifest, **changes)
    data = codec.encode(manifest)
    (bundle.path / MANIFEST_NAME).write_bytes(data)
    return dataclasses.replace(bundle, manifest=manifest, digest=bundle_digest(data))


def _manifest(folder: Path, recipe: Recipe, model_file: str, train: Array, columns: int) -> Manifest:
    files = tuple(_file_spec(folder / name) for name in (model_file, "golden.npz", "baseline.json"))
    labels = recipe.labels if recipe.labels is not None else tuple(str(i) for i in range(columns))
    return Manifest(
        model=recipe.model,
        variant=recipe.variant,
        task=recipe.task,
        runtime=recipe.runtime,
        precision=Precision.FP32,
        input=InputSpec(
            "x",
            tuple(
                Feature(name, float(low), float(high), name in recipe.nan_allowed)
                for name, low, high in zip(recipe.feature_names, train.min(axis=0), train.max(axis=0), strict=True)
            ),
        ),
        output=OutputSpec(
            "scores",
            recipe.kind,
            columns,
            () if recipe.kind is ScoreKind.VALUE else labels,
            recipe.label_type,
            recipe.threshold,
        ),
        model_file=model_file,
        baseline_file="baseline.json",
        golden=Golden("golden.npz", ROWS, 1e-5, 1e-5),
        files=files,
        requires=Requirements(recipe.memory_mb, 1.0),
        parity=Parity(ROWS, 1.0, 0.0, 0.0, "accuracy", 0.9, 0.9, "1.0"),
        cost=Cost(files[0].size, files[0].size, 10.0, 20.0, 5.0),
    )


def _file_spec(path: Path) -> FileSpec:
    data = path.read_bytes()
    return FileSpec(path.name, hashlib.sha256(data).hexdigest(), len(data))
