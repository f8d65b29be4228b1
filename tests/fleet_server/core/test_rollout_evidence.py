"""What a rollout's evidence says: promotion by test or completeness, harm against stable, dry runs, silence, room."""

import json
from dataclasses import replace
from typing import Any

import pytest

from fleet_server.core.canary import BoardFacts, Observed
from fleet_server.core.differences import Difference
from fleet_server.core.explanations import explain_rollout
from fleet_server.core.policies import Metric
from fleet_server.core.rollout_inputs import plain_inputs, read_inputs
from fleet_server.core.rollout_policy import parse_policy, plain_policy
from fleet_server.core.rollout_rules import NOTHING, Decision, Verdict, decide_rollout
from fleet_server.core.rollouts import DeviceState, Rollout, RolloutDevice, RolloutState, RolloutView

NOW = 10_000.0
LETTERS = dict(zip("wosfrRbk", DeviceState, strict=True))


def view(text: str, phase: int = 0, state: RolloutState = RolloutState.RUNNING, **policy: Any) -> RolloutView:
    """One letter a device, phases divided by '|'; all ran version 1, and what happened was a thousand seconds ago."""
    made = []
    for place, part in enumerate(text.split("|")):
        for letter in part:
            failed, out = letter in "fr", letter not in "wk"
            made.append(
                RolloutDevice(
                    f"d{len(made):03}", place, LETTERS[letter], "onnx-fp32", "a" * 64, 1, "b" * 64, changed_at=9_000.0,
                    failed=failed, offered_at=9_000.0 if out else 0.0, failed_at=9_000.0 if failed else 0.0,
                )
            )  # fmt: skip
    document = {"phases": ["1", "100%"]} | policy
    rollout = Rollout("r", "digits", 2, "all", parse_policy(document), state, phase=phase, phase_started=9_000.0)
    return RolloutView(rollout, tuple(made))


def decide(text: str, observed: Observed = NOTHING, phase: int = 0, **policy: Any) -> Decision:
    return decide_rollout(view(text, phase, **policy), NOW, observed)


def worse(metric: Metric = Metric.ERROR_RATIO, difference: float = 0.03, canary: int = 50) -> Difference:
    return Difference(metric, canary, 500, difference, 0.0, difference, 0.002, 548.0)


# Onward.


def test_so_many_clean_devices_go_on_before_all_are_done() -> None:
    done = decide("s" * 31 + "o" * 9 + "|w")
    assert done.verdict is Verdict.ADVANCE
    assert done.reason == "31 devices finished, 0 bad: few enough by the promotion's test"
    assert decide("s" * 30 + "o" * 10 + "|w").verdict is Verdict.HOLD


def test_a_few_boards_are_promoted_by_completeness_alone() -> None:
    assert decide("sss|ww").verdict is Verdict.ADVANCE
    assert decide("sso|ww").verdict is Verdict.HOLD
    told = explain_rollout(view("sso|ww"), NOTHING, NOW).sentence
    assert "too few devices for the promotion's test, so all of them must finish" in told


def test_bad_devices_that_are_allowed_still_count_against_promotion() -> None:
    unsure = decide("s" * 40 + "ff|w", max_failures=5)
    assert unsure.verdict is Verdict.PAUSE
    assert unsure.reason.startswith("2 bad of 42 devices, which neither promotes nor rules it out")
    assert decide("s" * 80 + "f|w", max_failures=5).verdict is Verdict.ADVANCE
    assert "8 bad of 40 devices, too many to promote" in decide("s" * 32 + "f" * 8 + "|w", max_failures=9).reason


def test_the_last_phase_ends_when_every_device_has_finished() -> None:
    assert decide("s|" + "s" * 40 + "o", phase=1).verdict is Verdict.HOLD
    assert decide("s|" + "s" * 40, phase=1).verdict is Verdict.SUCCEED
    # Whoever was left behind when the test let the first phase go on is waited for, too.
    assert decide("so|" + "s" * 40, phase=1).verdict is Verdict.HOLD


