"""Models that behave until they are told not to: a feature far outside of its range makes a prediction run or grow.

Their golden vectors hold, so they pass the proof and the soak, as a model does that goes bad on what it meets later.
"""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from tests.fakes.bundle_files import FakeBundle, Recipe
from tests.fakes.bundles import _affine, _constants, _onnx_bundle, _softmax, _weights

CALM = [0.1, 0.2]
BAD = [1000.0, 0.0]
_FLOATS_IN_A_MIB = 262_144


def endless_on_demand(folder: Path, **overrides: Any) -> FakeBundle:
    """As `logistic`, but a feature over 100 makes the prediction turn in a loop, a million turns for each unit."""
    turn = helper.make_graph(
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
        helper.make_node("Loop", ["count", "", "z"], ["looped"], body=turn),
        helper.make_node("Softmax", ["looped"], ["scores"], axis=1),
    ]
    return _bundle(folder, nodes, 1e6, overrides)


def greedy_on_demand(folder: Path, **overrides: Any) -> FakeBundle:
    """As `logistic`, but a feature over 100 makes the prediction allocate, a MiB for each unit."""
    nodes = [
        helper.make_node("Add", ["count", "one"], ["size"]),
        helper.make_node("Reshape", ["size", "one"], ["shape"]),
        helper.make_node("Expand", ["top", "shape"], ["filled"]),
        helper.make_node("ReduceMin", ["filled"], ["low"], keepdims=0),
        helper.make_node("Mul", ["low", "nothing"], ["nought"]),
        helper.make_node("Add", ["z", "nought"], ["grown"]),
        helper.make_node("Softmax", ["grown"], ["scores"], axis=1),
    ]
    return _bundle(folder, nodes, float(_FLOATS_IN_A_MIB), overrides)


def _bundle(folder: Path, nodes: list[NodeProto], factor: float, overrides: dict[str, Any]) -> FakeBundle:
    """The nodes after `count`, which is 0 on calm rows and `factor` for each unit over 100 on others."""
    recipe = Recipe(**overrides)
    weights, bias = _weights(recipe)
    before = [
        *_affine("z"),
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Sub", ["top", "hundred"], ["over"]),
        helper.make_node("Relu", ["over"], ["excess"]),
        helper.make_node("Mul", ["excess", "factor"], ["scaled"]),
        helper.make_node("Cast", ["scaled"], ["count"], to=TensorProto.INT64),
    ]
    constants = [
        *_constants(weights, bias),
        numpy_helper.from_array(np.array(100, np.float32), "hundred"),
        numpy_helper.from_array(np.array(factor, np.float32), "factor"),
        numpy_helper.from_array(np.array(0, np.float32), "nothing"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
    ]
    return _onnx_bundle(folder, recipe, [*before, *nodes], constants, lambda x: _softmax(x @ weights + bias))
