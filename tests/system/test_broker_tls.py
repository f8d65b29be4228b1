"""A managed Mosquitto's two listeners: devices by TLS under the fleet's own authority, the server on loopback."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.contract.topics import Topics
from fleet_server.broker.accounts import SERVER_USER
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.mosquitto import Mosquitto
from fleet_server.broker.session import Message, Session
from tests.fakes.certificates import Certifier
from tests.fakes.mosquitto import mosquitto_program
from tests.fakes.mqtt import eventually

pytestmark = pytest.mark.system

TOPICS = Topics()


@pytest.fixture
def certifier(tmp_path: Path) -> Certifier:
    return Certifier(tmp_path / "keys")


@pytest.fixture
def broker(tmp_path: Path, certifier: Certifier) -> Iterator[Mosquitto]:
    found = Mosquitto(
        mosquitto_program(),
        tmp_path / "m",
        TOPICS,
        certifier.tls,
        listen_host="0.0.0.0",
        public_host="127.0.0.1",
    )
    found.start()
    yield found
    found.stop()


def test_devices_come_by_tls_and_the_server_by_loopback(broker: Mosquitto, certifier: Certifier) -> None:
    end, certificate = broker.endpoint(), certifier.certify("cam-1")
    broker.accounts.add("cam-1", None, "pi4")
    address = BrokerAddress(end.host, end.port, "cam-1", tls=True, ca_pem=end.ca_pem, certificate=certificate)
    device = Session(address, "cam-1")
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
def test_a_stranger_in_the_brokers_place_is_not_trusted(broker: Mosquitto, tmp_path: Path, ca_pem: str | None) -> None:
    """Under another authority, or the machine's, the certificate does not verify and nothing is sent."""
    end = broker.endpoint()
    other = Certifier(tmp_path / "other").authority.pem if ca_pem else None
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
