"""What a rollout does next, and what a device's report means for it.

House rules: *success* is a device's own signed word that it runs exactly the offered digest, proven and soaked. Missing
evidence never promotes: it holds, and after the time-out it pauses. Harm halts the rollout, also while it is paused,
and every device that was offered it is returned by a newer desired document. A verdict names work that is still owed,
so each may be repeated after a crash.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from edge_agent.contract.messages import Outcome, Reported
from edge_agent.contract.states import Reason, Result
from fleet_server.core.canary import Observed, is_canary
from fleet_server.core.rollout_evidence import weigh
from fleet_server.core.rollout_explain import (
    count_devices,
    explain_harm,
    explain_metric,
    explain_progress,
    is_sound,
)
from fleet_server.core.rollout_offers import Offers, choose_offers
from fleet_server.core.rollouts import DeviceState, RolloutDevice, RolloutState, RolloutView

NOTHING = Observed()


class Verdict(StrEnum):
    """What is to be done; `advance`, `halt`, `pause` and `succeed` are moves of `rollout_machine` by the same name."""

    HOLD = "hold"
    OFFER = "offer"
    ADVANCE = "advance"
    HALT = "halt"
    PAUSE = "pause"
    SUCCEED = "succeed"
    ROLL_BACK = "roll_back"


class Finding(StrEnum):
    """What evidence says of a version so far."""

    HARMFUL = "harmful"
    WANTING = "wanting"
    SOUND = "sound"


@dataclass(frozen=True, slots=True)
class Opinion:
    """A finding with its reason in words and the figures that it rests on.

    `exhausted`: waiting brings nothing more. `noted`: what a dry run would have rolled back for.
    """

    finding: Finding
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)
    exhausted: bool = False
    noted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, its reason in words, the phase it speaks of (from 0), the devices to act on, and the figures.

    `noted` is what dry-run metrics would have rolled back for.
    """

    verdict: Verdict
    reason: str
    phase: int
    devices: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    noted: tuple[str, ...] = ()


def judge_evidence(view: RolloutView, observed: Observed, now: float) -> Opinion:
    """Say harm first, then what is missing, then that it is sound; a further failure never makes it less harmful."""
    weighed = weigh(view, observed, now)
    noted = tuple(
        f"{item.metric}: {explain_metric(item)}" for item in weighed.metrics if item.worse and item.rule.dry_run
    )
    harm = explain_harm(weighed)
    if harm is not None:
        return Opinion(Finding.HARMFUL, harm, weighed.figures, noted=noted)
    finding = Finding.SOUND if is_sound(weighed) else Finding.WANTING
    return Opinion(finding, explain_progress(weighed), weighed.figures, weighed.exhausted, noted)


def decide_rollout(view: RolloutView, now: float, observed: Observed = NOTHING) -> Decision:
    """Return the one thing to do next; `now` in epoch seconds."""
    rollout = view.rollout
    match rollout.state:
        case RolloutState.SUCCEEDED:
            return Decision(Verdict.HOLD, "the rollout has succeeded", rollout.phase)
        case RolloutState.UNAPPROVED:
            return Decision(Verdict.HOLD, "waits for approval", rollout.phase)
        case RolloutState.HALTED | RolloutState.ABORTED:
            return _decide_return(view)
        case RolloutState.RUNNING | RolloutState.PAUSED:
            return _decide_open(view, now, observed)


def _decide_open(view: RolloutView, now: float, observed: Observed) -> Decision:
    rollout = view.rollout
    opinion = judge_evidence(view, observed, now)
    if opinion.finding is Finding.HARMFUL:
        return _decision(
            view, Verdict.HALT, opinion, tuple(member.device for member in view.devices if is_canary(member))
        )
    if rollout.state is RolloutState.PAUSED:
        return _decision(view, Verdict.HOLD, replace(opinion, reason=rollout.reason or "paused"))
    if (left := (rollout.policy.start_at or 0.0) - now) > 0:
        return _decision(view, Verdict.HOLD, replace(opinion, reason=f"begins in {left:.0f} s"))
    offers = choose_offers(view, observed.boards, now)
    if offers.devices:
        reason = f"{count_devices(len(offers.devices))} to offer"
        return _decision(view, Verdict.OFFER, replace(opinion, reason=reason), offers.devices)
    if opinion.finding is Finding.WANTING:
        return _decide_wanting(view, now, opinion, offers)
    return _decide_sound(view, now, opinion)


