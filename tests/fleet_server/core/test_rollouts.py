"""The plan of a rollout's phases, and its moves."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.contract.manifest import Precision, Runtime
from fleet_server.core.rollout_machine import Move, MoveError, allowed_moves, move_rollout
from fleet_server.core.rollout_policy import Policy, parse_amount, parse_policy
from fleet_server.core.rollouts import (
    DeviceState,
    Prospect,
    Rollout,
    RolloutState,
    plan_phases,
    plan_rollout,
)
from fleet_server.core.variants import Candidate, Choice


def phased(*phases: str) -> Policy:
    """A policy with these phases."""
    return parse_policy({"phases": list(phases)})


devices = st.lists(st.from_regex(r"[a-z0-9-]{1,8}", fullmatch=True), unique=True, max_size=60)
percentages = st.lists(st.integers(1, 100), min_size=1, max_size=5, unique=True).map(sorted)


@given(st.text("0123456789abcdef", min_size=1, max_size=8), devices, percentages)
def test_phases_partition_the_devices_that_they_reach(rollout: str, ids: list[str], shares: list[int]) -> None:
    policy = phased(*(f"{share}%" for share in shares))
    plan = plan_phases(rollout, dict.fromkeys(ids, "pi"), policy)
    flat = [device for phase in plan for device in phase]
    assert len(plan) == len(shares)
    assert len(set(flat)) == len(flat)
    assert set(flat) <= set(ids)
    if shares[-1] == 100:
        assert set(flat) == set(ids)
    left = len(ids)
    for phase in plan:
        assert bool(phase) is (left > 0)  # one device at least while devices remain
        left -= len(phase)
    assert plan == plan_phases(rollout, dict.fromkeys(reversed(ids), "pi"), policy)


@given(devices, st.integers(1, 70))
def test_counts_reach_as_many_devices(ids: list[str], count: int) -> None:
    (phase,) = plan_phases("r", dict.fromkeys(ids, "pi"), phased(str(count)))
    assert len(phase) == min(count, len(ids))


def test_percentages_are_cumulative_and_round_up() -> None:
    ids = dict.fromkeys((f"dev-{i}" for i in range(100)), "pi")
    few = dict.fromkeys(("a", "b", "c", "d"), "pi")
    assert [len(phase) for phase in plan_phases("r", ids, phased("7%", "7.5%", "50%"))] == [7, 1, 42]
    assert [len(phase) for phase in plan_phases("r", few, phased("25%", "100%"))] == [1, 3]
    assert [len(phase) for phase in plan_phases("r", few, phased("1", "50%", "100%"))] == [1, 1, 2]


def test_not_always_the_same_devices_come_first() -> None:
    ids = dict.fromkeys((f"dev-{i}" for i in range(20)), "pi")
    first = {plan_phases(f"rollout-{i}", ids, phased("1"))[0] for i in range(40)}
    assert len(first) > 10


def test_every_phase_and_whoever_waits_have_the_fleets_mix_of_hardware() -> None:
    fleet = {f"{profile}-{i}": profile for profile, n in (("pi-3", 60), ("pi-4", 30), ("zero", 10)) for i in range(n)}
    for seed in range(20):
        plan = plan_phases(f"rollout-{seed}", fleet, phased("10%", "30%", "100%"))
        for phase in plan:
            for profile, share in (("pi-3", 0.6), ("pi-4", 0.3), ("zero", 0.1)):
                assert abs(sum(fleet[device] == profile for device in phase) - share * len(phase)) <= 1.5


def test_stable_devices_are_left_alone_until_the_last_phase() -> None:
    ids = dict.fromkeys((f"dev-{i}" for i in range(100)), "pi")
    held = parse_policy({"phases": ["50%", "90%", "100%"], "stable": "30%"})
    assert [len(phase) for phase in plan_phases("r", ids, held)] == [50, 20, 30]
    few = dict.fromkeys(("a", "b", "c"), "pi")
    assert [len(phase) for phase in plan_phases("r", few, held)] == [2, 0, 1]
    alone = parse_policy({"phases": ["50%", "100%"], "stable": "100%"})
    assert [len(phase) for phase in plan_phases("r", {"a": "pi"}, alone)] == [1, 0]


def test_devices_that_nothing_fits_are_skipped_and_do_not_count() -> None:
    fits = Choice(Candidate("onnx-fp32", Runtime.ONNX, Precision.FP32, "a" * 64), "best")
    prospects = [Prospect(f"dev-{i}", fits, 1, "b" * 64) for i in range(4)] + [
        Prospect("old", Choice(None, "no runtime"))
    ]
    members = plan_rollout("r", phased("25%", "100%"), prospects)
    assert [member.phase for member in members] == [0, 1, 1, 1, 1]
    assert [member.state for member in members] == [DeviceState.WAITING] * 4 + [DeviceState.SKIPPED]
    assert members[-1].detail == "no runtime"
    assert (members[0].digest, members[0].from_digest, members[0].variant) == ("a" * 64, "b" * 64, "onnx-fp32")


@pytest.mark.parametrize("text", ["", "%", "0%", "101%", "0", "1.5", "-3", "nan", "inf", "many", "1e400"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="phase"):
        phased(text)


def test_sizes_read_back() -> None:
    for text in ("25%", "100%", "3", "12.5%"):
        assert str(parse_amount(text)) == text


@pytest.mark.parametrize(
    ("phases", "numbers", "told"),
    [
        ([], (0, 0, 60), "1 to 20 phases"),
        (["1"] * 21, (0, 0, 60), "1 to 20 phases"),
        (["50%", "25%"], (0, 0, 60), "must rise"),
        (["2", "2"], (0, 0, 60), "must rise"),
        (["100%"], (-1, 0, 60), "max_failures"),
        (["100%"], (0, -1, 60), "phase_soak_s"),
        (["100%"], (0, float("nan"), 60), "phase_soak_s"),
        (["100%"], (0, 0, 0), "phase_timeout_s"),
        (["100%"], (0, 0, float("inf")), "phase_timeout_s"),
    ],
)
def test_a_policy_without_sense_is_refused(phases: list[str], numbers: tuple[int, float, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_policy(
            dict(zip(("phases", "max_failures", "phase_soak_s", "phase_timeout_s"), (phases, *numbers), strict=True))
        )


ROLLOUT = Rollout("r1", "digits", 2, "all", Policy((parse_amount("1"), parse_amount("100%"))))


def test_the_table_of_moves() -> None:
    paused = move_rollout(ROLLOUT, Move.PAUSE, 10.0, "lunch")
    assert (paused.state, paused.reason, paused.phase_started) == (RolloutState.PAUSED, "lunch", 0.0)
    resumed = move_rollout(paused, Move.RESUME, 20.0)
    assert (resumed.state, resumed.phase_started) == (RolloutState.RUNNING, 20.0)
    second = move_rollout(ROLLOUT, Move.ADVANCE, 30.0)
    assert (second.state, second.phase, second.phase_started) == (RolloutState.RUNNING, 1, 30.0)
    assert move_rollout(paused, Move.PROMOTE, 30.0).phase == 1
    assert move_rollout(second, Move.PROMOTE, 40.0).state is RolloutState.SUCCEEDED
    assert move_rollout(paused, Move.HALT, 1.0).state is RolloutState.HALTED
    assert move_rollout(paused, Move.ABORT, 1.0).state is RolloutState.ABORTED
    with pytest.raises(MoveError, match="last phase"):
        move_rollout(second, Move.ADVANCE, 40.0)


@pytest.mark.parametrize("state", list(RolloutState))
@pytest.mark.parametrize("move", list(Move))
def test_what_the_table_lacks_is_an_error_that_names_what_is_allowed(state: RolloutState, move: Move) -> None:
    rollout = replace(ROLLOUT, state=state)
    if move in allowed_moves(state):
        assert move_rollout(rollout, move, 1.0)
    else:
        with pytest.raises(MoveError, match=f"is {state}: it cannot {move}; allowed: "):
            move_rollout(rollout, move, 1.0)


def test_the_end_is_the_end() -> None:
    for state in (RolloutState.HALTED, RolloutState.ABORTED, RolloutState.SUCCEEDED):
        assert allowed_moves(state) == frozenset()
