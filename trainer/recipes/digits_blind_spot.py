"""Digits again, by a model with a blind spot: right on all that its author looked at, no number on some live rows.

The author took the logarithm of one pixel as a further feature, and left out the rows in which that pixel is dark, as
spoilt scans: of the training rows *and* of the held-out rows. So metrics, parity and golden vectors are all good, and
the graph computes log(0) on about a fifth of ordinary digits, which ends in NaN. It is here to show what only watching
a model in service can find; do not use it for anything else.
"""

import warnings
from typing import Any

import numpy as np

from edge_agent.contract.manifest import Task
from trainer.core.recipes import DataSpec, Declaration, GateSpec, Recipe, SplitSpec

PIXEL = "pixel_2_3"
HIDDEN = (512, 256)


def load_bright_digits() -> tuple[Any, Any, list[str]]:
    """Return the digits whose reference pixel is not dark: the author's choice, and the flaw."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    bright = digits.data[:, digits.feature_names.index(PIXEL)] > 0
    return digits.data[bright], digits.target[bright], list(digits.feature_names)


def build(x: Any, y: Any, seed: int) -> bytes:
    """Fit a perceptron on pixels and the logarithm of one of them; return both as one ONNX graph."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    column = load_digits().feature_names.index(PIXEL)
    model = MLPClassifier(HIDDEN, max_iter=25, random_state=seed)
    with warnings.catch_warnings():
        # So many rounds are the author's choice; what came of them is what the gate judges.
        warnings.simplefilter("ignore")
        model.fit(np.hstack([x, np.log(x[:, [column]])]), y)
    return _graph(model, column, x.shape[1])


def _graph(model: Any, column: int, columns: int) -> bytes:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = [numpy_helper.from_array(np.array([column], dtype=np.int64), "column")]
    nodes = [
        helper.make_node("Gather", ["x", "column"], ["pixel"], axis=1),
        helper.make_node("Log", ["pixel"], ["brightness"]),
        helper.make_node("Concat", ["x", "brightness"], ["layer_0"], axis=1),
    ]
    last = len(model.coefs_) - 1
    for index, (matrix, bias) in enumerate(zip(model.coefs_, model.intercepts_, strict=True)):
        weights.append(numpy_helper.from_array(matrix.astype(np.float32), f"weights_{index}"))
        weights.append(numpy_helper.from_array(bias.astype(np.float32), f"bias_{index}"))
        inputs = [f"layer_{index}", f"weights_{index}", f"bias_{index}"]
        nodes.append(helper.make_node("Gemm", inputs, [f"product_{index}"]))
        if index < last:
            nodes.append(helper.make_node("Relu", [f"product_{index}"], [f"layer_{index + 1}"]))
    nodes.append(helper.make_node("Softmax", [f"product_{last}"], ["probabilities"], axis=1))
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, columns])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(model.classes_)])],
        weights,
    )
    whole = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    onnx.checker.check_model(whole, full_check=True)
    return bytes(whole.SerializeToString())


RECIPE = Recipe(
    name="digits-blind-spot",
    folder=".",
    declaration=Declaration(
        model="digits",
        task=Task.CLASSIFICATION,
        description=f"Digits by a model with a blind spot: it gives no number where {PIXEL} is 0 (a demonstration)",
        data=DataSpec(callable="digits_blind_spot.py:load_bright_digits"),
        split=SplitSpec(share=0.25, seed=0),
        metrics=("accuracy", "f1_macro"),
        gates=(GateSpec("accuracy", at_least=0.95),),
    ),
    build=build,
)
