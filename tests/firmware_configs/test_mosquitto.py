"""The broker configuration for people who run their own: a real Mosquitto starts on it and keeps to its access list."""

import base64
import contextlib
import hashlib
import os
import queue
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from paho.mqtt.client import CallbackAPIVersion, Client, MQTTMessage, MQTTv5

from edge_agent.contract.topics import Topics, Up
from tests.fakes.certificates import Certifier

FOLDER = Path(__file__).parents[2] / "firmware_configs" / "mosquitto"
TOPICS = Topics()
DIGEST = "ab" * 32
DEADLINE_S = 20.0

pytestmark = pytest.mark.system


def mosquitto() -> str:
    """The broker that `make test` found, or the machine's."""
    found = (
        os.environ.get("EDGELOOP_MOSQUITTO") or shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    )
    assert found, "no Mosquitto: run scripts/mosquitto, which says what to install"
    return found


def password_line(user: str, password: str) -> str:
    """One line of a Mosquitto password file: PBKDF2 with SHA-512, 101 rounds."""
    salt = os.urandom(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 101)
    return f"{user}:$7$101${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}\n"


@dataclass(frozen=True)
class Broker:
    """A running broker: its ports for devices and for passwords."""

    devices: int
    inner: int
    certifier: Certifier

    @contextlib.contextmanager
    def client(self, user: str, *filters: str, password: str | None = None) -> Iterator["Session"]:
        """A connected session, subscribed to `filters`: a device by certificate, others by their name as password."""
        client = Client(CallbackAPIVersion.VERSION2, client_id="another-name", protocol=MQTTv5)
        session = Session(client, queue.Queue(), queue.Queue())
        context = ssl.create_default_context(cafile=self.certifier.listener.ca)
        port = self.inner
        if user.startswith("pi-") and password is None:
            context.load_cert_chain(self.certifier.certify(user))
            port = self.devices
        else:
            client.username_pw_set(user, user if password is None else password)
        client.tls_set_context(context)
        client.on_connect = lambda _c, _u, _f, reason, _p: session.events.put(("connect", reason.is_failure))
        client.on_subscribe = lambda *_: session.events.put(("subscribe", False))
        client.on_publish = lambda *_: session.events.put(("publish", False))
        client.on_message = lambda _c, _u, message: session.messages.put(message)
        client.connect("127.0.0.1", port)
        client.loop_start()
        try:
            session.wait("connect")
            if filters:
                client.subscribe([(item, 1) for item in filters])
                session.wait("subscribe")
            yield session
        finally:
            client.disconnect()
            client.loop_stop()


@dataclass(frozen=True)
class Session:
    """A client with what came to it."""

    client: Client
    events: "queue.Queue[tuple[str, bool]]"
    messages: "queue.Queue[MQTTMessage]"

    def wait(self, kind: str) -> None:
        """Wait for one event."""
        found, failed = self.events.get(timeout=DEADLINE_S)
        assert (found, failed) == (kind, False)

    def publish(self, topic: str, *, retain: bool = False) -> None:
        """Publish and wait until the broker has it."""
        self.client.publish(topic, b"x", qos=1, retain=retain)
        self.wait("publish")

    def topics_until(self, last: str) -> list[str]:
        """The topics of all messages up to the one on `last`."""
        found: list[str] = []
        while not found or found[-1] != last:
            found.append(self.messages.get(timeout=DEADLINE_S).topic)
        return found


def configuration(folder: Path, devices: int, inner: int, certifier: Certifier) -> Path:
    """The shipped files with their folders and ports replaced; credentials for the users of the tests."""
    text = (FOLDER / "mosquitto.conf").read_text()
    text = text.replace("/etc/mosquitto/edgeloop", str(folder)).replace("/var/lib/mosquitto/", f"{folder}/")
    text = text.replace("listener 8883", f"listener {devices} 127.0.0.1")
    text = text.replace("listener 8884", f"listener {inner} 127.0.0.1")
    if os.geteuid() == 0:
        text += "user root\n"
    (folder / "mosquitto.conf").write_text(text)
    (folder / "acl").write_text((FOLDER / "acl").read_text().replace("pi-example", "pi-1"))
    (folder / "passwords").write_text("".join(password_line(user, user) for user in ("fleet-server", "dashboard")))
    for name in ("acl", "passwords"):
        (folder / name).chmod(0o600)
    files = certifier.tls
    for source, name in ((files.certificate, "server.pem"), (files.key, "server.key")):
        (folder / name).write_bytes(source.read_bytes())
    for source, name in ((files.ca, "ca.pem"), (files.crl, "crl.pem")):
        (folder / name).write_bytes(source.read_bytes())
    return folder / "mosquitto.conf"