def _decide_wanting(view: RolloutView, now: float, opinion: Opinion, offers: Offers) -> Decision:
    """Hold until the time-out, then pause. A phase that can show nothing any more need not wait for it."""
    rollout = view.rollout
    waited = now - max(rollout.phase_started, rollout.policy.start_at or 0.0)
    if offers.held_back:
        opinion = replace(opinion, reason=f"{opinion.reason}; {offers.held_back}", exhausted=False)
    if opinion.exhausted:
        return _decision(view, Verdict.PAUSE, replace(opinion, reason=f"{opinion.reason}: promote or abort by hand"))
    if waited >= rollout.policy.phase_timeout_s:
        reason = f"no verdict within {rollout.policy.phase_timeout_s:g} s: {opinion.reason}"
        return _decision(view, Verdict.PAUSE, replace(opinion, reason=reason))
    return _decision(view, Verdict.HOLD, opinion)


def _decide_sound(view: RolloutView, now: float, opinion: Opinion) -> Decision:
    rollout = view.rollout
    changed = [member.changed_at for member in view.devices if member.phase == rollout.phase]
    left = rollout.policy.phase_soak_s - (now - max([rollout.phase_started, *changed]))
    if left > 0:
        return _decision(view, Verdict.HOLD, replace(opinion, reason=f"{opinion.reason}; soaks {left:.0f} s more"))
    return _decision(view, Verdict.SUCCEED if rollout.last_phase else Verdict.ADVANCE, opinion)


def _decide_return(view: RolloutView) -> Decision:
    rollout = view.rollout
    owed = tuple(
        member.device
        for member in view.devices
        if is_canary(member) and member.state not in (DeviceState.RETURNING, DeviceState.RETURNED)
    )
    if owed:
        reason = f"{count_devices(len(owed))} to return: {rollout.reason or rollout.state}"
        return Decision(Verdict.ROLL_BACK, reason, rollout.phase, owed)
    away = sum(member.state is DeviceState.RETURNING for member in view.devices)
    reason = f"waiting for {count_devices(away)} to return" if away else "every device that was offered it has returned"
    return Decision(Verdict.HOLD, reason, rollout.phase)


def mark_offered(member: RolloutDevice, desired_seq: int, now: float) -> RolloutDevice:
    """Return a device after its desired document `desired_seq` with the new version was published."""
    return replace(member, state=DeviceState.OFFERED, offered_seq=desired_seq, changed_at=now, offered_at=now)


def mark_returning(member: RolloutDevice, desired_seq: int, now: float) -> RolloutDevice:
    """Return a device after the newer document `desired_seq` with what it ran before was published."""
    return replace(member, state=DeviceState.RETURNING, return_seq=desired_seq, changed_at=now)


def judge_report(member: RolloutDevice, model: str, report: Reported, now: float) -> RolloutDevice:
    """Return how a device stands after its report; `member` itself where the report changes nothing.

    The report's signature and order were checked before. A device that attested and then reports another digest counts
    as failed: the question is open again.
    """
    running = {bundle.model: bundle for bundle in report.running}.get(model)
    digest = running.digest if running is not None else None
    attested = running is not None and running.attested and digest == member.digest
    match member.state:
        case DeviceState.OFFERED:
            return _judge_offered(member, model, report, attested, now)
        case DeviceState.SUCCEEDED if digest != member.digest:
            found = f"it now runs {digest[:12] if digest else 'no version of the model'}"
            return _failed(member, DeviceState.FAILED, "digest_changed", found, now)
        case DeviceState.RETURNING if report.desired_seq >= member.return_seq and digest == member.from_digest:
            return replace(member, state=DeviceState.RETURNED, changed_at=now)
        case _:
            return member


def _judge_offered(member: RolloutDevice, model: str, report: Reported, attested: bool, now: float) -> RolloutDevice:
    if attested and report.desired_seq >= member.offered_seq:
        return replace(member, state=DeviceState.SUCCEEDED, reason=Reason.OK, detail="", changed_at=now)
    outcome = report.outcome
    if outcome is None or not _counts(outcome, member.offered_seq, model):
        return member
    state = DeviceState.REFUSED if outcome.result is Result.REFUSED else DeviceState.FAILED
    return _failed(member, state, outcome.reason, outcome.detail, now)


def _counts(outcome: Outcome, offered_seq: int, model: str) -> bool:
    """Whether an outcome speaks against the version that was offered by document `offered_seq`.

    A newer document may have replaced the offered one; it holds the version too, but what it failed of may be another
    model. Superseded and stale documents say nothing about a version.
    """
    if outcome.result is Result.SUCCEEDED or outcome.reason in (Reason.SUPERSEDED, Reason.STALE):
        return False
    if outcome.desired_seq == offered_seq:
        return True
    return outcome.desired_seq > offered_seq and outcome.model in (None, model)


def _failed(member: RolloutDevice, state: DeviceState, reason: str, detail: str, now: float) -> RolloutDevice:
    return replace(member, state=state, reason=reason, detail=detail, changed_at=now, failed=True, failed_at=now)


def _decision(view: RolloutView, verdict: Verdict, opinion: Opinion, devices: tuple[str, ...] = ()) -> Decision:
    return Decision(verdict, opinion.reason, view.rollout.phase, devices, opinion.figures, opinion.noted)
