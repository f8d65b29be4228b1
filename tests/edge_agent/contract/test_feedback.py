"""Labelled rows: what counts as a truth, and that every row has an input for each column."""

import math
from typing import Any

import pytest

from edge_agent.contract import codec
from edge_agent.contract.baseline import FeatureBaseline
from edge_agent.contract.feedback import FeedbackRows, LabelledRow
from edge_agent.contract.messages import MAX_FEEDBACK_ROWS, AgentSettings


@pytest.mark.parametrize("good", ["cat", 7, True, 2.5, [2.5, 3]])
def test_a_truth_keeps_its_json_type(good: Any) -> None:
    """A label 7 is not the label "7", and not 7.0."""
    row = codec.decode(LabelledRow, codec.encode(LabelledRow((1.0, None), good, good)))
    assert (row.truth, type(row.truth)) == ((2.5, 3) if good == [2.5, 3] else good, type(row.prediction))
    assert row.inputs == (1.0, None)


@pytest.mark.parametrize("bad", [None, {}, [], ["a"], [[1.0]], [True], math.nan, math.inf, 2**63])
def test_what_is_no_label_and_no_number_is_refused(bad: Any) -> None:
    """Named, with what was expected."""
    with pytest.raises(ValueError, match="truth: expected a label, a finite number or an array of them"):
        LabelledRow((1.0,), bad, 1.0)


@pytest.mark.parametrize("columns", [("a", "b"), ()])
def test_rows_are_as_wide_as_their_columns(columns: tuple[str, ...]) -> None:
    """A row that is too short is no row of this model."""
    rows = (LabelledRow((1.0, 2.0), 1, 1), LabelledRow((1.0,), 1, 1))
    with pytest.raises(ValueError, match="row 1 has 1 inputs, expected 2"):
        FeedbackRows("pi", 1, 1, "m", 1, "a" * 64, 0, rows, columns)


@pytest.mark.parametrize("rows", [-1, MAX_FEEDBACK_ROWS + 1])
def test_settings_bound_the_labelled_rows(rows: int) -> None:
    """A server cannot ask a device for any number of rows."""
    with pytest.raises(ValueError, match=r"feedback_rows is within 0\.\.1000"):
        AgentSettings(feedback_rows=rows)


@pytest.mark.parametrize(
    ("categories", "message"), [((1.0,), "1 categories are not 2 bins"), ((2.0, 1.0), "categories must rise")]
)
def test_a_categorical_column_has_a_category_for_each_bin(categories: tuple[float, ...], message: str) -> None:
    """In the order of the bins."""
    with pytest.raises(ValueError, match=message):
        FeatureBaseline("floor", 1.0, 2.0, (1.5,), (5, 5), 0, 1.5, 0.5, categories)
