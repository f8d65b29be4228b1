"""Approval, quarantine, release, revocation: a device that is not active is nobody; the broker is told in order."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from sqlalchemy import select

from edge_agent.contract import codec
from edge_agent.contract.enrolment import EnrolRequest
from fleet_server.services.certificates import make_crl
from fleet_server.services.errors import BrokerError
from fleet_server.services.keys import load_authority
from fleet_server.store.audit import audit
from fleet_server.store.errors import ConflictError, NotFoundError
from tests.fakes.certificates import csr_pem
from tests.fakes.server_app import Board, Served, served
from tests.fakes.server_broker import MemoryAccounts


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, accounts=MemoryAccounts(certificates=True)) as found:
        yield found


def ask(fleet: Served, device: str = "pi-1", key: str = "ab" * 32, **more: str) -> EnrolRequest:
    capabilities = Board(device, fleet).capabilities()
    return EnrolRequest(fleet.token(), device, key, capabilities, more.get("csr", csr_pem(device)))


def enrol(fleet: Served, device: str = "pi-1", key: str = "ab" * 32) -> Board:
    fleet.server.context.enroller.enrol(ask(fleet, device, key))
    board = Board(device, fleet)
    board.come_online()
    return board


def act(fleet: Served, verb: str, expected: int = 200, device: str = "pi-1") -> None:
    fleet.call("POST", f"/devices/{device}/{verb}", expected, json={"reason": "found open"} if verb[0] == "q" else None)


def standing(fleet: Served, device: str = "pi-1") -> str:
    return str(fleet.call("GET", f"/devices/{device}")["standing"])


def audited(fleet: Served) -> list[tuple[str, str, str]]:
    with fleet.server.context.devices._database.read() as connection:
        rows = connection.execute(select(audit.c.actor, audit.c.action, audit.c.subject).order_by(audit.c.n))
        return [(row.actor, row.action, row.subject) for row in rows]


def crl_of(fleet: Served) -> bytes:
    path = fleet.folder / "data" / "keys" / "crl.pem"
    return path.read_bytes() if path.exists() else b""


@pytest.mark.parametrize(("verb", "after"), [("revoke", "revoked"), ("quarantine", "quarantined")])
def test_who_is_put_out_is_nobody(fleet: Served, verb: str, after: str) -> None:
    fleet.upload("v1", b"one")
    fleet.group()
    board = enrol(fleet)
    enrol(fleet, "pi-2", "cd" * 32)
    rollout = fleet.roll(1, phases=["100%"])
    act(fleet, verb)
    assert standing(fleet) == after
    assert (fleet.accounts.out, fleet.accounts.ended) == ({"pi-1"}, ["pi-1"])
    assert b"BEGIN X509 CRL" in crl_of(fleet)
    assert fleet.server.intake.public_key("pi-1") is None
    before = fleet.call("GET", "/devices/pi-1")
    board.succeed()
    assert fleet.call("GET", "/devices/pi-1") == before
    assert fleet.states(rollout)["pi-1"] == "skipped"
    assert fleet.call("GET", "/groups/all")["devices"] == 1
    assert ("operator", f"device_{after}", "pi-1") in audited(fleet)
    assert after in {item["code"].removeprefix("device_") for item in fleet.call("GET", "/events?device=pi-1")["items"]}
    act(fleet, verb, 409)


def test_a_failing_broker_is_told_and_nothing_is_half_done(fleet: Served) -> None:
    enrol(fleet)
    fleet.accounts.broken = True
    for verb in ("revoke", "quarantine"):
        act(fleet, verb, 503)
    assert standing(fleet) == "active"
    with pytest.raises(BrokerError):
        fleet.server.identities.remove("pi-1", "me")
    with pytest.raises(NotFoundError):
        fleet.server.identities.revoke("nobody", "me")


def test_new_keys_and_a_release_end_a_quarantine_and_nothing_else(fleet: Served) -> None:
    enrol(fleet)
    act(fleet, "quarantine")
    act(fleet, "release", 409)
    with pytest.raises(ConflictError, match="keys of 'pi-1' were revoked"):
        fleet.server.context.enroller.enrol(ask(fleet))
    fleet.clock.pass_s(1)
    answer = fleet.server.context.enroller.enrol(ask(fleet, key="cd" * 32))
    assert (answer.pending, answer.certificate, standing(fleet)) == (True, None, "quarantined")
    assert fleet.accounts.out == {"pi-1"}
    act(fleet, "release")
    assert standing(fleet) == "active"
    assert (fleet.accounts.out, fleet.accounts.held) == (set(), {"pi-1": (None, "made-up")})
    assert fleet.server.intake.public_key("pi-1") == bytes.fromhex("cd" * 32)


def test_a_revoked_device_enrols_anew_with_other_keys_only(fleet: Served) -> None:
    enrol(fleet)
    act(fleet, "revoke")
    with pytest.raises(ConflictError):
        fleet.server.context.enroller.enrol(ask(fleet))
    answer = fleet.server.context.enroller.enrol(ask(fleet, key="cd" * 32))
    assert "BEGIN CERTIFICATE" in (answer.certificate or "")
    assert (standing(fleet), fleet.accounts.out) == ("active", set())


def test_where_devices_are_approved_a_board_gets_nothing_before(tmp_path: Path) -> None:
    accounts = MemoryAccounts(certificates=True)
    with served(tmp_path, accounts=accounts, approve_devices=True) as fleet:
        answer = fleet.server.context.enroller.enrol(ask(fleet))
        assert (answer.pending, answer.certificate, answer.broker_password) == (True, None, None)
        assert (standing(fleet), accounts.held) == ("pending", {})
        assert fleet.server.intake.public_key("pi-1") is None
        with pytest.raises(ConflictError, match="another key"):
            fleet.server.context.enroller.enrol(ask(fleet, key="cd" * 32))
        act(fleet, "release", 409)
        act(fleet, "approve")
        assert (standing(fleet), accounts.held) == ("active", {"pi-1": (None, "made-up")})
        act(fleet, "approve", 409)


def test_two_boards_with_one_identity_are_quarantined_by_rule(fleet: Served) -> None:
    fleet.upload("v1", b"one")
    fleet.group()
    board = enrol(fleet)
    report = board.report()
    fleet.server.intake.on_reported(report)
    assert standing(fleet) == "active"
    fleet.server.intake.on_reported(replace(report, desired_seq=7))
    shown = fleet.call("GET", "/devices/pi-1")
    assert (shown["standing"], shown["standing_reason"]) == ("quarantined", "same_number: report 1 of boot 1")
    assert ("rule:clone", "device_quarantined", "pi-1") in audited(fleet)
    assert fleet.accounts.out == set()
    fleet.accounts.broken = True
    fleet.turn()  # the broker is away: it is told until it knows
    fleet.accounts.broken = False
    fleet.turn()
    assert (fleet.accounts.out, fleet.accounts.ended) == ({"pi-1"}, ["pi-1"])
    assert b"BEGIN X509 CRL" in crl_of(fleet)


def test_what_a_restart_finds_is_brought_in_step(tmp_path: Path) -> None:
    accounts = MemoryAccounts(certificates=True)
    with served(tmp_path, accounts=accounts) as fleet:
        for device, key in (("pi-1", "aa"), ("pi-2", "bb"), ("pi-3", "cc")):
            enrol(fleet, device, key * 32)
        act(fleet, "revoke", device="pi-1")
    lost = MemoryAccounts(certificates=True)  # the broker's files are gone
    lost.out.add("pi-3")  # but this one's removal was under way
    with served(tmp_path, accounts=lost) as fleet:
        fleet.turn()
        assert (set(lost.held), lost.out) == ({"pi-2"}, {"pi-1", "pi-3"})


def test_a_lock_is_kept_while_a_certificate_could_still_be_shown(fleet: Served) -> None:
    enrol(fleet)
    fleet.call("DELETE", "/devices/pi-1", 204)
    fleet.server.identities.settle(all_of_them=True)
    assert fleet.accounts.out == {"pi-1"}
    fleet.clock.pass_s(61 * 24 * 3600)
    fleet.server.identities.settle(all_of_them=True)
    assert fleet.accounts.out == set()


def test_a_request_that_names_no_certificate_is_refused_and_the_token_keeps_its_use(fleet: Served) -> None:
    request = replace(ask(fleet), csr=None)
    for body in (request, replace(request, csr=csr_pem("pi-2")), replace(request, csr="no request")):
        fleet.call("POST", "/enrol", 422, json=codec.to_plain(body))
    fleet.call("POST", "/enrol", json=codec.to_plain(replace(request, csr=csr_pem("pi-1"))))


def test_a_broker_that_takes_passwords_is_told_no_certificate(tmp_path: Path) -> None:
    with served(tmp_path, approve_devices=True) as fleet:
        answer = fleet.server.context.enroller.enrol(replace(ask(fleet), csr=None))
        assert (answer.pending, answer.certificate, answer.broker_password is None) == (True, None, False)
        act(fleet, "approve")
        assert standing(fleet) == "active"
        assert fleet.server.intake.public_key("pi-1") is not None


def test_an_older_database_does_not_let_a_revoked_certificate_in_again(fleet: Served) -> None:
    """What the list holds and the database does not know stays on it, for as long as it could be valid."""
    path = fleet.folder / "data" / "keys" / "crl.pem"
    authority = load_authority(path.parent, dt.datetime.now(dt.UTC))
    now = dt.datetime.fromtimestamp(fleet.clock.ms / 1000, dt.UTC)
    path.write_bytes(make_crl(authority, [(7, now), (8, now - dt.timedelta(days=91))], now, None))
    enrol(fleet)
    act(fleet, "revoke")
    serials = {item.serial_number for item in x509.load_pem_x509_crl(path.read_bytes())}
    assert (7 in serials, 8 in serials, len(serials)) == (True, False, 2)
