"""Finds the lowering of an estimator: one table a family, each entry by the estimator's very class."""

import importlib
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from edge_agent.kernels.builder import Builder
from trainer.errors import CannotLower

# From a fitted estimator to the value that it computes from the value given; raises CannotLower with the reason.
Lowering = Callable[[Any, Builder, int], int]

# The modules of this package that have a table `LOWERINGS`.
MODULES = ("pipelines", "scaling", "linear", "mlp")


def lower_part(estimator: Any, b: Builder, source: int) -> int:
    """Add what a fitted estimator computes from `source`, and return its value; `None` and "passthrough" add nothing.

    Raises:
        CannotLower: a step has no lowering; the message is the reason.
    """
    if estimator is None or estimator == "passthrough":
        return source
    for name, lowering in _lowerings().items():
        # The very class: a subclass may compute something else from the same attributes.
        if type(estimator) is _class(name):
            return lowering(estimator, b, source)
    raise CannotLower(f"no lowering for {type(estimator).__name__} yet")


@cache
def _lowerings() -> Mapping[str, Lowering]:
    """Join the tables; when first asked for, since a lowering of a compound comes back here."""
    tables = [importlib.import_module(f"{__package__}.{module}").LOWERINGS for module in MODULES]
    return {name: lowering for table in tables for name, lowering in table.items()}


@cache
def _class(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        # Older and newer versions of the library do not have every class.
        return None
