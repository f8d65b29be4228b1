"""The MQTT session: paho-mqtt behind one adapter, with every guard that an unattended device needs.

House rules:
- Every callback is wrapped: an exception would end paho's thread while `is_connected()` stays true.
- Nothing is kept in paho's own queues: messages wait in the journal and the spool, are published only while connected
  and within a window, and count as sent when their PUBACK is there.
- Each connection has a client of its own and a number; what an old connection still says is told apart by it.
- Nagle's algorithm is off (8-23 times slower downloads with it). Subscriptions are made anew on every connection.
- A connection that does not come about within its time is cut: a certificate refused under TLS 1.3 never calls back.
"""

import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_agent.adapters.broker_parts import tls_context, turns
from edge_agent.adapters.lean_import import without_urllib_request
from edge_agent.core.retry import Spread

with without_urllib_request():
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode
    from paho.mqtt.subscribeoptions import SubscribeOptions

WILL_DELAY_S = 30
_RECEIVE_MAXIMUM = 64
_MAX_PACKET_BYTES = 1024 * 1024
_MAX_INFLIGHT = 64
_STOP_TIMEOUT_S = 5.0
_LOOK_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection is there; nothing is subscribed on it yet."""

    link: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection ended, or an attempt failed."""

    link: int
    detail: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message of the broker."""

    link: int
    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Acked:
    """The broker has taken message `mid` of connection `link`; with `refused` set it did not want it."""

    link: int
    mid: int
    refused: str


BrokerInput = Connected | Disconnected | Arrived | Acked


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where the broker is, who we are there, and the authority (PEM) of its TLS, if it has one.

    We are known there by a password, or by the certificate in a file (PEM, with its key).
    """

    host: str
    port: int
    device: str
    password: str | None
    ca_pem: str | None
    certificate: Path | None = None


