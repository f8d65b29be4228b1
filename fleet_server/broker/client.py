"""A paho client as this server sets one up: MQTT 5, small delays, bounded queues, a will; it connects nowhere."""

import secrets
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from edge_agent.contract import codec
from edge_agent.contract.messages import ServerStatus
from edge_agent.contract.states import Presence

log = structlog.get_logger(__name__)

_RETRY_FIRST_S = 0.25
_RETRY_MAX_S = 5
_MAX_QUEUED = 1000
_MAX_IN_FLIGHT = 64


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker listens and as whom to connect.

    With `tls`, `ca_pem` is what its certificate must chain to, and `certificate` a file with a certificate and its key
    (PEM) that is shown to it.
    """

    host: str
    port: int
    username: str = ""
    password: str = ""
    tls: bool = False
    ca_pem: str | None = None
    certificate: Path | None = None


def build_client(address: BrokerAddress, client_id: str, status_topic: str | None) -> Client:
    """Return a client with credentials, TLS and will set; the caller adds its handlers and connects."""
    client = Client(
        CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
    )
    client.max_queued_messages_set(_MAX_QUEUED)
    client.max_inflight_messages_set(_MAX_IN_FLIGHT)
    # A little chance, so that several servers do not return to a broker in the same moment. paho's annotation says
    # int, but it waits on an event, where fractions are fine.
    first_s: Any = _RETRY_FIRST_S + secrets.randbelow(250) / 1000
    client.reconnect_delay_set(first_s, _RETRY_MAX_S)
    if address.username:
        client.username_pw_set(address.username, address.password)
    if address.tls:
        client.tls_set_context(tls_context(address))
    if status_topic is not None:
        client.will_set(status_topic, status_payload(Presence.LOST), qos=1, retain=True)
    client.on_socket_open = _no_delay
    client.on_publish = _on_publish
    client.on_connect_fail = _on_connect_fail
    return client


def tls_context(address: BrokerAddress) -> ssl.SSLContext:
    """Return the TLS of a connection to this address."""
    context = ssl.create_default_context(cadata=address.ca_pem)
    if address.certificate is not None:
        context.load_cert_chain(address.certificate)
    return context


def take_over(address: BrokerAddress, timeout_s: float) -> bool:
    """Connect once as this user, whose client id is its name, and leave: whoever was connected as it is put out.

    Its session ends with all that waits in it. Return whether the broker took the connection in time.
    """
    client = Client(CallbackAPIVersion.VERSION2, client_id=address.username, protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set(address.username, address.password)
    settled, taken = threading.Event(), []

    def on_connect(_client: Client, _data: Any, _flags: Any, code: ReasonCode, _properties: Any) -> None:
        taken.append(not code.is_failure)
        settled.set()

    client.on_connect = on_connect
    try:
        client.connect(address.host, address.port, clean_start=True)
    except OSError:
        return False
    client.loop_start()
    settled.wait(timeout_s)
    client.disconnect()
    client.loop_stop()
    client.on_connect = None
    return taken == [True]


def connect_properties(session_expiry_s: int, receive_maximum: int) -> Properties:
    """Return the properties of CONNECT: how long a lost session is kept, how many messages come unacknowledged."""
    properties = _properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = session_expiry_s
    properties.ReceiveMaximum = receive_maximum
    return properties


def publish_properties(expiry_s: int | None) -> Properties | None:
    """Return the properties of PUBLISH for a message that expires, or None for one that does not."""
    if expiry_s is None:
        return None
    properties = _properties(PacketTypes.PUBLISH)
    properties.MessageExpiryInterval = expiry_s
    return properties


def status_payload(state: Presence) -> bytes:
    """Return the control plane's birth, end or will."""
    return codec.encode(ServerStatus(state, int(time.time() * 1000)))


def _properties(kind: int) -> Properties:
    return Properties(kind)  # type: ignore[no-untyped-call] # paho leaves this constructor without annotations


def _on_publish(_client: Client, _data: Any, _mid: int, code: ReasonCode, _properties: Properties) -> None:
    if code.is_failure:
        log.error("broker_refused_message", reason=str(code))


def _on_connect_fail(_client: Client, _data: Any) -> None:
    # paho calls this while it handles the exception, and tells it nowhere else.
    log.warning("broker_unreachable", error=str(sys.exc_info()[1]))


def _no_delay(_client: Client, _data: Any, sock: Any) -> None:
    if isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
