"""Enrolment and renewal attacked: guessed tokens, replayed and forged requests, boards that wait or were put out."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from edge_agent.contract import codec
from edge_agent.contract.enrolment import EnrolRequest, RenewRequest
from edge_agent.contract.envelope import PayloadType
from edge_agent.contract.messages import Reported
from fleet_server.services.errors import DeniedError
from fleet_server.services.renewals import ChallengeKey
from tests.fakes.certificates import csr_pem
from tests.fakes.mqtt_devices import FakeDevice
from tests.fakes.server_app import Board, Served, served
from tests.fakes.server_broker import MemoryAccounts


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, accounts=MemoryAccounts(certificates=True)) as found:
        yield found


def ask(fleet: Served, device: str, token: str, **changes: Any) -> dict[str, Any]:
    capabilities = Board(device, fleet).capabilities()
    key = FakeDevice(device).public_key.hex()
    plain = codec.to_plain(EnrolRequest(token, device, key, capabilities, csr_pem(device)))
    return {**plain, **changes}


def enrol(fleet: Served, device: str = "pi-1") -> FakeDevice:
    fleet.call("POST", "/enrol", json=ask(fleet, device, fleet.token()))
    return FakeDevice(device)


def challenge(fleet: Served) -> str:
    return str(fleet.call("GET", "/renew")["nonce"])


def signed(device: FakeDevice, request: RenewRequest, kind: PayloadType = PayloadType.RENEWAL) -> dict[str, Any]:
    sealed = json.loads(device.seal_bytes(kind, codec.encode(request)))
    assert isinstance(sealed, dict)
    return sealed


def renew(fleet: Served, body: dict[str, Any], expected: int = 200) -> Any:
    return fleet.call("POST", "/renew", expected, json=body)


def request_of(fleet: Served, device: str = "pi-1", **changes: str) -> RenewRequest:
    wanted = {"device": device, "csr": csr_pem(device), "nonce": challenge(fleet)}
    return RenewRequest(**(wanted | changes))


def test_guessed_tokens_get_one_answer_and_use_nothing_up(fleet: Served) -> None:
    token = fleet.token()
    secret, _, pin = token.partition(".")
    used = fleet.token()
    fleet.call("POST", "/enrol", json=ask(fleet, "pi-0", used))
    guesses = [secret[:-1] + last for last in "0123456789abcdef" if last != secret[-1]]
    guesses += [secret.upper(), secret + "0", secret[:-1], "", " " + secret, "%", "' OR 1=1 --", used.partition(".")[0]]
    answers = {
        fleet.call("POST", "/enrol", 403, json=ask(fleet, f"pi-{n}", f"{guess}.{pin}"))["detail"]
        for n, guess in enumerate(guesses, 10)
    }
    assert len(answers) == 1
    assert [item["id"] for item in fleet.call("GET", "/devices")["items"]] == ["pi-0"]
    fleet.call("POST", "/enrol", json=ask(fleet, "pi-1", token))


def test_twenty_parallel_uses_of_a_token_make_one_device_and_one_certificate(fleet: Served) -> None:
    token = fleet.token()
    bodies = [codec.from_plain(EnrolRequest, ask(fleet, f"pi-{n}", token)) for n in range(20)]

    def attempt(body: EnrolRequest) -> str | None:
        try:
            return fleet.server.context.enroller.enrol(body).certificate
        except DeniedError:
            return None

    with ThreadPoolExecutor(20) as pool:
        certificates = [found for found in pool.map(attempt, bodies) if found]
    assert len(certificates) == len(fleet.accounts.held) == len(fleet.call("GET", "/devices")["items"]) == 1


def test_a_request_for_another_name_is_refused(fleet: Served) -> None:
    token = fleet.token()
    for name in ("pi-2", "_server", "PI-1", "pi-1\x00"):
        fleet.call("POST", "/enrol", 422, json=ask(fleet, "pi-1", token, csr=csr_pem(name)))
    enrol(fleet, "victim")
    mallory = enrol(fleet, "mallory")
    renew(fleet, signed(mallory, request_of(fleet, "mallory", csr=csr_pem("victim"))), 422)
    renew(fleet, signed(mallory, request_of(fleet, "victim")), 403)


def test_a_renewal_is_for_the_new_key_and_works_once(fleet: Served) -> None:
    device = enrol(fleet)
    request = request_of(fleet)
    body = signed(device, request)
    found = x509.load_pem_x509_certificate(renew(fleet, body)["certificate"].encode())
    assert found.public_key() == x509.load_pem_x509_csr(request.csr.encode()).public_key()
    renew(fleet, body, 409)
    renew(fleet, signed(device, request_of(fleet, csr=request.csr)), 409)  # another challenge, the key of before


def test_an_old_foreign_or_early_challenge_is_refused(fleet: Served) -> None:
    device = enrol(fleet)
    old = request_of(fleet)
    fleet.clock.pass_s(121)
    renew(fleet, signed(device, old), 403)
    for nonce in (
        ChallengeKey(b"another server").make(fleet.clock.ms),
        challenge(fleet)[:-1] + "g",
        f"{fleet.clock.ms:x}.",
        "",
        "x.y",
        "é.é",
    ):
        renew(fleet, signed(device, request_of(fleet, nonce=nonce)), 403)
    fleet.clock.pass_s(-3600)  # a challenge of a later time: the server's clock was set back
    renew(fleet, signed(device, old), 403)


def test_a_renewal_needs_the_devices_own_signature_over_a_renewal(fleet: Served) -> None:
    enrol(fleet)
    renew(fleet, signed(FakeDevice("stranger"), request_of(fleet)), 403)
    renew(fleet, signed(FakeDevice("nobody"), request_of(fleet, "nobody")), 403)
    device = FakeDevice("pi-1")
    unsigned = {**signed(device, request_of(fleet)), "signatures": []}
    renew(fleet, unsigned, 403)
    # What the device signed as something else is no renewal, whatever its content.
    other_kind = signed(device, request_of(fleet), PayloadType.EVENT)
    renew(fleet, other_kind, 422)
    renew(fleet, {**other_kind, "payloadType": PayloadType.RENEWAL.value}, 403)
    report = json.loads(device.seal(Reported("pi-1", 1, 1, 0, 0, (), Board("pi-1", fleet).capabilities())))
    assert isinstance(report, dict)
    renew(fleet, report, 422)


def test_an_expired_certificate_is_renewed_by_the_devices_signature(fleet: Served) -> None:
    device = enrol(fleet)
    fleet.clock.pass_s(200 * 24 * 3600)
    assert "BEGIN CERTIFICATE" in renew(fleet, signed(device, request_of(fleet)))["certificate"]


@pytest.mark.parametrize("verb", ["revoke", "quarantine"])
def test_who_was_put_out_gets_no_certificate(fleet: Served, verb: str) -> None:
    device = enrol(fleet)
    fleet.call("POST", f"/devices/pi-1/{verb}", json={} if verb == "quarantine" else None)
    renew(fleet, signed(device, request_of(fleet)), 403)
    fleet.call("DELETE", "/devices/pi-1", 204)
    renew(fleet, signed(device, request_of(fleet)), 403)


def test_certificates_are_not_collected_without_end(fleet: Served) -> None:
    device = enrol(fleet)
    outcomes = [
        fleet.client.request("POST", "/api/v1/renew", json=signed(device, request_of(fleet))).status_code
        for _ in range(40)
    ]
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {200, 403}


def test_a_board_that_waits_gets_nothing_until_it_is_approved(tmp_path: Path) -> None:
    with served(tmp_path, accounts=MemoryAccounts(certificates=True), approve_devices=True) as fleet:
        device = enrol(fleet)
        assert renew(fleet, signed(device, request_of(fleet))) == {"pending": True}
        report = Reported("pi-1", 1, 1, 0, 0, (), Board("pi-1", fleet).capabilities())
        assert fleet.server.intake.public_key("pi-1") is None  # what the ingest asks before it looks at a message
        fleet.server.intake.on_reported(report)
        assert fleet.call("GET", "/devices/pi-1")["last_seen"] is None
        fleet.group()
        assert fleet.call("GET", "/groups/all")["devices"] == 0
        fleet.call("POST", "/devices/pi-1/approve")
        assert "BEGIN CERTIFICATE" in renew(fleet, signed(device, request_of(fleet)))["certificate"]
