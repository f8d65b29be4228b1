"""The file of a graph: what goes in comes out, and nothing else comes in."""

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.kernels.builder import Builder
from edge_agent.kernels.format import MAGIC, FormatError, decode, encode
from edge_agent.kernels.graph import Graph
from edge_agent.kernels.interpreter import Interpreter
from edge_agent.kernels.primitives import Dense, Function
from tests.fakes.graphs import add_trees, graphs, grid_rows
from trainer.core.quantization import quantize_graph

PREFIX = struct.Struct("<8sIQ")


def small_graph() -> Graph:
    b = Builder(2)
    joined = b.join(b.scale(0, 0.5, 2.0), b.constant([1.5]))
    return b.build(b.apply(b.dense(joined, np.ones((3, 2)), 0.0), Function.TANH))


def rewritten(data: bytes, change: Any) -> bytes:
    """The file with another header."""
    _, size, _ = PREFIX.unpack_from(data)
    header = json.loads(data[PREFIX.size : PREFIX.size + size])
    change(header)
    text = json.dumps(header).encode()
    text += b" " * (-(PREFIX.size + len(text)) % 8)
    rest = data[PREFIX.size + size :]
    return PREFIX.pack(MAGIC, len(text), PREFIX.size + len(text) + len(rest)) + text + rest


@settings(max_examples=30, deadline=None)
@given(graph=graphs())
def test_a_graph_survives_its_file(graph: Graph) -> None:
    data = encode(graph)
    again = decode(data)
    assert encode(again) == data
    x = grid_rows(graph.columns, 17)
    np.testing.assert_array_equal(Interpreter(again).run(x), Interpreter(graph).run(x))


def test_trees_with_missing_values_and_eight_bits_survive_too() -> None:
    b = Builder(3)
    trees = b.build(add_trees(b, 0, np.random.default_rng(4), k=2, trees=5, missing=True))
    x = grid_rows(3, 50)
    x[::3, 1] = np.nan
    np.testing.assert_array_equal(Interpreter(decode(encode(trees))).run(x), Interpreter(trees).run(x))
    b = Builder(64)
    dense = b.build(b.dense(0, np.random.default_rng(0).normal(size=(64, 32))))
    small = encode(quantize_graph(dense))
    assert len(small) < 0.4 * len(encode(dense))
    (node,) = decode(small).nodes
    assert isinstance(node, Dense)
    assert node.weights.dtype == np.int8


def test_every_truncated_prefix_is_refused() -> None:
    data = encode(small_graph())
    for size in range(len(data)):
        with pytest.raises(FormatError):
            decode(data[:size])
    with pytest.raises(FormatError):
        decode(data + b"\0")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(at=st.integers(0, 10_000), bits=st.integers(1, 255))
def test_a_damaged_byte_gives_a_graph_or_an_error_of_the_format(at: int, bits: int) -> None:
    data = bytearray(encode(small_graph()))
    data[at % len(data)] ^= bits
    try:
        decode(bytes(data))
    except FormatError:
        return


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda h: h.update(columns=-1), "whole number"),
        (lambda h: h.update(columns=True), "whole number"),
        (lambda h: h.update(columns=1 << 30), "1 to"),
        (lambda h: h.update(more=1), "nothing else"),
        (lambda h: h.update(nodes=[]), "1 to"),
        (lambda h: h["nodes"][0].update(kind="Loop"), "unknown kind"),
        (lambda h: h["nodes"][0].update(more=1), "fields of Scale"),
        (lambda h: h["nodes"][0].update(source=1), "does not come before"),
        (lambda h: h["nodes"][0]["center"].update(type="f8"), "does not belong"),
        (lambda h: h["nodes"][0]["center"].update(type="b1"), "does not belong"),
        (lambda h: h["nodes"][0]["center"].update(shape=[1 << 39, 1 << 39]), "beyond the end"),
        (lambda h: h["nodes"][0]["center"].update(at=4), "does not belong"),
        (lambda h: h["nodes"][-1].update(function="eval"), "eval"),
        (lambda h: h["nodes"][-2].update(scale=float("nan")), "finite"),
        (lambda h: h["nodes"][-2]["weights"].update(shape=[2, 3]), "do not fit"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(change: Any, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        decode(rewritten(encode(small_graph()), change))


def test_bounds() -> None:
    b = Builder(1)
    huge = b.pick(b.pick(0, np.zeros(1 << 20, np.int32)), np.zeros((1 << 20) + 1, np.int32))
    with pytest.raises(FormatError, match="columns, more than"):
        encode(b.build(huge))
    nested = b"[" * 100_000
    with pytest.raises(FormatError, match="header is wrong"):
        decode(PREFIX.pack(MAGIC, len(nested), PREFIX.size + len(nested)) + nested)
    with pytest.raises(FormatError, match="does not begin"):
        decode(b"ONNX" * 20)


def test_trees_that_never_end_are_refused() -> None:
    b = Builder(1)
    trees = {"roots": [0], "feature": [0, 0, 0], "threshold": [0, 0, 0], "values": [[0.0]] * 3}
    with pytest.raises(ValueError, match="after its parent"):
        b.trees(0, left=[1, 0, -1], right=[2, 2, -1], **trees)
    with pytest.raises(ValueError, match="two parents"):
        b.trees(0, left=[1, 2, -1], right=[2, 2, -1], **trees)
    with pytest.raises(ValueError, match="beyond the 1"):
        b.trees(0, left=[1, -1, -1], right=[2, -1, -1], **{**trees, "feature": [1, 0, 0]})