def wait_for(port: int, child: "subprocess.Popen[bytes]") -> None:
    """Return when the broker listens, or when it has ended or its time is up."""
    end = time.monotonic() + DEADLINE_S
    while child.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=0.05)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A real Mosquitto on the shipped configuration."""
    folder = tmp_path_factory.mktemp("broker")
    certifier = Certifier(tmp_path_factory.mktemp("keys"))
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
    command = [mosquitto(), "-c", configuration(folder, *ports, certifier)]
    with (folder / "log").open("w+") as log, subprocess.Popen(command, stderr=log) as child:
        try:
            wait_for(ports[1], child)
            assert child.poll() is None, (folder / "log").read_text()
            assert "Error" not in (folder / "log").read_text()
            yield Broker(*ports, certifier)
        finally:
            child.terminate()


def test_a_device_writes_its_own_topics_and_no_others(broker: Broker) -> None:
    """What a device says under another's name reaches nobody."""
    own = TOPICS.up("pi-1", Up.EVENT)
    with broker.client("fleet-server", TOPICS.ingest()) as server, broker.client("pi-1") as device:
        device.publish(TOPICS.up("pi-2", Up.EVENT))
        device.publish(TOPICS.server_status())
        device.publish(TOPICS.health("pi-1", "digits"))
        device.publish(own)
        assert server.topics_until(own) == [TOPICS.health("pi-1", "digits"), own]


def test_a_device_reads_its_own_documents_and_cohort_only(broker: Broker) -> None:
    """A wildcard over everything is granted by Mosquitto, and delivers what the list allows."""
    mine = [TOPICS.desired("pi-1"), TOPICS.chunk("pi4", DIGEST), TOPICS.server_status()]
    with broker.client("fleet-server") as server, broker.client("pi-1", "#") as device:
        server.publish(TOPICS.desired("pi-2"))
        server.publish(TOPICS.chunk("pi5", DIGEST))
        server.publish(TOPICS.up("pi-1", Up.EVENT))
        for topic in mine:
            server.publish(topic)
        assert device.topics_until(mine[-1]) == mine


def test_a_device_without_a_cohort_reads_no_chunks(broker: Broker) -> None:
    """Each device's block of the list names its cohort; without one there is none."""
    with broker.client("fleet-server") as server, broker.client("pi-2", "#") as device:
        server.publish(TOPICS.chunk("pi4", DIGEST))
        server.publish(TOPICS.desired("pi-2"))
        assert device.topics_until(TOPICS.desired("pi-2")) == [TOPICS.desired("pi-2")]


def test_a_dashboard_reads_health_only_and_writes_nothing(broker: Broker) -> None:
    """A read-only account."""
    health = TOPICS.health("pi-1", "digits")
    with broker.client("dashboard", "#") as dashboard, broker.client("pi-1") as device:
        dashboard.publish(TOPICS.health("pi-1", "forged"))
        device.publish(TOPICS.up("pi-1", Up.WINDOW))
        device.publish(health)
        assert dashboard.topics_until(health) == [health]


def test_a_device_that_the_list_denies_is_mute(broker: Broker) -> None:
    """Its certificate is valid; what it says reaches nobody, and nothing reaches it."""
    own = TOPICS.up("pi-1", Up.EVENT)
    with broker.client("fleet-server", TOPICS.ingest()) as server, broker.client("pi-stolen", "#") as stolen:
        stolen.client.publish(TOPICS.up("pi-stolen", Up.EVENT), b"x", qos=1)
        stolen.wait("publish")
        server.publish(TOPICS.desired("pi-stolen"))
        with broker.client("pi-1") as device:
            device.publish(own)
        assert server.topics_until(own) == [own]
        assert stolen.messages.empty()


@pytest.mark.parametrize("password", ["", "wrong"])
def test_nobody_comes_in_without_a_password(broker: Broker, password: str) -> None:
    """No anonymous connection, no guessed one."""
    with pytest.raises(AssertionError), broker.client("pi-1", password=password):
        pass  # the body is never reached
