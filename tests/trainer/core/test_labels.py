"""Labels follow from scores by the rule of each kind, and read back as what they were."""

import numpy as np
import pytest

from edge_agent.contract.manifest import LabelType, OutputSpec, ScoreKind
from trainer.core.labels import decision_gaps, label_indices, label_texts, label_type

TWO = ("no", "yes")


@pytest.mark.parametrize(
    ("output", "scores", "labels"),
    [
        (OutputSpec("s", ScoreKind.PROBABILITY, 3, ("a", "b", "c")), [[0.2, 0.5, 0.3]], [1]),
        (OutputSpec("s", ScoreKind.PROBABILITY, 2, TWO, threshold=0.3), [[0.7, 0.3], [0.71, 0.29]], [1, 0]),
        (OutputSpec("s", ScoreKind.MARGIN, 1, TWO, threshold=0.0), [[0.0], [1e-9]], [0, 1]),
        (OutputSpec("s", ScoreKind.DISTANCE, 2, ("0", "1")), [[3.0, 2.0]], [1]),
        (OutputSpec("s", ScoreKind.NORMALITY, 1, ("-1", "1"), threshold=0.0), [[0.0], [-1e-9]], [1, 0]),
    ],
)
def test_the_rule_of_each_kind(output: OutputSpec, scores: list[list[float]], labels: list[int]) -> None:
    assert label_indices(output, np.array(scores)).tolist() == labels


def test_values_have_no_labels() -> None:
    output = OutputSpec("s", ScoreKind.VALUE, 1)
    with pytest.raises(ValueError, match="no labels"):
        label_indices(output, np.zeros((1, 1)))
    assert np.isinf(decision_gaps(output, np.zeros((1, 1)))).all()


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        (np.array([3, -1]), LabelType.INTEGER, ["3", "-1"]),
        (np.array([0.5, 2.0]), LabelType.NUMBER, ["0.5", "2.0"]),
        (np.array([True, False]), LabelType.BOOLEAN, ["true", "false"]),
        (np.array(["on", "off"]), LabelType.STRING, ["on", "off"]),
    ],
)
def test_labels_are_text_of_a_known_type(values: np.ndarray, kind: LabelType, texts: list[str]) -> None:
    assert label_type(values) is kind
    assert label_texts(values).tolist() == texts


def test_gaps_are_smallest_at_a_tie() -> None:
    output = OutputSpec("s", ScoreKind.DISTANCE, 3, ("0", "1", "2"))
    assert decision_gaps(output, np.array([[1.0, 1.0, 9.0], [1.0, 4.0, 9.0]])).tolist() == [0.0, 3.0]
