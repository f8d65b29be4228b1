"""The loop closes: what is found in the field becomes a version that the field runs, or says where it ended and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from edge_agent.contract import codec
from fleet_server.core.audit_chain import AuditRow
from fleet_server.core.cycle import Turn, trace_cycle
from fleet_server.core.drift_findings import DriftAlert
from fleet_server.services.clock import now_ms
from fleet_server.store.audit import AuditFilter
from fleet_server.store.errors import ConflictError
from fleet_server.store.models import Version
from fleet_server.store.pages import PageRequest
from tests.fakes.builds import Pretend, working
from tests.fakes.retraining import find, finding, in_the_field, newest, send_rows, set_pipeline, train, trainer, verdict
from tests.fakes.server_app import Board, Served, served
from tests.fakes.server_versions import write_version


@contextmanager
def now(folder: Path, **settings: Any) -> Iterator[Served]:
    """A server at the machine's own time."""
    with served(folder, **settings) as fleet:
        fleet.clock.ms = now_ms()
        yield fleet


def log(fleet: Served) -> tuple[AuditRow, ...]:
    return fleet.server.context.audit.list_audit(PageRequest(limit=1000), AuditFilter(), newest_first=False).items


def actions(fleet: Served) -> list[str]:
    return [row.action for row in log(fleet)]


def test_a_whole_turn_of_the_cycle(fleet: Served, boards: list[Board]) -> None:
    set_pipeline(fleet, automatic=True)
    find(fleet)
    held = train(fleet, trainer(fleet.folder, won=True), "rolling")
    assert (held["made"], held["fresh"]["rows"], held["fresh"]["devices"]) == (2, 90, 2)
    assert held["verdict"]["newest"]["gain"] == 0.2
    assert fleet.call("GET", "/releases")["items"][0]["state"] == "signed"  # under the delegation, by a key of its own
    for _ in range(3):
        for board in boards:
            if any(item.version == 2 for item in board.desired().bundles):
                board.succeed()
        fleet.turn()
    assert newest(fleet)["state"] == "done"
    assert fleet.rollout(held["rollout"])["state"] == "succeeded"
    traced = trace_cycle(Turn("digits", 1, 2, held["id"]), log(fleet))
    assert [arrow.name for arrow, row in traced if row is None] == []
    found = actions(fleet)
    assert found.index("proposal_registered") < found.index("delegation_made") < found.index("proposal_rolling")
    shown = fleet.call("GET", "/models/digits/versions/2/lineage")
    assert (shown["parent"], shown["release"], shown["automatic"]) == (1, "signed", True)
    assert shown["made"]["proposal"] == held["id"] == shown["proposal"]["id"]
    assert shown["made"]["pipeline"] == fleet.call("GET", "/models/digits/pipeline")["digest"]
    assert shown["made"]["fresh_file"] == held["fresh"]["sha256"]
    assert sorted(name for item in shown["bundles"] for name in item["devices"]) == ["pi-1", "pi-2"]
    kinds = [item["kind"] for item in shown["decisions"]]
    assert kinds[0] == "propose_retraining"
    assert {"retraining_accepted", "retraining_registered", "start", "succeed", "retraining_done"} <= set(kinds)


def test_what_is_lost_registers_nothing(fleet: Served, boards: list[Board]) -> None:
    set_pipeline(fleet, automatic=True)
    find(fleet)
    held = train(fleet, trainer(fleet.folder, won=False), "lost")
    assert held["verdict"]["newest"]["lower"] == -0.05
    assert "are asked" in held["reason"]
    assert [item["version"] for item in fleet.call("GET", "/models/digits/versions")["items"]] == [1]
    assert fleet.call("GET", f"/operations/{held['operation']}")["result"]["won"] is False


def test_a_halted_canary_ends_it(fleet: Served, boards: list[Board]) -> None:
    set_pipeline(fleet, automatic=True)
    find(fleet)
    train(fleet, trainer(fleet.folder, won=True), "rolling")
    (tried,) = (board for board in boards if any(item.version == 2 for item in board.desired().bundles))
    tried.fail("digits")
    fleet.turn()
    fleet.turn()
    held = newest(fleet)
    assert held["state"] == "rolled_back"
    assert "halted" in held["reason"]


def test_a_person_decides_where_nothing_is_automatic(fleet: Served, boards: list[Board]) -> None:
    find(fleet)
    fleet.turn()
    held = newest(fleet)
    assert (held["state"], held["cause"], held["evidence"]["feature"]) == ("proposed", "inputs", "a")
    fleet.call("POST", f"/proposals/{held['id']}/decline", 422, json={})
    fleet.call("POST", f"/proposals/{held['id']}/decline", json={"reason": "it is the season"})
    assert newest(fleet)["reason"] == "declined by operator: it is the season"
    fleet.call("POST", f"/proposals/{held['id']}/accept", 409)
    find(fleet)
    assert len(fleet.call("GET", "/proposals")["items"]) == 1  # the cool-down holds
    made = fleet.call("POST", "/models/digits/proposals", 201, json={"reason": "new sensors"})  # but no person
    fleet.call("POST", "/models/digits/proposals", 409, json={"reason": "again"})
    fleet.call("POST", f"/proposals/{made['id']}/accept")
    assert train(fleet, trainer(fleet.folder, won=False), "lost")["author"] == "operator"
    assert {"decided_retraining_declined", "proposal_declined", "proposal_lost"} <= set(actions(fleet))


