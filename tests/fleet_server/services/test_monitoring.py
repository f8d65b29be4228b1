"""The monitor judges windows as they come, once, tells of groups and of nothing twice, and survives a restart."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection

from fleet_server.core.drift_findings import Cause, DriftAlert
from fleet_server.services.monitoring import Monitor
from fleet_server.store import drift, window_hours
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from tests.fakes.server_app import Served, served
from tests.fakes.windowed_board import WindowedBoard

DEVICES = 8
POLICY = {"learning_windows": 8, "look_s": 7200}


@contextmanager
def fleet_of(folder: Path, devices: int = DEVICES) -> Iterator[tuple[Served, list[WindowedBoard]]]:
    with served(folder) as fleet:
        fleet.upload("v1", b"one")
        token = fleet.token(uses=devices)
        digest = fleet.call("GET", "/models/digits/versions/1/variants")["items"][0]["digest"]
        chance = np.random.default_rng(5)
        boards = []
        for number in range(devices):
            name = f"pi-{number}"
            fleet.enrol(name, token)
            boards.append(WindowedBoard(name, digest, chance, offset=0.3 * float(chance.normal())))
        fleet.call("PUT", "/models/digits/drift-policy", json=POLICY)
        yield fleet, boards


def close_windows(fleet: Served, boards: Iterable[WindowedBoard], rounds: int = 1) -> None:
    for _ in range(rounds):
        fleet.clock.pass_s(3600)
        for board in boards:
            fleet.server.intake.on_window(board.window(fleet.clock()))
        fleet.server.monitor.tick()


def shown(fleet: Served, **query: str) -> dict[str, object]:
    found: dict[str, object] = fleet.call("GET", "/drift", params={"model": "digits", **query})
    return found


def codes(fleet: Served) -> list[str]:
    events = fleet.call("GET", "/events")["items"]
    return [item["code"] for item in reversed(events) if item["code"].startswith("drift_")]


def test_a_fleet_that_learns_drifts_and_recovers_tells_of_each(tmp_path: Path) -> None:
    with fleet_of(tmp_path) as (fleet, boards):
        fleet.group("south", "")
        close_windows(fleet, boards, 8)
        assert shown(fleet)["state"] == "learning"
        close_windows(fleet, boards, 4)
        calm = shown(fleet)
        assert calm["state"] == "ok"
        assert all(item["state"] in ("ok", "watch") for item in calm["devices"])
        for board in boards:
            board.shift = {"b": 0.8}
        began = fleet.clock()
        close_windows(fleet, boards, 2)
        found = shown(fleet, group="south")
        assert found["state"] == "drift"
        assert found["sentence"].startswith("b rose by about 0.")
        assert "on 8 of 8 devices" in found["sentence"]
        assert [item["feature"] for item in found["features"] if item["drifted"]] == ["b"]
        assert {item["state"] for item in shown(fleet, state="drift")["devices"]} == {"drift"}
        assert found["since"] == shown(fleet)["since"] > "2027"
        assert fleet.clock() - began == 7_200_000
        for board in boards:
            board.shift = {}
        close_windows(fleet, boards, 4)
        assert shown(fleet)["state"] in ("recovered", "ok")
        assert codes(fleet).count("drift_drift") == 2  # the group's and the model's
        decided = fleet.call("GET", "/decisions?model=digits")["items"]
        drifted = [item for item in decided if item["kind"] == "drift" and item["evidence"]["state"] == "drift"]
        assert {item["evidence"]["group"] for item in drifted} == {None, "south"}
        assert drifted[0]["evidence"]["features"][0]["feature"] == "b"
        assert drifted[0]["policy"]["learning_windows"] == 8


def test_one_device_that_drifts_is_a_filter_and_no_alert(tmp_path: Path) -> None:
    with fleet_of(tmp_path) as (fleet, boards):
        close_windows(fleet, boards, 10)
        boards[3].stuck = "c"
        close_windows(fleet, boards, 3)
        found = shown(fleet, state="drift")
        assert found["state"] == "ok"
        assert [item["device"] for item in found["devices"]] == ["pi-3"]
        assert "c is stuck near one value" in found["devices"][0]["sentence"]
        assert "drift_drift" not in codes(fleet)


def test_sensors_that_stick_on_many_devices_are_told_of(tmp_path: Path) -> None:
    with fleet_of(tmp_path) as (fleet, boards):
        close_windows(fleet, boards, 10)
        for board in boards[:3]:
            board.stuck = "c"
        close_windows(fleet, boards, 4)
        found = shown(fleet)
        assert found["state"] == "drift"
        assert "3 of 8 devices" in found["sentence"]


def test_a_fleet_far_from_training_is_told_of_while_it_learns(tmp_path: Path) -> None:
    with fleet_of(tmp_path) as (fleet, boards):
        for board in boards:
            board.shift = {"a": -1.0}
        close_windows(fleet, boards, 2)
        found = shown(fleet)
        assert found["state"] == "drift"
        assert "a fell by about" in found["sentence"]
        assert "against training" in found["sentence"]


def test_answers_that_become_wrong_are_told_of(tmp_path: Path) -> None:
    with fleet_of(tmp_path) as (fleet, boards):
        for board in boards:
            board.accuracy = 0.96
        close_windows(fleet, boards, 10)
        assert shown(fleet)["truth"]["state"] == "ok"
        for board in boards:
            board.accuracy = 0.75
        close_windows(fleet, boards, 2)
        truth = shown(fleet)["truth"]
        assert truth["state"] == "drift"
        assert "where the model card has 97.0%" in truth["sentence"]
        assert shown(fleet)["state"] == "ok"
        alert = next(item for item in fleet.call("GET", "/decisions")["items"] if item["kind"] == "drift")
        assert alert["evidence"]["cause"] == "accuracy"


def test_small_windows_are_merged_into_looks(tmp_path: Path) -> None:
    with fleet_of(tmp_path, 1) as (fleet, boards):
        boards[0].rows = 90
        close_windows(fleet, boards, 7)
        (device,) = shown(fleet)["devices"]
        assert (device["windows"], device["rows"], device["learnt"]) == (7, 630, 2)


def monitor_of(fleet: Served, heard: list[DriftAlert]) -> tuple[Monitor, Database]:
    def hear(connection: Connection, alert: DriftAlert) -> None:
        assert connection.in_transaction()
        heard.append(alert)

    database = Database.at(fleet.folder / "data" / "server.db")
    artifacts = ArtifactFolder(fleet.folder / "data" / "artifacts")
    return Monitor(database, artifacts, fleet.server.context.announcer, fleet.clock, hear), database


def test_a_restart_judges_nothing_twice_and_alerts_once(tmp_path: Path) -> None:
    heard: list[DriftAlert] = []
    with fleet_of(tmp_path) as (fleet, boards):
        close_windows(fleet, boards, 10)
        for board in boards:
            board.shift = {"a": 1.0}
        for _ in range(3):
            monitor, database = monitor_of(fleet, heard)  # a new one each time, as after a restart
            fleet.clock.pass_s(3600)
            for board in boards:
                fleet.server.intake.on_window(board.window(fleet.clock()))
            assert monitor.tick() == DEVICES
            assert monitor.tick() == 0
            with database.read() as connection:
                (looks,) = {len(item.looks) for item in drift.find_devices(connection, "digits", 1).values()}
                assert looks == 3
            database.close()
        (alert,) = heard
        assert (alert.model, alert.version, alert.group, alert.cause) == ("digits", 1, None, Cause.INPUTS)
        assert alert.sentence.startswith("a rose by about")


def test_a_repeated_window_is_judged_once(tmp_path: Path) -> None:
    with fleet_of(tmp_path, 1) as (fleet, boards):
        window = boards[0].window(fleet.clock())
        for _ in range(3):
            fleet.server.intake.on_window(window)
            fleet.server.monitor.tick()
        (device,) = shown(fleet)["devices"]
        assert (device["windows"], device["learnt"]) == (1, 1)


def test_windows_of_an_unknown_bundle_or_another_shape_stop_nothing(tmp_path: Path) -> None:
    with fleet_of(tmp_path, 2) as (fleet, boards):
        stranger = WindowedBoard("pi-0", "f" * 64, boards[0].chance)
        fleet.server.intake.on_window(stranger.window(fleet.clock()))
        close_windows(fleet, [boards[1]])
        assert [item["device"] for item in shown(fleet)["devices"]] == ["pi-1"]


@pytest.mark.parametrize(
    ("policy", "state", "learnt"),
    [
        ({"learning_windows": 8}, "ok", 8),
        ({"learning_windows": 10}, "learning", 9),
        ({"learning_windows": 8, "min_rows": 800}, "learning", 4),
    ],
)
def test_a_device_has_learnt_after_so_many_looks_of_so_many_rows(
    tmp_path: Path, policy: dict[str, float], state: str, learnt: int
) -> None:
    with fleet_of(tmp_path, 1) as (fleet, boards):
        fleet.call("PUT", "/models/digits/drift-policy", json=policy)
        close_windows(fleet, boards, 9)
        (device,) = shown(fleet)["devices"]
        assert (device["state"], device["learnt"]) == (state, learnt)


@pytest.mark.parametrize(("look_s", "judged"), [(3600, True), (36_000, False)])
def test_a_group_waits_for_its_devices_so_long(tmp_path: Path, look_s: int, judged: bool) -> None:
    with fleet_of(tmp_path, 4) as (fleet, boards):
        fleet.call("PUT", "/models/digits/drift-policy", json=POLICY | {"look_s": look_s})
        close_windows(fleet, boards)
        close_windows(fleet, boards[:2])
        _, database = monitor_of(fleet, [])
        with database.read() as connection:
            scope = drift.find_scope(connection, "digits", 1, "", "data")
        database.close()
        assert scope is not None
        assert (scope.judged_n > 4) is judged


def test_hours_are_shown_merged_for_a_device_and_for_all(tmp_path: Path) -> None:
    with fleet_of(tmp_path, 2) as (fleet, boards):
        close_windows(fleet, boards, 2)
        fleet.clock.pass_s(3600)
        _, database = monitor_of(fleet, [])
        with database.write() as connection:
            window_hours.roll_up(connection, fleet.clock(), 100)
        database.close()
        whole = fleet.call("GET", "/windows/hours", params={"model": "digits"})
        assert (whole["model"], whole["version"]) == ("digits", 1)
        assert [(item["devices"], item["windows"], item["counts"]["rows"]) for item in whole["hours"]] == [
            (2, 2, 800)
        ] * 2
        mine = fleet.call("GET", "/windows/hours", params={"model": "digits", "device": "pi-1"})["hours"]
        assert [(item["devices"], item["windows"], item["counts"]["rows"]) for item in mine] == [(1, 1, 400)] * 2


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({"alpha": 2}, "alpha is"),
        ({"confirm": 4}, "confirm is 1 to 3"),
        ({"learning_windows": 3}, "learning_windows is 8"),
    ],
)
def test_a_policy_that_is_none_is_refused_by_field(tmp_path: Path, document: dict[str, float], told: str) -> None:
    with fleet_of(tmp_path, 1) as (fleet, _):
        answer = fleet.call("PUT", "/models/digits/drift-policy", 422, json=document)
        assert told in answer["detail"]
        fleet.call("PUT", "/models/digits/drift-policy", 422, json={"unheard": 1})
        assert fleet.call("GET", "/models/digits/drift-policy")["learning_windows"] == 8
        fleet.call("GET", "/models/none/drift-policy", 404)
