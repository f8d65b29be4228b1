"""What a device sends while the broker is back and the server is not yet, waits with the broker."""

from pathlib import Path

import pytest

from edge_agent.contract.topics import Topics, Up
from fleet_server.broker.choice import open_broker
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.session import Session
from tests.fakes.certificates import Certifier
from tests.fakes.mqtt import eventually

TOPICS = Topics()


@pytest.mark.system
def test_nothing_is_lost_between_the_start_of_the_broker_and_of_the_server(tmp_path: Path) -> None:
    certifier = Certifier(tmp_path / "keys")
    broker = open_broker("mosquitto", tmp_path / "broker", TOPICS, tls=certifier.tls)
    heard: list[str] = []

    def server() -> Session:
        made = Session(broker.address(), "edgeloop-server", TOPICS.server_status())
        made.subscribe((TOPICS.ingest(None),), lambda message, *_: heard.append(message.topic))
        made.start()
        assert made.wait_connected(10)
        return made

    try:
        broker.start()
        broker.accounts.add("dev-1", None, "pi4")
        server().stop()
        broker.stop()
        broker.start()
        place = broker.endpoint()
        certificate = certifier.certify("dev-1")
        address = BrokerAddress(place.host, place.port, "dev-1", tls=True, ca_pem=place.ca_pem, certificate=certificate)
        device = Session(address, "dev-1")
        device.start()
        assert device.wait_connected(10)
        device.publish(TOPICS.up("dev-1", Up.WINDOW), b"counts")
        device.stop()
        back = server()
        try:
            assert eventually(lambda: TOPICS.up("dev-1", Up.WINDOW) in heard)
        finally:
            back.stop()
    finally:
        broker.stop()
