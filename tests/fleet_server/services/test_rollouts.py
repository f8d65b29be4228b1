"""Rollouts end to end: boards report, phases advance, failures go back, restarts converge."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.contract.states import Reason
from fleet_server.store import assignments
from tests.fakes.server_app import Board, Served, served
from tests.fakes.server_broker import MemoryAccounts, MemoryWire


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        found.upload("v1", b"one")
        found.upload("v2", b"two")
        yield found


def boards_of(fleet: Served, count: int) -> dict[str, Board]:
    fleet.group()
    return {f"pi-{number}": fleet.enrol(f"pi-{number}") for number in range(count)}


def run_first(fleet: Served, boards: dict[str, Board]) -> None:
    identity = fleet.roll(1, phases=["100%"])
    for board in boards.values():
        board.succeed()
    assert fleet.rollout(identity)["state"] == "succeeded"


def test_phases_advance_on_attested_success_alone(fleet: Served) -> None:
    boards = boards_of(fleet, 4)
    identity = fleet.roll(1, phases=["25%", "100%"])
    offered = [name for name, state in fleet.states(identity).items() if state == "offered"]
    assert len(offered) == 1
    assert set(fleet.wire.desired) == set(offered)
    boards[offered[0]].succeed()
    assert fleet.rollout(identity)["phase"] == 1
    assert set(fleet.wire.desired) == set(boards)
    for name in set(boards) - set(offered):
        boards[name].succeed()
    shown = fleet.rollout(identity)
    assert shown["state"] == "succeeded"
    assert [phase["succeeded"] for phase in shown["phases"]] == [1, 3]
    kinds = [item["kind"] for item in fleet.call("GET", f"/decisions?rollout={identity}")["items"]]
    assert kinds == ["succeed", "offer", "advance", "offer", "start"]
    assert all(view["in_sync"] for view in fleet.call("GET", "/devices")["items"])


def test_failure_halts_and_every_offered_device_goes_back(fleet: Served) -> None:
    boards = boards_of(fleet, 4)
    run_first(fleet, boards)
    identity = fleet.roll(2, phases=["50%", "100%"])
    offered = sorted(name for name, state in fleet.states(identity).items() if state == "offered")
    assert len(offered) == 2
    untouched = {name: fleet.wire.desired[name] for name in set(boards) - set(offered)}
    boards[offered[0]].succeed()
    boards[offered[1]].fail(model="digits")
    shown = fleet.rollout(identity)
    assert shown["state"] == "halted"
    assert "non_finite_output" in shown["reason"]
    for name in offered:
        assert [item.version for item in boards[name].desired().bundles] == [1]
        assert boards[name].desired().seq == 3
        boards[name].succeed()
    assert {fleet.states(identity)[name] for name in offered} == {"returned"}
    assert {name: fleet.wire.desired[name] for name in untouched} == untouched
    kinds = [item["kind"] for item in fleet.call("GET", f"/decisions?rollout={identity}")["items"]]
    assert kinds[:2] == ["roll_back", "halt"]


def test_one_allowed_failure_goes_back_alone_and_the_rollout_goes_on(fleet: Served) -> None:
    boards = boards_of(fleet, 3)
    run_first(fleet, boards)
    identity = fleet.roll(2, phases=["100%"], max_failures=1)
    boards["pi-0"].fail()
    assert [item.version for item in boards["pi-0"].desired().bundles] == [1]
    boards["pi-0"].succeed()
    boards["pi-1"].succeed()
    boards["pi-2"].succeed()
    assert fleet.rollout(identity)["state"] == "succeeded"
    for _ in range(3):
        fleet.turn()  # the group's target is version 2 now; the version is known bad on pi-0
    assert [item.version for item in boards["pi-0"].desired().bundles] == [1]


def test_first_installation_that_fails_leaves_an_empty_set(fleet: Served) -> None:
    boards = boards_of(fleet, 1)
    fleet.roll(1, phases=["100%"])
    boards["pi-0"].fail(reason=Reason.LOAD_FAILED)
    assert boards["pi-0"].desired().bundles == ()
    assert boards["pi-0"].desired().seq == 2


def test_abort_returns_devices_by_a_newer_document(fleet: Served) -> None:
    boards = boards_of(fleet, 2)
    run_first(fleet, boards)
    before = {name: board.desired().seq for name, board in boards.items()}
    identity = fleet.roll(2, phases=["100%"])
    boards["pi-0"].succeed()
    fleet.call("POST", f"/rollouts/{identity}/abort")
    fleet.turn()
    for name, board in boards.items():
        assert [item.version for item in board.desired().bundles] == [1]
        assert board.desired().seq == before[name] + 2
        board.succeed()
    assert set(fleet.states(identity).values()) == {"returned"}
    fleet.call("POST", f"/rollouts/{identity}/resume", 409)


def test_device_that_joins_later_gets_the_groups_version(fleet: Served) -> None:
    boards = boards_of(fleet, 1)
    run_first(fleet, boards)
    late = fleet.enrol("pi-late")
    fleet.turn()
    assert [item.version for item in late.desired().bundles] == [1]
    late.fail(reason=Reason.GOLDEN_MISMATCH)
    for _ in range(3):
        fleet.turn()
    assert late.desired().bundles == ()


def test_a_part_of_a_group_is_not_the_whole_group(fleet: Served) -> None:
    boards = boards_of(fleet, 4)
    identity = fleet.roll(1, phases=["1"])
    (name,) = [name for name, state in fleet.states(identity).items() if state == "offered"]
    boards[name].succeed()
    assert fleet.rollout(identity)["state"] == "succeeded"
    fleet.turn()
    assert set(fleet.wire.desired) == {name}


def test_pause_holds_and_resume_goes_on(fleet: Served) -> None:
    boards = boards_of(fleet, 2)
    identity = fleet.roll(1, phases=["1", "100%"])
    fleet.call("POST", f"/rollouts/{identity}/pause")
    (name,) = fleet.wire.desired
    boards[name].succeed()
    assert fleet.rollout(identity)["phase"] == 0
    fleet.call("POST", f"/rollouts/{identity}/resume")
    fleet.turn()
    assert len(fleet.wire.desired) == 2


def test_phase_time_out_pauses_and_never_promotes(fleet: Served) -> None:
    boards_of(fleet, 2)
    identity = fleet.roll(1, phases=["1", "100%"], phase_timeout_s=60)
    fleet.clock.pass_s(61)
    fleet.turn()
    shown = fleet.rollout(identity)
    assert (shown["state"], shown["phase"]) == ("paused", 0)


def test_phase_soak_delays_the_next_phase(fleet: Served) -> None:
    boards = boards_of(fleet, 2)
    identity = fleet.roll(1, phases=["1", "100%"], phase_soak_s=30)
    (name,) = fleet.wire.desired
    boards[name].succeed()
    assert fleet.rollout(identity)["phase"] == 0
    fleet.clock.pass_s(31)
    fleet.turn()
    assert fleet.rollout(identity)["phase"] == 1


def test_device_without_a_fitting_variant_is_skipped_with_its_reason(fleet: Served) -> None:
    fleet.group()
    fleet.enrol("pi-0")
    fleet.enrol("odd", runtimes={"numpy": "2"})
    fleet.enrol("wrong", runtimes={"onnx": "1.26.0"})
    plan = fleet.call(
        "POST", "/rollouts", json={"model": "digits", "version": 1, "group": "all", "phases": ["100%"], "dry_run": True}
    )
    by_device = {item["device"]: item for item in plan["devices"]}
    assert by_device["pi-0"]["variant"] == "onnx-fp32"
    assert by_device["odd"]["variant"] is None
    assert "not on the device" in by_device["odd"]["reason"]
    assert by_device["wrong"]["variant"] is None
    assert "onnxruntime 1.26.0 is denied" in by_device["wrong"]["reason"]
    assert fleet.call("GET", "/rollouts")["items"] == []
    identity = fleet.roll(1, phases=["100%"])
    assert fleet.states(identity)["odd"] == "skipped"


def test_overlapping_rollout_of_the_same_model_is_refused(fleet: Served) -> None:
    boards_of(fleet, 1)
    fleet.roll(1, phases=["100%"])
    body = {"model": "digits", "version": 2, "group": "all"}
    assert "abort it" in fleet.call("POST", "/rollouts", 409, json=body)["detail"]


def test_two_models_live_side_by_side(fleet: Served) -> None:
    fleet.upload("wine", b"w", "wine")
    boards = boards_of(fleet, 1)
    run_first(fleet, boards)
    fleet.roll(1, model="wine", phases=["100%"])
    assert {item.model for item in boards["pi-0"].desired().bundles} == {"digits", "wine"}
    boards["pi-0"].fail(model="wine")
    assert {item.model for item in boards["pi-0"].desired().bundles} == {"digits"}


def test_settings_soak_and_threshold_reach_the_document(fleet: Served) -> None:
    boards = boards_of(fleet, 1)
    soak = {"min_s": 1, "max_s": 5, "min_rows": 3, "max_error_ratio": 0.5}
    fleet.roll(1, phases=["100%"], soak=soak, settings={"health_s": 2, "threshold": 0.7})
    made = boards["pi-0"].desired()
    assert (made.soak.max_s, made.soak.min_rows, made.settings.health_s) == (5, 3, 2)
    assert made.bundles[0].threshold == 0.7


def test_trouble_with_one_device_does_not_stop_the_others(fleet: Served) -> None:
    boards = boards_of(fleet, 3)
    fleet.wire.fails_for.add("pi-0")
    fleet.roll(1, phases=["100%"])
    assert set(fleet.wire.desired) == {"pi-1", "pi-2"}
    fleet.wire.fails_for.clear()
    fleet.turn()
    assert set(fleet.wire.desired) == set(boards)


def test_removed_device_does_not_hold_a_rollout_up(fleet: Served) -> None:
    boards = boards_of(fleet, 2)
    identity = fleet.roll(1, phases=["100%"])
    fleet.call("DELETE", "/devices/pi-0", 204)
    boards["pi-1"].succeed()
    assert fleet.rollout(identity)["state"] == "succeeded"
    assert "pi-0" not in fleet.wire.desired


def test_restart_in_the_middle_converges(tmp_path: Path) -> None:
    wire, accounts = MemoryWire(), MemoryAccounts()
    with served(tmp_path, wire, accounts) as first:
        first.upload("v1", b"one")
        boards = boards_of(first, 3)
        identity = first.roll(1, phases=["1", "100%"])
        (early,) = wire.desired
        wire.connected = False
        boards[early].succeed()  # decided and saved, but the broker was not told
        assert set(wire.desired) == {early}
    wire.connected = True
    wire.lose_everything()
    with served(tmp_path, wire, accounts) as second:
        second.turn()
        assert set(wire.desired) == set(boards)
        for name in set(boards) - {early}:
            boards[name].fleet = second
            boards[name].succeed()
        assert second.rollout(identity)["state"] == "succeeded"


def test_artifact_is_published_once_for_a_cohort(fleet: Served) -> None:
    boards = boards_of(fleet, 1)
    run_first(fleet, boards)
    once = fleet.wire.sent_bytes
    for number in range(1, 8):
        fleet.enrol(f"more-{number}")
    fleet.turn()
    assert len(fleet.wire.desired) == 8
    assert fleet.wire.sent_bytes == once


def test_chunks_that_no_device_needs_leave_the_broker_after_a_day(fleet: Served) -> None:
    boards = boards_of(fleet, 2)
    run_first(fleet, boards)
    first = set(fleet.wire.chunks)
    fleet.roll(2, phases=["100%"])
    for board in boards.values():
        board.succeed()
    second = {(item.cohort, item.parcel) for wanted in fleet.wire.desired.values() for item in wanted.bundles}
    everything = set(fleet.wire.chunks)
    assert fleet.server.outbox.tidy() == 0  # a device may come back in the middle of a download
    fleet.clock.pass_s(25 * 3600)
    assert fleet.server.outbox.tidy() == 1
    left = set(fleet.wire.chunks)
    assert second <= left
    assert left < everything
    assert first - left  # version 1's own are gone
    again = fleet.roll(1, phases=["100%"])  # and come back when it goes out again
    for board in boards.values():
        board.succeed()
    assert fleet.rollout(again)["state"] == "succeeded"
    assert set(fleet.wire.chunks) == everything


def test_no_document_names_a_version_that_is_bad_on_the_device(fleet: Served) -> None:
    boards = boards_of(fleet, 1)
    run_first(fleet, boards)
    board, server = boards["pi-0"], fleet.server
    (held,) = board.desired().bundles
    with server._database.write() as connection:
        assignments.save_bad(connection, assignments.BadVersion(board.id, "digits", 1, "unhealthy", "", 0))
        server.controller._assigner.give_back(connection, board.id, "digits", 1, held.digest, fleet.clock())
    fleet.turn()
    assert board.desired().bundles == ()
