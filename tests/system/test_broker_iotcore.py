"""The try-out broker does what the fleet needs of a broker, and no more is claimed of it."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from edge_agent.contract.artifacts import CHUNK_BYTES
from edge_agent.contract.topics import Topics, Up
from fleet_server.broker.accounts import SERVER_USER
from fleet_server.broker.brokers import BrokerSetupError
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.iotcore import IotCore
from fleet_server.broker.session import Session
from tests.fakes.mqtt import eventually, listening

pytestmark = pytest.mark.system

TOPICS = Topics()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[IotCore]:
    found = IotCore(tmp_path / "iotcore")
    found.start()
    yield found
    found.stop()


def test_a_whole_chunk_is_retained_and_messages_pass_both_ways(broker: IotCore) -> None:
    chunk = secrets.token_bytes(CHUNK_BYTES)
    topic = TOPICS.chunk("pi4", "a" * 64)
    got: list[bytes] = []
    session = Session(broker.address(), SERVER_USER, TOPICS.server_status())
    session.start()
    try:
        assert session.wait_connected(10)
        session.subscribe([TOPICS.ingest("ingest")], lambda message: got.append(message.payload))
        session.publish(topic, chunk, retain=True)
        end = broker.endpoint()
        with listening(BrokerAddress(end.host, end.port, "cam-1", "pw")) as device:
            device.subscribe(topic)
            assert eventually(lambda: device.got(topic) == [chunk])
            device.publish(TOPICS.up("cam-1", Up.EVENT), b"hello")
            assert eventually(lambda: got == [b"hello"])
    finally:
        session.stop()


def test_it_is_never_offered_beyond_loopback(tmp_path: Path) -> None:
    with pytest.raises(BrokerSetupError, match="install Mosquitto"):
        IotCore(tmp_path, listen_host="0.0.0.0").start()


def test_it_says_what_it_is_and_leaves_nothing_behind(tmp_path: Path) -> None:
    broker = IotCore(tmp_path / "iotcore")
    broker.start()
    children = psutil.Process().children(recursive=True)
    assert broker.alive
    assert "trying out only" in broker.notice
    assert not broker.accounts.enforced
    broker.stop()
    assert not broker.alive
    assert eventually(lambda: not any(child.is_running() for child in children))
