"""Every back-end computes the same graph: numpy, ONNX Runtime and LiteRT, primitive by primitive and at random."""

import dataclasses
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.format import decode, encode
from edge_agent.kernels.graph import Graph
from edge_agent.kernels.primitives import Distance, Function, Metric, Operation, Reduction, Trees, Weighting
from tests.fakes.graphs import BACKENDS, PRIMITIVES, add_random, add_trees, graphs, grid_rows, threshold_rows
from trainer.core.quantization import quantize_graph, quantize_leaves
from trainer.errors import UnbuildableError
from trainer.stages import emit_onnx, emit_tflite

Array = np.ndarray[Any, Any]
OTHERS = ("onnx", "tflite")


def agree(graph: Graph, x: Array, *, tolerance: float = 1e-5) -> Array:
    """Assert that all back-ends agree on rows, and return what they say."""
    wanted = BACKENDS["numpy"](graph)(x)
    assert wanted.dtype == np.float32
    assert wanted.shape == (len(x), graph.widths[-1])
    for name in OTHERS:
        np.testing.assert_allclose(BACKENDS[name](graph)(x), wanted, tolerance, tolerance, err_msg=name)
    return wanted


def single(kind: str, seed: int, columns: int = 3) -> Graph:
    b = Builder(columns)
    return b.build(add_random(b, kind, 0, 0, np.random.default_rng(seed)))


def trees_graph(seed: int, *, missing: bool, columns: int = 3, k: int = 2, trees: int = 6) -> Graph:
    b = Builder(columns)
    return b.build(add_trees(b, 0, np.random.default_rng(seed), k=k, trees=trees, missing=missing))


@pytest.mark.parametrize("kind", PRIMITIVES)
@pytest.mark.parametrize("rows", [1, 1000])
def test_each_primitive(kind: str, rows: int) -> None:
    for seed in range(4):
        agree(single(kind, seed), grid_rows(3, rows, seed))


@settings(max_examples=40, deadline=None)
@given(graph=graphs(), rows=st.sampled_from([1, 2, 33]))
def test_random_graphs(graph: Graph, rows: int) -> None:
    agree(graph, grid_rows(graph.columns, rows, seed=rows))


@pytest.mark.parametrize("function", Function)
def test_each_function(function: Function) -> None:
    x = np.random.default_rng(1).uniform(0.1, 4, size=(50, 5)).astype(np.float32)
    wide = x if function in (Function.LOG, Function.SQRT, Function.SHARE) else np.concatenate([x, -x, 0 * x])
    b = Builder(5)
    graph = b.build(b.apply(0, function))
    plain = {Function.LOGISTIC: lambda v: 1 / (1 + np.exp(-v)), Function.NEGATE: np.negative, Function.SIGN: np.sign}
    scores = agree(graph, wide)
    if (reference := plain.get(function) or getattr(np, function, None)) is not None:
        np.testing.assert_allclose(scores, reference(wide.astype(np.float64)), 1e-5, 1e-6)


@pytest.mark.parametrize("operation", Operation)
@pytest.mark.parametrize("widths", [(3, 3), (1, 3), (3, 1)])
def test_each_operation(operation: Operation, widths: tuple[int, int]) -> None:
    x = np.abs(grid_rows(6, 40)) + np.float32(0.25)
    b = Builder(6)
    left, right = b.pick(0, range(widths[0])), b.pick(0, range(3, 3 + widths[1]))
    joined = b.join(b.combine(left, operation, right), b.combine(left, operation, b.constant(0.75)))
    agree(b.build(joined), x)


@pytest.mark.parametrize("reduction", Reduction)
def test_each_reduction_takes_the_first_among_equals(reduction: Reduction) -> None:
    b = Builder(4)
    scores = agree(b.build(b.reduce(0, reduction)), grid_rows(4, 200))
    if reduction is Reduction.ARGMAX:
        np.testing.assert_array_equal(scores[:, 0], grid_rows(4, 200).argmax(axis=1))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), missing=st.booleans())
def test_rows_on_thresholds_and_beside_them_go_the_same_way(seed: int, missing: bool) -> None:
    graph = trees_graph(seed, missing=missing)
    (trees,) = graph.nodes
    assert isinstance(trees, Trees)
    x = np.concatenate([threshold_rows(trees, 3), np.float32([[np.inf] * 3, [-np.inf] * 3])])
    np.testing.assert_allclose(agree(graph, x), walk_slowly(trees, x), 1e-6)


