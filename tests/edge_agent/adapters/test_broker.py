"""The MQTT session against a real Mosquitto: TLS, wills, acknowledgements, and brokers that do not answer."""

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from edge_agent.adapters.broker import (
    Acked,
    Arrived,
    Broker,
    BrokerAddress,
    BrokerInput,
    BrokerTimes,
    Connected,
    Disconnected,
    Will,
)
from tests.fakes.agent_authority import authority
from tests.fakes.broker import free_port, running_broker

pytestmark = pytest.mark.system

T = TypeVar("T", bound=BrokerInput)
TIMES = BrokerTimes(keepalive_s=5, connect_timeout_s=1.0, reconnect_max_s=0.2)
WILL = Will("edgeloop/v1/d/dev/up/status", b"lost")


class Session:
    """A session and its inputs."""

    def __init__(self, port: int, ca_pem: str | None = None) -> None:
        self._inputs: queue.SimpleQueue[BrokerInput] = queue.SimpleQueue()
        address = BrokerAddress("127.0.0.1", port, "dev", "password", ca_pem)
        self.broker = Broker(address, TIMES, WILL, self._inputs.put)

    def wait(self, kind: type[T], timeout_s: float = 15.0) -> T:
        deadline = time.monotonic() + timeout_s
        while True:
            found = self._inputs.get(timeout=max(0.0, deadline - time.monotonic()))
            if isinstance(found, kind):
                return found


@contextmanager
def session(port: int, ca_pem: str | None = None) -> Iterator[Session]:
    made = Session(port, ca_pem)
    made.broker.start()
    try:
        yield made
    finally:
        made.broker.stop()


def test_messages_go_up_and_come_back_and_are_acknowledged(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker, session(broker.port) as agent:
        link = agent.wait(Connected).link
        agent.broker.subscribe("a/b")
        mid = agent.broker.publish("a/b", b"hello", retain=True, expiry_s=60)
        assert agent.wait(Arrived) == Arrived(link, "a/b", b"hello")
        agent.broker.publish("a/b", b"again")
        assert agent.wait(Acked) in (Acked(link, mid or 0, ""), Acked(link, (mid or 0) + 1, ""))
        agent.broker.unsubscribe("a/b")


def test_the_connection_comes_back_with_another_number(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker, session(broker.port) as agent:
        first = agent.wait(Connected).link
        broker.stop()
        assert agent.wait(Disconnected).link == first
        assert agent.broker.publish("a/b", b"nobody is there") is None
        broker.start()
        assert agent.wait(Connected).link > first


# paho leaves the socket of a failed handshake to the garbage collector, which closes it with a warning.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_trusts_the_fleets_authority_alone(tmp_path: Path) -> None:
    der, chain = authority(tmp_path, "fleet")
    other, _ = authority(tmp_path, "other")
    chain.chmod(0o644)
    with running_broker(tmp_path, f"certfile {chain}\nkeyfile {chain}\n") as broker:
        with session(broker.port, ssl.DER_cert_to_PEM_cert(der)) as agent:
            agent.wait(Connected)
        with session(broker.port, ssl.DER_cert_to_PEM_cert(other)) as stranger:
            assert "CERTIFICATE_VERIFY_FAILED" in stranger.wait(Disconnected).detail


def test_a_broker_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, session(silent.getsockname()[1]) as agent:
        assert "no answer to CONNECT" in agent.wait(Disconnected).detail
        agent.wait(Disconnected)


def test_no_broker_is_tried_again() -> None:
    with session(free_port()) as agent:
        assert "127.0.0.1" in agent.wait(Disconnected).detail
        agent.wait(Disconnected)


def test_no_thread_stays_behind(tmp_path: Path) -> None:
    with running_broker(tmp_path) as broker:
        before = threading.active_count()
        with session(broker.port) as agent:
            agent.wait(Connected)
            assert threading.active_count() > before
        assert threading.active_count() == before
