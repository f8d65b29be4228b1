"""The interpreter's own promises; that it agrees with the other back-ends is tested with the emissions."""

import threading

import numpy as np
import pytest

from edge_agent.kernels import neighbours, walk
from edge_agent.kernels.builder import Builder
from edge_agent.kernels.interpreter import Interpreter
from edge_agent.kernels.primitives import Function, Metric, Operation
from edge_agent.kernels.rounding import floor_singles
from tests.fakes.graphs import add_trees, grid_rows


def test_rows_of_another_width_are_refused() -> None:
    b = Builder(3)
    interpreter = Interpreter(b.build(b.apply(0, Function.EXP)))
    for wrong in (np.zeros((2, 4), np.float32), np.zeros(3, np.float32)):
        with pytest.raises(ValueError, match="3 columns"):
            interpreter.run(wrong)


def test_the_rows_that_come_in_are_not_changed() -> None:
    b = Builder(2)
    x = np.ones((4, 2), np.float32)
    x.setflags(write=False)
    assert (
        Interpreter(b.build(b.combine(b.apply(0, Function.SOFTMAX), Operation.MUL, 0))).run(x).tolist()
        == [[0.5, 0.5]] * 4
    )


def test_a_row_that_is_the_same_for_all_is_given_for_each() -> None:
    b = Builder(2)
    interpreter = Interpreter(b.build(b.apply(b.constant([1.0, 4.0]), Function.SQRT)))
    for rows in (0, 1, 5):
        scores = interpreter.run(np.full((rows, 2), np.nan, np.float32))
        assert scores.tolist() == [[1.0, 2.0]] * rows
        assert scores.flags.c_contiguous
        # The answer is the caller's own.
        scores[:] = 7


def test_parts_of_a_batch_are_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    b = Builder(3)
    trees = add_trees(b, 0, np.random.default_rng(0), k=2, trees=7, missing=False)
    distances = b.distance(0, grid_rows(3, 9, 3), Metric.SQUARED)
    graph = b.build(b.join(trees, distances))
    x = grid_rows(3, 101)
    whole = Interpreter(graph).run(x)
    monkeypatch.setattr(walk, "POSITIONS", 50)
    monkeypatch.setattr(neighbours, "DIFFERENCES", 50)
    np.testing.assert_array_equal(Interpreter(graph).run(x), whole)


def test_threads_share_an_interpreter() -> None:
    b = Builder(3)
    interpreter = Interpreter(b.build(add_trees(b, 0, np.random.default_rng(0), k=2, trees=20, missing=False)))
    batches = [grid_rows(3, 200, seed) for seed in range(4)]
    wanted = [interpreter.run(x) for x in batches]
    same: list[bool] = []

    def ask(index: int) -> None:
        same.extend(np.array_equal(interpreter.run(batches[index]), wanted[index]) for _ in range(20))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert same == [True] * 80


def test_a_floored_threshold_parts_float32_as_float64_does() -> None:
    chance = np.random.default_rng(0)
    thresholds = np.concatenate([chance.normal(size=500), [1e300, -1e300, np.inf, -np.inf, 1e-50, -1e-50, 0.0]])
    near = floor_singles(thresholds)
    with np.errstate(over="ignore", under="ignore"):
        beside = [np.nextafter(near, np.float32(side)) for side in (np.inf, -np.inf)]
    for x in (near, *beside):
        np.testing.assert_array_equal(x <= near, x.astype(np.float64) <= thresholds)