def test_the_base_is_added_where_a_leaf_says_nothing_of_a_target() -> None:
    b = Builder(1)
    graph = b.build(
        b.trees(
            0,
            roots=[0],
            feature=[0, -2, -2],
            threshold=[0.5, 0, 0],
            left=[1, -1, -1],
            right=[2, -1, -1],
            values=[[0, 0, 0], [1, 0, 0], [0, 0, 2]],
            base=[10, 20, 30],
        )
    )
    assert agree(graph, np.float32([[0], [1]])).tolist() == [[11, 20, 30], [10, 20, 32]]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_nan_goes_where_each_node_says(seed: int) -> None:
    graph = trees_graph(seed, missing=True)
    (trees,) = graph.nodes
    assert isinstance(trees, Trees)
    x = grid_rows(3, 60, seed)
    x[np.random.default_rng(seed).random(x.shape) < 0.4] = np.nan
    np.testing.assert_allclose(agree(graph, x), walk_slowly(trees, x), 1e-6)


def test_an_infinite_threshold_parts_nan_from_all_numbers() -> None:
    for left in (True, False):
        b = Builder(1)
        graph = b.build(
            b.trees(
                0,
                roots=[0],
                feature=[0, -2, -2],
                threshold=[np.inf, 0, 0],
                left=[1, -1, -1],
                right=[2, -1, -1],
                values=[[0.0], [1.0], [2.0]],
                missing_left=[left, False, False],
            )
        )
        x = np.float32([[0], [np.inf], [-np.inf], [np.nan], [3e38]])
        assert agree(graph, x)[:, 0].tolist() == [1, 1, 1, 1 if left else 2, 1]


def test_tflite_refuses_what_it_cannot_tell_apart() -> None:
    graph = trees_graph(3, missing=True)
    (trees,) = graph.nodes
    assert isinstance(trees, Trees)
    beyond = dataclasses.replace(
        trees, threshold=np.full(trees.threshold.shape, 1e300), missing_left=np.zeros(trees.threshold.shape, bool)
    )
    with pytest.raises(UnbuildableError, match="NaN goes right"):
        emit_tflite.emit(Graph(3, (beyond,)))


def test_missing_values_are_seen_filled_and_looked_up() -> None:
    b = Builder(3)
    graph = b.build(b.join(b.missing(0), b.fill(0, [1.0, 2.0, 3.0]), b.lookup(b.pick(0, [0]), [[7.0], [8.0], [9.0]])))
    x = np.float32([[np.nan, 5, np.nan], [1, np.nan, 4], [-3, np.inf, 0], [99, 0, 0], [np.nan] * 3])
    scores = agree(graph, x)
    np.testing.assert_array_equal(scores[:, :3], np.isnan(x))
    np.testing.assert_array_equal(scores[:, 3:6], np.where(np.isnan(x), [1, 2, 3], x))
    assert scores[:, 6].tolist() == [7, 8, 7, 9, 7]


@pytest.mark.parametrize("metric", Metric)
def test_distances_in_several_chunks(metric: Metric, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.stages.emit_onnx.DIFFERENCES", 8)
    monkeypatch.setattr("trainer.stages.emit_tflite.DIFFERENCES", 8)
    points = np.random.default_rng(0).normal(size=(11, 3)) + 1e4
    x = (np.random.default_rng(1).normal(size=(20, 3)) + 1e4).astype(np.float32)
    b = Builder(3)
    apart = np.abs(x.astype(np.float64)[:, None] - points.astype(np.float32)[None])
    plain = {Metric.SQUARED: (apart**2).sum(2), Metric.MANHATTAN: apart.sum(2), Metric.CHEBYSHEV: apart.max(2)}
    # Far from the origin the expanded square would have no digit left.
    np.testing.assert_allclose(agree(b.build(b.distance(0, points, metric)), x), plain[metric], 1e-5)


@pytest.mark.parametrize("weighting", Weighting)
def test_ties_and_touching_neighbours(weighting: Weighting) -> None:
    b = Builder(4)
    graph = b.build(b.vote(0, 2, np.eye(4), weighting))
    x = np.float32([[1, 1, 1, 1], [0, 2, 0, 0], [3, 1, 2, 1], [0, 5, 5, 1]])
    scores = agree(graph, x)
    halves = [[0.5, 0.5, 0, 0], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5]]
    last = [0.5, 0, 0, 0.5] if weighting is Weighting.UNIFORM else [1, 0, 0, 0]
    np.testing.assert_allclose(scores, [*halves, last])


@pytest.mark.parametrize("weighting", Weighting)
def test_neighbours_of_a_few_classes(weighting: Weighting) -> None:
    classes = np.eye(3)[np.random.default_rng(0).integers(3, size=40)]
    b = Builder(3)
    distances = b.distance(0, grid_rows(3, 40, 1), Metric.MANHATTAN)
    graph = b.build(b.vote(distances, 5, classes, weighting))
    scores = agree(graph, grid_rows(3, 60, 2))
    np.testing.assert_allclose(scores.sum(axis=1), 1, 1e-6)
    assert len(np.unique(scores.argmax(axis=1))) == 3


