"""What was answered, kept for a while by prediction id, so that a true label can be compared with it.

House rules: bounded in predictions, in rows and in numbers of inputs; the oldest go first; feedback is taken once for
each prediction. Inputs are kept only where the caller gives them, which is where this device may send labelled rows.
"""

import itertools
import os
import threading
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_agent.core.labels import LabelRule
from edge_agent.worker.engine import BadInputError, Prediction

Matrix = NDArray[np.float32]

KEPT_PREDICTIONS = 4096
KEPT_ROWS = 65_536
# 1 MiB of float32 for each model.
KEPT_INPUTS = 262_144


class Answers:
    """What was answered to each prediction of one model: per row the label's index, or the value(s)."""

    def __init__(self) -> None:
        # Not a plain dict: its first key is found by a scan over all that were deleted before it.
        self._kept: OrderedDict[str, list[Any]] = OrderedDict()
        self._rows = 0
        self._inputs: OrderedDict[str, Matrix] = OrderedDict()
        self._values = 0
        self._lock = threading.Lock()
        # The prefix keeps ids apart between workers and models, without a clock or a file.
        self._prefix = os.urandom(4).hex() + "-"
        self._numbers = itertools.count(1)

    def keep(self, prediction: Prediction, given_id: str = "", inputs: Matrix | None = None) -> str:
        """Keep a prediction, with its inputs where they are given, and return its id: the client's own, or a new one.

        The inputs of the oldest go where they are more than `KEPT_INPUTS` numbers; what was answered is kept on.
        """
        name = given_id or self._prefix + str(next(self._numbers))
        rows = prediction.values if prediction.indices is None else prediction.indices.tolist()
        with self._lock:
            if given_id:
                self._rows -= len(self._kept.pop(name, ()))
                self._drop_inputs(name)
            self._kept[name] = rows
            self._rows += len(rows)
            while len(self._kept) > KEPT_PREDICTIONS or (self._rows > KEPT_ROWS and len(self._kept) > 1):
                oldest, dropped = self._kept.popitem(last=False)
                self._rows -= len(dropped)
                self._drop_inputs(oldest)
            if inputs is not None:
                self._inputs[name] = inputs
                self._values += inputs.size
                while self._values > KEPT_INPUTS:
                    self._drop_inputs(next(iter(self._inputs)))
        return name

    def inputs(self, name: str) -> Matrix | None:
        """Return the inputs (rows, columns) of a prediction, None where they are not kept."""
        return self._inputs.get(name)

    def find(self, name: str) -> list[Any] | None:
        """Return what was answered; None where the id is unknown, too old or already had its feedback."""
        return self._kept.get(name)

    def forget(self, name: str) -> bool:
        """Drop a prediction that had its feedback; False where another thread was first."""
        with self._lock:
            found = self._kept.pop(name, None)
            self._rows -= len(found or ())
            self._drop_inputs(name)
            return found is not None

    def _drop_inputs(self, name: str) -> None:
        if (inputs := self._inputs.pop(name, None)) is not None:
            self._values -= inputs.size


def judge_feedback(rule: LabelRule, answered: list[Any], truth: list[Any]) -> tuple[int, int, float]:
    """Compare answered rows with the truth, one item a row: (rows, correct labels, sum of |error| of values).

    Raises:
        BadInputError: another number of rows, an unknown label, or no number where a value is expected.
    """
    rows = len(answered)
    if len(truth) != rows:
        raise BadInputError(f"expected {rows} item(s) for a prediction of {rows} row(s), found {len(truth)}")
    if rule.labels:
        return rows, sum(_index(rule, item) == index for item, index in zip(truth, answered, strict=True)), 0.0
    return rows, 0, sum(_distance(item, value) for item, value in zip(truth, answered, strict=True))


def _index(rule: LabelRule, item: Any) -> int:
    index = rule.index_of(item)
    if index is None:
        known = ", ".join(str(label) for label in rule.labels[:10])
        raise BadInputError(f"{str(item)[:40]!r} is no label of this model; expected one of {known}")
    return index


def _distance(item: Any, value: Any) -> float:
    """Return |truth - value|, in the mean over the targets where there are several."""
    truths, values = (item, value) if isinstance(value, list) else ([item], [value])
    if not isinstance(truths, list) or len(truths) != len(values):
        raise BadInputError(f"expected {len(values)} number(s) a row, found {str(item)[:40]!r}")
    for number in truths:
        if type(number) not in (int, float) or not abs(number) < 1e300:
            raise BadInputError(f"expected a finite number, found {str(number)[:40]!r}")
    return float(sum(abs(truth - found) for truth, found in zip(truths, values, strict=True)) / len(values))
