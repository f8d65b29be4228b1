"""Labels from scores, by every kind of score."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.manifest import LabelType, OutputSpec, ScoreKind
from edge_agent.core.labels import parse_label, rule_of


def _rule(kind: ScoreKind, columns: int, labels: tuple[str, ...], threshold: float | None = None, **more: LabelType):
    return rule_of(OutputSpec("scores", kind, columns, labels, more.get("label_type", LabelType.STRING), threshold))


def _scores(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32)


@pytest.mark.parametrize(
    ("kind", "columns", "threshold", "row", "label"),
    [
        (ScoreKind.PROBABILITY, 2, None, (0.5, 0.5), "a"),
        (ScoreKind.PROBABILITY, 2, 0.5, (0.5, 0.5), "b"),
        (ScoreKind.PROBABILITY, 2, 0.9, (0.2, 0.8), "a"),
        (ScoreKind.PROBABILITY, 2, 0.1, (0.85, 0.15), "b"),
        (ScoreKind.PROBABILITY, 1, None, (0.5,), "b"),
        (ScoreKind.MARGIN, 1, 0.0, (0.0,), "a"),
        (ScoreKind.MARGIN, 1, 0.0, (0.001,), "b"),
        (ScoreKind.NORMALITY, 1, 0.0, (0.0,), "b"),
        (ScoreKind.NORMALITY, 1, 0.0, (-0.1,), "a"),
        (ScoreKind.DISTANCE, 2, None, (3.0, 1.0), "b"),
        (ScoreKind.MARGIN, 2, None, (3.0, 1.0), "a"),
    ],
)
def test_a_label_follows_from_scores_by_their_kind(kind, columns, threshold, row, label) -> None:
    rule = _rule(kind, columns, ("a", "b"), threshold)
    assert rule.labels[int(rule.choose(_scores(row))[0])] == label


def test_three_classes_take_the_largest_whatever_the_threshold() -> None:
    rule = _rule(ScoreKind.PROBABILITY, 3, ("a", "b", "c"), 0.1)
    assert rule.choose(_scores((0.2, 0.2, 0.6), (0.7, 0.2, 0.1))).tolist() == [2, 0]
    assert not rule.takes_threshold


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20), st.floats(0, 1, width=32))
def test_a_request_threshold_overrules_the_rule(scores: list[float], threshold: float) -> None:
    rule = _rule(ScoreKind.PROBABILITY, 2, ("no", "yes"), 0.5)
    matrix = np.array([[1 - p, p] for p in scores], np.float32)
    assert rule.choose(matrix, threshold).tolist() == [int(p >= np.float32(threshold)) for p in matrix[:, 1]]


def test_values_have_no_label() -> None:
    with pytest.raises(ValueError, match="no label"):
        _rule(ScoreKind.VALUE, 1, ()).choose(_scores((1.0,)))


@pytest.mark.parametrize(
    ("text", "kind", "label"),
    [
        ("3", LabelType.INTEGER, 3),
        ("0.5", LabelType.NUMBER, 0.5),
        ("3", LabelType.STRING, "3"),
        ("True", LabelType.BOOLEAN, True),
        ("false", LabelType.BOOLEAN, False),
    ],
)
def test_a_label_is_answered_in_its_own_json_type(text: str, kind: LabelType, label: object) -> None:
    found = parse_label(text, kind)
    assert found == label
    assert type(found) is type(label)


@pytest.mark.parametrize(
    ("text", "kind"), [("x", LabelType.INTEGER), ("1.5", LabelType.INTEGER), ("yes", LabelType.BOOLEAN)]
)
def test_a_label_of_another_type_is_refused(text: str, kind: LabelType) -> None:
    with pytest.raises(ValueError, match=text):
        parse_label(text, kind)


def test_a_true_label_is_found_by_value_or_text_but_not_across_types() -> None:
    rule = _rule(ScoreKind.PROBABILITY, 2, ("0", "1"), label_type=LabelType.INTEGER)
    assert [rule.index_of(item) for item in (1, "1", 1.0, True, "one", None, [1])] == [1, 1, 1, None, None, None, None]
    flags = _rule(ScoreKind.PROBABILITY, 2, ("false", "true"), label_type=LabelType.BOOLEAN)
    assert [flags.index_of(item) for item in (True, "true", 1)] == [1, 1, None]
