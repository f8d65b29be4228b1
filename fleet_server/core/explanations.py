"""A rollout's evidence as it is shown: both arms, each metric's numbers, the tests' states, and one sentence."""

from dataclasses import dataclass

from fleet_server.core.canary import Observed, first_offer, is_canary, is_stable
from fleet_server.core.canary_metrics import scaled_margin, shown_change
from fleet_server.core.rollout_evidence import MetricVerdict, Weighed, weigh
from fleet_server.core.rollout_explain import explain_metric, explain_sentence
from fleet_server.core.rollout_offers import choose_offers
from fleet_server.core.rollout_rules import decide_rollout
from fleet_server.core.rollouts import RolloutState, RolloutView
from fleet_server.core.tails import student_quantile

_OPEN = (RolloutState.RUNNING, RolloutState.PAUSED)


@dataclass(frozen=True, slots=True)
class ArmShown:
    """How many devices an arm has, and how many of them went bad."""

    devices: int
    bad: int


@dataclass(frozen=True, slots=True)
class MetricShown:
    """A metric against the stable arm: mean changes of each arm since before, in shares for latency, memory and error.

    It rolls back (or is recorded, in a dry run) when `difference` reaches `limit`; None: not judged at this look.
    """

    metric: str
    dry_run: bool
    margin: float
    canary_devices: int
    stable_devices: int
    canary_mean: float | None
    stable_mean: float | None
    difference: float | None
    limit: float | None
    p_value: float | None
    level: float
    worse: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class PromotionShown:
    """The sequential test: devices that are done or bad, their log-likelihood ratio, and its bounds."""

    devices: int
    bad: int
    log_ratio: float
    promote_below: float
    reject_above: float
    clean_needed: int
    state: str
    decides: bool


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of a rollout at one moment, and what it waits for."""

    state: str
    phase: int
    verdict: str
    sentence: str
    waits_for: str
    held_back: str
    look: int
    next_look_at: float | None
    canary: ArmShown
    stable: ArmShown
    soaking: int
    silent: int
    e_value: float
    e_limit: float
    metrics: tuple[MetricShown, ...]
    promotion: PromotionShown | None


def explain_rollout(view: RolloutView, observed: Observed, now: float) -> Explanation:
    """Explain a rollout at `now` (epoch seconds); of one that has ended, what its evidence says now."""
    rollout, weighed = view.rollout, weigh(view, observed, now)
    decision, bad = decide_rollout(view, now, observed), weighed.newly_bad
    is_open = rollout.state in _OPEN
    began = first_offer(view)
    state = rollout.state.value if is_open else f"{rollout.state.value} ({rollout.reason})"
    return Explanation(
        state=rollout.state.value,
        phase=rollout.phase,
        verdict=decision.verdict.value,
        sentence=explain_sentence(weighed, state) if is_open else f"{state}: {decision.reason}",
        waits_for=decision.reason,
        held_back=choose_offers(view, observed.boards, now).held_back if is_open else "",
        look=weighed.look,
        next_look_at=None if began is None or not is_open else began + (weighed.look + 1) * rollout.policy.look_s,
        canary=ArmShown(sum(is_canary(item) for item in view.devices), bad.canary_bad),
        stable=ArmShown(sum(is_stable(item) for item in view.devices), bad.stable_bad),
        soaking=weighed.soaking,
        silent=len(weighed.silent),
        e_value=bad.e_value,
        e_limit=weighed.e_limit,
        metrics=tuple(_show_metric(item) for item in weighed.metrics),
        promotion=_show_promotion(view, weighed),
    )


def _show_metric(verdict: MetricVerdict) -> MetricShown:
    found, metric = verdict.difference, verdict.metric
    limit = None
    if found is not None and verdict.enough:
        reach = student_quantile(verdict.level, found.freedom) * found.error
        limit = shown_change(metric, scaled_margin(metric, verdict.rule.margin) + reach)
    return MetricShown(
        metric=metric.value,
        dry_run=verdict.rule.dry_run,
        margin=verdict.rule.margin,
        canary_devices=0 if found is None else found.canary_devices,
        stable_devices=0 if found is None else found.stable_devices,
        canary_mean=None if found is None else shown_change(metric, found.canary_mean),
        stable_mean=None if found is None else shown_change(metric, found.stable_mean),
        difference=None if found is None else shown_change(metric, found.difference),
        limit=limit,
        p_value=None if found is None else verdict.p_value,
        level=verdict.level,
        worse=verdict.worse,
        sentence=explain_metric(verdict),
    )


def _show_promotion(view: RolloutView, weighed: Weighed) -> PromotionShown | None:
    test, found = view.rollout.policy.promotion, weighed.promotion
    if test is None or found is None:
        return None
    return PromotionShown(
        devices=found.devices,
        bad=found.bad,
        log_ratio=found.log_ratio,
        promote_below=test.promote_below,
        reject_above=test.reject_above,
        clean_needed=test.clean_needed,
        state=found.state.value,
        decides=found.decides,
    )
