"""Tiny real bundles, built in milliseconds with onnx.helper: what a trainer would hand over, without training.

House rules: every bundle is complete and true (digests, golden vectors, baseline), so the code under test runs its own
checks on it; a flaw is asked for by name. Inputs are drawn from a seeded generator, standard normal.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge_agent.contract.manifest import Runtime, ScoreKind, Task
from edge_agent.kernels.builder import Builder
from edge_agent.kernels.format import encode
from edge_agent.kernels.primitives import Function
from tests.fakes.bundle_files import ROWS, Array, FakeBundle, Recipe, baseline_of, rewrite_manifest, write_bundle

__all__ = [
    "ROWS",
    "FakeBundle",
    "Recipe",
    "baseline_of",
    "broken",
    "crashing",
    "logistic",
    "memory_bomb",
    "nan_producing",
    "numpy_logistic",
    "regression",
    "rewrite_manifest",
    "slow",
    "tflite_logistic",
    "write_bundle",
]

OPSET = 18
IR_VERSION = 8


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


def numpy_logistic(folder: Path, **overrides: Any) -> FakeBundle:
    """Softmax regression as a lowered graph for the numpy interpreter."""
    recipe = Recipe(**{"variant": "numpy-fp32", "runtime": Runtime.NUMPY, **overrides})
    weights, bias = _weights(recipe)
    b = Builder(recipe.features)
    graph = b.build(b.apply(b.dense(b.input, weights, bias), Function.SOFTMAX))
    return write_bundle(folder, recipe, "model.graph", encode(graph), lambda x: _softmax(x @ weights + bias))


def crashing(folder: Path, **overrides: Any) -> FakeBundle:
    """A TFLite bundle with as many classes as features that kills the process which loads it (SIGSEGV)."""
    from tests.fakes.tflite_models import endless_recursion

    recipe = Recipe(**{"variant": "tflite-fp32", "runtime": Runtime.TFLITE, **overrides})
    weights, bias = _weights(recipe)
    model = endless_recursion(recipe.features)
    return write_bundle(folder, recipe, "model.tflite", model, lambda x: _softmax(x @ weights + bias))


def broken(folder: Path, **overrides: Any) -> FakeBundle:
    """A bundle whose digests hold and whose model file is no model."""
    recipe = Recipe(**overrides)
    weights, bias = _weights(recipe)
    return write_bundle(folder, recipe, "model.onnx", b"no model", lambda x: _softmax(x @ weights + bias))


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
