"""Rows from files: what is there is read as it is, what is no number is named by line and column."""

from pathlib import Path

import numpy as np
import pytest

from trainer.core.recipes import DataSpec
from trainer.errors import ConfigurationError
from trainer.stages.data import load_data, parse_target, read_file

CSV = "temp,load,state\n20.5,3,on\n21,,off\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_file_is_read(tmp_path: Path) -> None:
    table = read_file(written(tmp_path, CSV), "state")
    assert table.columns == ("temp", "load")
    assert table.target is not None
    assert table.target.tolist() == ["on", "off"]
    assert np.isnan(table.x[1, 1])
    assert table.x[0].tolist() == [20.5, 3.0]


def test_columns_can_be_dropped(tmp_path: Path) -> None:
    assert read_file(written(tmp_path, CSV), "state", ["load"]).columns == ("temp",)


@pytest.mark.parametrize(
    ("text", "target", "named"),
    [
        ("a,b\n1,x\n", None, "line 2, column 'b': no number: 'x'"),
        ("a,b\n1,2\n3\n", None, "line 3 has 1 cells, the header 2"),
        (CSV, "status", "there is no column 'status'"),
        ("a,y\n1,\n", "y", "a row has no target"),
        ("a,a\n1,2\n", None, "names of columns repeat"),
        ("a,prediction\n1,2\n", None, "may not be named 'prediction'"),
        ("a,b\n", None, "do not fit"),
        ("a,b\ninf,2\n", None, "column 'a' is infinite"),
        ("", None, "not a CSV file with a header"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, target: str | None, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        read_file(written(tmp_path, text), target)


@pytest.mark.parametrize(
    ("texts", "values"),
    [
        (["1", "-2"], [1, -2]),
        (["1", "2.5"], [1.0, 2.5]),
        (["True", "false"], [True, False]),
        (["1", "b"], ["1", "b"]),
    ],
)
def test_a_target_is_of_one_type(texts: list[str], values: list[object]) -> None:
    found = parse_target(texts, "t").tolist()
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_npz_files_are_read_without_pickles(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", x=np.ones((4, 2)), y=np.arange(4))
    assert read_file(tmp_path / "good.npz", None).columns == ("x0", "x1")
    np.savez(tmp_path / "bad.npz", x=np.array([object()], dtype=object))
    with pytest.raises(ConfigurationError, match="no arrays x, y and names"):
        read_file(tmp_path / "bad.npz", None)


def test_a_callable_beside_the_recipe_is_called(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def load():\n    return [[1.0], [2.0]], ['a', 'b'], ['width']\n")
    table = load_data(DataSpec(callable="mine.py:load"), tmp_path)
    assert (table.columns, table.rows) == (("width",), 2)
    for wrong in ("mine.py:other", "absent.py:load", "no_such_module:load"):
        with pytest.raises(ConfigurationError, match="cannot be loaded"):
            load_data(DataSpec(callable=wrong), tmp_path)


def test_only_data_that_scikit_learn_carries_is_known() -> None:
    assert load_data(DataSpec(sklearn="wine"), Path()).rows == 178
    with pytest.raises(ConfigurationError, match="no data set 'fetch_openml'"):
        load_data(DataSpec(sklearn="fetch_openml"), Path())


def test_row_numbers_without_a_name_in_the_header_are_left_out(tmp_path: Path) -> None:
    table = read_file(written(tmp_path, 'a,state\n"1",2.5,on\n"2",3.5,off\n'), "state")
    assert table.columns == ("a",)
    assert table.x[:, 0].tolist() == [2.5, 3.5]
    with pytest.raises(ConfigurationError, match="line 3 has 3 cells, the header 2"):
        read_file(written(tmp_path, "a,state\n1,on\n2,3.5,off\n"), "state")
