"""How a classifier itself decides by its scores, where that is not the largest of them or the middle.

House rules: scores do not show how an estimator decides, so a decision that the rule of the output cannot express is
refused here, before it becomes another label on a device.
"""

from typing import Any

import numpy as np

from trainer.errors import RejectedError

_OWN_THRESHOLD = {"FixedThresholdClassifier": "threshold", "TunedThresholdClassifierCV": "best_threshold_"}
# Estimators that decide as one inside of them does, with the attribute that holds it.
_DECIDED_WITHIN = {
    "StackingClassifier": "final_estimator_",
    "RFE": "estimator_",
    "RFECV": "estimator_",
    "SelfTrainingClassifier": "estimator_",
    "FrozenEstimator": "estimator",
}
_LIBSVM = ("SVC", "NuSVC")
_LEAST_NORMAL = float(np.finfo(np.float32).smallest_normal)


def decision_threshold(estimator: Any) -> float | None:
    """Return the threshold of the last column of the scores, or nothing where the usual one holds.

    Raises:
        RejectedError: the estimator decides by other scores than those that it gives, or by those of the first class.
    """
    final = decider(estimator)
    name, classes = type(final).__name__, len(final.classes_)
    if name in _OWN_THRESHOLD:
        return _own_threshold(final)
    if name == "OneVsOneClassifier" and not hasattr(final.estimators_[0], "decision_function"):
        # Its margin of two classes is 1 or 0 for the vote of a probability, plus less than 1/3.
        return 0.5 if classes == 2 else None
    if name == "GradientBoostingClassifier":
        # A margin of exactly 0 is the second class's, which is what trees that found nothing give.
        return 0.5 if classes == 2 else None
    if reason := _hidden_decision(final):
        raise RejectedError(f"predict() of {name} does not follow from its scores: {reason[0]}", reason[1])
    # In libsvm a margin of exactly 0 is the second class's: rows that a kernel maps to 0 have it.
    return just_below(0.0) if name in _LIBSVM and classes == 2 else None


def normality_threshold(estimator: Any) -> float:
    """Return the threshold at which a row counts as an inlier: libsvm wants more than 0, the others no less."""
    return _LEAST_NORMAL if type(decider(estimator)).__name__ == "OneClassSVM" else 0.0


def counts_votes(estimator: Any) -> bool:
    """Return whether a classifier gives the first of the classes with most votes: see `trainer.core.votes`."""
    final = decider(estimator)
    return type(final).__name__ in _LIBSVM and len(final.classes_) > 2 and not final.break_ties


def decider(estimator: Any) -> Any:
    """Return what decides: the last step of a pipeline, what a search has chosen, what a wrapper asks."""
    while True:
        if hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif type(estimator).__name__ in _DECIDED_WITHIN:
            estimator = getattr(estimator, _DECIDED_WITHIN[type(estimator).__name__])
        else:
            return estimator


def just_below(threshold: float) -> float:
    """Return t with which a float32 score is `> t` where it is `>= threshold`; never a subnormal number."""
    single = np.float32(threshold)
    if single >= threshold:
        single = np.nextafter(single, np.float32(-np.inf))
    return -_LEAST_NORMAL if -_LEAST_NORMAL < single < 0 else float(single)


def _hidden_decision(final: Any) -> tuple[str, str] | None:
    """Return why labels do not follow from the scores, and what to do; nothing where they do."""
    name, several = type(final).__name__, len(final.classes_) > 2
    if name in _LIBSVM and hasattr(final, "predict_proba"):
        return "its probabilities are fitted apart from them", (
            "fit it with probability=False, or wrap it in CalibratedClassifierCV"
        )
    if name in _LIBSVM and several and final.decision_function_shape == "ovo":
        return "they are margins of pairs of classes", "fit it with decision_function_shape='ovr'"
    if name == "SGDClassifier" and several and final.loss == "modified_huber":
        return "they are cut off at 0 and 1, where classes become equal", "fit it with loss='log_loss' or 'hinge'"
    if name == "OneVsRestClassifier" and several and not final.multilabel_:
        inner = decider(final.estimators_[0])
        if getattr(inner, "loss", None) == "modified_huber" or (
            type(inner).__name__ in _LIBSVM and hasattr(inner, "predict_proba")
        ):
            return f"it asks {type(inner).__name__} for margins, not for probabilities", (
                "choose an estimator inside of it that has only one of them"
            )
    return None


def _own_threshold(final: Any) -> float:
    name = type(final).__name__
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
        chosen = 0.5 if by_shares else 0.0
    # It wants no less than the threshold; of a single margin the output's rule wants more.
    return float(chosen) if by_shares else just_below(float(chosen))


def _positive_label(final: Any) -> Any:
    """Return the label on whose scores the threshold is; nothing for the second one."""
    if hasattr(final, "pos_label"):
        return final.pos_label
    scorer = final._curve_scorer  # noqa: SLF001 - a threshold that was found has its label nowhere else
    return scorer._get_pos_label()  # noqa: SLF001 - as above
