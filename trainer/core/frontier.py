"""What a search within a budget found: the forms within it, and which of them are the smallest and the fastest."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge_agent.contract.card import Budget, FrontierPoint, Want
from edge_agent.contract.manifest import OutputSpec, ScoreKind
from trainer.core.arrays import Column, Floats
from trainer.core.labels import label_indices

EXACT = "fp32"
SMALLEST, FASTEST = "smallest", "fastest"
# Less than this share of the exact variant's size or latency is worth a loss; a difference below it is noise.
WORTH = 0.9


def loss_error(output: OutputSpec, target: Column, source: Floats, scores: Floats) -> float:
    """Return the standard error of a form's loss over the rows, in the unit of the loss, paired row by row.

    Of labels: of the difference of two hits. Of values: of the difference of two squared errors, over the target's
    variance and the source's R². `target` has label indices, or the values.
    """
    if output.kind is not ScoreKind.VALUE:
        change = (label_indices(output, source) == target).astype(float) - (label_indices(output, scores) == target)
        return float(100 * change.std() / np.sqrt(len(change)))
    values = np.asarray(target, dtype=np.float64).reshape(len(source), -1)
    before, after = ((item - values) ** 2 for item in (source, scores))
    spread = max(float(values.var(axis=0).mean()), np.finfo(np.float64).tiny)
    share = max(abs(1 - float(before.mean()) / spread), np.finfo(np.float64).tiny)
    change = (after - before).mean(axis=1)
    return float(100 * change.std() / np.sqrt(len(change)) / spread / share)


def mark(points: Sequence[FrontierPoint]) -> tuple[FrontierPoint, ...]:
    """Return the points of one runtime with the smallest and the fastest of those within the budget marked.

    The exact form is among the points and always within. It keeps a mark where no other is clearly better.
    """
    exact = next(point for point in points if point.form == EXACT)
    within = [point for point in points if point.within]
    smallest = min(within, key=lambda point: (point.size, point.loss))
    if smallest.size > WORTH * exact.size:
        smallest = exact
    timed = [point for point in within if point.latency_p50_us > 0]
    fastest = min(timed, key=lambda point: (point.latency_p50_us, point.size), default=exact)
    if fastest.latency_p50_us > WORTH * exact.latency_p50_us:
        fastest = exact
    return tuple(
        replace(
            point,
            marks=tuple(name for name, best in ((SMALLEST, smallest), (FASTEST, fastest)) if point is best),
        )
        for point in points
    )


def wanted(points: Sequence[FrontierPoint], budget: Budget) -> tuple[FrontierPoint, ...]:
    """Return the marked points that a budget asks for."""
    marks = {Want.SIZE: {SMALLEST}, Want.LATENCY: {FASTEST}, Want.BOTH: {SMALLEST, FASTEST}}[budget.want]
    return tuple(point for point in points if marks & set(point.marks))


def is_dominated(point: FrontierPoint, points: Sequence[FrontierPoint]) -> bool:
    """Return whether another point of the same runtime is no larger and scores no worse, and is better in one."""
    return any(
        other.runtime == point.runtime
        and (other.size, other.loss) != (point.size, point.loss)
        and other.size <= point.size
        and other.loss <= point.loss
        for other in points
    )
