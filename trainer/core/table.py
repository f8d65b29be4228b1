"""A table of rows with named feature columns and, where there is one, a target; its fingerprint and its split."""

import hashlib
from dataclasses import dataclass

import numpy as np

from edge_agent.contract.card import DataFingerprint
from trainer.core.arrays import Column, Floats, Indices
from trainer.core.labels import label_text


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """`x` is float64 of shape (rows, len(columns)); `target` has one entry a row, or is absent."""

    name: str
    columns: tuple[str, ...]
    x: Floats
    target: Column | None

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.x.shape[1] != len(self.columns) or not len(self.x):
            raise ValueError(f"{self.name}: values of shape {self.x.shape} do not fit {len(self.columns)} columns")
        if len(set(self.columns)) != len(self.columns):
            raise ValueError(f"{self.name}: names of columns repeat")
        if self.target is not None and len(self.target) != len(self.x):
            raise ValueError(f"{self.name}: {len(self.target)} targets for {len(self.x)} rows")
        if np.isinf(self.x).any():
            raise ValueError(f"{self.name}: column {self.columns[int(np.isinf(self.x).any(0).argmax())]!r} is infinite")

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.x)

    def take(self, rows: Indices) -> "Table":
        """Return the table of these rows, in this order."""
        return Table(self.name, self.columns, self.x[rows], None if self.target is None else self.target[rows])


def join_rows(name: str, first: Table, second: Table) -> Table:
    """Return the rows of two tables with the same columns, one after the other.

    Raises:
        ValueError: their columns differ, or only one has a target.
    """
    if first.columns != second.columns or (first.target is None) != (second.target is None):
        raise ValueError(f"{first.name} and {second.name} have other columns")
    both = None if first.target is None or second.target is None else np.concatenate([first.target, second.target])
    return Table(name, first.columns, np.concatenate([first.x, second.x]), both)


def fingerprint(table: Table) -> DataFingerprint:
    """Return the SHA-256 over names, values and target (float64, or UTF-8 text), in order, each part with its length.

    Equal values give equal fingerprints on every machine: numbers are hashed as little-endian float64.
    """
    digest = hashlib.sha256()
    parts = [name.encode() for name in table.columns]
    parts.append(np.ascontiguousarray(table.x, dtype="<f8").tobytes())
    if table.target is not None and table.target.dtype.kind == "f":
        parts.append(np.ascontiguousarray(table.target, dtype="<f8").tobytes())
    elif table.target is not None:
        parts.extend(label_text(value).encode() for value in table.target)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return DataFingerprint(table.name, digest.hexdigest(), table.rows, len(table.columns))
