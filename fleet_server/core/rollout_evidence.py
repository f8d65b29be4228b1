"""What a rollout's devices show of the version: newly bad ones, metrics against the stable arm, and who is done.

House rules: harm is told by three rules, each at every look: more newly bad devices than the policy allows; devices
going bad more often than stable ones; a metric worse than on stable ones by more than its margin. The last two share
`alpha`, half each, so that the chance of ever rolling back a version that changes nothing is at most that. Looks of
a metric get alpha / (k (k + 1)) each, which sums to alpha over all of them (the union bound, so that it holds however
looks depend on each other). A version is sound by promotion's test, or where so few devices cannot decide that, by
every device of the phase having finished.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet_server.core.canary import Observed, is_canary, is_stable
from fleet_server.core.canary_metrics import scaled_margin
from fleet_server.core.differences import Difference
from fleet_server.core.newly_bad import BadDevice, NewlyBad, weigh_newly_bad
from fleet_server.core.policies import Metric, MetricRule, Policy, Silence
from fleet_server.core.rollouts import SETTLED, DeviceState, RolloutDevice, RolloutView
from fleet_server.core.sprt import SprtState


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """One metric at the present look: its rule, what is left of its chance (`level`), and whether it is `worse`.

    `difference` is None where either arm has too few devices; `enough` is whether these can show so small a chance.
    """

    metric: Metric
    rule: MetricRule
    level: float
    difference: Difference | None
    p_value: float
    enough: bool

    @property
    def worse(self) -> bool:
        """Whether it is worse than on stable devices by more than the margin, beyond chance."""
        return self.enough and self.p_value <= self.level


@dataclass(frozen=True, slots=True)
class Promotion:
    """Where the test of promotion stands: devices that are done or bad, what they say, and whether it decides here."""

    devices: int
    bad: int
    state: SprtState
    log_ratio: float
    decides: bool


@dataclass(frozen=True, slots=True)
class Weighed:
    """Everything that the evidence says at one moment. `missing` and `attested` are of the phase; sets are of ids."""

    failed: int
    allowed: int
    reasons: tuple[str, ...]
    silent: frozenset[str]
    newly_bad: NewlyBad
    e_limit: float
    look: int
    metrics: tuple[MetricVerdict, ...]
    promotion: Promotion | None
    phase_devices: int
    missing: int
    soaking: int
    attested: int
    exhausted: bool
    figures: Mapping[str, float] = field(default_factory=dict)


def weigh(view: RolloutView, observed: Observed, now: float) -> Weighed:
    """Weigh what is known of a rollout at `now` (epoch seconds)."""
    policy = view.rollout.policy
    silent = frozenset(item.device for item in view.devices if is_silent(item, policy, now))
    count_silent = policy.silent is Silence.BAD
    failed = [item for item in view.devices if item.failed or (count_silent and item.device in silent)]
    so_far = [item for item in view.devices if item.phase <= view.rollout.phase]
    phase = _phase_members(view, so_far)
    missing = [item for item in phase if not _is_done(item, policy, observed, now)]
    soaking = sum(item.state is DeviceState.SUCCEEDED for item in missing)
    attested = sum(item.state is DeviceState.SUCCEEDED for item in phase)
    newly_bad = _newly_bad(view, observed, silent if count_silent else frozenset(), now)
    bad_ids = {item.device for item in failed} | {item.device for item in so_far if item.device in observed.bad_at}
    promotion = _promotion(view, so_far, bad_ids, observed, now)
    open_ones = [item for item in so_far if item.state is DeviceState.OFFERED and item.device not in silent]
    figures = {"failed": float(len(failed)), "missing": float(len(missing)), "attested": float(attested)}
    return Weighed(
        failed=len(failed),
        allowed=policy.max_failures.allow(sum(is_canary(item) for item in view.devices)),
        reasons=tuple(sorted({_why(item, silent) for item in failed} - {""})),
        silent=silent,
        newly_bad=newly_bad,
        e_limit=2 / policy.alpha,
        look=observed.look,
        metrics=_judge_metrics(policy, observed),
        promotion=promotion,
        phase_devices=len(phase),
        missing=len(missing),
        soaking=soaking,
        attested=attested,
        exhausted=not soaking and not open_ones and all(item.device in silent for item in missing),
        figures=figures | _figures(newly_bad, promotion),
    )


def is_silent(member: RolloutDevice, policy: Policy, now: float) -> bool:
    """Whether a device was offered the version and has said nothing, under its signature, for too long."""
    if policy.silent_s is None or member.state is not DeviceState.OFFERED:
        return False
    return now - max(member.offered_at, member.heard_at) >= policy.silent_s


def _why(member: RolloutDevice, silent: frozenset[str]) -> str:
    return "silent" if member.device in silent else str(member.reason)


def _phase_members(view: RolloutView, so_far: list[RolloutDevice]) -> list[RolloutDevice]:
    """Return who must be done: the phase's devices; in the last phase those of earlier ones that are not yet, too."""
    phase = [item for item in so_far if item.phase == view.rollout.phase]
    if all(item.state is DeviceState.SKIPPED for item in phase):
        return so_far  # with nobody new to ask, what earlier phases attested still holds
    if view.rollout.last_phase:
        phase += [item for item in so_far if item.phase < view.rollout.phase and item.state not in SETTLED]
    return phase


