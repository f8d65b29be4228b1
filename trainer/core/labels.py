"""From scores to labels, by the rule of each `ScoreKind` (see `edge_agent.contract.manifest`), and labels as text."""

from typing import Any

import numpy as np

from edge_agent.contract.manifest import LabelType, OutputSpec, ScoreKind
from trainer.core.arrays import Column, Floats, Indices


def label_text(value: Any) -> str:
    """Return a label as the text that stands for it in a manifest: JSON's own form for numbers and booleans."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, np.generic):
        value = value.item()
    return repr(value) if isinstance(value, float) else str(value)


def label_type(values: Column) -> LabelType:
    """Return the JSON type that the values of a target or of `classes_` have."""
    kinds = {"b": LabelType.BOOLEAN, "i": LabelType.INTEGER, "u": LabelType.INTEGER, "f": LabelType.NUMBER}
    return kinds.get(values.dtype.kind, LabelType.STRING)


def label_texts(values: Column) -> Column:
    """Return every label of a column as text."""
    return np.array([label_text(value) for value in values], dtype=object)


def label_indices(output: OutputSpec, scores: Floats) -> Indices:
    """Return for each row the index of its label in `output.labels`.

    Raises:
        ValueError: the scores are values, which have no labels.
    """
    match output.kind:
        case ScoreKind.VALUE:
            raise ValueError("values have no labels")
        case ScoreKind.DISTANCE:
            return np.asarray(np.argmin(scores, axis=1), dtype=np.intp)
        case ScoreKind.NORMALITY:
            return (scores[:, 0] >= (output.threshold or 0.0)).astype(np.intp)
        case ScoreKind.MARGIN | ScoreKind.PROBABILITY:
            if output.columns == 1:
                return (scores[:, 0] > (output.threshold or 0.0)).astype(np.intp)
            if output.threshold is not None and output.columns == 2:
                return (scores[:, 1] >= output.threshold).astype(np.intp)
            return np.asarray(np.argmax(scores, axis=1), dtype=np.intp)


def decision_gaps(output: OutputSpec, scores: Floats) -> Floats:
    """Return for each row how far its scores are from another label (0: a tie); infinite where there are no labels."""
    if output.kind is ScoreKind.VALUE:
        return np.full(len(scores), np.inf)
    if output.columns == 1 or (output.threshold is not None and output.columns == 2):
        return np.abs(scores[:, -1] - (output.threshold or 0.0))
    ranked = np.sort(scores if output.kind is not ScoreKind.DISTANCE else -scores, axis=1)
    gaps: Floats = ranked[:, -1] - ranked[:, -2]
    return gaps
