"""Labelled rows: inputs of answered predictions, what was answered, and what turned out to be true.

House rules: a device sends them only where its own configuration and the server's settings both allow it. The key of a
message is (device, boot, number): a repeat replaces.
"""

import math
from dataclasses import dataclass
from typing import Any

from edge_agent.contract.topics import check_device_id, check_digest, check_name

# A label in its own JSON type, a number, or a number for each target of a regression.
Answered = Any


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """One row: inputs in the order of the model's columns (absent where missing), the truth, and what was answered.

    Truth and prediction are labels in their own JSON type, or the value(s) of a regression.
    """

    inputs: tuple[float | None, ...]
    truth: Answered
    prediction: Answered

    def __post_init__(self) -> None:
        object.__setattr__(self, "truth", _checked(self.truth, "truth"))
        object.__setattr__(self, "prediction", _checked(self.prediction, "prediction"))


@dataclass(frozen=True, slots=True)
class FeedbackRows:
    """Labelled rows of one model version on one device, signed by it; `ts` in epoch ms of its clock.

    `columns` are the names of the inputs; every row has an input for each.
    """

    device: str
    boot: int
    number: int
    model: str
    version: int
    digest: str
    ts: int
    rows: tuple[LabelledRow, ...]
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_device_id(self.device)
        check_name(self.model)
        check_digest(self.digest)
        width = len(self.columns) or (len(self.rows[0].inputs) if self.rows else 0)
        for index, row in enumerate(self.rows):
            if len(row.inputs) != width:
                raise ValueError(f"row {index} has {len(row.inputs)} inputs, expected {width}")


def _checked(value: Any, what: str) -> Answered:
    if isinstance(value, (list, tuple)):
        if value and all(_is_number(item) for item in value):
            return tuple(value)
    elif isinstance(value, (str, bool)) or _is_number(value):
        return value
    raise ValueError(f"{what}: expected a label, a finite number or an array of them, found {str(value)[:40]!r}")


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 2**63 if isinstance(value, int) else math.isfinite(value)
