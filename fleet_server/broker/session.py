"""The server's one MQTT 5 connection: paho behind an adapter that cannot lose its thread or fill the memory.

House rules: publishing waits for the broker's acknowledgement and fails as *transient* when there is none, so callers
keep their own outbox (the database) and nothing queues here. Handlers run on paho's thread: they are guarded, since an
exception would end that thread while the client still says that it is connected; they must not publish. A *deferred*
handler acknowledges a message itself when its work is done; until then the broker keeps it, and `receive_maximum`
bounds how many are in memory.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, topic_matches_sub
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge_agent.contract.states import Presence
from edge_agent.contract.topics import plain_filter
from fleet_server.broker.client import (
    BrokerAddress,
    build_client,
    connect_properties,
    publish_properties,
    status_payload,
)

log = structlog.get_logger(__name__)

_STOP_TIMEOUT_S = 5.0


class BrokerUnavailableError(OSError):
    """The broker is not there or did not acknowledge in time; try again later."""


@dataclass(frozen=True, slots=True)
class SessionCounters:
    """Application messages and their payload bytes, connections made, and exceptions that handlers let out."""

    messages_in: int = 0
    bytes_in: int = 0
    messages_out: int = 0
    bytes_out: int = 0
    connects: int = 0
    handler_errors: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came; `retained` marks a copy that the broker kept. Deferred handlers call `ack` once."""

    topic: str
    payload: bytes
    retained: bool
    ack: Callable[[], None]


Handler = Callable[[Message], None]


@dataclass(frozen=True, slots=True)
class _Subscription:
    handler: Handler
    deferred: bool


