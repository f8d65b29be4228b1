"""When a soak succeeds, fails, or goes on: the contract's words, case by case."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.manifest import Runtime
from edge_agent.contract.messages import Desired, DesiredBundle, Soak
from edge_agent.contract.states import Reason, Result
from edge_agent.core.control import ModelBeat
from edge_agent.core.soak_rules import Healthy, judge_set, judge_soak
from edge_agent.core.update_machine import Verdict

SOAK = Soak(min_s=10, max_s=60, min_rows=20, max_error_ratio=0.1)


def beat(rows: int, errors: int = 0, model: str = "digits") -> ModelBeat:
    return ModelBeat(model, 2, rows, errors, 0, 0.1, 0.2, 0.3, 0.9, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("elapsed", "rows", "errors", "expected"),
    [
        (5, 100, 0, "wait"),  # min_s is not over
        (10, 100, 0, "healthy"),
        (10, 19, 0, "wait"),  # min_rows are not there
        (59, 19, 0, "wait"),
        (60, 19, 0, "healthy"),  # a quiet device is no failure
        (60, 0, 0, "healthy"),
        (1, 5, 2, "wait"),  # may still come right: 2 of 20 are allowed
        (1, 5, 3, "failed"),  # more than 0.1 * 20 already
        (1, 100, 10, "wait"),
        (1, 100, 11, "failed"),
        (10, 100, 10, "healthy"),
    ],
)
def test_one_model(elapsed: float, rows: int, errors: int, expected: str) -> None:
    found = judge_soak(SOAK, elapsed, (beat(rows, errors),))
    match found:
        case None:
            assert expected == "wait"
        case Healthy():
            assert expected == "healthy"
        case Verdict(result, reason, detail, model):
            assert expected == "failed"
            assert (result, reason, model) == (Result.FAILED, Reason.UNHEALTHY, "digits")
            assert f"{errors} of {rows}" in detail


def test_one_error_fails_at_once_where_none_is_allowed() -> None:
    found = judge_soak(Soak(), 0.1, (beat(1000, 1),))
    assert isinstance(found, Verdict)
    assert found.reason is Reason.NON_FINITE_OUTPUT


def test_a_busy_healthy_model_hides_no_sick_one() -> None:
    found = judge_soak(SOAK, 10, (beat(10_000), beat(50, 20, "wine")))
    assert isinstance(found, Verdict)
    assert found.model == "wine"


@given(st.floats(0, 100), st.integers(0, 500), st.integers(0, 500))
def test_more_errors_never_help(elapsed: float, rows: int, errors: int) -> None:
    rank = {Verdict: 0, type(None): 1, Healthy: 2}
    fewer = judge_soak(SOAK, elapsed, (beat(rows + errors, errors),))
    more = judge_soak(SOAK, elapsed, (beat(rows + errors, errors + 1),))
    assert rank[type(more)] <= rank[type(fewer)] or rows == 0


def test_only_what_is_new_here_is_judged() -> None:
    bundles = tuple(
        DesiredBundle(name, 2, "onnx-fp32", digit * 64, digit * 64, "pi4", 1, Runtime.ONNX, 1.0)
        for name, digit in (("old", "a"), ("new", "b"))
    )
    target = Desired("dev", 2, 0, bundles, soak=SOAK)
    beats = (beat(100, 90, "old"), beat(100, 0, "new"))
    assert isinstance(judge_set(target, frozenset({"a" * 64}), 10, beats), Healthy)
    assert isinstance(judge_set(target, frozenset(), 10, beats), Verdict)
    assert judge_set(target, frozenset(), 10, None) is None
    assert isinstance(judge_set(Desired("dev", 2, 0, (), soak=SOAK), frozenset(), 10, None), Healthy)


def test_nothing_is_concluded_from_a_worker_that_fell_silent() -> None:
    target = Desired("dev", 2, 0, (), soak=SOAK)
    assert isinstance(judge_set(target, frozenset(), 60.0, (), 3.0), Healthy)
    assert judge_set(target, frozenset(), 60.0, (), 4.0) is None
