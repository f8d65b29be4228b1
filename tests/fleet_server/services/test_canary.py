"""Canaries end to end: windows of both arms, silence, late devices, hours of rest, dry runs, and what is explained."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.contract.windows import LATENCY_BUCKETS, FeatureCounts, Feedback, Window, WindowCounts
from fleet_server.core.rollout_inputs import read_inputs
from fleet_server.core.rollout_policy import parse_policy
from fleet_server.core.rollout_rules import decide_rollout
from fleet_server.services.canary import utc_offset_s
from tests.fakes.server_app import Board, Served, served

LOOK_S = 600
POLICY = {
    "phases": ["6", "100%"], "stable": "50%", "min_soak_s": 3600, "look_s": LOOK_S, "phase_timeout_s": 86_400,
    "metrics": {"error_ratio": {"margin": 0.005}},
}  # fmt: skip


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        found.upload("v1", b"one")
        found.upload("v2", b"two")
        yield found


def started(fleet: Served, count: int) -> dict[str, Board]:
    """So many boards that run version 1 as the group's target, and have sent windows of it for hours."""
    fleet.group()
    token = fleet.token(uses=count)
    boards = {f"pi-{number:02}": fleet.enrol(f"pi-{number:02}", token) for number in range(count)}
    fleet.roll(1, phases=["100%"])
    for board in boards.values():
        board.succeed()
    for number in range(4):
        fleet.clock.pass_s(LOOK_S)
        for board in boards.values():
            send(fleet, board, number, errors=2)
    return boards


def send(fleet: Served, board: Board, number: int, errors: int = 0, span_s: float = LOOK_S) -> None:
    """Send the window that ends now, of the version that the board runs."""
    (held,) = board.running
    bins = (FeatureCounts((100, 0)),)
    counts = WindowCounts(100, errors, 0, bins, (100, 0), (), (100,) + (0,) * (LATENCY_BUCKETS - 1), Feedback())
    now = fleet.clock()
    key = (board.id, 1, 1000 * held.version + number, held.model, held.version, held.digest)
    fleet.server.intake.on_window(Window(*key, now - int(span_s * 1000), now, counts))


def offered(fleet: Served, rollout: str) -> set[str]:
    return {name for name, state in fleet.states(rollout).items() if state != "waiting"}


def live_through_a_look(
    fleet: Served, boards: dict[str, Board], canary: set[str], errors: int, common: int = 2
) -> None:
    """Whoever was offered the version takes it; then everybody's windows of a whole look come."""
    for name in canary:
        boards[name].succeed()
    fleet.clock.pass_s(LOOK_S - 1)
    for board in boards.values():
        send(fleet, board, 1, errors if board.id in canary else common, LOOK_S - 10)
    fleet.clock.pass_s(1)
    fleet.turn()


def test_a_version_with_more_errors_goes_back_by_itself_and_the_decision_can_be_made_again(fleet: Served) -> None:
    boards = started(fleet, 18)
    rollout = fleet.roll(2, policy=POLICY)
    canary = offered(fleet, rollout)
    assert len(canary) == 6
    live_through_a_look(fleet, boards, canary, errors=9)
    shown = fleet.rollout(rollout)
    assert shown["state"] == "halted"
    assert shown["reason"].startswith("rows in error +7.00% against stable on 6 canary and 12 stable devices")
    for name in canary:
        assert [item.version for item in boards[name].desired().bundles] == [1]
    found = fleet.call("GET", f"/decisions?rollout={rollout}")["items"]
    halt = next(item for item in found if item["kind"] == "halt")
    view, now, observed = read_inputs(halt["evidence"]["inputs"], parse_policy(halt["policy"]), rollout)
    again = decide_rollout(view, now, observed)
    assert (again.verdict, again.reason) == (halt["kind"], halt["reason"])
    explained = fleet.call("GET", f"/rollouts/{rollout}/explain")
    assert explained["metrics"][0]["difference"] == pytest.approx(0.07)
    assert explained["metrics"][0]["worse"] is True
    assert explained["sentence"].startswith("halted (rows in error")


def test_errors_that_the_whole_fleet_has_are_no_harm_of_the_version(fleet: Served) -> None:
    boards = started(fleet, 18)
    rollout = fleet.roll(2, policy=POLICY)
    live_through_a_look(fleet, boards, offered(fleet, rollout), errors=9, common=9)
    assert fleet.rollout(rollout)["state"] == "running"
    explained = fleet.call("GET", f"/rollouts/{rollout}/explain")
    (metric,) = explained["metrics"]
    assert (metric["canary_mean"], metric["stable_mean"]) == (pytest.approx(0.07), pytest.approx(0.07))
    assert (explained["look"], explained["canary"], explained["stable"]) == (
        1, {"devices": 6, "bad": 0}, {"devices": 12, "bad": 0},
    )  # fmt: skip
    assert "6 soaking" in explained["waits_for"]


def test_a_window_from_before_the_offer_and_after_is_of_neither_side(fleet: Served) -> None:
    """A surge that began with the rollout is not half hidden in the stable arm's first windows."""
    boards = started(fleet, 18)
    rollout = fleet.roll(2, policy=POLICY)
    for name in (canary := offered(fleet, rollout)):
        boards[name].succeed()
    fleet.clock.pass_s(LOOK_S)
    for board in boards.values():
        late = board.id not in canary
        send(fleet, board, 1, errors=2 if late else 9, span_s=LOOK_S + 60 if late else LOOK_S - 10)
    fleet.clock.pass_s(LOOK_S)
    fleet.turn()
    assert fleet.rollout(rollout)["state"] == "running"
    (metric,) = fleet.call("GET", f"/rollouts/{rollout}/explain")["metrics"]
    assert metric["stable_devices"] == 0


