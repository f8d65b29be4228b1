"""The body of `POST /predict` as a matrix: one object, `{"rows": [...]}`, or a list of objects or of lists of numbers.

House rules: everything that is not a number under the right name is refused here by name, with what was expected;
strings are never parsed into numbers. `null`, NaN and an absent name are missing values, which the engine judges.
"""

import json
import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.worker.engine import BadInputError

Matrix = NDArray[np.float32]

MAX_DEPTH = 64
_SUSPICIOUS_BRACKETS = 200
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)
_NUMBERS = {int, float}
_NAN = float("nan")
_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}


def parse_json(body: bytes) -> Any:
    """Return a body's JSON.

    Raises:
        BadInputError: broken, or nested deeper than 64 levels.
    """
    if not body:
        raise BadInputError("the body is empty; expected JSON")
    # From Python 3.12 on, nesting is bounded by the C stack, and a connection's thread has a small one.
    if body.count(b"[") + body.count(b"{") > _SUSPICIOUS_BRACKETS:
        _check_depth(body)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"the body is not JSON: {error}") from error


def _check_depth(body: bytes) -> None:
    depth = 0
    for token in _TOKEN.finditer(body):
        kind = token.group()
        if kind in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise BadInputError(f"the body is nested deeper than {MAX_DEPTH} levels")
        elif kind in (b"]", b"}"):
            depth -= 1


class RowReader:
    """Reads rows for one model's features."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._known = frozenset(names)
        self._n = len(self._names)
        self._pick: Any = itemgetter(*self._names)

    def read(self, plain: Any) -> Matrix:
        """Return the rows (rows, features) in float32; missing values are NaN.

        Raises:
            BadInputError: not of a form named above.
        """
        if isinstance(plain, dict) and not (plain.keys() == {"rows"} and "rows" not in self._known):
            rows = [self._object(plain, 0)]
        else:
            rows = self._list(plain["rows"] if isinstance(plain, dict) else plain)
        try:
            with np.errstate(over="ignore"):  # becomes infinite, which the engine refuses by name
                return np.array(rows, np.float32)
        except (OverflowError, ValueError) as error:
            raise BadInputError(f"a number does not fit into 32 bits: {error}") from error

    def _list(self, plain: Any) -> list[Sequence[float]]:
        if not isinstance(plain, list):
            raise BadInputError(f"expected an object, a list of rows or {{'rows': [...]}}, found {_name(plain)}")
        if not plain:
            raise BadInputError("expected a row at least, found none")
        if type(plain[0]) in _NUMBERS or plain[0] is None:
            return [self._numbers(plain, 0)]
        return [self._row(item, index) for index, item in enumerate(plain)]

    def _row(self, item: Any, index: int) -> Sequence[float]:
        if isinstance(item, dict):
            return self._object(item, index)
        if isinstance(item, list):
            return self._numbers(item, index)
        raise BadInputError(f"row {index}: expected an object or a list of numbers, found {_name(item)}")

    def _object(self, item: Mapping[str, Any], index: int) -> Sequence[float]:
        try:
            values = self._pick(item) if self._n > 1 else (self._pick(item),)
            complete = len(item) == self._n
        except KeyError:
            values, complete = tuple(item.get(name) for name in self._names), False
        if not complete and (unknown := item.keys() - self._known):
            raise BadInputError(f"row {index}: unknown feature {min(unknown)[:64]!r}; expected {self._expected()}")
        return self._checked(values, index)

    def _numbers(self, item: list[Any], index: int) -> Sequence[float]:
        if len(item) != self._n:
            raise BadInputError(f"row {index}: expected {self._n} values ({self._expected()}), found {len(item)}")
        return self._checked(item, index)

    def _checked(self, values: Sequence[Any], index: int) -> Sequence[float]:
        if set(map(type, values)) <= _NUMBERS:
            return values
        for position, value in enumerate(values):
            if value is not None and type(value) not in _NUMBERS:
                name = self._names[position]
                raise BadInputError(
                    f"row {index}, feature {name!r}: expected a number, found {_name(value)}", feature=position
                )
        return [_NAN if value is None else value for value in values]

    def _expected(self) -> str:
        shown = ", ".join(self._names[:8])
        return shown if self._n <= 8 else f"{shown}, ... ({self._n} features)"


def _name(value: Any) -> str:
    return _NAMES.get(type(value), "null")