def test_a_device_soaks_before_it_counts() -> None:
    soaking = decide("ss|w", min_soak_s=2_000)
    assert (soaking.verdict, soaking.reason) == (Verdict.HOLD, "waiting for 2 devices of 2, 2 soaking")
    quiet = Observed(inferences={"d000": 100, "d001": 99})
    assert "1 device of 2" in decide("ss|w", quiet, min_inferences=100).reason


def test_a_deadline_pauses_and_never_promotes() -> None:
    late = decide("ss|w", min_soak_s=5_000, phase_timeout_s=1_000)
    assert late.verdict is Verdict.PAUSE
    assert late.reason.startswith("no verdict within 1000 s")


def test_the_clock_of_a_scheduled_rollout_begins_when_it_does() -> None:
    asked = {"start_at": "1970-01-01T02:45:00+00:00", "phase_timeout_s": 500}  # 100 s before now
    assert decide("o|w", **asked).verdict is Verdict.HOLD
    assert decide("w|w", start_at="1970-01-01T02:48:20+00:00").reason == "begins in 100 s"


# Back.


def test_a_metric_that_is_worse_by_more_than_its_margin_halts() -> None:
    harmed = decide("s" * 50 + "|" + "w" * 500, Observed(look=1, differences=(worse(),)))
    assert harmed.verdict is Verdict.HALT
    assert harmed.devices == tuple(f"d{n:03}" for n in range(50))
    assert harmed.reason.startswith("rows in error +3.00% against stable on 50 canary and 500 stable devices: worse")
    for kept in (worse(difference=0.004), worse(difference=-0.5)):
        assert decide("s" * 50 + "|w", Observed(look=1, differences=(kept,))).verdict is not Verdict.HALT


def test_later_looks_ask_for_more() -> None:
    close = Observed(look=1, differences=(worse(difference=0.0125),))
    assert decide("s" * 50 + "|w", close).verdict is Verdict.HALT
    assert decide("s" * 50 + "|w", replace(close, look=24)).verdict is not Verdict.HALT


def test_too_few_devices_show_nothing_however_large_it_looks() -> None:
    few = Observed(look=1, differences=(replace(worse(difference=0.9), canary_devices=2, stable_devices=3),))
    assert decide("ss|www", few).verdict is Verdict.ADVANCE


def test_a_dry_run_is_noted_and_never_acts() -> None:
    dry = {"metrics": {"error_ratio": {"margin": 0.005, "dry_run": True}}}
    noted = decide("s" * 50 + "|w", Observed(look=1, differences=(worse(),)), **dry)
    assert noted.verdict is Verdict.ADVANCE
    assert noted.noted[0].startswith("error_ratio: rows in error +3.00%")


def test_devices_that_go_bad_more_often_than_stable_ones_halt_it() -> None:
    policy = {"max_failures": "100%", "promotion": None}
    assert decide("s" * 45 + "f" * 5 + "|" + "w" * 500, **policy).verdict is Verdict.HALT
    everywhere = {f"d{n:03}": 9_500.0 + n for n in range(50, 550, 10)} | {f"d{n:03}": 9_500.0 for n in range(5)}
    assert decide("s" * 50 + "|" + "w" * 500, Observed(bad_at=everywhere, look=1), **policy).verdict is Verdict.ADVANCE


def test_what_is_bad_by_its_rows_holds_promotion_up() -> None:
    bad = Observed(bad_at={"d000": 9_500.0, "d001": 9_500.0}, look=1)
    assert decide("s" * 33 + "|" + "w" * 5, bad).verdict is Verdict.PAUSE
    assert decide("s" * 33 + "|" + "w" * 5).verdict is Verdict.ADVANCE


# Silence.


def test_silent_devices_are_missing_or_bad_as_the_policy_says() -> None:
    assert decide("so|w", silent_s=900, silent="bad").reason == "1 device failed (silent), 0 allowed"
    missing = decide("so|w", silent_s=900)
    assert missing.verdict is Verdict.PAUSE  # nothing else will come, so the deadline is not waited for
    assert missing.reason == "waiting for 1 device of 2, 1 silent: promote or abort by hand"
    seen = view("so|w", silent_s=900)
    heard = tuple(replace(item, heard_at=9_500.0) for item in seen.devices)
    assert decide_rollout(replace(seen, devices=heard), NOW).verdict is Verdict.HOLD


# Pace.


