"""ONNX files say the same in fewer bytes: lists packed, blocks of zeros left out."""

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.graph import Graph
from tests.fakes.graphs import BACKENDS, add_trees, grid_rows
from trainer.stages import emit_onnx
from trainer.stages.onnx_blocks import find_blocks
from trainer.stages.onnx_packing import packed_bytes

Array = np.ndarray[Any, Any]


def dense_graph(weights: Array) -> Graph:
    b = Builder(len(weights))
    return b.build(b.dense(0, weights))


def blocks_of(rows: int, columns: int, blocks: int, seed: int, *, scattered: bool) -> Array:
    """A matrix with dense blocks down its diagonal; `scattered` puts the columns into any order."""
    chance = np.random.default_rng(seed)
    matrix = np.zeros((rows * blocks, columns * blocks))
    for index in range(blocks):
        matrix[index * rows : (index + 1) * rows, index * columns : (index + 1) * columns] = chance.normal(
            size=(rows, columns)
        )
    return matrix[:, chance.permutation(matrix.shape[1])] if scattered else matrix


@pytest.mark.parametrize("scattered", [False, True])
def test_blocks_are_kept_without_the_zeros_between_them(scattered: bool) -> None:
    weights = blocks_of(30, 12, 4, 0, scattered=scattered)
    graph = dense_graph(weights)
    data = emit_onnx.emit(graph)
    assert len(data) < weights.size * 4 / 2.5
    assert ("Gather" in kinds(data)) is scattered
    x = np.random.default_rng(1).normal(size=(9, len(weights))).astype(np.float32)
    np.testing.assert_allclose(BACKENDS["onnx"](graph)(x), x @ weights, 1e-4, 1e-4)


def test_blocks_are_joined_when_the_session_is_made_and_not_for_each_row(tmp_path: Any) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    data = emit_onnx.emit(dense_graph(blocks_of(30, 12, 4, 0, scattered=True)))
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    optimized = (tmp_path / "optimized.onnx").read_bytes()
    assert kinds(optimized) == ["Gemm"]


@given(seed=st.integers(0, 10_000), rows=st.integers(1, 40), columns=st.integers(1, 12))
def test_every_entry_is_in_one_block(seed: int, rows: int, columns: int) -> None:
    filled = np.random.default_rng(seed).random((rows, columns)) < np.random.default_rng(seed + 1).random()
    found = find_blocks(filled)
    assert [block.begin for block in found] == [0, *(block.end for block in found[:-1])]
    assert found[-1].end == rows
    for block in found:
        outside = np.setdiff1d(np.arange(columns), block.columns)
        assert not filled[block.begin : block.end, outside].any()


def test_a_full_matrix_stays_one_constant() -> None:
    data = emit_onnx.emit(dense_graph(np.random.default_rng(0).normal(size=(60, 40))))
    assert kinds(data) == ["Gemm"]


def test_packed_lists_are_the_same_lists() -> None:
    node = helper.make_node("Any", [], ["y"], some=list(range(1000)), others=[0.5] * 1000, words=["a", "b"])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
    model = helper.make_model(helper.make_graph([node], "g", [], [output]))
    packed = packed_bytes(model)
    assert onnx.load_from_string(packed) == model
    # A byte less for each of 2,000 numbers, but for the heads of the two lists.
    assert 1990 <= len(model.SerializeToString()) - len(packed) <= 2000


def test_trees_are_written_packed() -> None:
    b = Builder(3)
    graph = b.build(add_trees(b, 0, np.random.default_rng(0), k=2, trees=40, missing=True))
    data = emit_onnx.emit(graph)
    assert len(data) < 0.8 * len(onnx.load_from_string(data).SerializeToString())
    x = grid_rows(3, 50)
    np.testing.assert_allclose(BACKENDS["onnx"](graph)(x), BACKENDS["numpy"](graph)(x), 1e-6)


def kinds(data: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(data).graph.node]
