"""The evidence of a rollout in words: what halts it, what it waits for, how a metric stands."""

from fleet_server.core.canary_metrics import shown_change
from fleet_server.core.policies import Metric
from fleet_server.core.rollout_evidence import MetricVerdict, Weighed
from fleet_server.core.sprt import SprtState

_WORDS = {
    Metric.ERROR_RATIO: "rows in error",
    Metric.REJECTED_RATIO: "rejected rows",
    Metric.LATENCY_P95: "p95 latency",
    Metric.MEMORY: "memory",
    Metric.PREDICTION_PSI: "PSI of predictions",
    Metric.ACCURACY: "wrong labels",
    Metric.ABS_ERROR: "absolute error",
}
_PLAIN = frozenset({Metric.PREDICTION_PSI})


def is_sound(weighed: Weighed) -> bool:
    """Whether the phase may go on, by promotion's test where it decides, else by every device having finished."""
    if weighed.promotion is not None and weighed.promotion.decides:
        return weighed.promotion.state is SprtState.GOOD
    return weighed.missing == 0 and weighed.attested > 0


def explain_harm(weighed: Weighed) -> str | None:
    """Say why the rollout must go back, or return None."""
    if weighed.failed > weighed.allowed:
        because = f" ({', '.join(weighed.reasons)})" if weighed.reasons else ""
        return f"{count_devices(weighed.failed)} failed{because}, {weighed.allowed} allowed"
    bad = weighed.newly_bad
    if bad.e_value >= weighed.e_limit:
        return (
            f"{bad.canary_bad} of {bad.canary} canary devices went bad, {bad.stable_bad} of {bad.stable} stable ones: "
            f"e-value {bad.e_value:.3g}, limit {weighed.e_limit:.3g}"
        )
    worse = [item for item in weighed.metrics if item.worse and not item.rule.dry_run]
    return "; ".join(explain_metric(item) for item in worse) if worse else None


def explain_progress(weighed: Weighed) -> str:
    """Say what the phase waits for, or why it may go on."""
    test = weighed.promotion
    if test is not None and test.decides and test.state is SprtState.GOOD:
        return f"{count_devices(test.devices)} finished, {test.bad} bad: few enough by the promotion's test"
    of = f"of {weighed.phase_devices}"
    if weighed.missing:
        silent = f", {len(weighed.silent)} silent" if weighed.silent else ""
        soaking = f", {weighed.soaking} soaking" if weighed.soaking else ""
        return f"waiting for {count_devices(weighed.missing)} {of}{soaking}{silent}"
    if not weighed.attested:
        return "no device of this phase attested the version"
    if test is not None and test.decides:
        known = "too many to promote" if test.state is SprtState.BAD else "which neither promotes nor rules it out"
        return f"{test.bad} bad of {count_devices(test.devices)}, {known}"
    return f"{count_devices(weighed.attested)} {of} attested the version"


def explain_metric(verdict: MetricVerdict) -> str:
    """Say how a metric stands against the stable arm."""
    name, found = _WORDS[verdict.metric], verdict.difference
    if found is None:
        return f"{name}: too few devices with windows in either arm"
    change = _shown(verdict.metric, found.difference)
    margin = f"{verdict.rule.margin:g}" if verdict.metric in _PLAIN else f"{verdict.rule.margin:.1%}"
    arms = f"{found.canary_devices} canary and {found.stable_devices} stable devices"
    if not verdict.enough:
        return f"{name} {change} against stable on {arms}: too few to tell at this look"
    told = "worse than" if verdict.worse else "not shown to be over"
    chance = f"p {verdict.p_value:.2g}, limit {verdict.level:.2g}"
    return f"{name} {change} against stable on {arms}: {told} the margin of {margin} ({chance})"


def explain_sentence(weighed: Weighed, state: str) -> str:
    """Say in one sentence where a rollout stands and why."""
    harm = explain_harm(weighed)
    told = [f"harm: {harm}" if harm else explain_progress(weighed)]
    bad = weighed.newly_bad
    if not harm and bad.stable and bad.canary:
        told.append(
            f"{bad.canary_bad} of {bad.canary} canary and {bad.stable_bad} of {bad.stable} stable devices went bad"
        )
    judged = [item for item in weighed.metrics if item.enough]
    if not harm and judged:
        least = min(judged, key=lambda item: item.p_value)
        told.append(f"{len(judged)} metrics judged at look {weighed.look}, nearest to a limit: {explain_metric(least)}")
    test = weighed.promotion
    if not harm and test is not None and not test.decides and weighed.missing:
        told.append("too few devices for the promotion's test, so all of them must finish")
    return f"{state}: " + "; ".join(told)


def count_devices(count: int) -> str:
    """Return a count with its noun."""
    return "1 device" if count == 1 else f"{count} devices"


def _shown(metric: Metric, change: float) -> str:
    shown = shown_change(metric, change)
    return f"{shown:+.3f}" if metric in _PLAIN else f"{shown:+.2%}"
