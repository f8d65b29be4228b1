"""What a rollout does next, and what a device's report means for it.

House rules: *success* is a device's own signed word that it runs exactly the offered digest, proven and soaked. Missing
evidence never promotes: it holds, and after the time-out it pauses. More failures than the policy allows halt the
rollout, also while it is paused, and every device that was offered it is returned by a newer desired document. A
verdict names work that is still owed, so each may be repeated after a crash.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from edge_agent.contract.messages import Outcome, Reported
from edge_agent.contract.states import Reason, Result
from fleet_server.core.rollouts import SETTLED, DeviceState, RolloutDevice, RolloutState, RolloutView


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
    """A finding with its reason in words and the figures that it rests on."""

    finding: Finding
    reason: str
    figures: Mapping[str, float] = field(default_factory=dict)


class Evidence(Protocol):
    """Weighs a rollout's devices. Here statistics of the canary against the concurrent stable arm take their place.

    An implementation is built with whatever else it rests on (windows of both arms). It must say `WANTING` whenever it
    cannot tell, and must not become less harmful by a further failure.
    """

    def judge(self, view: RolloutView) -> Opinion:
        """Return what the devices of the phases so far show."""
        ...


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict, its reason in words, the phase it speaks of (from 0), the devices to act on, and the figures."""

    verdict: Verdict
    reason: str
    phase: int
    devices: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


class FailureCount:
    """The plain rule: more failed or refusing devices than the policy's `max_failures` are harm.

    It is sound when all devices of the phase have settled and one at least has attested the new version.
    """

    def judge(self, view: RolloutView) -> Opinion:
        """Count failures over the whole rollout, and what is missing in the present phase."""
        limit = view.rollout.policy.max_failures
        failed = sum(member.failed for member in view.devices)
        so_far = [member for member in view.devices if member.phase <= view.rollout.phase]
        phase = [member for member in so_far if member.phase == view.rollout.phase]
        if all(member.state is DeviceState.SKIPPED for member in phase):
            phase = so_far  # with nobody new to ask, what earlier phases attested still holds
        missing = sum(member.state not in SETTLED for member in phase)
        attested = sum(member.state is DeviceState.SUCCEEDED for member in phase)
        figures = {"failed": float(failed), "missing": float(missing), "attested": float(attested)}
        if failed > limit:
            reasons = ", ".join(sorted({member.reason for member in view.devices if member.failed and member.reason}))
            because = f" ({reasons})" if reasons else ""
            return Opinion(Finding.HARMFUL, f"{_devices(failed)} failed{because}, {limit} allowed", figures)
        if missing:
            return Opinion(Finding.WANTING, f"waiting for {_devices(missing)} of {len(phase)}", figures)
        if not attested:
            return Opinion(Finding.WANTING, "no device of this phase attested the version", figures)
        return Opinion(Finding.SOUND, f"{_devices(attested)} of {len(phase)} attested the version", figures)


_PLAIN = FailureCount()


def decide_rollout(view: RolloutView, now: float, evidence: Evidence = _PLAIN) -> Decision:
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
            return _decide_open(view, now, evidence)


def _decide_open(view: RolloutView, now: float, evidence: Evidence) -> Decision:
    rollout = view.rollout
    opinion = evidence.judge(view)
    if opinion.finding is Finding.HARMFUL:
        return _decision(
            view, Verdict.HALT, opinion, tuple(member.device for member in view.devices if _touched(member))
        )
    if rollout.state is RolloutState.PAUSED:
        return Decision(Verdict.HOLD, rollout.reason or "paused", rollout.phase, (), opinion.figures)
    if owed := tuple(
        member.device
        for member in view.devices
        if member.state is DeviceState.WAITING and member.phase <= rollout.phase
    ):
        return Decision(Verdict.OFFER, f"{_devices(len(owed))} to offer", rollout.phase, owed, opinion.figures)
    if opinion.finding is Finding.WANTING:
        return _decide_wanting(view, now, opinion)
    return _decide_sound(view, now, opinion)


def _decide_wanting(view: RolloutView, now: float, opinion: Opinion) -> Decision:
    """Hold until the time-out, then pause. A phase that can show nothing any more need not wait for it."""
    rollout = view.rollout
    waited = now - rollout.phase_started
    settled = all(member.state in SETTLED for member in view.devices if member.phase == rollout.phase)
    if settled and not any(member.state is DeviceState.OFFERED for member in view.devices):
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
        if _touched(member) and member.state not in (DeviceState.RETURNING, DeviceState.RETURNED)
    )
    if owed:
        reason = f"{_devices(len(owed))} to return: {rollout.reason or rollout.state}"
        return Decision(Verdict.ROLL_BACK, reason, rollout.phase, owed)
    away = sum(member.state is DeviceState.RETURNING for member in view.devices)
    reason = f"waiting for {_devices(away)} to return" if away else "every device that was offered it has returned"
    return Decision(Verdict.HOLD, reason, rollout.phase)


def mark_offered(member: RolloutDevice, desired_seq: int, now: float) -> RolloutDevice:
    """Return a device after its desired document `desired_seq` with the new version was published."""
    return replace(member, state=DeviceState.OFFERED, offered_seq=desired_seq, changed_at=now)


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
    return replace(member, state=state, reason=reason, detail=detail, changed_at=now, failed=True)


def _touched(member: RolloutDevice) -> bool:
    return member.state not in (DeviceState.WAITING, DeviceState.SKIPPED)


def _decision(view: RolloutView, verdict: Verdict, opinion: Opinion, devices: tuple[str, ...] = ()) -> Decision:
    return Decision(verdict, opinion.reason, view.rollout.phase, devices, opinion.figures)


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"
