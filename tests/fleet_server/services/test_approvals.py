"""Four eyes: a rollout that must be approved offers nothing before another person with the right to says so."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet_server.core.permissions import Role, Scope
from fleet_server.services.api_keys import KeyRequest
from tests.fakes.server_app import Served, served


@pytest.fixture
def fleet(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    with served(tmp_path, approvals=getattr(request, "param", False)) as found:
        found.enrol("pi-1")
        found.group()
        found.upload("v1", b"one")
        yield found


def key_of(fleet: Served, name: str, role: Role, scope: Scope | None = None) -> dict[str, str]:
    _, text = fleet.server.context.api_keys.make(KeyRequest(name, role, scope or Scope()), "test")
    return {"Authorization": f"Bearer {text}"}


def approve(fleet: Served, rollout: str, headers: dict[str, str]) -> int:
    return fleet.client.request("POST", f"/api/v1/rollouts/{rollout}/approve", headers=headers).status_code


def offered(fleet: Served) -> bool:
    fleet.turn()
    return "pi-1" in fleet.wire.desired and bool(fleet.wire.desired["pi-1"].bundles)


def test_it_begins_by_another_persons_word_alone(fleet: Served) -> None:
    mine = key_of(fleet, "anna", Role.APPROVER)
    body = {"model": "digits", "version": 1, "group": "all", "approval": True}
    made = fleet.client.request("POST", "/api/v1/rollouts", headers=mine, json=body).json()
    assert (made["state"], made["phases"][0]["state"]) == ("unapproved", "waiting")
    rollout = made["id"]
    fleet.clock.pass_s(10_000)
    assert not offered(fleet)
    assert approve(fleet, rollout, mine) == 403
    assert approve(fleet, rollout, key_of(fleet, "paul", Role.PUBLISHER)) == 403
    assert approve(fleet, rollout, key_of(fleet, "nora", Role.APPROVER, Scope(groups=frozenset({"north"})))) == 403
    for verb in ("pause", "resume", "promote"):
        fleet.call("POST", f"/rollouts/{rollout}/{verb}", 409)
    assert not offered(fleet)
    bert = key_of(fleet, "bert", Role.APPROVER)
    assert approve(fleet, rollout, bert) == 200
    assert fleet.rollout(rollout)["state"] == "running"
    assert offered(fleet)
    assert approve(fleet, rollout, bert) == 409
    decided = [(item["kind"], item["author"]) for item in fleet.call("GET", f"/decisions?rollout={rollout}")["items"]]
    assert {("start", "anna"), ("approve", "bert")} <= set(decided)
    # The clock of its phase began with the approval: what it waited is no delay of its devices.
    assert fleet.rollout(rollout)["state"] == "running"


def test_it_can_be_given_up_and_holds_its_place_until_then(fleet: Served) -> None:
    rollout = fleet.roll(1, approval=True)
    fleet.call("POST", "/rollouts", 409, json={"model": "digits", "version": 1, "group": "all"})
    fleet.call("POST", f"/rollouts/{rollout}/abort")
    assert not offered(fleet)
    assert approve(fleet, rollout, key_of(fleet, "bert", Role.APPROVER)) == 409


@pytest.mark.parametrize("fleet", [True], indirect=True)
def test_a_server_may_ask_for_it_of_every_rollout(fleet: Served) -> None:
    assert fleet.rollout(fleet.roll(1))["state"] == "unapproved"


def test_without_being_asked_for_it_is_not_needed(fleet: Served) -> None:
    fleet.roll(1)
    assert offered(fleet)