@dataclass(frozen=True, slots=True)
class BrokerTimes:
    """Times of the session in seconds; `first_delay_s` passes before the first attempt."""

    keepalive_s: int = 30
    session_expiry_s: int = 86_400
    connect_timeout_s: float = 10.0
    reconnect_max_s: float = 30.0
    first_delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes for us when we vanish, after a delay."""

    topic: str
    payload: bytes


class Broker:
    """Keeps one connection, in a thread of its own; inputs go to `put`."""

    def __init__(
        self, address: BrokerAddress, times: BrokerTimes, will: Will, put: Callable[[BrokerInput], None]
    ) -> None:
        self._address = address
        self._times = times
        self._will = will
        self._put = put
        self._stop = threading.Event()
        self._link = 0
        self.turned_at = time.monotonic()
        self._client: mqtt.Client | None = None
        self._context = None if address.ca_pem is None else tls_context(address.ca_pem, address.certificate)
        self._thread = threading.Thread(target=self._keep, name="broker", daemon=True)

    def start(self) -> None:
        """Begin to connect, and again whenever the connection ends."""
        self._thread.start()

    def stop(self) -> None:
        """Disconnect orderly (the will is not published) and end the thread."""
        self._stop.set()
        if (client := self._client) is not None:
            with suppress(ValueError, OSError):
                client.disconnect()
        self._thread.join(_STOP_TIMEOUT_S)

    def show(self, certificate: Path) -> None:
        """Be known by this certificate from now on: the present connection is ended in order, and made anew.

        Raises:
            OSError: the file does not hold a certificate and its key.
        """
        if self._address.ca_pem is not None:
            self._context = tls_context(self._address.ca_pem, certificate)
            if (client := self._client) is not None:
                with suppress(ValueError, OSError):
                    client.disconnect()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None) -> int | None:
        """Hand a message at QoS 1 to the connection; return its number there, or `None` while there is none."""
        client = self._client
        if client is None or not client.is_connected():
            return None
        properties = _properties(PacketTypes.PUBLISH)
        if expiry_s is not None:
            properties.MessageExpiryInterval = expiry_s
        sent = client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        return sent.mid if sent.rc == mqtt.MQTT_ERR_SUCCESS else None

    def subscribe(self, *topics: str) -> None:
        """Subscribe to single topics at QoS 1 on the present connection."""
        if topics and (client := self._client) is not None:
            client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in topics])

    def unsubscribe(self, *topics: str) -> None:
        """Give up single topics."""
        if topics and (client := self._client) is not None:
            client.unsubscribe(list(topics))

    def _keep(self) -> None:
        """Connect, wait for the end, wait for this device's place in the window, for as long as the agent runs."""
        spread = Spread(self._times.reconnect_max_s)
        attempt = 1 if self._times.first_delay_s > 0 else 0  # a first delay was a place in the window already
        self._stop.wait(self._times.first_delay_s)
        while not self._stop.is_set():
            self.turned_at = time.monotonic()
            self._link += 1
            connection = _Connection(self._link, self._put)
            came_about = self._hold(connection)
            self._client = None
            self._put(Disconnected(connection.link, connection.detail))
            attempt = 0 if came_about else attempt
            self._stop.wait(0.05 + spread.delay_s(attempt, random.random()))  # noqa: S311 - spreads a fleet, keeps no secret
            attempt += 1

    def _hold(self, connection: "_Connection") -> bool:
        """Make one connection and hold it to its end; return whether it came about."""
        client = self._new_client(connection)
        try:
            connect = _properties(PacketTypes.CONNECT)
            connect.SessionExpiryInterval = self._times.session_expiry_s
            connect.ReceiveMaximum = _RECEIVE_MAXIMUM
            connect.MaximumPacketSize = _MAX_PACKET_BYTES
            client.connect(
                self._address.host, self._address.port, self._times.keepalive_s, clean_start=False, properties=connect
            )
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            connection.detail = f"{self._address.host}:{self._address.port}: {error}"
            return False
        self._client = client
        client.loop_start()
        try:
            if not connection.settled.wait(self._times.connect_timeout_s):
                connection.detail = f"no answer to CONNECT within {self._times.connect_timeout_s:g} s"
                return False
            while connection.accepted and not connection.ended.wait(_LOOK_EVERY_S):
                self.turned_at = time.monotonic()
                if not turns(client):
                    connection.detail = "the client's thread has ended"
                    break
            return connection.accepted
        finally:
            self._end(client)

    def _end(self, client: mqtt.Client) -> None:
        with suppress(ValueError, OSError):
            client.disconnect()
        client.loop_stop()

    def _new_client(self, connection: "_Connection") -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._address.device,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        client.connect_timeout = self._times.connect_timeout_s
        if self._address.password is not None:
            client.username_pw_set(self._address.device, self._address.password)
        if self._context is not None:
            client.tls_set_context(self._context)
        client.max_inflight_messages_set(_MAX_INFLIGHT)
        client.max_queued_messages_set(_MAX_INFLIGHT)
        will = _properties(PacketTypes.WILLMESSAGE)
        will.WillDelayInterval = WILL_DELAY_S
        client.will_set(self._will.topic, self._will.payload, qos=1, retain=True, properties=will)
        client.on_socket_open = connection.on_socket_open
        client.on_connect = connection.on_connect
        client.on_disconnect = connection.on_disconnect
        client.on_message = connection.on_message
        client.on_publish = connection.on_publish
        return client


class _Connection:
    """The callbacks of one connection; nothing may leave them as an exception."""

    def __init__(self, link: int, put: Callable[[BrokerInput], None]) -> None:
        self.link = link
        self.settled = threading.Event()
        self.ended = threading.Event()
        self.accepted = False
        self.detail = "ended"
        self._put = put

    def on_socket_open(self, _client: mqtt.Client, _data: Any, opened: Any) -> None:
        with suppress(OSError, AttributeError):
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def on_connect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self.detail = f"the broker refused the connection: {reason}"
        else:
            self.accepted = True
            self._put(Connected(self.link))
        self.settled.set()

    def on_disconnect(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if self.accepted:
            self.detail = str(reason)
        self.settled.set()
        self.ended.set()

    def on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return
        self._put(Arrived(self.link, topic, bytes(message.payload)))

    def on_publish(
        self, _client: mqtt.Client, _data: Any, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        self._put(Acked(self.link, mid, str(reason) if reason.is_failure else ""))


def _properties(kind: int) -> Properties:
    return Properties(kind)  # type: ignore[no-untyped-call]  # paho has no types there
