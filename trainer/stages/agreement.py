"""Whether the labels that follow from an estimator's scores are those that its `predict` gives.

House rules: asked of the estimator itself, before anything is compiled. Rows on which its own sums differ in the last
bits of a float64 only do not count: there the label hangs on the order of an addition. Sums that are equal count, since
there it hangs on a rule; but not distances, which `predict` finds by another formula than `transform`.
"""

import warnings
from typing import Any

import numpy as np

from edge_agent.contract.manifest import OutputSpec, ScoreKind
from trainer.core.arrays import Floats, Singles, as_matrix
from trainer.core.labels import decision_gaps, label_indices, label_texts

# Of the size of what is compared: a few hundred roundings.
_ROUNDING = 1e-12


def count_other_labels(estimator: Any, output: OutputSpec, x: Singles, scores: Floats) -> int:
    """Return how many rows get another label by the output's rule than by `predict`."""
    if output.kind is ScoreKind.VALUE:
        return 0
    rows = x.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = label_texts(estimator.predict(rows))
        differ = np.asarray(output.labels, dtype=object)[label_indices(output, scores)] != given
        if not differ.any():
            return 0
        gaps = _own_gaps(estimator, output, rows[differ], scores[differ])
        equal = (gaps == 0) & (output.kind is not ScoreKind.DISTANCE)
        return int((equal | (gaps > _ROUNDING)).sum())


def _own_gaps(estimator: Any, output: OutputSpec, rows: Floats, scores: Floats) -> Floats:
    """Return how far a row is from another label by the sums that the scores are made of, relative to their size.

    Probabilities can be equal where these are not: the logistic function of 40 is 1.
    """
    if output.kind is ScoreKind.PROBABILITY:
        for name in ("decision_function", "predict_joint_log_proba"):
            if hasattr(estimator, name):
                sums = as_matrix(getattr(estimator, name)(rows))
                ranked = np.sort(sums, axis=1)
                gaps = np.abs(sums[:, 0]) if sums.shape[1] == 1 else ranked[:, -1] - ranked[:, -2]
                return np.asarray(gaps / np.maximum(1.0, np.abs(sums).max(axis=1)))
    return np.asarray(decision_gaps(output, scores) / np.maximum(1.0, np.abs(scores).max(axis=1)))