class Session:
    """One connection with its subscriptions, kept up until `stop`.

    With `status_topic`, a retained birth is published on each connection, `stopped` at an orderly end, and a will says
    `lost`.
    """

    def __init__(
        self,
        address: BrokerAddress,
        client_id: str,
        status_topic: str | None = None,
        *,
        keepalive_s: int = 30,
        session_expiry_s: int = 86400,
        receive_maximum: int = 1000,
    ) -> None:
        self._address = address
        self._client_id = client_id
        self._status_topic = status_topic
        self._keepalive_s = keepalive_s
        self._session_expiry_s = session_expiry_s
        self._receive_maximum = receive_maximum
        self._subscriptions: dict[str, _Subscription] = {}
        self._lock = threading.Lock()
        self._counters = SessionCounters()
        self._connected = threading.Event()
        self._generation = 0
        self._client: Client | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection and it is up."""
        return self._connected.is_set()

    @property
    def counters(self) -> SessionCounters:
        """What has passed so far."""
        return self._counters

    def start(self) -> None:
        """Begin to connect, and to connect again whenever the connection is lost."""
        client = build_client(self._address, self._client_id, self._status_topic)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        self._client = client
        client.connect_async(
            self._address.host,
            self._address.port,
            keepalive=self._keepalive_s,
            clean_start=False,
            properties=connect_properties(self._session_expiry_s, self._receive_maximum),
        )
        # paho's own thread, not one of ours: only then does it leave all writing to that thread. From a loop in another
        # thread, publish and ack would write to the socket beside it.
        client.loop_start()

    def wait_connected(self, timeout_s: float) -> bool:
        """Wait until the connection is up; False where it is not within `timeout_s` seconds."""
        return self._connected.wait(timeout_s)

    def stop(self) -> None:
        """Say `stopped`, disconnect and end the thread. Safe to call twice."""
        client = self._client
        if client is None:
            return
        if self._status_topic is not None and self.connected:
            try:
                self.publish(
                    self._status_topic, status_payload(Presence.STOPPED), retain=True, timeout_s=_STOP_TIMEOUT_S
                )
            except BrokerUnavailableError:
                log.warning("server_status_not_published")
        client.disconnect()
        client.loop_stop()
        self._connected.clear()
        # paho closes its wake-up sockets when it is collected: leave no circle that would delay it.
        client.on_connect = client.on_disconnect = client.on_message = None
        self._client = None

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """Publish at QoS 1 and wait for the broker's acknowledgement. Not to be called from a handler.

        Raises:
            BrokerUnavailableError: not connected, or no acknowledgement within `timeout_s` seconds.
        """
        self.publish_many([(topic, payload)], retain=retain, expiry_s=expiry_s, timeout_s=timeout_s)

    def publish_many(
        self,
        messages: Sequence[tuple[str, bytes]],
        *,
        retain: bool = False,
        expiry_s: int | None = None,
        timeout_s: float = 10.0,
    ) -> None:
        """Publish a window of messages at once, then wait until all are acknowledged.

        Raises:
            BrokerUnavailableError: as for `publish`; some of the messages may have arrived.
        """
        client = self._client
        if client is None or not self.connected:
            raise BrokerUnavailableError("not connected to the broker")
        properties = publish_properties(expiry_s)
        pending = []
        for topic, payload in messages:
            info = client.publish(topic, payload, qos=1, retain=retain, properties=properties)
            if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                raise BrokerUnavailableError(f"the client did not take a message: {info.rc.name}")
            pending.append(info)
        deadline = time.monotonic() + timeout_s
        for info in pending:
            info.wait_for_publish(max(0.0, deadline - time.monotonic()))
            if not info.is_published():
                raise BrokerUnavailableError(f"the broker acknowledged nothing within {timeout_s:g} s")
        with self._lock:
            self._counters = replace(
                self._counters,
                messages_out=self._counters.messages_out + len(messages),
                bytes_out=self._counters.bytes_out + sum(len(payload) for _, payload in messages),
            )

    def subscribe(self, filters: Sequence[str], handler: Handler, *, deferred: bool = False) -> None:
        """Have `handler` called for messages on the filters, now and after each reconnection.

        It does not wait for the broker; a later `publish` on this session does, since the broker answers in order.
        """
        with self._lock:
            self._subscriptions = {**self._subscriptions, **dict.fromkeys(filters, _Subscription(handler, deferred))}
        if self._client is not None and self.connected:
            self._send_subscribe(self._client, filters)

    def unsubscribe(self, filters: Sequence[str]) -> None:
        """End the subscriptions on these filters."""
        with self._lock:
            self._subscriptions = {key: found for key, found in self._subscriptions.items() if key not in filters}
        if self._client is not None and self.connected and filters:
            self._client.unsubscribe(list(filters))

    def _on_connect(
        self, client: Client, _data: Any, _flags: ConnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        if code.is_failure:
            log.error("broker_refused_connection", reason=str(code), client=self._client_id)
            return
        try:
            self._generation += 1
            with self._lock:
                self._counters = replace(self._counters, connects=self._counters.connects + 1)
                filters = list(self._subscriptions)
            if filters:
                self._send_subscribe(client, filters)
            if self._status_topic is not None:
                client.publish(self._status_topic, status_payload(Presence.READY), qos=1, retain=True)
            self._connected.set()
            log.info("broker_connected", host=self._address.host, port=self._address.port)
        except Exception:  # it would end paho's thread
            log.exception("connect_handler_failed")

    def _on_disconnect(
        self, _client: Client, _data: Any, _flags: DisconnectFlags, code: ReasonCode, _properties: Properties | None
    ) -> None:
        self._connected.clear()
        log.info("broker_disconnected", reason=str(code))

    def _on_message(self, client: Client, _data: Any, message: MQTTMessage) -> None:
        generation = self._generation
        topic, payload, mid, qos = message.topic, bytes(message.payload), message.mid, message.qos

        def ack() -> None:
            # A packet id of an earlier connection may by now be another message's.
            if generation == self._generation:
                client.ack(mid, qos)

        with self._lock:
            self._counters = replace(
                self._counters,
                messages_in=self._counters.messages_in + 1,
                bytes_in=self._counters.bytes_in + len(payload),
            )
            subscriptions = self._subscriptions
        deferred = self._hand_over(_matching(subscriptions, topic), Message(topic, payload, message.retain, ack))
        if not deferred:
            ack()

    def _hand_over(self, found: Sequence[_Subscription], message: Message) -> bool:
        """Call each handler; return whether one of them acknowledges by itself."""
        deferred = False
        for subscription in found:
            try:
                subscription.handler(message)
                deferred = deferred or subscription.deferred
            except Exception:  # it would end paho's thread
                with self._lock:
                    self._counters = replace(self._counters, handler_errors=self._counters.handler_errors + 1)
                log.exception("message_handler_failed", topic=message.topic)
        return deferred

    @staticmethod
    def _send_subscribe(client: Client, filters: Sequence[str]) -> None:
        client.subscribe([(text, SubscribeOptions(qos=1)) for text in filters])


def _matching(subscriptions: dict[str, _Subscription], topic: str) -> list[_Subscription]:
    """Return the subscriptions for a topic, each handler once."""
    if (exact := subscriptions.get(topic)) is not None:
        return [exact]
    found: dict[Handler, _Subscription] = {}
    for text, subscription in subscriptions.items():
        if topic_matches_sub(plain_filter(text), topic):
            found.setdefault(subscription.handler, subscription)
    return list(found.values())