def test_a_dry_run_is_recorded_once_and_does_not_act(fleet: Served) -> None:
    boards = started(fleet, 18)
    dry = {**POLICY, "metrics": {"error_ratio": {"margin": 0.005, "dry_run": True}}}
    rollout = fleet.roll(2, policy=dry)
    live_through_a_look(fleet, boards, offered(fleet, rollout), errors=9)
    for _ in range(3):
        fleet.turn()
    assert fleet.rollout(rollout)["state"] == "running"
    kinds = [item["kind"] for item in fleet.call("GET", f"/decisions?rollout={rollout}")["items"]]
    assert kinds.count("dry_run") == 1


def test_a_soak_asks_for_rows_that_the_version_answered(fleet: Served) -> None:
    boards = started(fleet, 3)
    asked = {"phases": ["1", "100%"], "min_inferences": 250, "look_s": LOOK_S, "phase_timeout_s": 86_400}
    rollout = fleet.roll(2, policy=asked)
    (name,) = offered(fleet, rollout)
    boards[name].succeed()
    for number, phase in ((1, 0), (2, 0), (3, 1)):  # each window counts once, however often it is read
        fleet.clock.pass_s(60)
        send(fleet, boards[name], number, span_s=50)
        fleet.clock.pass_s(60)
        fleet.turn()
        assert fleet.rollout(rollout)["phase"] == phase


def test_a_device_that_says_nothing_after_an_offer_is_bad_where_the_policy_says_so(fleet: Served) -> None:
    boards = started(fleet, 3)
    rollout = fleet.roll(2, policy={"phases": ["2", "100%"], "silent_s": 300, "silent": "bad"})
    first, second = sorted(offered(fleet, rollout))
    fleet.clock.pass_s(200)
    boards[first].report()  # it says that it is at it
    fleet.clock.pass_s(200)
    boards[second].succeed()
    assert fleet.rollout(rollout)["state"] == "running"
    fleet.clock.pass_s(150)
    fleet.turn()
    assert fleet.rollout(rollout)["state"] == "halted"
    assert "1 device failed (silent), 0 allowed" in fleet.rollout(rollout)["reason"]


def test_a_device_that_comes_while_it_runs_passes_the_same_gate(fleet: Served) -> None:
    boards = started(fleet, 2)
    rollout = fleet.roll(2, policy={"phases": ["1", "100%"]})
    (name,) = offered(fleet, rollout)
    late = boards["late"] = fleet.enrol("late")
    for _ in range(4):  # one to bring it, one to join, and more in which nothing may be offered
        fleet.turn()
    assert [item.version for item in late.desired().bundles] == [1]  # what the group has come to
    assert fleet.states(rollout)["late"] == "waiting"
    late.succeed()
    fleet.turn()
    assert fleet.states(rollout)["late"] == "waiting"  # until the first phase is done
    boards[name].succeed()
    assert [item.version for item in late.desired().bundles] == [2]  # with the last phase
    late.fail(model="digits")
    assert fleet.rollout(rollout)["state"] == "halted"
    assert [item.version for item in late.desired().bundles] == [1]


def test_a_device_is_left_alone_outside_of_its_own_hours(fleet: Served) -> None:
    """The clock says 08:00 in UTC, which is 09:00 in Vienna and 17:00 in Tokyo in winter."""
    boards = started(fleet, 3)
    for name, zone in (("pi-00", "Europe/Vienna"), ("pi-01", "Asia/Tokyo"), ("pi-02", "Middle/Earth")):
        fleet.call("PATCH", f"/devices/{name}", json={"labels": {"timezone": zone}})
    hours = [{"start": "16:00", "end": "18:00"}]
    rollout = fleet.roll(2, policy={"phases": ["100%"], "maintenance": hours})
    assert offered(fleet, rollout) == {"pi-01"}
    boards["pi-01"].succeed()
    explained = fleet.call("GET", f"/rollouts/{rollout}/explain")
    assert explained["held_back"] == "2 wait for their maintenance window, the time zone of 1 is unknown"


def test_a_policy_that_makes_no_sense_is_refused_by_the_key(fleet: Served) -> None:
    fleet.group()
    fleet.enrol("pi")
    body = {"model": "digits", "version": 1, "group": "all", "policy": {"metrics": {"speed": {"margin": 1}}}}
    refused = fleet.call("POST", "/rollouts", 422, json=body)
    assert "metrics has no key 'speed'" in refused["detail"]
    fleet.call("GET", "/rollouts/ro-none/explain", 404)


def test_offsets_follow_the_season() -> None:
    assert utc_offset_s({}, 0.0) == 0.0
    assert utc_offset_s({"timezone": "Europe/Vienna"}, 1_800_000_000) == 3600
    assert utc_offset_s({"timezone": "Europe/Vienna"}, 1_815_000_000) == 7200
    assert utc_offset_s({"timezone": "../etc/passwd"}, 0.0) is None
    assert utc_offset_s({"timezone": "Nowhere"}, 0.0) is None
