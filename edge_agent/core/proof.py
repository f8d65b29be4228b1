"""Whether a bundle's golden vectors hold on this very board.

House rules: matrices in, a verdict with its reason out. A NaN or infinity is its own reason, never a mere difference.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.manifest import Golden
from edge_agent.contract.states import Reason
from edge_agent.core.labels import LabelRule

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GoldenVerdict:
    """The result of a replay: `reason` is OK or why it failed; the difference is the largest absolute one."""

    reason: Reason
    detail: str
    rows: int
    max_abs_diff: float
    label_agreement: float


def judge_golden(golden: Golden, expected: Matrix, actual: Matrix, rule: LabelRule) -> GoldenVerdict:
    """Compare scores (rows, columns) with those of the place where the variant was built.

    Every |actual - expected| must be within atol + rtol * |expected|. Label agreement is reported, not judged: a label
    may turn on a difference that the tolerance allows.
    """
    rows = len(expected)
    if expected.shape != actual.shape:
        detail = f"scores have the shape {actual.shape}, the golden ones {expected.shape}"
        return GoldenVerdict(Reason.GOLDEN_MISMATCH, detail, rows, float("inf"), 0.0)
    bad = ~np.isfinite(actual)
    if bad.any():
        row = int(np.argwhere(bad)[0][0])
        detail = f"the scores of golden row {row} are not finite ({int(bad.any(axis=1).sum())} of {rows} rows)"
        return GoldenVerdict(Reason.NON_FINITE_OUTPUT, detail, rows, float("inf"), 0.0)
    difference = np.abs(actual.astype(np.float64) - expected.astype(np.float64))
    allowed = golden.atol + golden.rtol * np.abs(expected.astype(np.float64))
    largest = float(difference.max(initial=0.0))
    agreement = 1.0
    if rule.labels and rows:
        agreement = float((rule.choose(actual) == rule.choose(expected)).mean())
    # Not `difference > allowed`: a NaN in the golden file must fail too.
    wrong = ~(difference <= allowed)
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        detail = (
            f"golden row {row}, column {column}: {float(actual[row, column]):.9g} instead of "
            f"{float(expected[row, column]):.9g}, {int(wrong.any(axis=1).sum())} of {rows} rows are off; "
            f"allowed is {golden.atol:g} + {golden.rtol:g} of the value"
        )
        return GoldenVerdict(Reason.GOLDEN_MISMATCH, detail, rows, largest, agreement)
    return GoldenVerdict(Reason.OK, "", rows, largest, agreement)
