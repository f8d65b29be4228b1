"""Whether a variant answers as its source does: the differences, and the verdict with its reason.

House rules: the reference is the source fed the float32-rounded inputs; a difference that cannot be evaluated (not
finite) fails. The bounds were measured: the converters that are right stay far inside of them, the wrong ones outside.
"""

from dataclasses import dataclass

import numpy as np

from edge_agent.contract.card import Budget
from edge_agent.contract.manifest import OutputSpec, ScoreKind
from trainer.core.arrays import Floats
from trainer.core.labels import decision_gaps, label_indices

PROBABILITY_TOLERANCE = 1e-5
RELATIVE_TOLERANCE = 1e-5
SPREAD_TOLERANCE = 1e-5
# Sums over trees come in another order, and a threshold may fall on a rounded value.
TREE_TOLERANCE = 1e-4
# What a smaller variant may lose where nothing else is said: points of accuracy, percent of R².
ACCURACY_POINTS = 0.5
R2_PERCENT = 1.0
# Labels of a model whose weights alone were rounded agree on this share of the rows at least.
INT8_AGREEMENT = 0.98


@dataclass(frozen=True, slots=True)
class Difference:
    """A variant against its source, over the same rows: see `edge_agent.contract.manifest.Parity`."""

    rows: int
    label_agreement: float
    max_abs_diff: float
    mean_abs_diff: float
    worst_excess: float
    unexplained_labels: int


def tolerances(output: OutputSpec, reference: Floats, *, trees: bool, spread: float | None = None) -> Floats:
    """Return the tolerated absolute difference of each score of an fp32 variant.

    Probabilities: 1e-5 (trees 1e-4). Everything else: 1e-5 relative plus 1e-5 (trees 1e-4) standard deviations of the
    source's own scores, or of `spread` where these rows are not of the ordinary kind.
    """
    if output.kind is ScoreKind.PROBABILITY:
        return np.full(reference.shape, TREE_TOLERANCE if trees else PROBABILITY_TOLERANCE)
    usual = float(reference.std()) if spread is None else spread
    spread = usual * (TREE_TOLERANCE if trees else SPREAD_TOLERANCE)
    bounds: Floats = RELATIVE_TOLERANCE * np.abs(reference) + spread
    return bounds


def compare(
    output: OutputSpec, reference: Floats, scores: Floats, *, trees: bool = False, spread: float | None = None
) -> Difference:
    """Measure a variant's scores against the source's.

    `worst_excess` is the largest difference as a multiple of what is tolerated; `unexplained_labels` counts rows
    whose label differs although the source's decision was no tie within the tolerance.

    Raises:
        ValueError: the shapes differ, or a score of the variant is not finite.
    """
    if reference.shape != scores.shape:
        raise ValueError(f"it gives scores of shape {scores.shape}, the source {reference.shape}")
    if not np.isfinite(scores).all():
        broken = int((~np.isfinite(scores).all(axis=1)).sum())
        raise ValueError(f"it gives scores that are not finite on {broken} of {len(scores)} rows")
    diff = np.abs(scores - reference)
    bounds = tolerances(output, reference, trees=trees, spread=spread)
    agreement, unexplained = 1.0, 0
    if output.kind is not ScoreKind.VALUE:
        differ = label_indices(output, reference) != label_indices(output, scores)
        ties = decision_gaps(output, reference) <= 2 * bounds.max(axis=1)
        agreement, unexplained = float(1 - differ.mean()), int((differ & ~ties).sum())
    excess = float((diff / np.maximum(bounds, np.finfo(np.float64).tiny)).max())
    return Difference(len(scores), agreement, float(diff.max()), float(diff.mean()), excess, unexplained)


def judge_exact(difference: Difference) -> str | None:
    """Return why an fp32 variant is not its source, or nothing where it is."""
    if difference.worst_excess > 1:
        return (
            f"scores differ by up to {difference.max_abs_diff:.3g}, {difference.worst_excess:.3g} times what is "
            f"tolerated (label agreement {difference.label_agreement:.4f} on {difference.rows} rows)"
        )
    if difference.unexplained_labels:
        return f"{difference.unexplained_labels} of {difference.rows} rows get another label without a tie"
    return None


def measure_loss(kind: ScoreKind, quality: float, source_quality: float) -> float:
    """Return what is lost, in points of accuracy or percent of R²; below 0 where something is gained.

    `quality` is accuracy against the targets for labels, R² for values (of the variant, and of the source).
    """
    if kind is ScoreKind.VALUE:
        return 100 * (source_quality - quality) / max(abs(source_quality), np.finfo(np.float64).tiny)
    return 100 * (source_quality - quality)


def default_budget(kind: ScoreKind) -> Budget:
    """Return what may be lost where nothing is said."""
    return Budget(R2_PERCENT if kind is ScoreKind.VALUE else ACCURACY_POINTS)


def describe_budget(kind: ScoreKind, budget: Budget) -> str:
    """Return a budget in words."""
    return f"{budget.loss:g} % of R²" if kind is ScoreKind.VALUE else f"{budget.loss:g} points of accuracy"


def judge_loss(kind: ScoreKind, quality: float, source_quality: float, budget: Budget) -> str | None:
    """Return why a smaller variant costs too much quality, or nothing where it does not."""
    loss = measure_loss(kind, quality, source_quality)
    # What cannot be evaluated is over every budget; a rounding of the last bit is not.
    if loss <= budget.loss + 1e-9:
        return None
    what, unit = ("R²", "%") if kind is ScoreKind.VALUE else ("accuracy", " points")
    return f"{what} falls from {source_quality:.4f} to {quality:.4f}, by {loss:.3g}{unit}: {budget.loss:g} may be lost"


def judge_agreement(kind: ScoreKind, difference: Difference) -> str | None:
    """Return why a variant whose weights were only rounded is too far from its source, or nothing where it is not."""
    if kind is ScoreKind.VALUE or difference.label_agreement >= INT8_AGREEMENT:
        return None
    return (
        f"labels agree on {difference.label_agreement:.4f} of the {difference.rows} rows only, under {INT8_AGREEMENT}"
    )
