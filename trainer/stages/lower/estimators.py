"""Finds the lowering of an estimator, and strings a pipeline's together."""

import importlib
from typing import Any

from trainer.core.graph import Graph, Part, chain
from trainer.errors import UnbuildableError
from trainer.stages.lower import linear, mlp, scaling

LOWERINGS = {**scaling.LOWERINGS, **linear.LOWERINGS, **mlp.LOWERINGS}


def lower(estimator: Any, columns: int) -> Graph:
    """Return the graph that computes the scores of a fitted estimator or pipeline over `columns` inputs.

    Raises:
        UnbuildableError: a step has no lowering; the message is the reason.
    """
    return chain(columns, *_parts(estimator))


def _parts(estimator: Any) -> tuple[Part, ...]:
    if estimator is None or estimator == "passthrough":
        return ()
    if hasattr(estimator, "steps"):
        return tuple(part for _, step in estimator.steps for part in _parts(step))
    for name, lowering in LOWERINGS.items():
        # The very class: a subclass may compute something else from the same attributes.
        if type(estimator) is _class(name):
            return lowering(estimator)
    raise UnbuildableError(f"no lowering for {type(estimator).__name__} yet")


def _class(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)
