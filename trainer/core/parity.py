"""Whether a variant answers as its source does: the differences, and the verdict with its reason.

House rules: the reference is the source fed the float32-rounded inputs; a difference that cannot be evaluated (not
finite) fails. The bounds were measured: the converters that are right stay far inside of them, the wrong ones outside.
"""

from dataclasses import dataclass

import numpy as np

from edge_agent.contract.manifest import OutputSpec, Precision, ScoreKind
from trainer.core.arrays import Floats
from trainer.core.labels import decision_gaps, label_indices

PROBABILITY_TOLERANCE = 1e-5
RELATIVE_TOLERANCE = 1e-5
SPREAD_TOLERANCE = 1e-5
# Sums over trees come in another order, and a threshold may fall on a rounded value.
TREE_TOLERANCE = 1e-4
ACCURACY_POINTS = 0.005
R2_SHARE = 0.01
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


def tolerances(output: OutputSpec, reference: Floats, *, trees: bool) -> Floats:
    """Return the tolerated absolute difference of each score of an fp32 variant.

    Probabilities: 1e-5 (trees 1e-4). Everything else: 1e-5 relative plus 1e-5 (trees 1e-4) standard deviations of the
    source's own scores.
    """
    if output.kind is ScoreKind.PROBABILITY:
        return np.full(reference.shape, TREE_TOLERANCE if trees else PROBABILITY_TOLERANCE)
    spread = float(reference.std()) * (TREE_TOLERANCE if trees else SPREAD_TOLERANCE)
    bounds: Floats = RELATIVE_TOLERANCE * np.abs(reference) + spread
    return bounds


def compare(output: OutputSpec, reference: Floats, scores: Floats, *, trees: bool = False) -> Difference:
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
        raise ValueError(f"it gives scores that are not finite on {broken} of {len(scores)} held-out rows")
    diff = np.abs(scores - reference)
    bounds = tolerances(output, reference, trees=trees)
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


def judge_quantized(kind: ScoreKind, difference: Difference, quality: float, source_quality: float) -> str | None:
    """Return why a quantized variant costs too much quality, or nothing where it does not.

    `quality` is accuracy against the targets for labels, R² for values (of the variant, and of the source).
    """
    if kind is ScoreKind.VALUE:
        if not quality >= source_quality - R2_SHARE * abs(source_quality):
            return f"R² falls from {source_quality:.4f} to {quality:.4f}, by more than {R2_SHARE:.0%}"
        return None
    if not quality >= source_quality - ACCURACY_POINTS:
        return (
            f"accuracy falls from {source_quality:.4f} to {quality:.4f}, by more than {ACCURACY_POINTS * 100} points "
            f"(label agreement {difference.label_agreement:.4f} on {difference.rows} rows)"
        )
    if difference.label_agreement < INT8_AGREEMENT:
        return f"labels agree on {difference.label_agreement:.4f} of the rows only, under {INT8_AGREEMENT}"
    return None


def judge(
    output: OutputSpec, precision: Precision, difference: Difference, quality: float, source: float
) -> str | None:
    """Return why a variant is refused, or nothing where it may be shipped."""
    if precision is Precision.FP32:
        return judge_exact(difference)
    return judge_quantized(output.kind, difference, quality, source)