def _is_done(member: RolloutDevice, policy: Policy, observed: Observed, now: float) -> bool:
    """Whether nothing more is to be waited for: it attested and has soaked, or it ended otherwise."""
    if member.state is not DeviceState.SUCCEEDED:
        return member.state in SETTLED
    soaked = now - member.changed_at >= policy.min_soak_s
    return soaked and observed.inferences.get(member.device, 0) >= policy.min_inferences


def _newly_bad(view: RolloutView, observed: Observed, silent: frozenset[str], now: float) -> NewlyBad:
    bad, canary, stable = [], 0, 0
    for item in view.devices:
        in_canary = is_canary(item)
        if not in_canary and not is_stable(item):
            continue
        canary, stable = canary + in_canary, stable + (not in_canary)
        times = [observed.bad_at[item.device]] if item.device in observed.bad_at else []
        times += [item.failed_at] if item.failed else []
        times += [now] if item.device in silent else []
        if times:
            bad.append(BadDevice(min(times), item.device, in_canary))
    return weigh_newly_bad(canary, stable, bad)


def _promotion(
    view: RolloutView, so_far: list[RolloutDevice], bad: set[str], observed: Observed, now: float
) -> Promotion | None:
    policy = view.rollout.policy
    if policy.promotion is None:
        return None
    asked = [item for item in so_far if item.state is not DeviceState.SKIPPED]
    told = [
        item
        for item in asked
        if item.device in bad
        or (item.state is DeviceState.SUCCEEDED and _is_done(item, policy, observed, now))
    ]  # fmt: skip
    n, k = len(told), sum(item.device in bad for item in told)
    decides = not view.rollout.last_phase and len(asked) >= policy.promotion.clean_needed
    return Promotion(n, k, policy.promotion.judge(n, k), policy.promotion.log_ratio(n, k), decides)


def _judge_metrics(policy: Policy, observed: Observed) -> tuple[MetricVerdict, ...]:
    found = {item.metric: item for item in observed.differences}
    look = observed.look
    level = policy.alpha / 2 / max(len(policy.metrics), 1) / (look * (look + 1)) if look else 0.0
    verdicts = []
    for metric, rule in policy.metrics.items():
        difference = found.get(metric)
        p_value, enough = 1.0, False
        if difference is not None and look:
            p_value = difference.p_value(scaled_margin(metric, rule.margin))
            enough = difference.smallest_p() <= level
        verdicts.append(MetricVerdict(metric, rule, level, difference, p_value, enough))
    return tuple(verdicts)


def _figures(newly_bad: NewlyBad, promotion: Promotion | None) -> dict[str, float]:
    figures = {"stable": float(newly_bad.stable)}
    if newly_bad.stable:
        figures |= {"e_value": newly_bad.e_value, "stable_bad": float(newly_bad.stable_bad)}
    if promotion is not None and promotion.decides:
        figures |= {"log_ratio": promotion.log_ratio, "tested": float(promotion.devices)}
    return figures
