"""Drift of a model version on a device or a group: merged windows against the training baseline.

House rules: windows of one version merge exactly, so a group is judged as one. A *look* is a run of windows with enough
rows; the state needs two of the last three looks, since one look may be an odd hour. Pages are per model and group,
never per device.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce

from edge_agent.contract.baseline import Baseline
from edge_agent.contract.windows import Window, WindowCounts, merge
from fleet_server.core.drift_rules import Moved, judge_feature, judge_output


class Scope(StrEnum):
    """Whose rows are judged: a group merges many boards, so that smaller effects are real and matter."""

    DEVICE = "device"
    GROUP = "group"


class DriftState(StrEnum):
    """What the looks say together: too few rows yet; no change; a look or all together moved; enough looks moved."""

    LEARNING = "learning"
    OK = "ok"
    WATCH = "watch"
    DRIFT = "drift"


@dataclass(frozen=True, slots=True)
class DriftPolicy:
    """When it is drift.

    `alpha`: false alarms of one look over all columns together. `psi_floor`: the least PSI that matters (0.1 is 0.32 σ
    of a normal column). `group_effect_sigma`: for a group, a shift of the mean by this much matters as well.
    `look_rows`: least rows of a look. `confirm` of the last `of` looks make it drift.
    """

    alpha: float = 0.01
    psi_floor: float = 0.1
    group_effect_sigma: float = 0.25
    look_rows: int = 200
    confirm: int = 2
    of: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or self.psi_floor < 0 or self.group_effect_sigma <= 0:
            raise ValueError("alpha is within 0..1, psi_floor 0 or more, group_effect_sigma above 0")
        if self.look_rows < 1 or not 1 <= self.confirm <= self.of:
            raise ValueError("look_rows is 1 at least, and 1 <= confirm <= of")


@dataclass(frozen=True, slots=True)
class FeatureVerdict:
    """What is said of one column (or of the output).

    `p_value` is corrected for the number of columns; `shift_sigma` is in standard deviations of training.
    """

    feature: str
    psi: float
    p_value: float
    shift_sigma: float
    missing_ratio: float
    outside_ratio: float
    drifted: bool
    explanation: str


@dataclass(frozen=True, slots=True)
class DriftReport:
    """The state, over how many rows and windows, and each column's verdict over the last looks together.

    `ignored` windows were of another shape than the baseline, so not of this version's bundle.
    """

    state: DriftState
    rows: int
    windows: int
    features: tuple[FeatureVerdict, ...]
    output: FeatureVerdict | None
    ignored: int = 0


_DEFAULT = DriftPolicy()


def assess_drift(
    baseline: Baseline, windows: Sequence[Window], policy: DriftPolicy = _DEFAULT, scope: Scope = Scope.GROUP
) -> DriftReport:
    """Judge the windows (oldest first) of one model version, of one device or of all devices of a group."""
    counts = [window.counts for window in windows if _fits(baseline, window.counts)]
    ignored = len(windows) - len(counts)
    rows = sum(item.rows for item in counts)
    looks = _looks(counts, policy.look_rows)[-policy.of :]
    if not counts:
        return DriftReport(DriftState.LEARNING, 0, 0, (), None, ignored)
    features, output = judge_counts(baseline, reduce(merge, looks or counts), policy, scope)
    if not looks:
        return DriftReport(DriftState.LEARNING, rows, len(counts), features, output, ignored)
    moved = sum(_any_drifted(*judge_counts(baseline, look, policy, scope)) for look in looks)
    state = DriftState.OK
    if moved >= policy.confirm:
        state = DriftState.DRIFT
    elif moved or _any_drifted(features, output):
        state = DriftState.WATCH
    return DriftReport(state, rows, len(counts), features, output, ignored)


def judge_counts(
    baseline: Baseline, counts: WindowCounts, policy: DriftPolicy = _DEFAULT, scope: Scope = Scope.GROUP
) -> tuple[tuple[FeatureVerdict, ...], FeatureVerdict]:
    """Judge merged counts: one verdict for each feature in order, and one for the output.

    Raises:
        ValueError: the counts are of another shape than the baseline.
    """
    tests = len(baseline.features) + 1
    features = tuple(
        _conclude(feature.name, judge_feature(feature, seen), tests, policy, scope)
        for feature, seen in zip(baseline.features, counts.features, strict=True)
    )
    return features, _conclude("output", judge_output(baseline.output, counts.outputs), tests, policy, scope)


def _conclude(name: str, moved: Moved, tests: int, policy: DriftPolicy, scope: Scope) -> FeatureVerdict:
    p_value = min(1.0, moved.p_value * tests)
    matters = moved.psi >= policy.psi_floor
    if scope is Scope.GROUP:
        matters = matters or abs(moved.shift_sigma) >= policy.group_effect_sigma
    significant = p_value <= policy.alpha
    if significant and matters:
        explanation = f"{name} {moved.words} (PSI {moved.psi:.2f}, {_p_text(p_value)})"
    elif significant:
        explanation = f"{name} moved, but too little to matter (PSI {moved.psi:.2f}, {moved.shift_sigma:+.2f} σ)"
    else:
        explanation = f"{name} is as in training as far as chance allows to tell"
    return FeatureVerdict(
        feature=name,
        psi=moved.psi,
        p_value=p_value,
        shift_sigma=moved.shift_sigma,
        missing_ratio=moved.missing_ratio,
        outside_ratio=moved.outside_ratio,
        drifted=significant and matters,
        explanation=explanation,
    )


def _p_text(p_value: float) -> str:
    return f"p {p_value:.1g}" if p_value > 0 else "p < 1e-300"


def _looks(counts: Iterable[WindowCounts], look_rows: int) -> list[WindowCounts]:
    """Merge consecutive windows until each look has its rows; what is left over waits for more."""
    looks: list[WindowCounts] = []
    gathered: WindowCounts | None = None
    for item in counts:
        gathered = item if gathered is None else merge(gathered, item)
        if gathered.rows >= look_rows:
            looks.append(gathered)
            gathered = None
    return looks


def _fits(baseline: Baseline, counts: WindowCounts) -> bool:
    return (
        len(counts.features) == len(baseline.features)
        and len(counts.outputs) == len(baseline.output.counts)
        and all(
            len(seen.bins) == len(known.counts) for seen, known in zip(counts.features, baseline.features, strict=True)
        )
    )


def _any_drifted(features: Iterable[FeatureVerdict], output: FeatureVerdict) -> bool:
    return output.drifted or any(verdict.drifted for verdict in features)
