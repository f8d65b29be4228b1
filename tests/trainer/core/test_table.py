"""Tables: shapes that do not fit are refused, and a fingerprint is of exactly these values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.core.table import Table, fingerprint

X = np.arange(6.0).reshape(3, 2)


@given(row=st.integers(0, 2), column=st.integers(0, 1))
def test_one_changed_value_changes_the_fingerprint(row: int, column: int) -> None:
    other = X.copy()
    other[row, column] += 1e-9
    first, second = (fingerprint(Table("t", ("a", "b"), x, None)) for x in (X, other))
    assert first.sha256 != second.sha256
    assert (first.rows, first.features) == (3, 2)


def test_names_and_targets_are_in_the_fingerprint() -> None:
    tables = [
        Table("t", ("a", "b"), X, None),
        Table("t", ("ab", ""), X, None),
        Table("t", ("a", "b"), X, np.array([1, 2, 3])),
        Table("t", ("a", "b"), X, np.array(["1", "23", ""])),
        Table("t", ("a", "b"), X, np.array([1.0, 2.0, 3.0])),
    ]
    assert len({fingerprint(table).sha256 for table in tables}) == len(tables)


@pytest.mark.parametrize(
    ("columns", "x", "target", "named"),
    [
        (("a",), X, None, "do not fit 1 columns"),
        (("a", "a"), X, None, "repeat"),
        (("a", "b"), X, np.zeros(2), "2 targets for 3 rows"),
        (("a", "b"), np.array([[1.0, np.inf]] * 3), None, "'b' is infinite"),
        (("a", "b"), X[:0], None, "do not fit"),
    ],
)
def test_what_does_not_fit_is_refused(columns: tuple[str, ...], x: np.ndarray, target: object, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Table("t", columns, x, target)  # type: ignore[arg-type]
