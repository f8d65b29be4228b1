"""A recipe's declaration: data, estimator, split, metrics and gates, as frozen types.

House rules: unknown keys are errors that name the key; every key changes some outcome. A TOML recipe can name only
classes below `sklearn.`; a Python recipe is code of its author and may build whatever it likes.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_agent.contract import codec
from edge_agent.contract.card import Bound, Budget, Gate
from edge_agent.contract.manifest import Task
from edge_agent.contract.topics import check_name

_ESTIMATOR = re.compile(r"sklearn(\.[a-z][a-z0-9_]*)+\.[A-Z][A-Za-z0-9]*")
_CALLABLE = re.compile(r"[^:]+:[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Where rows come from: a data set of scikit-learn by name, a CSV file with a target column, or a callable.

    `callable` is "module:function" or "file.py:function", relative to the recipe, and returns (X, y, names). `drop`
    names columns of a CSV file to leave out. `normal` belongs to anomaly detection: rows with one of these targets are
    normal, the others are not and are never trained on.
    """

    sklearn: str | None = None
    csv: str | None = None
    callable: str | None = None
    target: str | None = None
    drop: tuple[str, ...] = ()
    normal: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if sum(value is not None for value in (self.sklearn, self.csv, self.callable)) != 1:
            raise ValueError("data come from exactly one of sklearn, csv and callable")
        if self.csv is None and (self.target is not None or self.drop):
            raise ValueError("target and drop belong to csv")
        if self.callable is not None and _CALLABLE.fullmatch(self.callable) is None:
            raise ValueError(f"{self.callable!r} is not of the form module:function")


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step of the pipeline: a class of scikit-learn by its dotted name, and its parameters."""

    estimator: str
    params: codec.JsonObject = field(default_factory=dict)

    def __post_init__(self) -> None:
        if _ESTIMATOR.fullmatch(self.estimator) is None:
            raise ValueError(f"{self.estimator!r} is no class below sklearn, such as sklearn.linear_model.Ridge")


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """`share` of the rows is held out, by `seed`; `stratify` keeps the labels' shares (default: where they exist)."""

    share: float = 0.25
    seed: int = 0
    stratify: bool | None = None

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or not 0 <= self.seed < 2**32:
            raise ValueError("share is within 0..1 and seed within 0..2**32-1")


@dataclass(frozen=True, slots=True)
class GateSpec:
    """A metric on held-out rows and the threshold that it has to meet, `at_least` or `at_most`."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError(f"the gate on {self.metric!r} has either at_least or at_most")


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that a recipe says. `model` is the line of models that the result is a version of.

    `budget` is what smaller variants may lose; without it half a point of accuracy, or a percent of R².
    """

    model: str
    task: Task
    data: DataSpec
    steps: tuple[StepSpec, ...] = ()
    split: SplitSpec = SplitSpec()
    metrics: tuple[str, ...] = ()
    gates: tuple[GateSpec, ...] = ()
    budget: Budget | None = None
    description: str = ""

    def __post_init__(self) -> None:
        check_name(self.model)
        if self.data.normal and self.task is not Task.ANOMALY:
            raise ValueError("data.normal belongs to anomaly detection")


# What a Python recipe may give instead of steps: (training rows, their targets, seed) to a fitted estimator, or to the
# bytes of an ONNX model.
Build = Callable[[Any, Any, int], Any]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A declaration under the name by which it was asked for; `folder` is what its relative paths are relative to."""

    name: str
    folder: str
    declaration: Declaration
    build: Build | None = None

    def __post_init__(self) -> None:
        if bool(self.declaration.steps) == (self.build is not None):
            raise ValueError("a recipe has either [[steps]] or, in Python, a build function")


def parse_declaration(text: str, changes: Sequence[str] = ()) -> Declaration:
    """Parse a recipe's TOML with changes of the form `key.key=value` laid over it.

    Raises:
        codec.MalformedError: not TOML, an unknown key, a value of another type or out of range.
    """
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise codec.MalformedError(f"recipe: not TOML: {error}") from error
    return read_declaration(plain, changes)


def read_declaration(plain: Mapping[str, Any], changes: Sequence[str] = ()) -> Declaration:
    """Read a declaration from plain objects with changes laid over it; as `parse_declaration`."""
    changed: Any = codec.to_plain(plain)
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals or not key:
            raise codec.MalformedError(f"recipe: the change {change!r} is not of the form key=value")
        _lay(changed, key.strip().split("."), _value(value.strip()), key)
    return codec.from_plain(Declaration, changed, unknown="refuse", at="recipe")


def _value(text: str) -> Any:
    """Read a value as TOML writes it; what TOML does not know is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _lay(place: Any, path: list[str], value: Any, key: str) -> None:
    """Set one value in nested objects and arrays; objects on the way are made, elements of arrays are not."""
    head, rest = path[0], path[1:]
    if isinstance(place, list):
        if not head.isdigit() or int(head) >= len(place):
            raise codec.MalformedError(f"recipe.{key}: {head!r} is no index of {len(place)} elements")
        if rest:
            _lay(place[int(head)], rest, value, key)
        else:
            place[int(head)] = value
    elif isinstance(place, dict):
        if rest:
            _lay(place.setdefault(head, {}), rest, value, key)
        else:
            place[head] = value
    else:
        raise codec.MalformedError(f"recipe.{key}: nothing stands below {head!r}")


def judge_gates(gates: Sequence[GateSpec], metrics: Mapping[str, float]) -> tuple[Gate, ...]:
    """Put each gate beside the value that was measured; a metric that is no number passes no gate."""
    return tuple(
        Gate(gate.metric, Bound.AT_LEAST, gate.at_least, metrics[gate.metric])
        if gate.at_least is not None
        else Gate(gate.metric, Bound.AT_MOST, gate.at_most or 0.0, metrics[gate.metric])
        for gate in gates
    )
