"""Sentences about much smaller models that would do, with the figures that were measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.contract.card import Budget, FrontierPoint
from edge_agent.contract.manifest import Runtime, ScoreKind
from trainer.core.frontier import EXACT
from trainer.core.parity import measure_loss

# Times smaller from which on it is worth a word.
MUCH = 2.0
# Standard errors that a gain has to exceed before it is called one.
SURE = 2.0


@dataclass(frozen=True, slots=True)
class Refit:
    """The same estimator fitted with another parameter: its size in bytes, and accuracy or R² on the held-out rows."""

    change: str
    size: int
    quality: float


def advise(kind: ScoreKind, frontier: Sequence[FrontierPoint]) -> tuple[str, ...]:
    """Advise a smaller form that scores no worse than the model itself, as ONNX; nothing where there is none."""
    points = [point for point in frontier if point.runtime is Runtime.ONNX]
    exact = next((point for point in points if point.form == EXACT), None)
    better = [point for point in points if point.loss <= 0 and exact is not None and point.size * MUCH <= exact.size]
    if not better or exact is None:
        return ()
    best = min(better, key=lambda point: point.size)
    # Only what stands out of the noise of these rows is called higher.
    clear = -best.loss > SURE * best.loss_error
    gain = f"scores {_amount(kind, -best.loss)} higher" if clear else "scores as well"
    figures = f"{best.score:.4f} against {exact.score:.4f}"
    return (f"{best.words}, it is {exact.size / best.size:.1f}× smaller and {gain} ({figures})",)


def advise_refit(kind: ScoreKind, own: Refit, others: Sequence[Refit], budget: Budget) -> tuple[str, ...]:
    """Advise the smallest refit that loses no more than a budget allows; nothing where none is much smaller.

    `own` is the model as it was asked for.
    """
    fine = [
        other
        for other in others
        if other.size * MUCH <= own.size and measure_loss(kind, other.quality, own.quality) <= budget.loss
    ]
    if not fine:
        return ()
    best = min(fine, key=lambda other: other.size)
    name = "R²" if kind is ScoreKind.VALUE else "accuracy"
    how = "scores higher" if best.quality > own.quality else "scores as well within the budget"
    times, figures = own.size / best.size, f"{name} {best.quality:.4f} against {own.quality:.4f}"
    return (f"fitted with {best.change} it is {times:.1f}× smaller and {how} ({figures})",)


def _amount(kind: ScoreKind, points: float) -> str:
    return f"{points:.2g} %" if kind is ScoreKind.VALUE else f"{points:.2g} points"