@pytest.mark.parametrize("found", [finding(model="wine"), finding(version=2)], ids=["no-pipeline", "not-what-runs"])
def test_nothing_opens_for_what_is_no_matter_here(fleet: Served, boards: list[Board], found: DriftAlert) -> None:
    find(fleet, found)
    assert fleet.call("GET", "/proposals")["items"] == []


def test_it_waits_for_rows_and_not_for_ever(fleet: Served, boards: list[Board]) -> None:
    set_pipeline(fleet, automatic=True, min_fresh_rows=200, deadline_s=7200)
    find(fleet)
    for _ in range(3):
        fleet.turn()
    assert newest(fleet)["reason"] == "waits for feedback: 90 of 200 labelled rows"
    fleet.clock.pass_s(7201)
    fleet.turn()
    assert newest(fleet)["state"] == "failed"
    find(fleet)
    assert len(fleet.call("GET", "/proposals")["items"]) == 1
    fleet.clock.pass_s(3601)
    find(fleet)
    send_rows(fleet, boards[0], 110, number=2)
    fleet.turn()
    fleet.turn()
    assert newest(fleet)["state"] == "training"


def test_a_training_that_fails_says_why(fleet: Served, boards: list[Board]) -> None:
    set_pipeline(fleet, automatic=True)
    find(fleet)
    held = train(fleet, Pretend("raise SystemExit('there is no column kind')"), "failed")
    assert held["reason"] == "there is no column kind"


def test_a_version_of_another_proposal_is_not_taken(fleet: Served, boards: list[Board]) -> None:
    set_pipeline(fleet, automatic=True)
    find(fleet)
    box = trainer(fleet.folder, won=True)
    forged = Pretend(box.program.replace('record["card"]["lineage"] = lineage', 'record["card"]["lineage"] = {}'))
    held = train(fleet, forged, "failed")
    assert "which proposal" in held["reason"]
    assert [item["version"] for item in fleet.call("GET", "/models/digits/versions")["items"]] == [1]


def test_declined_while_it_trains_it_registers_nothing(fleet: Served, boards: list[Board]) -> None:
    set_pipeline(fleet, automatic=True)
    find(fleet)
    fleet.turn()
    fleet.turn()
    held = newest(fleet)
    assert held["state"] == "training"
    fleet.call("POST", f"/proposals/{held['id']}/decline", json={"reason": "not now"})
    assert fleet.call("GET", f"/operations/{held['operation']}")["state"] == "cancelled"
    with working(fleet, trainer(fleet.folder, won=True)):
        fleet.turn()
    assert newest(fleet)["state"] == "declined"


def test_what_wins_after_it_was_declined_is_not_registered(fleet: Served, boards: list[Board]) -> None:
    """The word of a person may come between the end of a training and its registration."""
    set_pipeline(fleet, automatic=True)
    find(fleet)
    fleet.turn()
    fleet.turn()
    held = newest(fleet)["id"]
    fleet.call("POST", f"/proposals/{held}/decline", json={"reason": "not now"})
    context = fleet.server.context

    def win(connection: Connection, made: Version) -> None:
        context.retraining.proposals.win(connection, held, codec.to_plain(verdict(won=True)), made)

    folder = write_version(fleet.folder / "late", "digits", b"late")
    with pytest.raises(ConflictError, match="is declined meanwhile"):
        context.models.register("digits", folder, "test", auto=True, saved=win)
    assert [item["version"] for item in fleet.call("GET", "/models/digits/versions")["items"]] == [1]


def test_without_a_key_here_it_waits_for_the_signer(tmp_path: Path) -> None:
    with now(tmp_path) as first:
        in_the_field(first)
        set_pipeline(first, automatic=True)
    with now(tmp_path, host="192.0.2.7", build_sandbox="limits") as fleet:  # no keys to try out with beyond loopback
        find(fleet)
        held = train(fleet, trainer(fleet.folder, won=True), "registered")
        fleet.turn()
        held = newest(fleet)
        assert "fleet_server.autosign" in held["reason"]
        fleet.clock.pass_s(8 * 24 * 3600)
        fleet.turn()
        assert newest(fleet)["state"] == "failed"


def test_a_restart_at_any_point_goes_on(tmp_path: Path) -> None:
    """The same data folder, a new server after each move; a training that was cut off is begun again."""
    with now(tmp_path) as fleet:
        boards = in_the_field(fleet)
        set_pipeline(fleet, automatic=True)
        find(fleet)
    seen = []
    for _ in range(3):
        with now(tmp_path) as fleet:
            fleet.turn()
            seen.append(newest(fleet)["state"])
    assert seen == ["accepted", "training", "training"]
    with now(tmp_path) as fleet:
        operations = fleet.server.context.operations
        operations.begin(newest(fleet)["operation"])
    with now(tmp_path) as fleet:
        first = newest(fleet)["operation"]
        with working(fleet, Pretend("raise SystemExit(1)")):
            pass  # what was at work has failed: the server stopped
        fleet.turn()
        assert newest(fleet)["state"] == "accepted"
        held = train(fleet, trainer(tmp_path, won=True), "rolling")
        assert held["operation"] != first
    with now(tmp_path) as fleet:
        fleet.turn()
        assert newest(fleet)["rollout"] == held["rollout"]
        assert len(fleet.call("GET", "/rollouts")["items"]) == 2
    assert len(boards) == 2
