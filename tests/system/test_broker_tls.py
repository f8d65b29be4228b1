"""A managed Mosquitto beyond loopback: devices by TLS under the fleet's own authority, the server on loopback."""

import datetime as dt
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edge_agent.contract.topics import Topics
from fleet_server.broker.accounts import SERVER_USER, new_password
from fleet_server.broker.brokers import TlsFiles
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.mosquitto import Mosquitto
from fleet_server.broker.session import Message, Session
from tests.fakes.mosquitto import mosquitto_program
from tests.fakes.mqtt import eventually

pytestmark = pytest.mark.system

TOPICS = Topics()
PEM = serialization.Encoding.PEM


def certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, signer: ec.EllipticCurvePrivateKey, *, authority: bool
) -> bytes:
    """A certificate for 127.0.0.1, or of an authority, for an hour."""
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if authority:
        uses = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        usage = x509.KeyUsage(**uses, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False)
        builder = builder.add_extension(usage, critical=True)
    else:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(PEM)


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    found = TlsFiles(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem")
    found.ca.write_bytes(certificate("fleet", authority, "fleet", authority, authority=True))
    found.certificate.write_bytes(certificate("server", own, "fleet", authority, authority=False))
    plain = serialization.NoEncryption()
    found.key.write_bytes(own.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))
    return found


@pytest.fixture
def broker(tmp_path: Path, files: TlsFiles) -> Iterator[Mosquitto]:
    found = Mosquitto(
        mosquitto_program(), tmp_path / "m", TOPICS, listen_host="0.0.0.0", public_host="127.0.0.1", tls=files
    )
    found.start()
    yield found
    found.stop()


def test_devices_come_by_tls_and_the_server_by_loopback(broker: Mosquitto) -> None:
    password, end = new_password(), broker.endpoint()
    broker.accounts.add("cam-1", password, "pi4")
    device = Session(BrokerAddress(end.host, end.port, "cam-1", password, tls=True, ca_pem=end.ca_pem), "cam-1")
    server = Session(broker.address(), SERVER_USER, TOPICS.server_status())
    got: list[Message] = []
    device.subscribe([TOPICS.desired("cam-1")], got.append)
    try:
        device.start()
        server.start()
        assert device.wait_connected(10)
        assert server.wait_connected(10)
        server.publish(TOPICS.desired("cam-1"), b"run this", retain=True)
        assert eventually(lambda: [message.payload for message in got] == [b"run this"])
    finally:
        device.stop()
        server.stop()


def test_the_servers_own_listener_is_on_loopback_alone(broker: Mosquitto, tmp_path: Path) -> None:
    config = (tmp_path / "m" / "mosquitto.conf").read_text()
    listeners = [line for line in config.splitlines() if line.startswith("listener")]
    assert listeners == [f"listener {broker.endpoint().port} 0.0.0.0", f"listener {broker.address().port} 127.0.0.1"]
    assert broker.endpoint().port != broker.address().port


# paho leaves the socket of a refused handshake to the collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ca_pem", ["own", None])
def test_a_stranger_in_the_brokers_place_is_not_trusted(broker: Mosquitto, ca_pem: str | None) -> None:
    """Under another authority, or the machine's, the certificate does not verify and nothing is sent."""
    end, key = broker.endpoint(), ec.generate_private_key(ec.SECP256R1())
    other = certificate("other", key, "other", key, authority=True).decode() if ca_pem else None
    session = Session(BrokerAddress(end.host, end.port, "cam-1", "pw", tls=True, ca_pem=other), "cam-1")
    session.start()
    try:
        assert not session.wait_connected(1.0)
    finally:
        session.stop()


def test_an_unencrypted_client_is_not_answered(broker: Mosquitto) -> None:
    end = broker.endpoint()
    session = Session(BrokerAddress(end.host, end.port, "cam-1", "pw"), "cam-1")
    session.start()
    try:
        assert not session.wait_connected(1.0)
    finally:
        session.stop()
    assert ssl.PEM_cert_to_DER_cert(end.ca_pem or "")
