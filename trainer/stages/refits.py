"""Fits a recipe's trees again with larger leaves, to see whether a much smaller model would do."""

import time
import warnings
from typing import Any

from sklearn.base import clone

from edge_agent.contract.card import Budget
from edge_agent.contract.manifest import Task
from edge_agent.kernels.format import encode
from trainer.core.advice import Refit, advise_refit
from trainer.core.arrays import as_singles
from trainer.core.parity import default_budget
from trainer.core.table import Table
from trainer.errors import CannotLower
from trainer.stages.lower.estimators import lower
from trainer.stages.rehearsal import quality
from trainer.stages.signature import final_step
from trainer.stages.source import Source, estimator_source

LEAVES = (20, 10, 5)
# No further fit begins after this long: advice must not cost more than the model.
MOST_S = 10.0


def advise_refits(source: Source, train: Table, heldout: Table, budget: Budget | None = None) -> tuple[str, ...]:
    """Advise larger leaves where they make a model of trees much smaller within the budget.

    Nothing is advised of other models, without a target, or where the fits would take too long.
    """
    if not _has_leaves(source.estimator) or source.task not in (Task.CLASSIFICATION, Task.REGRESSION):
        return ()
    kind = source.output.kind
    own = _weigh("", source, heldout)
    refits, began = [], time.monotonic()
    for leaf in LEAVES:
        if own is None or time.monotonic() - began > MOST_S:
            return ()
        refit = _refit(source, leaf, train, heldout)
        refits.extend([] if refit is None else [refit])
    return advise_refit(kind, own, refits, budget or default_budget(kind)) if own is not None else ()


def _has_leaves(estimator: Any) -> bool:
    final = final_step(estimator)
    module = type(final).__module__
    known = module.startswith(("sklearn.tree", "sklearn.ensemble._forest", "sklearn.ensemble._gb"))
    return known and "min_samples_leaf" in final.get_params(deep=False)


def _refit(source: Source, leaf: int, train: Table, heldout: Table) -> Refit | None:
    estimator = clone(source.estimator)
    final = final_step(estimator)
    if final.min_samples_leaf == leaf:
        return None
    final.set_params(min_samples_leaf=leaf)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(train.x, train.target)
    return _weigh(f"min_samples_leaf={leaf}", estimator_source(estimator, source.kind), heldout)


def _weigh(change: str, source: Source, heldout: Table) -> Refit | None:
    """Return the size of the lowered model and its quality; nothing where it has no lowering."""
    if heldout.target is None:
        return None
    try:
        size = len(encode(lower(source.estimator, source.columns)))
    except CannotLower:
        return None
    return Refit(change, size, quality(source, heldout.target, source.score(as_singles(heldout.x))))
