"""Golden vectors: the hardest rows are among them, another model fails them, rounding does not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.manifest import OutputSpec, ScoreKind
from trainer.core.golden import ROWS, choose_rows, choose_tolerance, is_within

OUTPUT = OutputSpec("scores", ScoreKind.PROBABILITY, 2, ("a", "b"))


def case(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    return chance.normal(size=(n, 4)).astype(np.float32), chance.dirichlet([1, 1], size=n)


@given(seed=st.integers(0, 100), n=st.integers(1, 300))
def test_rows_are_chosen_once_and_not_too_many(seed: int, n: int) -> None:
    x, scores = case(seed, n)
    chosen = choose_rows(OUTPUT, x, scores)
    assert len(set(chosen.tolist())) == len(chosen) == min(n, ROWS)


@given(seed=st.integers(0, 100))
def test_the_hardest_rows_are_chosen(seed: int) -> None:
    x, scores = case(seed, 200)
    chosen = set(choose_rows(OUTPUT, x, scores).tolist())
    assert int(np.abs(scores[:, 1] - scores[:, 0]).argmin()) in chosen
    assert {int(row) for row in [*x.argmin(0), *x.argmax(0)]} <= chosen


def test_missing_values_do_not_matter_to_the_choice() -> None:
    x, scores = case(1, 200)
    x[::3, 2] = np.nan
    assert len(choose_rows(OUTPUT, x, scores)) == ROWS


def test_rounding_passes_and_another_model_does_not() -> None:
    _, scores = case(2, 32)
    _, others = case(3, 32)
    atol, rtol = choose_tolerance(OUTPUT, scores, kernel_diff=0.02)
    assert is_within(scores + 0.02, scores, atol, rtol)
    assert not is_within(others, scores, atol, rtol)
    assert not is_within(np.full_like(scores, np.nan), scores, atol, rtol)


def test_values_are_tolerated_by_their_spread() -> None:
    values = np.random.default_rng(0).normal(0, 1000, size=(50, 1))
    atol, _ = choose_tolerance(OutputSpec("scores", ScoreKind.VALUE, 1), values, 0.0)
    assert 0.05 < atol < 0.2
