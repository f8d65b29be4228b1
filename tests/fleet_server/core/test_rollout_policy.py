"""The policy of a rollout: a strict document that reads back, and every field of it changes an outcome."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fleet_server.core.canary import BoardFacts, DeviceHistory, Observed, compare, find_bad, look_at
from fleet_server.core.canary_metrics import DeviceSums
from fleet_server.core.differences import Difference
from fleet_server.core.policies import Amount, MaintenanceWindow, Metric, PolicyError
from fleet_server.core.rollout_policy import (
    AUTOMATIC_POLICY,
    DEFAULT_POLICY,
    FIELDS,
    parse_amount,
    parse_policy,
    plain_policy,
)
from fleet_server.core.rollout_rules import NOTHING, Decision, decide_rollout
from fleet_server.core.rollouts import DeviceState, Rollout, RolloutDevice, RolloutView, plan_phases

WHOLE: dict[str, Any] = {
    "phases": ["5%", "50%", "100%"],
    "max_failures": "2%",
    "phase_soak_s": 60.0,
    "phase_timeout_s": 7200.0,
    "stable": 20,
    "min_soak_s": 600.0,
    "min_inferences": 1000,
    "promotion": {"p0": 0.01, "p1": 0.05, "alpha": 0.1, "beta": 0.05},
    "alpha": 0.02,
    "look_s": 1800.0,
    "bad_error_ratio": 0.25,
    "metrics": {"error_ratio": {"margin": 0.01, "dry_run": True}, "accuracy": {"margin": 0.02, "dry_run": False}},
    "silent_s": 900.0,
    "silent": "bad",
    "maintenance": [{"days": ["sat", "sun"], "start": "22:30", "end": "05:00"}],
    "max_unavailable": "10%",
    "offers_per_hour": 50,
    "start_at": "2027-01-31T02:00:00+00:00",
}


def test_a_document_with_every_key_reads_back() -> None:
    assert set(WHOLE) == set(FIELDS)
    assert plain_policy(parse_policy(WHOLE)) == WHOLE
    for policy in (DEFAULT_POLICY, AUTOMATIC_POLICY):
        assert parse_policy(json.loads(json.dumps(plain_policy(policy)))) == policy


def test_a_document_of_before_there_were_other_keys_is_read() -> None:
    old = {"phases": ["1", "100%"], "max_failures": 1, "phase_soak_s": 0.0, "phase_timeout_s": 60.0}
    assert parse_policy(old) == replace(
        DEFAULT_POLICY,
        phases=(Amount(1, percent=False), Amount(100, percent=True)),
        max_failures=Amount(1, percent=False),
        phase_timeout_s=60.0,
    )


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"phase": ["1"]}, "no key 'phase'; it knows phases"),
        ({"metrics": {"errors": {"margin": 1}}}, "metrics has no key 'errors'"),
        ({"metrics": {"memory": {"margin": 1, "dryrun": True}}}, "metrics.memory has no key 'dryrun'"),
        ({"metrics": {"memory": {}}}, "metrics.memory states its margin"),
        ({"metrics": {"memory": {"margin": -1}}}, "margin"),
        ({"metrics": {"memory": {"margin": 1, "dry_run": 1}}}, "dry_run is true or false"),
        ({"promotion": {"p2": 0.5}}, "promotion has no key 'p2'"),
        ({"promotion": {"p0": 0.2, "p1": 0.1}}, "p0"),
        ({"promotion": {"alpha": 0.6}}, "alpha"),
        ({"maintenance": [{"from": "02:00"}]}, "maintenance window has no key 'from'"),
        ({"maintenance": [{"start": "25:00", "end": "05:00"}]}, "like 02:30"),
        ({"maintenance": [{"start": "02:00", "end": "02:00"}]}, "length"),
        ({"maintenance": [{"start": "02:00", "end": "03:00", "days": ["mo"]}]}, "mon, tue"),
        ({"maintenance": {}}, "list of windows"),
        ({"start_at": "tomorrow"}, "start_at: a time like"),
        ({"start_at": "2027-01-31T02:00:00"}, "time zone"),
        ({"silent": "good"}, "missing, bad"),
        ({"silent_s": 0}, "silent_s"),
        ({"stable": "many"}, "stable: 'many'"),
        ({"stable": "10%", "phases": ["100%"]}, "several phases"),
        ({"max_unavailable": 0}, "max_unavailable"),
        ({"offers_per_hour": 0}, "offers_per_hour"),
        ({"offers_per_hour": 1.5}, "offers_per_hour: a whole number"),
        ({"alpha": 1}, "alpha"),
        ({"look_s": 0}, "look_s"),
        ({"min_soak_s": True}, "min_soak_s: a number"),
        ({"min_inferences": -1}, "min_inferences"),
        ({"bad_error_ratio": 0}, "bad_error_ratio"),
        ({"max_failures": "120%"}, "max_failures"),
        ({"phases": "100%"}, "phases are a list"),
    ],
)
def test_what_makes_no_sense_is_an_error_that_names_the_key(document: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_policy(document)


def test_errors_are_of_one_kind() -> None:
    with pytest.raises(PolicyError):
        parse_policy({"phases": []})


def test_amounts_reach_up_and_allow_down() -> None:
    assert (parse_amount("10%").reach(15), parse_amount("10%").allow(15)) == (2, 1)
    assert (parse_amount(3).reach(2), parse_amount("3").allow(2)) == (2, 3)


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("when", "inside"),
    [
        ("2027-01-30T22:29", False),  # a Saturday
        ("2027-01-30T22:30", True),
        ("2027-01-31T04:59", True),  # that of Saturday, still
        ("2027-01-31T05:00", False),
        ("2027-01-31T23:00", True),
        ("2027-02-01T01:00", True),  # that of Sunday
        ("2027-02-01T23:00", False),
        ("2027-01-30T01:00", False),  # Friday has none
    ],
)
def test_a_maintenance_window_over_midnight_is_of_the_day_on_which_it_begins(when: str, inside: bool) -> None:
    window = MaintenanceWindow(22 * 60 + 30, 5 * 60, frozenset({5, 6}))
    assert window.holds(at(when)) is inside


# Every field changes an outcome: the same devices at the same time, decided under two policies.

NOW = 10_000.0
LETTERS = {"w": DeviceState.WAITING, "o": DeviceState.OFFERED, "s": DeviceState.SUCCEEDED, "f": DeviceState.FAILED}


def members(text: str, since: float = 9_000.0) -> tuple[RolloutDevice, ...]:
    """One letter a device, phases divided by '|'."""
    made = []
    for phase, part in enumerate(text.split("|")):
        for letter in part:
            state, out = LETTERS[letter], letter != "w"
            device = RolloutDevice(f"d{len(made):03}", phase, state, "onnx-fp32", "a" * 64, 1, "b" * 64)
            times = {"changed_at": since, "offered_at": since if out else 0.0, "failed_at": since}
            made.append(replace(device, failed=letter == "f", **times))  # type: ignore[arg-type]  # all are fields
    return tuple(made)


def decide(text: str, observed: Observed = NOTHING, **policy: Any) -> Decision:
    rollout = Rollout("r", "digits", 2, "all", parse_policy({"phases": ["1", "100%"]} | policy), phase_started=9_000.0)
    return decide_rollout(RolloutView(rollout, members(text)), NOW, observed)


def worse(metric: Metric = Metric.ERROR_RATIO, difference: float = 0.03) -> Difference:
    return Difference(metric, 50, 500, difference, 0.0, difference, 0.002, 548.0)


def counted(errors: float, **policy: Any) -> Decision:
    """Decided from counts: the canary's rows are in error as often as this, nobody's were before."""
    rollout = Rollout("r", "digits", 2, "all", parse_policy({"phases": ["1", "100%"]} | policy), phase_started=9_000.0)
    view = RolloutView(rollout, members(MANY))
    before = DeviceSums(rows=2_400)
    histories = {
        item.device: DeviceHistory(
            before, {1: DeviceSums(rows=100 + n, errors=round(100 * errors) if item.offered_at else n % 2)}
        )
        for n, item in enumerate(view.devices)
    }
    look = look_at(view, NOW)
    seen = histories if look else {}
    bad = find_bad(rollout.policy, seen, 9_000.0)
    return decide_rollout(view, NOW, Observed(bad_at=bad, look=look, differences=compare(view, seen, {})))


MANY = "s" * 30 + "o" * 10 + "|" + "w" * 200
HURT = Observed(look=1, differences=(worse(),))
NIGHT = [{"start": "02:00", "end": "05:00"}]  # NOW is 02:46 in UTC
Made = Callable[[], object]
OUTCOMES: dict[str, tuple[Made, Made]] = {
    "phases": (lambda: decide("s|w").verdict, lambda: decide("s", phases=["100%"]).verdict),
    "max_failures": (lambda: decide("sf|w").verdict, lambda: decide("sf|w", max_failures="50%").verdict),
    "phase_soak_s": (lambda: decide("s|w").verdict, lambda: decide("s|w", phase_soak_s=2_000).verdict),
    "phase_timeout_s": (lambda: decide("o|w").verdict, lambda: decide("o|w", phase_timeout_s=500).verdict),
    "stable": (
        lambda: len(plan_phases("r", dict.fromkeys("abcdefgh", ""), parse_policy({"phases": ["75%", "100%"]}))[1]),
        lambda: len(
            plan_phases("r", dict.fromkeys("abcdefgh", ""), parse_policy({"phases": ["75%", "100%"], "stable": "50%"}))[
                1
            ]
        ),
    ),
    "min_soak_s": (lambda: decide("s|w").verdict, lambda: decide("s|w", min_soak_s=1_001).verdict),
    "min_inferences": (
        lambda: decide("s|w", Observed(inferences={"d000": 99}), min_inferences=99).verdict,
        lambda: decide("s|w", Observed(inferences={"d000": 99}), min_inferences=100).verdict,
    ),
    "promotion": (
        lambda: decide("s" * 31 + "o|w", promotion={"p1": 0.1}).verdict,
        lambda: decide("s" * 31 + "o|w", promotion=None).verdict,
    ),
    "alpha": (lambda: decide(MANY, HURT).verdict, lambda: decide(MANY, HURT, alpha=1e-40).verdict),
    "look_s": (lambda: counted(0.1, look_s=900).verdict, lambda: counted(0.1, look_s=1_001).verdict),
    "bad_error_ratio": (
        lambda: counted(0.4, metrics={}, look_s=900).verdict,
        lambda: counted(0.4, metrics={}, look_s=900, bad_error_ratio=0.3).verdict,
    ),
    "metrics": (lambda: decide(MANY, HURT).verdict, lambda: decide(MANY, HURT, metrics={}).verdict),
    "silent_s": (lambda: decide("o|w").verdict, lambda: decide("o|w", silent_s=900).verdict),
    "silent": (
        lambda: decide("o|w", silent_s=900, silent="missing").verdict,
        lambda: decide("o|w", silent_s=900, silent="bad").verdict,
    ),
    "maintenance": (
        lambda: decide("w|w", maintenance=NIGHT).verdict,
        lambda: decide("w|w", Observed({"d000": BoardFacts(utc_offset_s=3 * 3600.0)}), maintenance=NIGHT).verdict,
    ),
    "max_unavailable": (
        lambda: decide("www|w").devices,
        lambda: decide("www|w", Observed({"d003": BoardFacts(online=False)}), max_unavailable=2).devices,
    ),
    "offers_per_hour": (lambda: decide("oww|w").devices, lambda: decide("oww|w", offers_per_hour=2).devices),
    "start_at": (
        lambda: decide("w|w").verdict,
        lambda: decide("w|w", start_at="1970-01-02T00:00:00+00:00").verdict,
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_changes_an_outcome(name: str) -> None:
    without, with_it = OUTCOMES[name]
    assert without() != with_it()
