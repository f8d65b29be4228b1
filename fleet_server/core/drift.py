"""How far merged windows stand from training, column by column: figures for people, beside the verdict on drift.

House rules: whether a column drifted is not decided here: `drift_devices` and `drift_scopes` do, against what the
devices themselves did. Training is what a model knows, so it is what people look at.
"""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from edge_agent.contract.baseline import Baseline
from edge_agent.contract.windows import WindowCounts
from fleet_server.core.drift_rules import Moved, judge_feature, judge_output
from fleet_server.core.yardstick import OUTPUT

_ALPHA = 0.01
_TELLING_PSI = 0.1  # below it a column is said to stand still (N. Siddiqi, Credit Risk Scorecards, 2006)


@dataclass(frozen=True, slots=True)
class FeatureVerdict:
    """What is said of one column (or of the output).

    `p_value` is that of independent rows, corrected for the number of columns; `shift_sigma` is in standard deviations
    of training. `drifted` is the verdict on the group.
    """

    feature: str
    psi: float
    p_value: float
    shift_sigma: float
    missing_ratio: float
    outside_ratio: float
    drifted: bool
    explanation: str


def compare_with_training(
    baseline: Baseline, counts: WindowCounts, drifted: AbstractSet[str]
) -> tuple[tuple[FeatureVerdict, ...], FeatureVerdict]:
    """Return one verdict for each feature in order, and one for the output; `drifted` names those that did.

    Raises:
        ValueError: the counts are of another shape than the baseline.
    """
    tests = len(baseline.features) + 1
    features = tuple(
        _tell(feature.name, judge_feature(feature, seen), tests, drifted)
        for feature, seen in zip(baseline.features, counts.features, strict=True)
    )
    return features, _tell(OUTPUT, judge_output(baseline.output, counts.outputs), tests, drifted)


def _tell(name: str, moved: Moved, tests: int, drifted: AbstractSet[str]) -> FeatureVerdict:
    p_value = min(1.0, moved.p_value * tests)
    figures = f"(PSI {moved.psi:.2f}, {_p_text(p_value)})"
    if p_value > _ALPHA:
        explanation = f"{name} is as in training as far as chance allows to tell"
    elif name in drifted or moved.psi >= _TELLING_PSI:
        explanation = f"{name} {moved.words} {figures}"
    else:
        explanation = f"{name} moved, but too little to matter (PSI {moved.psi:.2f}, {moved.shift_sigma:+.2f} σ)"
    return FeatureVerdict(
        feature=name,
        psi=moved.psi,
        p_value=p_value,
        shift_sigma=moved.shift_sigma,
        missing_ratio=moved.missing_ratio,
        outside_ratio=moved.outside_ratio,
        drifted=name in drifted,
        explanation=explanation,
    )


def _p_text(p_value: float) -> str:
    return f"p {p_value:.1g}" if p_value > 0 else "p < 1e-300"
