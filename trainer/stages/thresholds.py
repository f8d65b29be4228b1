"""The threshold by which a classifier itself decides between two classes, where that is not the middle.

House rules: scores do not show how an estimator decides, so a decision that the threshold of the output cannot express
is refused here, before it becomes another label on a device.
"""

from typing import Any

import numpy as np

from trainer.errors import RejectedError

_OWN_THRESHOLD = {"FixedThresholdClassifier": "threshold", "TunedThresholdClassifierCV": "best_threshold_"}


def decision_threshold(estimator: Any) -> float | None:
    """Return the threshold of the last column of the scores, or nothing where the usual one holds.

    Raises:
        RejectedError: the estimator decides by other scores than those that it gives, or by those of the first class.
    """
    final = _innermost(estimator)
    name = type(final).__name__
    if name == "OneVsOneClassifier" and not hasattr(final.estimators_[0], "decision_function"):
        # Its margin of two classes is 1 or 0 for the vote of a probability, plus less than 1/3.
        return 0.5 if len(final.classes_) == 2 else None
    if name not in _OWN_THRESHOLD:
        return None
    by_shares = hasattr(final, "predict_proba")
    if final.response_method not in ("auto", "predict_proba" if by_shares else "decision_function"):
        raise RejectedError(
            f"{name} decides by {final.response_method}, but the scores are probabilities",
            "fit it with response_method='predict_proba'",
        )
    if _positive_label(final) == np.asarray(final.classes_)[0]:
        raise RejectedError(
            f"{name} has its threshold on the first class, {final.classes_[0]!r}", "choose the second for it"
        )
    chosen = getattr(final, _OWN_THRESHOLD[name])
    if isinstance(chosen, str):
        return 0.5 if by_shares else 0.0
    return float(chosen)


def _positive_label(final: Any) -> Any:
    """Return the label on whose scores the threshold is; nothing for the second one."""
    if hasattr(final, "pos_label"):
        return final.pos_label
    scorer = final._curve_scorer  # noqa: SLF001 - a threshold that was found has its label nowhere else
    return scorer._get_pos_label()  # noqa: SLF001 - as above


def _innermost(estimator: Any) -> Any:
    """Return what decides: the last step of a pipeline, and what a search has chosen."""
    while True:
        if hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator
