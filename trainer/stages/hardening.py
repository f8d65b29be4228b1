"""Asks the source about the rows that were made to go wrong, and keeps those that it can answer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.kernels.graph import Graph
from trainer.core.adversarial import HardRows, make_hard_rows
from trainer.core.arrays import Floats
from trainer.stages.rehearsal import Rehearsal


@dataclass(frozen=True, slots=True, eq=False)
class Hard:
    """Hard rows with the source's answers; `unanswered` of those that were made have none, so nothing is promised."""

    rows: HardRows
    reference: Floats
    unanswered: int = 0


def harden(rehearsal: Rehearsal, graph: Graph | None) -> Hard:
    """Make hard rows for a model and ask its source about them; `graph` is its lowered form, where there is one."""
    rows = make_hard_rows(graph, rehearsal.input_features, rehearsal.x)
    answers = [_answer(rehearsal, rows.take(rows.kinds == kind)) for kind in dict.fromkeys(rows.kinds.tolist())]
    kept = [(part.take(fine), reference[fine]) for part, reference in answers for fine in [_finite(reference)]]
    x = np.concatenate([part.x for part, _ in kept])
    kinds = np.concatenate([part.kinds for part, _ in kept])
    reference = np.concatenate([scores for _, scores in kept])
    return Hard(HardRows(x, kinds), reference, len(rows.x) - len(x))


def _answer(rehearsal: Rehearsal, rows: HardRows) -> tuple[HardRows, Floats]:
    """Return the source's scores for rows of one kind; NaN where it refuses them."""
    try:
        return rows, rehearsal.source.score(rows.x)
    except Exception:  # noqa: BLE001 - any estimator may refuse any row, in its own words; then nothing is promised
        return rows, np.full((len(rows.x), rehearsal.reference.shape[1]), np.nan)


def _finite(reference: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(reference).all(axis=1))