def test_offers_keep_to_windows_room_and_rate() -> None:
    night = [{"start": "02:00", "end": "05:00"}]  # now is 02:46 in UTC
    vienna, unknown = BoardFacts(utc_offset_s=3_600.0), BoardFacts(utc_offset_s=None)
    east = Observed({"d000": BoardFacts(utc_offset_s=5 * 3_600.0), "d001": vienna, "d002": unknown})
    assert decide("www|w", east, maintenance=night).devices == ("d001",)
    held = decide("wow|w", east, maintenance=night, phase_timeout_s=9_999)
    assert held.verdict is Verdict.HOLD
    assert held.reason.endswith("2 wait for their maintenance window, the time zone of 1 is unknown")
    assert decide("oww|www", max_unavailable=2).devices == ("d001",)
    assert decide("oow|w", max_unavailable=2).reason.endswith("1 wait until fewer than 2 are unavailable")
    away = Observed({"d003": BoardFacts(online=False), "d001": BoardFacts(online=False)})
    assert decide("www|w", away, max_unavailable=3).devices == ("d000", "d001")  # d001 is away already
    assert decide("oww|w", offers_per_hour=1).reason.endswith("2 wait for the rate of 1 an hour")
    assert decide("www|w", offers_per_hour=2).devices == ("d000", "d001")


# Explained, and made again.

OBSERVED = Observed(
    {"d001": BoardFacts(False, 3_600.0), "d002": BoardFacts(True, None)},
    {"d000": 77},
    {"d003": 9_900.0},
    3,
    (worse(difference=0.0123456789), worse(Metric.MEMORY, 0.1)),
)
KINDS = {"silent_s": 5_000, "maintenance": [{"start": "02:00", "end": "03:00"}], "max_unavailable": 2}


@pytest.mark.parametrize("text", ["sowf|ww", "s" * 31 + "|" + "w" * 40, "f" * 3 + "|w", "ss|ww"])
@pytest.mark.parametrize("policy", [KINDS, {"max_failures": 9, "min_inferences": 5}, {}])
def test_a_decision_is_made_again_from_what_was_kept(text: str, policy: dict[str, Any]) -> None:
    seen = view(text, **policy)
    kept = json.loads(json.dumps(plain_inputs(seen, NOW, OBSERVED)))
    document = json.loads(json.dumps(plain_policy(seen.rollout.policy)))
    again = decide_rollout(*read_inputs(kept, parse_policy(document), "r"))
    assert again == decide_rollout(seen, NOW, OBSERVED)


def test_what_is_kept_of_a_hundred_thousand_devices_is_small() -> None:
    devices = tuple(
        RolloutDevice(f"board-{n:06}", n % 3, from_version=1, changed_at=9_000.0 + n % 60) for n in range(100_000)
    )
    seen = replace(view("s"), devices=devices)
    facts = Observed({item.device: BoardFacts(n % 9 > 0, 3_600.0 * (n % 3)) for n, item in enumerate(devices)})
    assert len(json.dumps(plain_inputs(seen, NOW, facts))) < 1_500_000


def test_an_explanation_has_the_numbers_of_both_arms() -> None:
    made = explain_rollout(view("s" * 50 + "|" + "w" * 500), Observed(look=2, differences=(worse(),)), NOW)
    metric = next(item for item in made.metrics if item.metric == "error_ratio")
    assert (metric.canary_mean, metric.stable_mean, metric.difference) == (0.03, 0.0, 0.03)
    assert metric.limit == pytest.approx(0.005 + 3.7 * 0.002, rel=0.1)
    assert metric.worse
    assert (made.verdict, made.canary.devices, made.stable.devices, made.look) == ("halt", 50, 500, 2)
    assert made.sentence.startswith("running: harm: rows in error +3.00% against stable")
    assert made.promotion is not None
    assert (made.promotion.devices, made.promotion.state) == (50, "good")
    assert made.promotion.log_ratio < made.promotion.promote_below
    calm = explain_rollout(view("sso|" + "w" * 50), NOTHING, NOW)
    assert calm.e_value == pytest.approx(1.0)
    assert "0 of 3 canary and 0 of 50 stable devices went bad" in calm.sentence
