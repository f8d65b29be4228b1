"""A plain MQTT 5 client for tests: it notes what is delivered, so that delivery is tested and not SUBACK."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from fleet_server.broker.client import BrokerAddress

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
    """One connected client: what it received, by topic, and whether its connection was ended."""

    def __init__(self, address: BrokerAddress, client_id: str) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.refused: str | None = None
        self.ended = threading.Event()
        self.up = threading.Event()
        self._subscribed = 0
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(address.username, address.password)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message
        self._client.on_subscribe = self._on_subscribe
        self._client.connect(address.host, address.port, keepalive=20)
        self._client.loop_start()

    def subscribe(self, *filters: str) -> None:
        """Subscribe and wait for SUBACK."""
        before = self._subscribed
        self._client.subscribe([(text, 1) for text in filters])
        assert eventually(lambda: self._subscribed > before)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish at QoS 1 and wait for PUBACK (which says nothing of the access list)."""
        self._client.publish(topic, payload, qos=1, retain=retain).wait_for_publish(DEADLINE_S)

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

    def _on_disconnect(self, _client: Client, _data: Any, _flags: Any, _code: Any, _properties: Any) -> None:
        self.ended.set()

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        self.received.append((message.topic, bytes(message.payload)))

    def _on_subscribe(self, _client: Client, _data: Any, _mid: int, _codes: Any, _properties: Any) -> None:
        self._subscribed += 1


@contextmanager
def listening(address: BrokerAddress, client_id: str = "") -> Iterator[Listener]:
    """Connect a client, by default with its user name as its id, and wait until the broker has answered."""
    listener = Listener(address, client_id or address.username)
    try:
        assert eventually(lambda: listener.up.is_set() or listener.refused is not None)
        yield listener
    finally:
        listener.close()
