"""ONNX files made to harm: each is refused by name before a runtime sees it, and what people export still comes in."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from sklearn.svm import SVC

from tests.fakes.trainer_models import fitted_logistic, fitted_mlp, quietly_fit, rows, source
from trainer.errors import RejectedError
from trainer.stages import onnx_limits
from trainer.stages.export_onnx import export
from trainer.stages.onnx_source import accept

COLUMNS = 3
PRODUCT = helper.make_node("MatMul", ["x", "w"], ["y"])
WEIGHT = numpy_helper.from_array(np.ones((3, 2), dtype=np.float32), "w")
Spoil = Callable[[onnx.ModelProto], None]


def model(nodes: list[onnx.NodeProto] | None = None, *weights: TensorProto, ml: int = 3) -> onnx.ModelProto:
    """A model from float32 x (rows, 3) to `y` (rows, 2)."""
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, COLUMNS])
    taken = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])
    graph = helper.make_graph(nodes or [PRODUCT], "g", [given], [taken], [WEIGHT, *weights])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", ml)]
    return helper.make_model(graph, ir_version=8, opset_imports=opsets)


def numbers(name: str, *values: int) -> TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def refused(made: onnx.ModelProto, words: str) -> None:
    with pytest.raises(RejectedError, match=words):
        accept(made.SerializeToString(), COLUMNS)


def test_the_model_that_is_spoiled_here_is_a_good_one() -> None:
    assert accept(model().SerializeToString(), COLUMNS).scores == 2


BODY = helper.make_graph([], "body", [], [])
SPARSE = onnx.SparseTensorProto(values=numpy_helper.from_array(np.ones(1, dtype=np.float32), "s"), dims=[2**40])


def hidden_graph(node: onnx.NodeProto) -> None:
    """A subgraph in an attribute that says it is a number."""
    attribute = node.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT)
    attribute.g.CopyFrom(BODY)


def hidden_sparse(node: onnx.NodeProto) -> None:
    node.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT).sparse_tensor.CopyFrom(SPARSE)


def hidden_reference(node: onnx.NodeProto) -> None:
    node.attribute.add(name="alpha", type=onnx.AttributeProto.FLOAT, ref_attr_name="alpha")


def outside(tensor: TensorProto) -> None:
    """A file of the server, named where data are looked for outside of the model."""
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../keys/signing.key")


def constant(spoil: Callable[[TensorProto], None]) -> onnx.NodeProto:
    """A node with a spoiled tensor in its attribute."""
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(2, dtype=np.float32), "v"))
    spoil(node.attribute[0].t)
    return node


@pytest.mark.parametrize(
    "operator", ["Loop", "Scan", "If", "Tile", "Range", "RandomNormal", "SequenceMap", "Unique", "NonZero", "Resize"]
)
def test_operators_that_may_not_end_or_grow_without_limit_are_not_on_the_list(operator: str) -> None:
    refused(model([helper.make_node(operator, ["x"], ["h"]), PRODUCT]), f"{operator} is not accepted")


NODES: dict[str, tuple[Callable[[onnx.NodeProto], None], str]] = {
    "graph": (lambda node: node.attribute.append(helper.make_attribute("body", BODY)), "a graph of its own"),
    "graphs": (lambda node: node.attribute.append(helper.make_attribute("body", [BODY])), "a graph of its own"),
    "graph-in-disguise": (hidden_graph, "a graph of its own"),
    "sparse-in-disguise": (hidden_sparse, "sparse tensors"),
    "reference": (hidden_reference, "of a kind that is not accepted"),
    "string": (lambda node: node.attribute.append(helper.make_attribute("s", "x" * 70_000)), "longer strings"),
    "strings": (lambda node: node.attribute.append(helper.make_attribute("s", ["x"] * 100_001)), "more or longer"),
    "domain": (lambda node: setattr(node, "domain", "com.microsoft"), "com.microsoft.MatMul is not accepted"),
}


@pytest.mark.parametrize(("spoil", "words"), NODES.values(), ids=NODES)
def test_nodes_carry_numbers_and_nothing_else(spoil: Callable[[onnx.NodeProto], None], words: str) -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    spoil(node)
    refused(model([node]), words)


TENSORS: dict[str, tuple[Callable[[TensorProto], None], str]] = {
    "outside": (outside, "lies outside of the file"),
    "outside-half-said": (lambda tensor: tensor.external_data.add(key="location", value="x"), "lies outside"),  # type: ignore[misc]  # a statement as an expression
    "huge": (lambda tensor: tensor.dims.__setitem__(0, 2**40), "the limit is"),
    "more-than-it-holds": (lambda tensor: tensor.dims.__setitem__(0, 1000), "says that it has"),
    "less-than-it-holds": (lambda tensor: tensor.dims.__setitem__(0, 1), "says that it has"),
    "negative": (lambda tensor: tensor.dims.__setitem__(0, -1), "negative size"),
    "axes": (lambda tensor: tensor.dims.extend([1] * 9), "axes"),
    "half-an-element": (lambda tensor: setattr(tensor, "raw_data", tensor.raw_data[:-1]), "says that it has"),
    "twice": (lambda tensor: tensor.float_data.extend([1.0] * 6), "says that it has"),
    "segment": (lambda tensor: tensor.segment.CopyFrom(TensorProto.Segment(begin=0, end=9)), "a part of one"),
    "type": (lambda tensor: setattr(tensor, "data_type", 999), "of the type 999"),
}


@pytest.mark.parametrize(("spoil", "words"), TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize("place", ["weight", "attribute"])
def test_tensors_are_in_the_file_and_as_large_as_they_say(
    place: str, spoil: Callable[[TensorProto], None], words: str
) -> None:
    made = model([constant(spoil), PRODUCT]) if place == "attribute" else model()
    if place == "weight":
        spoil(made.graph.initializer[0])
    refused(made, words)


def with_function(made: onnx.ModelProto) -> None:
    made.functions.append(helper.make_function("evil", "F", ["a"], ["b"], [], [helper.make_opsetid("", 18)]))


PARTS: dict[str, tuple[Spoil, str]] = {
    "function": (with_function, "functions of its own"),
    "training": (lambda made: made.training_info.add().initialization.CopyFrom(BODY), "training graph"),
    "sparse": (lambda made: made.graph.sparse_initializer.append(SPARSE), "sparse tensors"),
    "metadata": (lambda made: helper.set_model_props(made, {"k": "v" * 70_000}), "too much metadata"),
    "metadata-of-the-graph": (
        lambda made: made.graph.metadata_props.append(onnx.StringStringEntryProto(key="k", value="v" * 70_000)),
        "too much metadata",
    ),
    "nodes": (
        lambda made: made.graph.node.extend(helper.make_node("Relu", ["x"], [f"n{n}"]) for n in range(10_001)),
        "10002 nodes",
    ),
    "tensors": (
        lambda made: made.graph.initializer.extend(numbers(f"t{n}", 1) for n in range(10_001)),
        "10002 tensors",
    ),
}


@pytest.mark.parametrize(("spoil", "words"), PARTS.values(), ids=PARTS)
def test_a_model_is_one_graph_of_bounded_size(spoil: Spoil, words: str) -> None:
    made = model()
    spoil(made)
    refused(made, words)


def doubled(times: int) -> list[onnx.NodeProto]:
    """Concatenations of a tensor with itself, each of which doubles it."""
    names = ["x", *(f"d{number}" for number in range(times))]
    return [helper.make_node("Concat", [a, a], [b], axis=1) for a, b in pairwise(names)]


HUGE = 2**33
GROWING: dict[str, tuple[list[onnx.NodeProto], list[TensorProto], str]] = {
    "constant": ([helper.make_node("ConstantOfShape", ["n"], ["h"])], [numbers("n", HUGE)], "the limit is"),
    "expand": ([helper.make_node("Expand", ["x", "n"], ["h"])], [numbers("n", HUGE, 1, 3)], "the limit is"),
    "pad": ([helper.make_node("Pad", ["x", "n"], ["h"])], [numbers("n", 0, 0, 0, HUGE)], "the limit is"),
    "one-hot": (
        [helper.make_node("OneHot", ["i", "n", "v"], ["h"])],
        [numbers("i", 1, 2), numbers("n", HUGE), numbers("v", 0, 1)],
        "the limit is",
    ),
    "concat": (doubled(40), [], "the limit is"),
    "outer-product": (
        [
            helper.make_node("Expand", ["x", "n"], ["a"]),
            helper.make_node("Unsqueeze", ["a", "one"], ["b"]),
            helper.make_node("Unsqueeze", ["a", "two"], ["c"]),
            helper.make_node("Mul", ["b", "c"], ["h"]),
        ],
        [numbers("n", 100_000, 3), numbers("one", 1), numbers("two", 0)],
        "the limit is",
    ),
    "size-from-the-data": (
        [
            helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["i", "flat"], ["n"]),
            helper.make_node("ConstantOfShape", ["n"], ["h"]),
        ],
        [numbers("flat", -1)],
        "whose size is not known",
    ),
}


@pytest.mark.parametrize(("nodes", "weights", "words"), GROWING.values(), ids=GROWING)
def test_a_small_file_makes_no_huge_tensor(nodes: list[onnx.NodeProto], weights: list[TensorProto], words: str) -> None:
    made = model([*nodes, PRODUCT], *weights)
    assert made.ByteSize() < 10_000
    refused(made, words)


def trees(**changes: Any) -> onnx.NodeProto:
    """One tree: a root that asks for column 0, and two leaves."""
    given: dict[str, Any] = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0],
        "target_nodeids": [1, 2],
        "target_ids": [0, 1],
        "target_weights": [1.0, 2.0],
        "n_targets": 2,
    }
    return helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **(given | changes))


BRANCHES = ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"]
TREES: dict[str, tuple[dict[str, Any], str]] = {
    "loop-to-the-root": (
        {"nodes_modes": BRANCHES, "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 2, 0]},
        "never ends",
    ),
    "loop-to-itself": ({"nodes_truenodeids": [0, 0, 0]}, "never ends"),
    "child-that-is-not-there": ({"nodes_falsenodeids": [99, 0, 0]}, "is not there"),
    "child-in-another-tree": ({"nodes_treeids": [0, 0, 1]}, "is not there"),
    "column-that-is-not-there": ({"nodes_featureids": [3, 0, 0]}, "a column that its input does not have"),
    "column-below-0": ({"nodes_featureids": [-1, 0, 0]}, "a column that its input does not have"),
    "same-number": ({"nodes_nodeids": [0, 1, 1]}, "two nodes of one number"),
    "short-list": ({"nodes_featureids": [0, 0]}, "differ in length"),
    "unknown-mode": ({"nodes_modes": ["BRANCH_LEQ", "LEAF", "JUMP"]}, "unknown mode"),
}


def test_a_tree_that_ends_comes_in() -> None:
    assert accept(model([trees()]).SerializeToString(), COLUMNS).trees


@pytest.mark.parametrize(("changes", "words"), TREES.values(), ids=TREES)
def test_trees_end_and_ask_for_what_is_there(changes: dict[str, Any], words: str) -> None:
    refused(model([trees(**changes)]), words)


def test_a_chain_of_branches_has_a_limit() -> None:
    count = 5001
    last = count - 1
    chain = {
        "nodes_treeids": [0] * 2 * count,
        "nodes_nodeids": list(range(2 * count)),
        "nodes_featureids": [0] * 2 * count,
        "nodes_modes": ["BRANCH_LEQ"] * last + ["LEAF"] * (2 * count - last),
        "nodes_values": [0.0] * 2 * count,
        "nodes_truenodeids": [*range(1, count), *[0] * (count + 1)],
        "nodes_falsenodeids": [*range(count, 2 * count - 1), *[0] * (count + 1)],
    }
    refused(model([trees(**chain)]), "levels")


@pytest.mark.parametrize(
    "fitted",
    [
        fitted_logistic(),
        fitted_mlp(),
        (quietly_fit(RandomForestClassifier(20, random_state=0), *rows(0)), *rows(0)),
        (quietly_fit(GradientBoostingRegressor(n_estimators=20), *rows(0)), *rows(0)),
        (quietly_fit(SVC(probability=False), *rows(0)), *rows(0)),
    ],
    ids=["logistic", "mlp", "forest", "boosting", "svc"],
)
def test_what_people_export_comes_in(fitted: tuple[Any, Any, Any]) -> None:
    estimator, x, _ = fitted
    made = export(estimator, x.shape[1], source(estimator).output)
    assert accept(made, x.shape[1]).columns == x.shape[1]


def test_large_weights_are_no_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is on elements, and is met exactly by what is as large as it."""
    monkeypatch.setattr(onnx_limits, "MAX_ELEMENTS", 6)
    assert accept(model().SerializeToString(), COLUMNS).scores == 2
    monkeypatch.setattr(onnx_limits, "MAX_ELEMENTS", 5)
    refused(model(), "has 6 elements, the limit is 5")
