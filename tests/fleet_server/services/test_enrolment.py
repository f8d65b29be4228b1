"""Enrolment: a token lets a board in once, whatever is tried; a removed board is out."""

import hashlib
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from edge_agent.contract import codec
from edge_agent.contract.enrolment import EnrolRequest
from fleet_server.services.errors import BrokerError, DeniedError, InvalidError
from fleet_server.store.errors import ConflictError
from tests.fakes.server_app import Board, Served, served


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as found:
        yield found


def ask(fleet: Served, token: str, device: str = "pi-1", key: str = "ab" * 32) -> EnrolRequest:
    return EnrolRequest(token, device, key, Board(device, fleet).capabilities())


def devices(fleet: Served) -> list[str]:
    return [item["id"] for item in fleet.call("GET", "/devices")["items"]]


def test_token_ends_with_the_pin_of_the_authority(fleet: Served) -> None:
    token = fleet.token(label="lab", labels={"site": "north"})
    made = fleet.call("POST", "/enrol", json=codec.to_plain(ask(fleet, token)))
    pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(fleet.server.context.ca_pem)).hexdigest()
    secret, _, found = token.partition(".")
    assert (len(secret), found) == (32, pin)
    assert "broker_ca" not in made
    assert fleet.accounts.held["pi-1"] == (made["broker_password"], "made-up")
    assert fleet.call("GET", "/devices/pi-1")["labels"] == {"site": "north"}
    (shown,) = fleet.call("GET", "/tokens")["items"]
    assert (shown["used"], shown["uses"], "token" in shown) == (1, 1, False)
    assert secret not in (fleet.folder / "data" / "server.db").read_bytes().decode("latin-1")


def test_token_works_once(fleet: Served) -> None:
    token = fleet.token()
    fleet.server.context.enroller.enrol(ask(fleet, token))
    with pytest.raises(DeniedError, match="used up"):
        fleet.server.context.enroller.enrol(ask(fleet, token, "pi-2"))
    assert devices(fleet) == ["pi-1"]


def test_a_token_for_a_profile_lets_no_other_board_in_and_keeps_its_use(fleet: Served) -> None:
    token = fleet.token(profile="pi4")
    refused = fleet.call("POST", "/enrol", 422, json=codec.to_plain(ask(fleet, token)))
    assert "'pi4'" in refused["detail"]
    assert "made-up" in refused["detail"]
    assert fleet.call("GET", "/tokens")["items"][0]["used"] == 0
    fleet.enrol("pi-1", token, profile="pi4")
    assert fleet.call("GET", "/devices/pi-1")["profile"] == "pi4"


def test_token_expires(fleet: Served) -> None:
    token = fleet.token(ttl_s=60)
    fleet.clock.pass_s(61)
    fleet.call("POST", "/enrol", 403, json=codec.to_plain(ask(fleet, token)))
    assert devices(fleet) == []


def test_revoked_and_unknown_tokens_are_refused(fleet: Served) -> None:
    made = fleet.call("POST", "/tokens", 201, json={})
    fleet.call("DELETE", f"/tokens/{made['id']}", 204)
    fleet.call("DELETE", f"/tokens/{made['id']}", 404)
    for token in (made["token"], "made-up.pin", ""):
        fleet.call("POST", "/enrol", 403, json=codec.to_plain(ask(fleet, token)))


def test_twenty_uses_at_once_enrol_one_device(fleet: Served) -> None:
    token = fleet.token()

    def attempt(number: int) -> bool:
        try:
            fleet.server.context.enroller.enrol(ask(fleet, token, f"pi-{number}"))
        except DeniedError:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(attempt, range(20)))
    assert sum(outcomes) == 1
    assert len(devices(fleet)) == len(fleet.accounts.held) == 1


def test_another_key_does_not_take_a_device_over(fleet: Served) -> None:
    fleet.enrol("pi-1")
    with pytest.raises(ConflictError, match="another key"):
        fleet.server.context.enroller.enrol(ask(fleet, fleet.token(), key="cd" * 32))
    assert fleet.server.intake.public_key("pi-1") == bytes.fromhex("ab" * 32)


def test_same_key_under_a_fresh_token_gets_a_new_password(fleet: Served) -> None:
    fleet.enrol("pi-1")
    before = fleet.accounts.held["pi-1"]
    fleet.server.context.enroller.enrol(ask(fleet, fleet.token()))
    assert fleet.accounts.held["pi-1"] != before
    assert devices(fleet) == ["pi-1"]


def test_broker_trouble_takes_nothing(fleet: Served) -> None:
    token = fleet.token()
    fleet.accounts.broken = True
    with pytest.raises(BrokerError):
        fleet.server.context.enroller.enrol(ask(fleet, token))
    assert devices(fleet) == []
    fleet.accounts.broken = False
    fleet.server.context.enroller.enrol(ask(fleet, token))
    assert devices(fleet) == ["pi-1"]


def test_removal_revokes_credentials_and_clears_the_document(fleet: Served) -> None:
    fleet.upload("v1", b"one")
    fleet.group()
    fleet.enrol("pi-1")
    fleet.roll(1, phases=["100%"])
    assert "pi-1" in fleet.wire.desired
    fleet.call("DELETE", "/devices/pi-1", 204)
    fleet.turn()
    assert fleet.accounts.held == {}
    assert fleet.wire.desired == {}
    assert fleet.server.intake.public_key("pi-1") is None
    assert fleet.wire.forgotten == ["pi-1"]
    fleet.call("GET", "/devices/pi-1", 404)


def test_removal_waits_for_the_broker(fleet: Served) -> None:
    fleet.enrol("pi-1")
    fleet.accounts.broken = True
    fleet.call("DELETE", "/devices/pi-1", 503)
    assert devices(fleet) == ["pi-1"]


@pytest.mark.parametrize(
    "body", [{"uses": 0}, {"ttl_s": 0}, {"labels": {"id": "x"}}, {"profile": "No Such"}, {"made_up": 1}]
)
def test_senseless_tokens_are_refused(fleet: Served, body: dict[str, Any]) -> None:
    fleet.call("POST", "/tokens", 422, json=body)


def test_senseless_request_is_refused_by_the_service_too(fleet: Served) -> None:
    from fleet_server.services.enrolment import TokenRequest

    with pytest.raises(InvalidError):
        fleet.server.context.enroller.make_token(TokenRequest(uses=0), "test")
