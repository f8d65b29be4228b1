"""Forests made smaller on their way into a graph: pruned, or cut to their first trees.

House rules: what is lost is measured afterwards, by what the smaller graph answers; nothing here is exact, and nothing
here happens unless a `Shrinking` is given to the lowering.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from edge_agent.kernels.builder import Builder
from trainer.core.pruning import Structure, choose_ends
from trainer.stages.lower.trees import Forest, Together


class Way(StrEnum):
    """How a forest is made smaller."""

    # Nodes become leaves where the split below them explains least.
    PRUNE = "pruned"
    # Trees are left out from the end on.
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class Shrinking:
    """Keep so many percent of the nodes (PRUNE) or of the trees (CUT)."""

    way: Way
    percent: int


class ShrinkingBuilder(Builder):
    """A builder that makes the forests smaller which a lowering adds; `applied` says whether there was one."""

    def __init__(self, columns: int, shrinking: Shrinking) -> None:
        super().__init__(columns)
        self._shrinking = shrinking
        self.applied = False

    def shrink(self, forest: Forest) -> Forest:
        """Return the forest made smaller, or as it is where that way is not open to it."""
        smaller = _WAYS[self._shrinking.way](forest, self._shrinking.percent / 100)
        if smaller is None:
            return forest
        self.applied = True
        return smaller


def _prune(forest: Forest, share: float) -> Forest | None:
    if forest.risk is None:
        return None
    nodes = len(forest.left)
    ends = choose_ends(Structure(forest.roots, forest.left, forest.right, forest.risk), int(nodes * share))
    left, right = (np.where(ends, -1, side) for side in (forest.left, forest.right))
    return _without_orphans(replace(forest, left=left, right=right))


def _cut(forest: Forest, share: float) -> Forest | None:
    if forest.together is Together.WHOLE:
        return None
    # Stages of several classes stand class by class: whole rounds are kept.
    step = forest.values.shape[1] if forest.together is Together.STAGES else 1
    kept = int(len(forest) / step * share) * step
    if not kept:
        return None
    factor = len(forest) / kept if forest.together is Together.VOICES else 1.0
    return _without_orphans(replace(forest, roots=forest.roots[:kept]).weighted(factor))


_WAYS: dict[Way, Callable[[Forest, float], Forest | None]] = {Way.PRUNE: _prune, Way.CUT: _cut}


def _without_orphans(forest: Forest) -> Forest:
    """Return the forest without the nodes that no root leads to; the others keep their order."""
    levels = Structure(forest.roots, forest.left, forest.right, np.empty(0)).levels()
    kept = np.sort(np.concatenate(levels))
    place = np.full(len(forest.left), -1, dtype=np.intp)
    place[kept] = np.arange(len(kept))
    return replace(
        forest,
        roots=place[forest.roots],
        feature=forest.feature[kept],
        threshold=forest.threshold[kept],
        left=np.where(forest.left[kept] < 0, -1, place[forest.left[kept]]),
        right=np.where(forest.right[kept] < 0, -1, place[forest.right[kept]]),
        missing_left=forest.missing_left[kept],
        values=forest.values[kept],
        risk=None if forest.risk is None else forest.risk[kept],
    )
