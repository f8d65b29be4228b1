"""Finds the lowering of an estimator: tables of each family, each entry by the estimator's very class.

House rules: every module of this package may have the tables that `Table` names; none has to be listed anywhere.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from edge_agent.kernels.builder import Builder
from trainer.errors import CannotLower

# From a fitted estimator to the value that it computes from the value given; raises CannotLower with the reason.
Lowering = Callable[[Any, Builder, int], int]


class Table(StrEnum):
    """The tables that a module may have."""

    # The scores: probabilities where there are any, else the decision function; the values; what a transformer gives.
    SCORES = "LOWERINGS"
    # The decision function of those that have probabilities too: one column for two classes, else one a class.
    MARGINS = "MARGINS"
    # What `transform` gives, of those that predict too.
    FEATURES = "FEATURES"


def lower_part(estimator: Any, b: Builder, source: int) -> int:
    """Add what a fitted estimator computes from `source`, and return its value; `None` and "passthrough" add nothing.

    Raises:
        CannotLower: a step has no lowering; the message is the reason.
    """
    if estimator is None or (isinstance(estimator, str) and estimator == "passthrough"):
        return source
    lowering = find(Table.SCORES, estimator)
    if lowering is None:
        raise CannotLower(f"no lowering for {type(estimator).__name__} yet")
    return lowering(estimator, b, source)


def lower_features(estimator: Any, b: Builder, source: int) -> int:
    """Add what a fitted step's `transform` gives; `None` and "passthrough" add nothing.

    Raises:
        CannotLower: it has no lowering, or only one of what it predicts.
    """
    if estimator is None or (isinstance(estimator, str) and estimator == "passthrough"):
        return source
    lowering = find(Table.FEATURES, estimator)
    if lowering is not None:
        return lowering(estimator, b, source)
    if hasattr(estimator, "predict"):
        raise CannotLower(f"no lowering for the transform() of {type(estimator).__name__} yet")
    return lower_part(estimator, b, source)


def find(table: Table, estimator: Any) -> Lowering | None:
    """Return the entry of an estimator in a table, or nothing.

    The very class counts: a subclass may compute something else from the same attributes.
    """
    for name, lowering in _entries(table).get(type(estimator).__name__, ()):
        if type(estimator) is _class(name):
            return lowering
    return None


@cache
def _entries(table: Table) -> Mapping[str, tuple[tuple[str, Lowering], ...]]:
    """Join the tables by the short name; when first asked for, since a lowering of a compound comes back here."""
    joined: dict[str, tuple[tuple[str, Lowering], ...]] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        entries: Mapping[str, Lowering] = getattr(importlib.import_module(f"{__package__}.{module.name}"), table, {})
        for name, lowering in entries.items():
            short = name.rpartition(".")[2]
            joined[short] = (*joined.get(short, ()), (name, lowering))
    return joined


@cache
def _class(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        # Older and newer versions of the library do not have every class.
        return None
