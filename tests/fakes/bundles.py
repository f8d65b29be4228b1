"""Tiny real bundles, built in milliseconds with onnx.helper: what a trainer would hand over, without training.

House rules: every bundle is complete and true (digests, golden vectors, baseline), so the code under test runs its own
checks on it; a flaw is asked for by name. Inputs are drawn from a seeded generator, standard normal.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

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
OPSET = 18
IR_VERSION = 8
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


def logistic(folder: Path, **overrides: Any) -> FakeBundle:
    """Softmax regression; features x1, x2, ...; integer labels 0, 1, ... unless overridden (fields of `Recipe`)."""
    recipe = Recipe(**overrides)
    weights, bias = _weights(recipe)
    nodes = [*_affine("z"), helper.make_node("Softmax", ["z"], ["scores"], axis=1)]
    return _onnx_bundle(folder, recipe, nodes, _constants(weights, bias), lambda x: _softmax(x @ weights + bias))


def regression(folder: Path, **overrides: Any) -> FakeBundle:
    """Linear regression with one target (`classes=2` for two targets)."""
    recipe = Recipe(**{"task": Task.REGRESSION, "kind": ScoreKind.VALUE, "classes": 1, **overrides})
    weights, bias = _weights(recipe)
    return _onnx_bundle(folder, recipe, _affine("scores"), _constants(weights, bias), lambda x: x @ weights + bias)


def nan_producing(folder: Path, *, below: float = -100.0, **overrides: Any) -> FakeBundle:
    """As `logistic`, but NaN on rows whose first feature is under `below`; its golden rows pass."""
    recipe = Recipe(**overrides)
    weights, bias = _weights(recipe)
    nodes = [
        *_affine("z"),
        helper.make_node("Softmax", ["z"], ["clean"], axis=1),
        helper.make_node("Gather", ["x", "first"], ["lead"], axis=1),
        helper.make_node("Sub", ["lead", "below"], ["room"]),
        helper.make_node("Sqrt", ["room"], ["root"]),
        helper.make_node("Mul", ["root", "zero"], ["taint"]),
        helper.make_node("Add", ["clean", "taint"], ["scores"]),
    ]
    constants = [
        *_constants(weights, bias),
        numpy_helper.from_array(np.array([0], np.int64), "first"),
        numpy_helper.from_array(np.array(below, np.float32), "below"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
    ]
    return _onnx_bundle(folder, recipe, nodes, constants, lambda x: _softmax(x @ weights + bias))


def slow(folder: Path, *, iterations: int = 300_000, **overrides: Any) -> FakeBundle:
    """As `logistic`, after a loop of `iterations` empty turns for each call (about 1 µs a turn or more)."""
    recipe = Recipe(**overrides)
    weights, bias = _weights(recipe)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["keep_in"], ["keep_out"]),
            helper.make_node("Identity", ["state_in"], ["state_out"]),
        ],
        "turn",
        [
            helper.make_tensor_value_info("turn_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("keep_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_in", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("keep_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, None),
        ],
    )
    nodes = [
        *_affine("z"),
        helper.make_node("Loop", ["turns", "", "z"], ["looped"], body=body),
        helper.make_node("Softmax", ["looped"], ["scores"], axis=1),
    ]
    constants = [*_constants(weights, bias), numpy_helper.from_array(np.array(iterations, np.int64), "turns")]
    return _onnx_bundle(folder, recipe, nodes, constants, lambda x: _softmax(x @ weights + bias))


def memory_bomb(folder: Path, *, megabytes: int = 2048, **overrides: Any) -> FakeBundle:
    """As `logistic`, but each call allocates `megabytes` MiB first; a few hundred bytes on disk."""
    recipe = Recipe(**overrides)
    weights, bias = _weights(recipe)
    nodes = [
        *_affine("z"),
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Expand", ["top", "huge"], ["filled"]),
        helper.make_node("ReduceMin", ["filled"], ["low"], keepdims=0),
        helper.make_node("Mul", ["low", "zero"], ["nothing"]),
        helper.make_node("Add", ["z", "nothing"], ["z2"]),
        helper.make_node("Softmax", ["z2"], ["scores"], axis=1),
    ]
    constants = [
        *_constants(weights, bias),
        numpy_helper.from_array(np.array([megabytes * 262_144], np.int64), "huge"),
        numpy_helper.from_array(np.array(0, np.float32), "zero"),
    ]
    return _onnx_bundle(folder, recipe, nodes, constants, lambda x: _softmax(x @ weights + bias))


def tflite_logistic(folder: Path, **overrides: Any) -> FakeBundle:
    """Softmax regression as a TFLite flatbuffer (FULLY_CONNECTED, SOFTMAX), with a dynamic batch."""
    from tests.fakes.tflite_models import softmax_regression

    recipe = Recipe(**{"variant": "tflite-fp32", "runtime": Runtime.TFLITE, **overrides})
    weights, bias = _weights(recipe)
    return write_bundle(
        folder, recipe, "model.tflite", softmax_regression(weights, bias), lambda x: _softmax(x @ weights + bias)
    )


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
        confidence = np.bincount(np.minimum((scores.max(axis=1) * 10).astype(int), 9), minlength=10)
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


def _weights(recipe: Recipe) -> tuple[Array, Array]:
    chance = np.random.default_rng(recipe.seed)
    weights = chance.standard_normal((recipe.features, recipe.classes)).astype(np.float32)
    return weights, chance.standard_normal(recipe.classes).astype(np.float32)


def _affine(output: str) -> list[onnx.NodeProto]:
    return [helper.make_node("Gemm", ["x", "weights", "bias"], [output])]


def _constants(weights: Array, bias: Array) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")]


def _onnx_bundle(
    folder: Path,
    recipe: Recipe,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
    score: Callable[[Array], Array],
) -> FakeBundle:
    columns = constants[1].dims[0]
    graph = helper.make_graph(
        nodes,
        recipe.model,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", recipe.features])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["rows", columns])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return write_bundle(folder, recipe, "model.onnx", model.SerializeToString(), score)


def _softmax(z: Array) -> Array:
    grown = np.exp(z - z.max(axis=1, keepdims=True))
    result: Array = grown / grown.sum(axis=1, keepdims=True)
    return result
