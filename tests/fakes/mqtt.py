"""A plain MQTT 5 client for tests: it notes what is delivered, so that delivery is tested and not SUBACK."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from fleet_server.broker.client import BrokerAddress, tls_context

DEADLINE_S = 10.0


def eventually(condition: Callable[[], bool], within_s: float = DEADLINE_S) -> bool:
    """Poll until the condition holds; False after the deadline."""
    pause, deadline = threading.Event(), time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        pause.wait(0.01)
    return True


class Listener:
    """One connected client: what it received, by topic, and whether its connection was ended.

    It does not connect again by itself. With `lasting` the broker keeps its session. `will` is (topic, payload).
    """

    def __init__(
        self, address: BrokerAddress, client_id: str, *, lasting: bool = False, will: tuple[str, bytes] | None = None
    ) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.refused: str | None = None
        self.ended = threading.Event()
        self.up = threading.Event()
        self._subscribed = 0
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self._client.username_pw_set(address.username, address.password)
        if address.tls:
            self._client.tls_set_context(tls_context(address))
        if will is not None:
            self._client.will_set(will[0], will[1], qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        expiry = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho leaves it without annotations
        expiry.SessionExpiryInterval = 3600 if lasting else 0
        try:
            self._client.connect(address.host, address.port, keepalive=20, clean_start=not lasting, properties=expiry)
        except OSError as error:  # a handshake that the broker ends, or does not begin
            self.refused = str(error)
        self._client.loop_start()

    def subscribe(self, *filters: str) -> None:
        """Subscribe and wait for SUBACK."""
        before = self._subscribed
        self._client.subscribe([(text, 1) for text in filters])
        assert eventually(lambda: self._subscribed > before)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for PUBACK (which says nothing of the access list)."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(DEADLINE_S)

    def try_publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1, and wait for whatever the broker makes of it: an answer, or the end of the connection."""
        sent = self._client.publish(topic, payload, qos=1, retain=retain)
        assert eventually(lambda: sent.is_published() or self.ended.is_set())

    def leave_a_publish(self, topic: str, payload: bytes) -> None:
        """Hand a message to a client that may not be connected, and wait for nothing."""
        self._client.publish(topic, payload, qos=1)

    def send_raw(self, topic: str, payload: bytes) -> None:
        """Write a PUBLISH at QoS 0 to the socket as it is, which the library would not let out."""
        sock, name = self._client.socket(), topic.encode()
        assert sock is not None
        body = len(name).to_bytes(2, "big") + name + b"\0" + payload
        assert len(body) < 128
        sock.setblocking(True)
        sock.sendall(bytes([0x30, len(body)]) + body)

    def vanish(self) -> None:
        """Be gone without a word, so that the broker publishes the will."""
        sock = self._client.socket()
        assert sock is not None
        sock.shutdown(socket.SHUT_RDWR)
        assert self.ended.wait(DEADLINE_S)

    def got(self, topic: str) -> list[bytes]:
        """Return the payloads that came on a topic."""
        return [payload for found, payload in list(self.received) if found == topic]

    def close(self) -> None:
        """Disconnect and end the thread."""
        self._client.disconnect()
        self._client.loop_stop()
        # paho closes its wake-up sockets when it is collected: leave no circle that would delay it.
        del self._client

    def _on_connect(self, _client: Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            self.refused = str(code)
        else:
            self.up.set()

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if not self.up.is_set() and self.refused is None:
            self.refused = str(code)
        self.ended.set()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.received.append((message.topic, bytes(message.payload)))

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, _codes: Any, _properties: Any) -> None:
        self._subscribed += 1


@contextmanager
def listening(
    address: BrokerAddress, client_id: str = "", *, lasting: bool = False, will: tuple[str, bytes] | None = None
) -> Iterator[Listener]:
    """Connect a client, by default with its user name as its id, and wait until the broker has answered."""
    listener = Listener(address, client_id or address.username, lasting=lasting, will=will)
    try:
        assert eventually(lambda: listener.up.is_set() or listener.refused is not None)
        yield listener
    finally:
        listener.close()
