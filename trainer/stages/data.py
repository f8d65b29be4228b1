"""Reads rows: a data set that scikit-learn carries, a CSV or NPZ file, or what a callable returns.

House rules: a table has float64 features and a target of one type; an empty cell is a missing value (NaN), anything
else that is no number is an error that names its row and column. Nothing is downloaded.
"""

import csv
import importlib
import importlib.util
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer.core.arrays import Column, Floats
from trainer.core.recipes import DataSpec
from trainer.core.table import Table
from trainer.errors import ConfigurationError

DATA_SETS = ("breast_cancer", "diabetes", "digits", "iris", "wine")
# heldout.csv has these columns after the features.
RESERVED = ("target", "prediction")


def load_data(spec: DataSpec, folder: Path) -> Table:
    """Load what a recipe names; relative paths are relative to `folder`.

    Raises:
        ConfigurationError: the data are not there, or are not rows of numbers.
    """
    if spec.sklearn is not None:
        return _check(_load_sklearn(spec.sklearn))
    if spec.csv is not None:
        return read_file(folder / spec.csv, spec.target, spec.drop)
    return _check(_call(str(spec.callable), folder))


def read_file(path: Path, target: str | None, drop: Sequence[str] = ()) -> Table:
    """Read a CSV file with a header, or an NPZ file with arrays `x`, optionally `y` and `names`.

    Raises:
        ConfigurationError: there is no such file or column, or a cell is no number.
    """
    if not path.is_file():
        raise ConfigurationError(f"there is no data file {path}", "name a .csv or .npz file")
    if path.suffix == ".npz":
        return _check(_read_npz(path))
    return _check(_read_csv(path, target, drop))


def _check(table: Table) -> Table:
    for name in RESERVED:
        if name in table.columns:
            raise ConfigurationError(f"{table.name}: a feature may not be named {name!r}", "rename the column")
    return table


def _table(name: str, columns: Sequence[str], x: Any, target: Any) -> Table:
    try:
        values = np.asarray(x, dtype=np.float64)
        truth = None if target is None else _plain_target(np.asarray(target))
        return Table(name, tuple(columns), values, truth)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{name}: {error}") from error


def _plain_target(target: Column) -> Column:
    return target.astype(str) if target.dtype.kind in "OSU" else target


def _load_sklearn(name: str) -> Table:
    if name not in DATA_SETS:
        raise ConfigurationError(f"scikit-learn carries no data set {name!r}", f"choose from {', '.join(DATA_SETS)}")
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")()
    return _table(name, [str(column) for column in bunch.feature_names], bunch.data, bunch.target)


def _read_csv(path: Path, target: str | None, drop: Sequence[str]) -> Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = [row for row in csv.reader(file) if row]
    except (ValueError, csv.Error) as error:
        raise ConfigurationError(f"{path}: not a CSV file with a header: {error}") from error
    for name in (*([target] if target is not None else []), *drop):
        if name not in header:
            raise ConfigurationError(f"{path}: there is no column {name!r}", f"columns are {', '.join(header)}")
    if rows and all(len(row) == len(header) + 1 for row in rows):
        # R's write.table gives the numbers of the rows no name in the header.
        rows = [row[1:] for row in rows]
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ConfigurationError(f"{path}: line {number} has {len(row)} cells, the header {len(header)}")
    kept = [index for index, name in enumerate(header) if name != target and name not in drop]
    x = np.array([[_number(path, row, index, header, line) for index in kept] for line, row in enumerate(rows, 2)])
    truth = None if target is None else parse_target([row[header.index(target)] for row in rows], path.name)
    return _table(path.stem, [header[index] for index in kept], x.reshape(len(rows), len(kept)), truth)


def _number(path: Path, row: Sequence[str], index: int, header: Sequence[str], line: int) -> float:
    text = row[index].strip()
    try:
        return float(text) if text else float("nan")
    except ValueError as error:
        hint = "drop the column, or turn it into numbers"
        raise ConfigurationError(f"{path}: line {line}, column {header[index]!r}: no number: {text!r}", hint) from error


def parse_target(texts: Sequence[str], name: str) -> Column:
    """Read a target column as whole numbers, numbers, booleans or text: the first of these that all cells are.

    Raises:
        ConfigurationError: a cell is empty.
    """
    if not all(text.strip() for text in texts):
        raise ConfigurationError(f"{name}: a row has no target", "leave rows without a target out")
    for kind in (np.int64, np.float64):
        try:
            return np.array([text.strip() for text in texts]).astype(kind)
        except (ValueError, OverflowError):
            continue
    if {text.strip().lower() for text in texts} <= {"true", "false"}:
        return np.array([text.strip().lower() == "true" for text in texts])
    return np.array(texts)


def _read_npz(path: Path) -> Table:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x, y = arrays["x"], arrays.get("y")
            names = arrays["names"].tolist() if "names" in arrays else None
        if isinstance(x, bytes) or np.ndim(x) == 0:  # numpy hands out a member that is no array as its bytes
            raise ValueError("x is no array of rows")
    except (OSError, ValueError, KeyError, MemoryError, zipfile.BadZipFile) as error:
        hint = "write it with numpy.savez(path, x=..., y=..., names=...)"
        raise ConfigurationError(f"{path}: no arrays x, y and names of plain types: {error}", hint) from error
    return _table(path.stem, names or default_names(x), x, y)


def default_names(x: Floats) -> list[str]:
    """Return x0, x1, ... for columns without names."""
    return [f"x{index}" for index in range(np.asarray(x).shape[-1])]


def _call(reference: str, folder: Path) -> Table:
    """Call "module:function" or "file.py:function"; it returns (X, y) or (X, y, names)."""
    name, _, function = reference.rpartition(":")
    try:
        found = getattr(load_module(name, folder), function)
    except (ImportError, AttributeError, OSError) as error:
        raise ConfigurationError(f"data.callable {reference!r} cannot be loaded: {error}") from error
    result = found()
    if not isinstance(result, tuple) or len(result) not in (2, 3):
        raise ConfigurationError(f"data.callable {reference!r} returned no (X, y, names)")
    x, y = result[:2]
    return _table(function, result[2] if len(result) == 3 else default_names(x), x, y)


def load_module(name: str, folder: Path) -> Any:
    """Import a module by name, or a file by its path relative to `folder`.

    Raises:
        ImportError: there is none.
        OSError: the file cannot be read.
    """
    if not name.endswith(".py"):
        return importlib.import_module(name)
    path = folder / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
