"""Labelled rows on the server: a repeat replaces, caps hold and are counted, and what is forgotten is gone."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.contract.feedback import FeedbackRows
from fleet_server.cli.app import run
from fleet_server.core.permissions import Role, Scope
from fleet_server.services.api_keys import KeyRequest
from fleet_server.store.feedback import list_feedback
from tests.fakes.mqtt_devices import FakeDevice
from tests.fakes.server_app import Served, served
from tests.fakes.server_http import listening

DAY_S = 24 * 3600
PATH = "/models/digits/feedback"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, feedback_kept=10, feedback_days=7) as found:
        found.upload("v1", b"content")
        for device in ("pi-1", "pi-2"):
            found.enrol(device)
        yield found


def send(fleet: Served, device: str, number: int, rows: int = 2, model: str = "digits") -> FeedbackRows:
    message = FakeDevice(device).feedback(number, rows, model)
    fleet.server.intake.on_feedback(message)
    return message


def totals(fleet: Served) -> Any:
    (found,) = fleet.call("GET", "/feedback")["items"]
    return found


def kept(fleet: Served) -> list[tuple[str, float]]:
    """Device and first input (the message's number) of each row, newest first."""
    items = fleet.call("GET", PATH)["items"]
    return [(item["device"], row["inputs"][0]) for item in items for row in item["rows"]]


def test_rows_come_back_as_they_went_and_a_repeat_replaces(fleet: Served) -> None:
    message = send(fleet, "pi-1", 1)
    fleet.clock.pass_s(5)
    send(fleet, "pi-1", 1)
    send(fleet, "pi-2", 1, rows=1)
    newest, older = fleet.call("GET", PATH)["items"]
    assert (newest["device"], older["device"], older["columns"]) == ("pi-2", "pi-1", ["a", "b"])
    assert older["rows"] == [
        {"inputs": [1.0, 0.0], "truth": 0, "prediction": 0},
        {"inputs": [1.0, 1.0], "truth": 1, "prediction": 0},
    ]
    with fleet.server.context.feedback._database.read() as connection:
        found = list_feedback(connection, "digits", limit=2)
        assert [(item.device, item.row) for item in found] == [("pi-2", message.rows[0]), ("pi-1", message.rows[0])]
        assert list_feedback(connection, "digits", since=fleet.clock.ms + 1) == ()


def test_the_oldest_rows_go_over_the_cap_and_after_their_days_and_are_counted(fleet: Served) -> None:
    for number in range(1, 5):
        send(fleet, "pi-1", number, rows=3)
        fleet.clock.pass_s(DAY_S)
    assert kept(fleet) == [("pi-1", float(number)) for number in (4, 3, 2) for _ in range(3)]
    assert (totals(fleet)["rows"], totals(fleet)["capped"], totals(fleet)["expired"]) == (9, 3, 0)
    fleet.clock.pass_s(5.5 * DAY_S)
    fleet.server.housekeeping.forget_old()
    assert kept(fleet) == [("pi-1", 4.0)] * 3
    assert (totals(fleet)["rows"], totals(fleet)["capped"], totals(fleet)["expired"]) == (3, 3, 6)


def test_only_active_devices_and_known_versions_count(fleet: Served) -> None:
    send(fleet, "stranger", 1)
    send(fleet, "pi-1", 1, model="made-up")
    assert fleet.call("GET", "/feedback")["items"] == []
    send(fleet, "pi-1", 2)
    fleet.call("DELETE", "/devices/pi-1", 204)
    assert kept(fleet) == []  # a removed device takes its rows along


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", []),
        ("?device=pi-1", ["pi-2"]),
        ("?before=2027-01-15T08:00:01Z", ["pi-2"]),
        ("?device=pi-3", ["pi-2", "pi-1"]),
    ],
)
def test_rows_are_forgotten_on_request_and_the_log_says_by_whom(fleet: Served, query: str, left: list[str]) -> None:
    send(fleet, "pi-1", 1)
    fleet.clock.pass_s(60)
    send(fleet, "pi-2", 1)
    gone = fleet.call("DELETE", PATH + query)["rows"]
    assert [device for device, _ in kept(fleet)[::2]] == left
    assert gone == 2 * (2 - len(left))
    (row,) = fleet.call("GET", "/audit?action=feedback_forgotten")["items"]
    assert (row["subject"], row["detail"]["rows"]) == ("digits", gone)


@pytest.mark.parametrize(
    ("role", "scope", "status"),
    [
        (Role.PUBLISHER, Scope(), 200),
        (Role.PUBLISHER, Scope(models=frozenset({"digits"})), 200),
        (Role.PUBLISHER, Scope(models=frozenset({"wine"})), 403),
        (Role.OPERATOR, Scope(), 403),
        (Role.VIEWER, Scope(), 403),
    ],
)
def test_what_devices_saw_is_for_those_who_train(fleet: Served, role: Role, scope: Scope, status: int) -> None:
    key = fleet.server.context.api_keys.make(KeyRequest("k", role, scope), "test")[1]
    for method in ("GET", "DELETE"):
        answer = fleet.client.request(method, "/api/v1" + PATH, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == status


def test_unknown_models_and_senseless_times_are_refused(fleet: Served) -> None:
    fleet.call("GET", "/models/none/feedback", 404)
    fleet.call("DELETE", "/models/none/feedback", 404)
    assert "before: 'x' is no ISO 8601 time" in fleet.call("DELETE", PATH + "?before=x", 422)["detail"]


def test_the_command_exports_a_csv_file_and_forgets(
    fleet: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(fleet, "pi-1", 1)
    send(fleet, "pi-2", 7, rows=1)
    file = tmp_path / "rows.csv"
    with listening(fleet.server.application) as url:
        monkeypatch.setenv("EDGELOOP_URL", url)
        monkeypatch.setenv("EDGELOOP_API_KEY", fleet.key)
        assert run(["feedback", "export", "digits", str(file)]) == 0
        assert run(["feedback", "export", "digits", str(file)]) == 1  # it exists
        assert run(["feedback", "forget", "digits"]) == 2
        assert run(["feedback", "forget", "digits", "--device", "pi-1", "--yes"]) == 0
    head, *rows = csv.reader(file.read_text().splitlines())
    assert head == ["device", "version", "received", "a", "b", "truth", "prediction"]
    assert [(row[0], *row[3:]) for row in rows] == [
        ("pi-2", "7.0", "0.0", "0", "0"),
        ("pi-1", "1.0", "0.0", "0", "0"),
        ("pi-1", "1.0", "1.0", "1", "0"),
    ]
    assert [device for device, _ in kept(fleet)] == ["pi-2"]


def test_a_rollout_says_how_many_rows_a_device_may_send(fleet: Served) -> None:
    fleet.group()
    fleet.roll(1, phases=["100%"], settings={"feedback_rows": 50})
    fleet.turn()
    assert fleet.wire.desired["pi-1"].settings.feedback_rows == 50
    body = {"model": "digits", "version": 1, "group": "all", "settings": {"feedback_rows": 1001}}
    fleet.call("POST", "/rollouts", 422, json=body)