def test_the_nearest_come_in_order_with_what_belongs_to_them() -> None:
    b = Builder(4)
    graph = b.build(b.nearest(0, 3, [[10, 1], [20, 2], [30, 3], [40, 4]]))
    scores = agree(graph, np.float32([[4, 2, 3, 1], [5, 5, 0, 5]]))
    assert scores.tolist() == [[1, 2, 3, 40, 20, 30, 4, 2, 3], [0, 5, 5, 30, 10, 20, 3, 1, 2]]


def test_a_sum_over_gaussian_kernels_is_one_operator() -> None:
    chance, x = np.random.default_rng(0), grid_rows(5, 30)
    b = Builder(5)
    kernels = b.apply(b.scale(b.distance(0, chance.normal(size=(40, 5)), Metric.SQUARED), 0.0, -0.3), Function.EXP)
    alone = b.build(b.dense(kernels, chance.normal(size=(40, 1)), 0.25))
    agree(alone, x)
    assert operators(alone) == ["SVMRegressor"]
    # What something else takes as well has to be there.
    twice = b.build(b.join(b.dense(kernels, chance.normal(size=(40, 1)), 0.25), kernels))
    agree(twice, x)
    assert "SVMRegressor" not in operators(twice)


def test_copies_side_by_side_are_named_and_not_gathered() -> None:
    b = Builder(4)
    wide, part = b.build(b.pick(0, [0, 1, 2, 3] * 3)), b.build(b.pick(0, [0, 1, 0, 1]))
    assert operators(wide) == ["Concat"]
    assert operators(part) == ["Gather"]
    for graph in (wide, part):
        agree(graph, grid_rows(4, 20))


def test_eight_bits_mean_the_same_everywhere() -> None:
    b = Builder(40)
    weights = np.random.default_rng(0).normal(size=(40, 8)) / 6
    graph = b.build(b.dense(0, weights, np.arange(8) / 8))
    x = np.random.default_rng(1).normal(size=(64, 40)).astype(np.float32)
    full, small = BACKENDS["numpy"](graph)(x), quantize_graph(graph)
    scores = {name: BACKENDS[name](small)(x) for name in BACKENDS}
    assert 0 < np.abs(scores["numpy"] - full).max() < 0.05
    np.testing.assert_allclose(scores["onnx"], scores["numpy"], 1e-5, 1e-5)
    # The hybrid kernel rounds the activations of a row to eight bits as well.
    np.testing.assert_allclose(scores["tflite"], scores["numpy"], 0.05, 0.05)


def test_an_empty_batch_gives_no_scores() -> None:
    for seed, kind in enumerate(PRIMITIVES):
        graph = single(kind, seed)
        for name in ("numpy", "onnx"):
            assert BACKENDS[name](graph)(np.zeros((0, 3), np.float32)).shape == (0, graph.widths[-1]), (name, kind)


def operators(graph: Graph) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(emit_onnx.emit(graph)).graph.node]


def walk_slowly(trees: Trees, x: Array) -> Array:
    """Walk row by row in float64, as scikit-learn does."""
    scores = np.tile(trees.base, (len(x), 1))
    for row, values in enumerate(x.astype(np.float64)):
        for root in trees.roots:
            at = int(root)
            while trees.left[at] >= 0:
                value = values[trees.feature[at]]
                known_left = trees.missing_left is not None and bool(trees.missing_left[at])
                goes_left = known_left if np.isnan(value) else value <= trees.threshold[at]
                at = int(trees.left[at] if goes_left else trees.right[at])
            scores[row] += trees.table[trees.leaf[at]]
    return scores


@pytest.mark.parametrize("kind", [np.int8, np.int16])
@pytest.mark.parametrize("missing", [False, True])
def test_leaves_in_small_integers(kind: type[np.signedinteger[Any]], *, missing: bool) -> None:
    graph = quantize_leaves(trees_graph(3, missing=missing), kind)
    (node,) = graph.nodes
    assert isinstance(node, Trees)
    assert node.table.dtype == kind
    x = threshold_rows(node, 3)
    np.testing.assert_array_equal(BACKENDS["numpy"](decode(encode(graph)))(x), agree(graph, x))


@pytest.mark.parametrize("metric", Metric)
def test_points_in_eight_bits(metric: Metric) -> None:
    b = Builder(6)
    graph = quantize_graph(b.build(b.distance(0, np.random.default_rng(0).normal(size=(40, 6)), metric)))
    (node,) = graph.nodes
    assert isinstance(node, Distance)
    assert node.points.dtype == np.int8
    agree(graph, grid_rows(6, 30))
