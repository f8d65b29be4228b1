"""What a rollout does next: never on missing evidence, back on harm, and every field of the policy matters."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.messages import Outcome, Running
from edge_agent.contract.states import Reason, Result
from fleet_server.core.policies import Amount
from fleet_server.core.rollout_machine import Move, move_rollout
from fleet_server.core.rollout_policy import parse_policy
from fleet_server.core.rollout_rules import (
    Verdict,
    decide_rollout,
    judge_report,
    mark_offered,
    mark_returning,
)
from fleet_server.core.rollouts import (
    SETTLED,
    DeviceState,
    Rollout,
    RolloutDevice,
    RolloutState,
    RolloutView,
)
from tests.fakes.mqtt_devices import FakeDevice

NEW, OLD = "a" * 64, "b" * 64
POLICY = parse_policy({"phases": ["1", "100%"], "max_failures": 1, "phase_soak_s": 30, "phase_timeout_s": 100})
ROLLOUT = Rollout("r1", "digits", 2, "all", POLICY)
STATES = dict(zip("wosfrRbk", DeviceState, strict=True))
BAD = frozenset({DeviceState.FAILED, DeviceState.REFUSED})


def view(letters: str, phase: int = 0, **changes: object) -> RolloutView:
    """One letter a device, phases divided by '|'; R is returning, b (back) returned, k skipped."""
    members = [
        RolloutDevice(
            f"dev-{place}-{index}", place, STATES[letter], "onnx-fp32", NEW, 1, OLD, failed=STATES[letter] in BAD
        )
        for place, part in enumerate(letters.split("|"))
        for index, letter in enumerate(part)
    ]
    rollout = replace(ROLLOUT, phase=phase, **changes)  # type: ignore[arg-type] # a test names the fields it changes
    return RolloutView(rollout, tuple(members))


@pytest.mark.parametrize(
    ("letters", "phase", "now", "verdict"),
    [
        ("w|ww", 0, 0, Verdict.OFFER),
        ("o|ww", 0, 99, Verdict.HOLD),
        ("o|ww", 0, 100, Verdict.PAUSE),
        ("s|ww", 0, 29, Verdict.HOLD),
        ("s|ww", 0, 30, Verdict.ADVANCE),
        ("s|ww", 0, 1000, Verdict.ADVANCE),
        ("s|ww", 1, 0, Verdict.OFFER),
        ("s|os", 1, 0, Verdict.HOLD),
        ("s|ss", 1, 30, Verdict.SUCCEED),
        ("s|sf", 1, 30, Verdict.SUCCEED),
        ("s|sr", 1, 30, Verdict.SUCCEED),
        ("s|ff", 1, 0, Verdict.HALT),
        ("s|fr", 1, 0, Verdict.HALT),
        ("sf|fw", 1, 0, Verdict.HALT),
        ("f|ww", 0, 0, Verdict.PAUSE),
        ("k|ww", 0, 50, Verdict.PAUSE),
        ("sk|ww", 0, 30, Verdict.ADVANCE),
        ("s|", 1, 30, Verdict.SUCCEED),
        ("s|k", 1, 30, Verdict.SUCCEED),
        ("|", 1, 50, Verdict.PAUSE),
    ],
)
def test_verdicts(letters: str, phase: int, now: float, verdict: Verdict) -> None:
    decision = decide_rollout(view(letters, phase), now)
    assert decision.verdict is verdict
    assert decision.reason


def test_a_paused_rollout_holds_but_still_halts_on_harm() -> None:
    paused = {"state": RolloutState.PAUSED, "reason": "by anna"}
    assert decide_rollout(view("s|ww", 0, **paused), 1e6).verdict is Verdict.HOLD
    assert decide_rollout(view("w|ww", 0, **paused), 1e6).reason == "by anna"
    assert decide_rollout(view("ff|ww", 0, **paused), 0).verdict is Verdict.HALT


@pytest.mark.parametrize("state", [RolloutState.HALTED, RolloutState.ABORTED])
def test_every_device_that_was_offered_it_is_returned_and_no_other(state: RolloutState) -> None:
    decision = decide_rollout(view("sfroRbk|oww", 1, state=state), 0)
    assert decision.verdict is Verdict.ROLL_BACK
    assert decision.devices == ("dev-0-0", "dev-0-1", "dev-0-2", "dev-0-3", "dev-1-0")
    assert decide_rollout(view("bbR|w", 1, state=state), 0).reason == "waiting for 1 device to return"
    assert "has returned" in decide_rollout(view("bb|w", 1, state=state), 0).reason


def test_halting_names_what_failed() -> None:
    harmed = view("ff|ww")
    devices = tuple(replace(member, reason="unhealthy") if member.failed else member for member in harmed.devices)
    decision = decide_rollout(replace(harmed, devices=devices), 0)
    assert decision.reason == "2 devices failed (unhealthy), 1 allowed"
    assert decision.devices == ("dev-0-0", "dev-0-1")
    assert decision.figures["failed"] == 2


letters = st.text("wosfrk", max_size=6)
parts = st.tuples(letters, letters).map("|".join)


@given(parts, st.integers(0, 1), st.floats(0, 1e6))
def test_nothing_is_promoted_on_missing_evidence(text: str, phase: int, now: float) -> None:
    seen = view(text, phase)
    if decide_rollout(seen, now).verdict in (Verdict.ADVANCE, Verdict.SUCCEED):
        here = [member for member in seen.devices if member.phase == phase]
        so_far = [member for member in seen.devices if member.phase <= phase]
        assert all(member.state in SETTLED for member in here)
        assert any(member.state is DeviceState.SUCCEEDED for member in so_far)
        assert sum(member.failed for member in seen.devices) <= POLICY.max_failures.amount
        assert now >= POLICY.phase_soak_s


@given(parts, st.integers(0, 1), st.floats(0, 1e6), st.data())
def test_a_further_failure_never_unhalts(text: str, phase: int, now: float, data: st.DataObject) -> None:
    before = view(text, phase)
    if not before.devices:
        return
    place = data.draw(st.integers(0, len(before.devices) - 1))
    worse = [
        replace(member, state=DeviceState.FAILED, failed=True) if index == place else member
        for index, member in enumerate(before.devices)
    ]
    if decide_rollout(before, now).verdict is Verdict.HALT:
        assert decide_rollout(replace(before, devices=tuple(worse)), now).verdict is Verdict.HALT


def test_every_field_of_the_policy_changes_an_outcome() -> None:
    def verdict(text: str, now: float, **changes: object) -> Verdict:
        return decide_rollout(view(text, 0, policy=replace(POLICY, **changes)), now).verdict  # type: ignore[arg-type] # a test names the fields it changes

    assert verdict("sf|w", 50) is Verdict.ADVANCE
    assert verdict("sf|w", 50, max_failures=Amount(0, percent=False)) is Verdict.HALT
    assert verdict("s|w", 50, phase_soak_s=60) is Verdict.HOLD
    assert verdict("o|w", 50, phase_timeout_s=40) is Verdict.PAUSE
    assert verdict("s|w", 50, phases=POLICY.phases[:1]) is Verdict.SUCCEED


# What reports mean.

OFFERED = RolloutDevice("cam-1", 0, DeviceState.OFFERED, "onnx-fp32", NEW, 1, OLD, offered_seq=5)
CAM = FakeDevice("cam-1")


def runs(digest: str | None, attested: bool = True) -> tuple[Running, ...]:
    return () if digest is None else (Running("digits", 2, "onnx-fp32", digest, attested),)


def told(
    member: RolloutDevice, desired_seq: int, running: tuple[Running, ...], outcome: Outcome | None = None
) -> RolloutDevice:
    report = replace(CAM.report(1, desired_seq, running), outcome=outcome)
    return judge_report(member, "digits", report, 77.0)


def ended(seq: int, result: Result, reason: Reason, model: str | None = None) -> Outcome:
    return Outcome(seq, result, reason, "words", 0, model)


def test_success_is_the_attested_digest_under_the_offered_document() -> None:
    assert told(OFFERED, 5, runs(NEW)).state is DeviceState.SUCCEEDED
    assert told(OFFERED, 6, runs(NEW)).state is DeviceState.SUCCEEDED
    for desired_seq, running in [(4, runs(NEW)), (5, runs(NEW, attested=False)), (5, runs(OLD)), (5, ())]:
        assert told(OFFERED, desired_seq, running) is OFFERED


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (ended(5, Result.FAILED, Reason.UNHEALTHY), DeviceState.FAILED),
        (ended(5, Result.REFUSED, Reason.LOW_MEMORY), DeviceState.REFUSED),
        (ended(6, Result.FAILED, Reason.GOLDEN_MISMATCH, "digits"), DeviceState.FAILED),
        (ended(6, Result.FAILED, Reason.GOLDEN_MISMATCH, "wine"), DeviceState.OFFERED),
        (ended(4, Result.FAILED, Reason.UNHEALTHY), DeviceState.OFFERED),
        (ended(5, Result.FAILED, Reason.SUPERSEDED), DeviceState.OFFERED),
        (ended(5, Result.REFUSED, Reason.STALE), DeviceState.OFFERED),
        (ended(5, Result.SUCCEEDED, Reason.OK), DeviceState.OFFERED),
    ],
)
def test_outcomes(outcome: Outcome, state: DeviceState) -> None:
    after = told(OFFERED, 4, runs(OLD), outcome)
    assert after.state is state
    assert after.failed is (state in BAD)
    if after.failed:
        assert (after.reason, after.detail, after.changed_at) == (outcome.reason, "words", 77.0)


def test_an_attested_device_that_reports_another_digest_reopens_the_question() -> None:
    attested = told(OFFERED, 5, runs(NEW))
    assert told(attested, 5, runs(NEW)) is attested
    for running in (runs(OLD), ()):
        after = told(attested, 5, running)
        assert (after.state, after.reason, after.failed) == (DeviceState.FAILED, "digest_changed", True)


def test_a_device_has_returned_when_it_says_so_under_the_newer_document() -> None:
    failed = told(OFFERED, 5, runs(OLD), ended(5, Result.FAILED, Reason.UNHEALTHY))
    returning = mark_returning(failed, 6, 80.0)
    assert told(returning, 5, runs(OLD)) is returning
    assert told(returning, 6, runs(NEW)) is returning
    back = told(returning, 6, runs(OLD))
    assert (back.state, back.failed, back.reason) == (DeviceState.RETURNED, True, "unhealthy")
    fresh = replace(returning, from_digest=None)
    assert told(fresh, 6, ()).state is DeviceState.RETURNED


def test_a_whole_rollout_from_offer_to_return() -> None:
    """One device attests, the next phase breaks: all three are returned, and the loop comes to rest."""
    state, now, seq = view("w|ww"), 0.0, 10
    verdicts = []
    for _ in range(20):
        decision = decide_rollout(state, now)
        verdicts.append(decision.verdict)
        members = {member.device: member for member in state.devices}
        rollout = state.rollout
        match decision.verdict:
            case Verdict.OFFER:
                for device in decision.devices:
                    seq += 1
                    offered = mark_offered(members[device], seq, now)
                    works = offered.phase == 0
                    report = replace(
                        FakeDevice(device).report(1, seq, runs(NEW if works else OLD)),
                        outcome=None if works else ended(seq, Result.FAILED, Reason.UNHEALTHY),
                    )
                    members[device] = judge_report(offered, "digits", report, now)
            case Verdict.ROLL_BACK:
                for device in decision.devices:
                    seq += 1
                    returning = mark_returning(members[device], seq, now)
                    report = FakeDevice(device).report(2, seq, runs(OLD))
                    members[device] = judge_report(returning, "digits", report, now)
            case Verdict.HOLD:
                now += 10
            case _:
                rollout = move_rollout(rollout, Move(decision.verdict), now, decision.reason)
        state = RolloutView(rollout, tuple(members.values()))
    assert state.rollout.state is RolloutState.HALTED
    assert {member.state for member in state.devices} == {DeviceState.RETURNED}
    assert sum(member.failed for member in state.devices) == 2
    changes = [verdict for verdict in verdicts if verdict is not Verdict.HOLD]
    expected = [Verdict.OFFER, Verdict.ADVANCE, Verdict.OFFER, Verdict.HALT, Verdict.ROLL_BACK]
    assert changes == expected
