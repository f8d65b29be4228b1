"""Golden vectors judged: tolerance, NaN, shape."""

import numpy as np

from edge_agent.contract.manifest import Golden, LabelType, OutputSpec, ScoreKind
from edge_agent.contract.states import Reason
from edge_agent.core.labels import rule_of
from edge_agent.core.proof import judge_golden

RULE = rule_of(OutputSpec("scores", ScoreKind.PROBABILITY, 2, ("0", "1"), LabelType.INTEGER))
GOLDEN = Golden("golden.npz", 3, 1e-3, 1e-2)
EXPECTED = np.array([[0.1, 0.9], [0.6, 0.4], [0.5, 0.5]], np.float32)


def test_scores_within_the_tolerance_pass_with_the_largest_difference() -> None:
    actual = EXPECTED + np.float32(0.0009)
    verdict = judge_golden(GOLDEN, EXPECTED, actual, RULE)
    assert verdict.reason is Reason.OK
    assert abs(verdict.max_abs_diff - 0.0009) < 1e-6
    assert (verdict.rows, verdict.label_agreement) == (3, 1.0)


def test_one_number_off_is_a_mismatch_that_names_it() -> None:
    actual = EXPECTED.copy()
    actual[1, 0] = 0.3
    verdict = judge_golden(GOLDEN, EXPECTED, actual, RULE)
    assert verdict.reason is Reason.GOLDEN_MISMATCH
    assert "row 1, column 0" in verdict.detail
    assert "1 of 3" in verdict.detail


def test_a_nan_is_its_own_reason_even_where_the_golden_row_has_one() -> None:
    actual = EXPECTED.copy()
    actual[2, 1] = np.nan
    for expected in (EXPECTED, actual):
        verdict = judge_golden(GOLDEN, expected, actual, RULE)
        assert verdict.reason is Reason.NON_FINITE_OUTPUT
        assert "row 2" in verdict.detail


def test_a_nan_among_the_golden_scores_never_passes() -> None:
    expected = EXPECTED.copy()
    expected[0, 0] = np.nan
    assert judge_golden(GOLDEN, expected, EXPECTED, RULE).reason is Reason.GOLDEN_MISMATCH


def test_another_shape_is_a_mismatch() -> None:
    assert judge_golden(GOLDEN, EXPECTED, EXPECTED[:, :1], RULE).reason is Reason.GOLDEN_MISMATCH
