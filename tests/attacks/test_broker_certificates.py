"""Who comes to the broker without a certificate of the fleet's authority for devices, or with one that was revoked."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from edge_agent.contract.topics import Up
from tests.attacks.test_broker import DIGEST, TOPICS, Broker
from tests.fakes.certificates import PEM, Certifier, key_pem, now_ms
from tests.fakes.mqtt import eventually, listening

pytestmark = pytest.mark.system

_DAY_MS = 24 * 3600 * 1000


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    found = Broker(tmp_path_factory.mktemp("strangers"))
    yield found
    found.broker.stop()


def no_certificate(_fleet: Broker, _folder: Path) -> Path | None:
    return None


def of_another_authority(_fleet: Broker, folder: Path) -> Path:
    return Certifier(folder / "other").certify("victim")


def expired(fleet: Broker, _folder: Path) -> Path:
    return fleet.certifier.certify("victim", at_ms=now_ms() - 40 * _DAY_MS, days=39)


def not_yet_valid(fleet: Broker, _folder: Path) -> Path:
    return fleet.certifier.certify("victim", at_ms=now_ms() + 40 * _DAY_MS)


def self_signed(_fleet: Broker, folder: Path) -> Path:
    now, key = dt.datetime.now(dt.UTC), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "victim")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
    path = folder / "self.pem"
    path.write_text(made.sign(key, hashes.SHA256()).public_bytes(PEM).decode() + key_pem(key))
    return path


def under_a_device(fleet: Broker, folder: Path) -> Path:
    """A certificate that a device has issued with its own, which is of the right authority, but none itself."""
    held = fleet.certifier.certify("mallory").read_text()
    issuer, signer = x509.load_pem_x509_certificate(held.encode()), load_pem_private_key(held.encode(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    now, key = dt.datetime.now(dt.UTC), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "victim")])
    made = x509.CertificateBuilder().subject_name(name).issuer_name(issuer.subject).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
    path = folder / "under.pem"
    own = made.sign(signer, hashes.SHA256()).public_bytes(PEM).decode()
    path.write_text(own + issuer.public_bytes(PEM).decode() + key_pem(key))
    return path


def of_the_server(fleet: Broker, folder: Path) -> Path:
    path = folder / "server.pem"
    path.write_text(fleet.certifier.listener.certificate.read_text() + fleet.certifier.listener.key.read_text())
    return path


@pytest.mark.parametrize(
    "bring", [no_certificate, of_another_authority, expired, not_yet_valid, self_signed, under_a_device, of_the_server]
)
# paho leaves the socket of a refused handshake to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stranger_is_not_let_in_and_the_victims_session_stays(
    fleet: Broker, tmp_path: Path, bring: Callable[[Broker, Path], Path | None]
) -> None:
    address = fleet.address("victim", bring(fleet, tmp_path))
    with listening(fleet.server) as server, listening(fleet.victim) as victim:
        server.subscribe(TOPICS.up("victim", Up.EVENT))
        victim.subscribe(TOPICS.desired("victim"))
        with listening(address) as stranger:
            assert not stranger.up.is_set()
            stranger.leave_a_publish(TOPICS.up("victim", Up.EVENT), b"forged")
        victim.publish(TOPICS.up("victim", Up.EVENT), b"honest")
        assert eventually(lambda: server.got(TOPICS.up("victim", Up.EVENT)) == [b"honest"])
        assert not victim.ended.is_set()


def test_a_revoked_device_is_mute_within_two_seconds_and_stays_out(fleet: Broker) -> None:
    """A live persistent session, with messages that wait in it: deny, list of revoked ones, end of the session."""
    thief, chunk = fleet.enrol("thief", "pi4"), TOPICS.chunk("pi4", DIGEST)
    event = TOPICS.up("thief", Up.EVENT)
    with listening(fleet.server) as server, listening(thief, lasting=True) as device:
        server.subscribe(f"{TOPICS.root}/#")
        device.subscribe(chunk, TOPICS.desired("thief"))
        device.publish(event, b"before")
        assert eventually(lambda: server.got(event) == [b"before"])

        began = time.monotonic()
        fleet.broker.accounts.remove("thief")
        muted_s = time.monotonic() - began
        assert muted_s < 2
        # Mute while the session still stands: this is what the access list alone does.
        assert not device.ended.is_set()
        device.try_publish(event, b"after")
        server.publish(chunk, b"after")
        server.publish(TOPICS.desired("thief"), b"after")
        server.publish(TOPICS.server_status(), b"mark")
        assert eventually(lambda: b"mark" in server.got(TOPICS.server_status()))
        assert server.got(event) == [b"before"]
        assert device.received == []

        fleet.certifier.revoke("thief")
        fleet.broker.accounts.end_session("thief")
        assert device.ended.wait(10)
        with listening(thief, lasting=True) as back:
            assert not back.up.is_set()
            assert back.refused is not None
        assert server.got(event) == [b"before"]
        assert not server.ended.is_set()


def test_nobody_else_is_put_out_by_a_revocation(fleet: Broker) -> None:
    gone = fleet.enrol("gone", "pi4")
    with listening(fleet.victim, lasting=True) as victim, listening(gone) as device:
        fleet.broker.accounts.remove("gone")
        fleet.certifier.revoke("gone")
        fleet.broker.accounts.end_session("gone")
        assert device.ended.wait(10)
        with listening(fleet.mallory) as other:
            assert other.up.is_set()
        assert not victim.ended.is_set()
