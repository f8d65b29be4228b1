"""From scores to labels, by the rule that a bundle's `ScoreKind` states; the same on every runtime.

House rules: arithmetic on numpy matrices and nothing else. Labels are kept as text in the manifest and answered in
the JSON type that it names.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.contract.manifest import LabelType, OutputSpec, ScoreKind

Label = str | int | float | bool
Matrix = NDArray[np.float32]
Indices = NDArray[np.intp]


def parse_label(text: str, label_type: LabelType) -> Label:
    """Return a manifest's label in its JSON type.

    Raises:
        ValueError: the text is none of that type.
    """
    match label_type:
        case LabelType.INTEGER:
            return int(text)
        case LabelType.NUMBER:
            return float(text)
        case LabelType.STRING:
            return text
        case LabelType.BOOLEAN:
            if text.lower() not in ("true", "false"):
                raise ValueError(f"{text!r} is no boolean label")
            return text.lower() == "true"


@dataclass(frozen=True, slots=True)
class LabelRule:
    """How the rows of a score matrix become indices into `labels`; a threshold of None means the largest score."""

    kind: ScoreKind
    columns: int
    labels: tuple[Label, ...]
    threshold: float | None

    @property
    def takes_threshold(self) -> bool:
        """Whether a decision threshold means anything for these scores."""
        return len(self.labels) == 2 and self.kind in (ScoreKind.PROBABILITY, ScoreKind.MARGIN, ScoreKind.NORMALITY)

    def choose(self, scores: Matrix, threshold: float | None = None) -> Indices:
        """Return for each row of `scores` (rows, columns) the index of its label.

        A given `threshold` overrules the rule's own. NaN is never over a threshold.

        Raises:
            ValueError: the scores are values of a regression, which have no label.
        """
        limit = self.threshold if threshold is None else threshold
        if self.kind is ScoreKind.VALUE:
            raise ValueError("values of a regression have no label")
        if self.kind is ScoreKind.DISTANCE:
            chosen: Indices = scores.argmin(axis=1)
        elif limit is None or self.columns > 2:
            chosen = scores.argmax(axis=1)
        elif self.kind is ScoreKind.MARGIN and self.columns == 1:
            chosen = (scores[:, 0] > limit).astype(np.intp)
        else:  # normality and a single probability have one column; of two, the second is that of `labels[1]`
            chosen = (scores[:, -1] >= limit).astype(np.intp)
        return chosen

    def index_of(self, value: Any) -> int | None:
        """Return the index of a true label that came back as JSON, or None where there is no such label.

        A label's text is accepted for the label itself, since a CSV file carries text.
        """
        for index, label in enumerate(self.labels):
            same_kind = isinstance(value, bool) == isinstance(label, bool)
            if (same_kind and value == label) or (isinstance(value, str) and value == _text(label)):
                return index
        return None


def rule_of(output: OutputSpec, threshold: float | None = None) -> LabelRule:
    """Return the rule of a manifest's output; `threshold` overrules the manifest's.

    Raises:
        ValueError: a label's text is not of the label type, or a single column has no threshold.
    """
    limit = output.threshold if threshold is None else threshold
    labels = tuple(parse_label(text, output.label_type) for text in output.labels)
    if limit is None and labels and output.columns == 1 and output.kind is not ScoreKind.DISTANCE:
        if output.kind is not ScoreKind.PROBABILITY:
            raise ValueError(f"{output.kind} scores of one column need a threshold")
        limit = 0.5
    return LabelRule(output.kind, output.columns, labels, limit)


def _text(label: Label) -> str:
    return str(label).lower() if isinstance(label, bool) else str(label)
