"""Parity: a variant that answers otherwise is refused with figures, one that answers alike is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.manifest import OutputSpec, Precision, ScoreKind
from trainer.core.parity import compare, judge, judge_quantized

PROBABILITIES = OutputSpec("scores", ScoreKind.PROBABILITY, 3, ("a", "b", "c"))
VALUES = OutputSpec("scores", ScoreKind.VALUE, 1)
CHANCE = np.random.default_rng(0)


def probabilities(rows: int = 50) -> np.ndarray:
    return CHANCE.dirichlet([1, 1, 1], size=rows)


@given(seed=st.integers(0, 1000), size=st.floats(0, 9e-6))
def test_rounding_is_no_difference(seed: int, size: float) -> None:
    reference = probabilities()
    noise = np.random.default_rng(seed).uniform(-size, size, reference.shape)
    assert judge(PROBABILITIES, Precision.FP32, compare(PROBABILITIES, reference, reference + noise), 1, 1) is None


@given(row=st.integers(0, 49), column=st.integers(0, 2), size=st.floats(2e-5, 1))
def test_one_score_off_is_refused_with_the_figure(row: int, column: int, size: float) -> None:
    reference = probabilities()
    scores = reference.copy()
    scores[row, column] += size
    reason = judge(PROBABILITIES, Precision.FP32, compare(PROBABILITIES, reference, scores), 1, 1)
    assert reason is not None
    assert f"{size:.3g}" in reason


def test_trees_are_given_more_but_not_much() -> None:
    reference = probabilities()
    assert (
        judge(PROBABILITIES, Precision.FP32, compare(PROBABILITIES, reference, reference + 5e-5, trees=True), 1, 1)
        is None
    )
    assert judge(PROBABILITIES, Precision.FP32, compare(PROBABILITIES, reference, reference + 2e-4, trees=True), 1, 1)


def test_values_are_judged_by_their_spread() -> None:
    reference = CHANCE.normal(1000, 100, size=(200, 1))
    assert judge(VALUES, Precision.FP32, compare(VALUES, reference, reference + 5e-3), 1, 1) is None
    assert judge(VALUES, Precision.FP32, compare(VALUES, reference, reference + 5e-2), 1, 1)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_what_is_no_number_is_refused_with_the_count(broken: float) -> None:
    scores = probabilities()
    scores[3, 1] = broken
    with pytest.raises(ValueError, match="not finite on 1 of 50"):
        compare(PROBABILITIES, probabilities(), scores)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        compare(PROBABILITIES, probabilities(), probabilities()[:, :2])


def test_a_tie_may_fall_either_way_and_nothing_else_may() -> None:
    reference = np.array([[0.4, 0.4 + 1e-6, 0.2], [0.9, 0.05, 0.05]])
    tie = compare(PROBABILITIES, reference, np.array([[0.4 + 2e-6, 0.4, 0.2], [0.9, 0.05, 0.05]]))
    assert (tie.label_agreement, tie.unexplained_labels) == (0.5, 0)
    swapped = compare(PROBABILITIES, reference, reference[:, [1, 0, 2]])
    assert swapped.unexplained_labels == 1


@given(source=st.floats(0.5, 1), loss=st.floats(0, 0.5))
def test_eight_bits_may_cost_half_a_point(source: float, loss: float) -> None:
    same = compare(PROBABILITIES, *([probabilities()] * 2))
    reason = judge_quantized(ScoreKind.PROBABILITY, same, source - loss, source)
    if abs(loss - 0.005) > 1e-9:
        assert (reason is None) == (loss < 0.005)


def test_eight_bits_may_cost_one_percent_of_r2() -> None:
    values = CHANCE.normal(size=(20, 1))
    same = compare(VALUES, values, values)
    assert judge(VALUES, Precision.INT8, same, 0.496, 0.5) is None
    assert "R²" in str(judge(VALUES, Precision.INT8, same, 0.49, 0.5))
    assert judge(VALUES, Precision.INT8, same, float("nan"), 0.5) is not None
