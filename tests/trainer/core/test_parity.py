"""Parity: a variant that answers otherwise is refused with figures, one that answers alike is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.card import Budget
from edge_agent.contract.manifest import OutputSpec, ScoreKind
from trainer.core.parity import compare, default_budget, judge_agreement, judge_exact, judge_loss, measure_loss

PROBABILITIES = OutputSpec("scores", ScoreKind.PROBABILITY, 3, ("a", "b", "c"))
VALUES = OutputSpec("scores", ScoreKind.VALUE, 1)
CHANCE = np.random.default_rng(0)


def probabilities(rows: int = 50) -> np.ndarray:
    return CHANCE.dirichlet([1, 1, 1], size=rows)


@given(seed=st.integers(0, 1000), size=st.floats(0, 9e-6))
def test_rounding_is_no_difference(seed: int, size: float) -> None:
    reference = probabilities()
    noise = np.random.default_rng(seed).uniform(-size, size, reference.shape)
    assert judge_exact(compare(PROBABILITIES, reference, reference + noise)) is None


@given(row=st.integers(0, 49), column=st.integers(0, 2), size=st.floats(2e-5, 1))
def test_one_score_off_is_refused_with_the_figure(row: int, column: int, size: float) -> None:
    reference = probabilities()
    scores = reference.copy()
    scores[row, column] += size
    reason = judge_exact(compare(PROBABILITIES, reference, scores))
    assert reason is not None
    assert f"{size:.3g}" in reason


def test_trees_are_given_more_but_not_much() -> None:
    reference = probabilities()
    assert judge_exact(compare(PROBABILITIES, reference, reference + 5e-5, trees=True)) is None
    assert judge_exact(compare(PROBABILITIES, reference, reference + 2e-4, trees=True))


def test_values_are_judged_by_their_spread() -> None:
    reference = CHANCE.normal(1000, 100, size=(200, 1))
    assert judge_exact(compare(VALUES, reference, reference + 5e-3)) is None
    assert judge_exact(compare(VALUES, reference, reference + 5e-2))


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


def test_rows_of_another_kind_are_judged_by_the_usual_spread() -> None:
    # Rows far outside have a spread of their own, by which an error of the size of the ordinary rows would pass.
    far = np.array([[0.0], [1e9]])
    assert judge_exact(compare(VALUES, far, far + 1e-2)) is None
    assert judge_exact(compare(VALUES, far, far + 1e-2, spread=1.0)) is not None


@given(source=st.floats(0.5, 1), loss=st.floats(0, 0.5))
def test_half_a_point_may_be_lost_where_nothing_is_said(source: float, loss: float) -> None:
    kind = ScoreKind.PROBABILITY
    reason = judge_loss(kind, source - loss, source, default_budget(kind))
    if abs(loss - 0.005) > 1e-9:
        assert (reason is None) == (loss < 0.005)


@given(loss=st.floats(0, 5), budget=st.floats(0, 5))
def test_a_budget_is_what_may_be_lost(loss: float, budget: float) -> None:
    reason = judge_loss(ScoreKind.MARGIN, 0.9 - loss / 100, 0.9, Budget(budget))
    if abs(loss - budget) > 1e-6:
        assert (reason is None) == (loss < budget)


def test_one_percent_of_r2_may_be_lost_where_nothing_is_said() -> None:
    budget = default_budget(ScoreKind.VALUE)
    assert judge_loss(ScoreKind.VALUE, 0.496, 0.5, budget) is None
    assert "R²" in str(judge_loss(ScoreKind.VALUE, 0.49, 0.5, budget))
    assert judge_loss(ScoreKind.VALUE, float("nan"), 0.5, budget) is not None
    assert measure_loss(ScoreKind.VALUE, 0.55, 0.5) == pytest.approx(-10)


def test_rounding_alone_may_not_move_many_labels() -> None:
    reference = probabilities(100)
    turned = reference.copy()
    turned[:3] = turned[:3, [1, 2, 0]]
    assert judge_agreement(ScoreKind.PROBABILITY, compare(PROBABILITIES, reference, reference)) is None
    moved = judge_agreement(ScoreKind.PROBABILITY, compare(PROBABILITIES, reference, turned))
    assert "0.9700 of the 100 rows" in str(moved)
