"""Marks go to the smallest and the fastest within the budget, and stay with fp32 where nothing is clearly better."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.card import Budget, FrontierPoint, Want
from edge_agent.contract.manifest import OutputSpec, Runtime, ScoreKind
from trainer.core.advice import Refit, advise, advise_refit
from trainer.core.frontier import FASTEST, SMALLEST, is_dominated, loss_error, mark, wanted


def point(form: str, size: int, latency: float, loss: float = 0.0, *, within: bool = True) -> FrontierPoint:
    return FrontierPoint(Runtime.ONNX, form, form, size, latency, 0.9 - loss / 100, loss, 0.1, within)


def marks(*points: FrontierPoint) -> dict[str, tuple[str, ...]]:
    return {item.form: item.marks for item in mark(points)}


def test_the_smallest_and_the_fastest_are_marked() -> None:
    found = marks(point("fp32", 1000, 10), point("int8", 250, 9.5), point("pruned50", 500, 5))
    assert found == {"fp32": (), "int8": (SMALLEST,), "pruned50": (FASTEST,)}


def test_what_is_over_the_budget_is_never_marked() -> None:
    assert marks(point("fp32", 1000, 10), point("int8", 10, 1, 3.0, within=False))["fp32"] == (SMALLEST, FASTEST)


def test_fp32_keeps_the_marks_where_nothing_is_clearly_better() -> None:
    assert marks(point("fp32", 1000, 10), point("int8", 950, 9.5))["fp32"] == (SMALLEST, FASTEST)


def test_a_form_whose_latency_is_not_known_is_not_the_fastest() -> None:
    assert marks(point("fp32", 1000, 10), point("int8", 100, 0.0)) == {"fp32": (FASTEST,), "int8": (SMALLEST,)}


@pytest.mark.parametrize(
    ("want", "forms"),
    [(Want.SIZE, {"int8"}), (Want.LATENCY, {"pruned50"}), (Want.BOTH, {"int8", "pruned50"})],
)
def test_what_is_wanted_is_what_is_built(want: Want, forms: set[str]) -> None:
    points = mark((point("fp32", 1000, 10), point("int8", 250, 9.5), point("pruned50", 500, 5)))
    assert {item.form for item in wanted(points, Budget(0.5, want))} == forms


def test_a_form_that_another_beats_is_dominated() -> None:
    small, large = point("a", 10, 1, 0.1), point("b", 20, 1, 0.2)
    assert is_dominated(large, (small, large))
    assert not is_dominated(small, (small, large))
    assert not is_dominated(small, (small, point("c", 10, 1, 0.1)))


@given(seed=st.integers(0, 50))
def test_the_error_of_a_loss_is_what_other_rows_show(seed: int) -> None:
    # The loss over many samples of rows spreads as the standard error of one sample says.
    chance, output = np.random.default_rng(seed), OutputSpec("s", ScoreKind.PROBABILITY, 2, ("a", "b"))
    rows, samples = 400, 300
    losses, errors = [], []
    for _ in range(samples):
        target = np.zeros(rows, dtype=np.intp)
        source, form = (np.eye(2)[(chance.random(rows) < wrong).astype(int)] for wrong in (0.1, 0.12))
        losses.append(100 * ((source[:, 0] - form[:, 0]).mean()))
        errors.append(loss_error(output, target, source, form))
    assert np.std(losses) == pytest.approx(np.mean(errors), rel=0.2)


def test_the_error_of_a_loss_of_values_is_relative_to_r2() -> None:
    chance, output = np.random.default_rng(0), OutputSpec("s", ScoreKind.VALUE, 1)
    target = chance.normal(size=500)
    source, form = (target[:, None] + size * chance.normal(size=(500, 1)) for size in (0.3, 0.4))
    losses = []
    for _ in range(300):
        rows = chance.integers(0, 500, 500)
        before, after = (((item[rows, 0] - target[rows]) ** 2).mean() / target.var() for item in (source, form))
        losses.append(100 * (after - before) / (1 - 0.09))
    assert loss_error(output, target, source, form) == pytest.approx(np.std(losses), rel=0.2)


def test_a_much_smaller_form_that_is_no_worse_is_advised() -> None:
    exact, good, worse = point("fp32", 1300, 10), point("pruned to 8 %", 100, 5, -0.4), point("tiny", 10, 1, 0.2)
    (sentence,) = advise(ScoreKind.PROBABILITY, (exact, good, worse))
    assert "pruned to 8 %" in sentence
    assert "13.0× smaller" in sentence
    assert "0.4 points higher (0.9040 against 0.9000)" in sentence
    (doubtful,) = advise(ScoreKind.PROBABILITY, (exact, point("tiny", 10, 1, -0.15)))
    assert "scores as well (0.9015 against 0.9000)" in doubtful
    assert advise(ScoreKind.PROBABILITY, (exact, worse, point("half", 900, 5, -1.0))) == ()


def test_larger_leaves_are_advised_with_what_was_measured() -> None:
    own = Refit("", 1300, 0.45)
    (sentence,) = advise_refit(ScoreKind.VALUE, own, [Refit("min_samples_leaf=10", 100, 0.48)], Budget(1))
    assert "min_samples_leaf=10" in sentence
    assert "13.0× smaller and scores higher" in sentence
    assert "0.4800 against 0.4500" in sentence
    assert advise_refit(ScoreKind.VALUE, own, [Refit("x", 100, 0.40), Refit("y", 900, 0.5)], Budget(1)) == ()
