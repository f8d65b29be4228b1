"""The server's session against a real Mosquitto: acknowledged, guarded, reconnecting, one at a time."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edge_agent.contract import codec
from edge_agent.contract.messages import ServerStatus
from edge_agent.contract.states import Presence
from edge_agent.contract.topics import Topics
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.session import BrokerUnavailableError, Message, Session
from tests.fakes.mosquitto import RunningMosquitto, running_mosquitto
from tests.fakes.mqtt import eventually, listening

pytestmark = pytest.mark.system

STATUS = Topics().server_status()
KEEPING = "allow_anonymous true\npersistence false"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningMosquitto]:
    with running_mosquitto(tmp_path, KEEPING) as found:
        yield found


@contextmanager
def session_on(broker: RunningMosquitto, name: str = "_server", status: str | None = None) -> Iterator[Session]:
    session = Session(address(broker), name, status)
    session.start()
    try:
        assert session.wait_connected(10)
        yield session
    finally:
        session.stop()


def address(broker: RunningMosquitto, user: str = "watcher") -> BrokerAddress:
    return BrokerAddress(broker.host, broker.port, user)


def test_what_is_published_arrives_and_is_counted(broker: RunningMosquitto) -> None:
    got: list[Message] = []
    with session_on(broker) as session:
        session.subscribe(["a/+"], got.append)
        session.publish_many([("a/1", b"one"), ("a/2", b"two")])
        session.publish("b/1", b"elsewhere")
        assert eventually(lambda: len(got) == 2)
        assert [(message.topic, message.payload) for message in got] == [("a/1", b"one"), ("a/2", b"two")]
        counters = session.counters
        assert (counters.messages_out, counters.bytes_out) == (3, 15)
        assert (counters.messages_in, counters.bytes_in) == (2, 6)


def test_without_a_broker_publishing_fails_as_transient(tmp_path: Path) -> None:
    with running_mosquitto(tmp_path) as broker:
        gone = address(broker)
    session = Session(gone, "_server")
    with pytest.raises(BrokerUnavailableError):
        session.publish("a", b"")
    session.start()
    assert not session.wait_connected(0.3)
    with pytest.raises(BrokerUnavailableError, match="not connected"):
        session.publish("a", b"")
    session.stop()
    session.stop()


def test_birth_and_orderly_end_are_retained(broker: RunningMosquitto) -> None:
    with session_on(broker, status=STATUS), listening(address(broker)) as watcher:
        watcher.subscribe(STATUS)
        assert eventually(lambda: states(watcher.got(STATUS))[-1:] == [Presence.READY])
    with listening(address(broker)) as watcher:
        watcher.subscribe(STATUS)
        assert eventually(lambda: states(watcher.got(STATUS)) == [Presence.STOPPED])


def states(payloads: list[bytes]) -> list[Presence]:
    return [codec.decode(ServerStatus, payload).state for payload in payloads]


def test_an_exception_in_a_handler_does_not_end_the_session(broker: RunningMosquitto) -> None:
    got: list[bytes] = []

    def fragile(message: Message) -> None:
        if message.payload == b"bad":
            raise RuntimeError("a bug")
        got.append(message.payload)

    with session_on(broker) as session:
        session.subscribe(["x"], fragile)
        for payload in (b"bad", b"good"):
            session.publish("x", payload)
        assert eventually(lambda: got == [b"good"])
        assert session.counters.handler_errors == 1
        assert session.connected


def test_it_returns_with_its_subscriptions_after_the_broker_was_killed(broker: RunningMosquitto) -> None:
    got: list[bytes] = []
    with session_on(broker, status=STATUS) as session:
        session.subscribe(["x"], lambda message: got.append(message.payload))
        session.publish("x", b"before")
        pid = broker.child.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: session.counters.connects == 2 and session.connected, within_s=20)
        session.publish("x", b"after")
        assert eventually(lambda: got == [b"before", b"after"])


def test_a_deferred_message_stays_with_the_broker_until_it_is_acknowledged(broker: RunningMosquitto) -> None:
    first: list[Message] = []
    with session_on(broker, "worker") as worker, session_on(broker, "sender") as sender:
        worker.subscribe(["jobs"], first.append, deferred=True)
        worker.publish("mark", b"")  # a round trip: the subscription before it is in force
        sender.publish("jobs", b"1")
        sender.publish("jobs", b"2")
        assert eventually(lambda: len(first) == 2)
        first[0].ack()
        worker.publish("mark", b"")  # and so is the acknowledgement
    again: list[Message] = []
    worker = Session(address(broker), "worker")
    worker.subscribe(["jobs"], again.append, deferred=True)
    worker.start()
    try:
        assert worker.wait_connected(10)
        assert eventually(lambda: [message.payload for message in again] == [b"2"])
        first[1].ack()  # of the connection before: it must not acknowledge another message now
    finally:
        worker.stop()


def test_unsubscribed_topics_are_silent(broker: RunningMosquitto) -> None:
    got: list[str] = []
    with session_on(broker) as session:
        session.subscribe(["a", "b"], lambda message: got.append(message.topic))
        session.unsubscribe(["a"])
        session.publish_many([("a", b""), ("b", b"")])
        assert eventually(lambda: got == ["b"])
