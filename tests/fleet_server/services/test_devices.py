"""What devices say: ordered by (boot, seq), repeats change nothing, windows replace, events count once."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.contract.messages import Event, Get, Health, Status
from edge_agent.contract.states import EventCode, Presence
from edge_agent.contract.windows import LATENCY_BUCKETS, FeatureCounts, Window, WindowCounts
from tests.fakes.server_app import Board, Served, served


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        yield found


def window_of(board: Board, digest: str, number: int = 1, bins: tuple[int, ...] = (25, 25, 25, 25)) -> Window:
    rows = sum(bins)
    columns = tuple(FeatureCounts(bins, total=0.0, squares=float(rows)) for _ in range(3))
    counts = WindowCounts(
        rows, 0, 0, columns, (rows // 2, rows - rows // 2), (0,) * 9 + (rows,), (0,) * LATENCY_BUCKETS
    )
    return Window(board.id, board.boot, number, "digits", 1, digest, 0, 1000, counts)


def presence(fleet: Served) -> str:
    return str(fleet.call("GET", "/devices/pi-1")["presence"])


def test_stale_will_does_not_overrule_a_newer_birth(fleet: Served) -> None:
    fleet.enrol("pi-1")
    take = fleet.server.intake.on_status
    take("pi-1", Status(Presence.READY, 5, 0))
    take("pi-1", Status(Presence.LOST, 4, 0))
    assert presence(fleet) == "ready"
    take("pi-1", Status(Presence.LOST, 5, 0))
    assert presence(fleet) == "lost"
    take("pi-1", Status(Presence.READY, 5, 0))
    assert presence(fleet) == "ready"


def test_older_and_repeated_reports_change_nothing(fleet: Served) -> None:
    fleet.upload("v1", b"one")
    fleet.group()
    board = fleet.enrol("pi-1")
    old = board.report()
    fleet.roll(1, phases=["100%"])
    board.succeed()
    shown = fleet.call("GET", "/devices/pi-1")
    assert shown["running"][0]["attested"]
    fleet.server.intake.on_reported(old)
    fleet.server.intake.on_reported(replace(old, boot=0, seq=99))
    assert fleet.call("GET", "/devices/pi-1") == shown
    fleet.server.intake.on_reported(replace(old, boot=2, seq=0))
    assert fleet.call("GET", "/devices/pi-1")["running"] == []


def test_messages_of_unknown_devices_leave_no_trace(fleet: Served) -> None:
    stranger = Board("ghost", fleet)
    fleet.server.intake.on_status("ghost", Status(Presence.READY, 1, 0))
    fleet.server.intake.on_window(window_of(stranger, "0" * 64))
    fleet.server.intake.on_event(Event("ghost", 1, 1, 0, EventCode.BOOTED))
    assert fleet.call("GET", "/windows")["items"] == []
    assert fleet.call("GET", "/events?device=ghost")["items"] == []


def test_a_repeated_window_replaces(fleet: Served) -> None:
    board = fleet.enrol("pi-1")
    for bins in ((1, 1, 1, 1), (25, 25, 25, 25)):
        fleet.server.intake.on_window(window_of(board, "0" * 64, bins=bins))
    (only,) = fleet.call("GET", "/windows?device=pi-1&model=digits&version=1")["items"]
    assert only["counts"]["rows"] == 100


def test_a_repeated_event_counts_once(fleet: Served) -> None:
    fleet.enrol("pi-1")
    event = Event("pi-1", 1, 7, 0, EventCode.WORKER_CRASHED, "signal 11", "digits")
    for _ in range(3):
        fleet.server.intake.on_event(event)
    found = [item for item in fleet.call("GET", "/events?device=pi-1")["items"] if item["code"] == "worker_crashed"]
    assert len(found) == 1
    assert found[0]["detail"] == "signal 11"


def test_health_keeps_a_bounded_history(tmp_path: Path) -> None:
    with served(tmp_path, health_kept=10) as fleet:
        fleet.enrol("pi-1")
        for number in range(1, 101):
            message = Health(
                0,
                number,
                "digits",
                1,
                number,
                0,
                0,
                0.1,
                0.2,
                0.3,
                0.9,
                0.0,
                0.0,
                0.0,
                5.0,
                60.0,
                40.0,
                900.0,
                0,
                1.0,
                "0",
            )
            fleet.server.intake.on_health("pi-1", message)
        items = fleet.call("GET", "/health?device=pi-1&model=digits")["items"]
        assert [item["seq"] for item in items] == list(range(100, 90, -1))
        assert fleet.call("GET", "/devices/pi-1")["health"]["digits"]["infer_n"] == 100


def test_repair_answers_only_what_the_device_should_have(fleet: Served) -> None:
    fleet.upload("v1", b"one")
    fleet.group()
    board = fleet.enrol("pi-1")
    other = fleet.enrol("pi-2")
    fleet.roll(1, phases=["1"])
    (name,) = fleet.wire.desired
    asker, stranger = (board, other) if name == "pi-1" else (other, board)
    parcel = asker.desired().bundles[0].parcel
    fleet.server.intake.on_get(asker.id, Get((parcel, "0" * 64)))
    fleet.server.intake.on_get(stranger.id, Get((parcel,)))
    assert fleet.wire.answered == [(asker.id, parcel)]


def test_drift_rises_on_moved_rows_and_not_on_others(fleet: Served) -> None:
    shown = fleet.upload("v1", b"one")
    digest = next(item["digest"] for item in shown["variants"] if item["variant"] == "onnx-fp32")
    fleet.group("north", "site=north")
    fleet.group("south", "site=south")
    north = fleet.enrol("pi-n", fleet.token(labels={"site": "north"}))
    south = fleet.enrol("pi-s", fleet.token(labels={"site": "south"}))
    for number in range(1, 6):
        fleet.server.intake.on_window(window_of(north, digest, number, (250, 250, 250, 250)))
        fleet.server.intake.on_window(window_of(south, digest, number, (980, 10, 5, 5)))
        fleet.clock.pass_s(60)
        fleet.turn()
    calm = fleet.call("GET", "/drift?model=digits&version=1&group=north")
    moved = fleet.call("GET", "/drift?model=digits&group=south")
    assert calm["state"] == "learning"
    assert not any(item["drifted"] for item in calm["features"])
    assert (moved["state"], moved["rows"], moved["windows"]) == ("drift", 3000, 3)
    assert [item["device"] for item in moved["devices"]] == ["pi-s"]
    assert all(item["drifted"] for item in moved["features"])


def test_labels_are_set_and_taken_away(fleet: Served) -> None:
    fleet.enrol("pi-1")
    fleet.group("north", "site=north")
    fleet.call("PATCH", "/devices/pi-1", json={"labels": {"site": "north", "rack": "3"}})
    assert [item["id"] for item in fleet.call("GET", "/devices?group=north")["items"]] == ["pi-1"]
    shown = fleet.call("PATCH", "/devices/pi-1", json={"labels": {"site": None}})
    assert shown["labels"] == {"rack": "3"}
    assert fleet.call("GET", "/devices?group=north")["items"] == []
    fleet.call("PATCH", "/devices/pi-1", 422, json={"labels": {"profile": "x"}})
