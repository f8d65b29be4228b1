"""The server's side of one device for tests: publishes bundles, signs desired documents, reads reports.

And the device itself: the real supervisor as a process of its own, with the fake worker.
"""

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from nacl.signing import SigningKey
from paho.mqtt.enums import CallbackAPIVersion

from edge_agent.adapters.identity import Identity, save_identity
from edge_agent.adapters.trust import key_id
from edge_agent.adapters.trust_state import install_roots
from edge_agent.contract import codec
from edge_agent.contract.envelope import PayloadType, inflate, open_envelope, pre_authentication_encoding
from edge_agent.contract.feedback import FeedbackRows
from edge_agent.contract.manifest import MANIFEST_NAME
from edge_agent.contract.messages import (
    AgentSettings,
    Event,
    Get,
    Reported,
    Soak,
    Status,
)
from edge_agent.contract.states import UpdateState
from edge_agent.contract.topics import Topics, Up
from edge_agent.contract.trust import IMAGE
from edge_agent.contract.window_packing import unpack_window
from edge_agent.contract.windows import Window
from edge_agent.supervisor.status import AgentStatus, read_status
from tests.fakes.agent_bundles import COHORT, FakeBundle, make_bundle, pack
from tests.fakes.trust_repository import FakeRepository, new_key, order, put, release, write_order

__all__ = ["FakeBundle", "make_bundle", "pack"]

TOPICS = Topics()
_ROOT = Path(__file__).resolve().parents[2]


QUICK = Soak(min_s=0.3, max_s=3.0, min_rows=5)
# By the broker's port: every device of a fleet reads the one image repository.
_IMAGES: dict[int, FakeRepository] = {}


@dataclass
class FakeServer:
    """Signs and publishes for one device; collects what the device says, each message verified."""

    device: str
    port: int
    device_key: SigningKey = field(default_factory=SigningKey.generate)
    reports: list[Reported] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    rows: list[FeedbackRows] = field(default_factory=list)
    healths: list[dict[str, Any]] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    gets: list[Get] = field(default_factory=list)
    chunk_bytes_out: int = 0
    answer_gets: bool = True

    def __post_init__(self) -> None:
        self.image = _IMAGES.setdefault(self.port, FakeRepository())
        self.director = FakeRepository()
        self._known: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"server-{self.device}", protocol=mqtt.MQTTv5)
        self._client.on_message = self._take
        self._client.on_connect = lambda client, *_: client.subscribe(TOPICS.ingest(), qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_disconnect = lambda *_: self._subscribed.clear()
        self._subscribed = threading.Event()

    def start(self) -> None:
        self._client.connect("127.0.0.1", self.port, clean_start=True)
        self._client.loop_start()

    def wait_connected(self) -> None:
        """Wait until all that devices write arrives here."""
        assert self._subscribed.wait(30)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, bundle: FakeBundle, *, without: frozenset[str] = frozenset()) -> None:
        """Publish a bundle's chunks retained, but those of `without`; the server knows all of them."""
        self._known |= bundle.chunks
        for digest, data in bundle.chunks.items():
            if digest not in without:
                self.publish_chunk(digest, data)

    def publish_chunk(self, digest: str, data: bytes) -> None:
        self._client.publish(TOPICS.chunk(COHORT, digest), data, qos=1, retain=True).wait_for_publish(10)

    def desire(
        self, seq: int, *bundles: FakeBundle, soak: Soak = QUICK, health_s: float = 60.0, forged: bool = False
    ) -> None:
        """Release bundles and order them as document `seq`; `forged` is signed by a key that no root names."""
        self.release(*bundles)
        self.order(seq, *bundles, soak=soak, health_s=health_s, forged=forged)

    def release(self, *bundles: FakeBundle) -> None:
        """List bundles in the image repository, and publish its pack."""
        put(self.image.targets, *(release(one.desired, len(one.files[MANIFEST_NAME])) for one in bundles))
        self.image.publish()
        self.publish_image()

    def order(
        self, seq: int, *bundles: FakeBundle, soak: Soak = QUICK, health_s: float = 60.0, forged: bool = False
    ) -> None:
        """Publish the director's pack that orders bundles."""
        files = [order(one.desired, len(one.files[MANIFEST_NAME])) for one in bundles]
        settings = AgentSettings(health_s=health_s)
        write_order(self.director, self.device, 1, *files, soak=soak, settings=settings)
        self.director.publish(targets=seq, keys={"targets": [new_key()]} if forged else None)
        self.publish_desired(self.director.pack())

    def publish_image(self) -> None:
        topic = TOPICS.trust(IMAGE)
        self._client.publish(topic, self.image.pack(), qos=1, retain=True).wait_for_publish(10)

    def publish_desired(self, data: bytes) -> None:
        self._client.publish(TOPICS.desired(self.device), data, qos=1, retain=True).wait_for_publish(10)

    def wait(self, what: str, true: Callable[[], bool], timeout_s: float = 30.0) -> None:
        with self._changed:
            assert self._changed.wait_for(true, timeout_s), f"never happened: {what}; reports {self.reports[-2:]}"

    def outcomes(self, seq: int) -> list[Reported]:
        """The different outcomes reported for a document (reports are repeated on each connection)."""
        found = [report for report in self.reports if report.outcome and report.outcome.desired_seq == seq]
        return list({codec.encode(report.outcome): report for report in found}.values())

    def outcome(self, seq: int, timeout_s: float = 30.0) -> Reported:
        """Wait for the report that ends a document, and return it."""
        self.wait(f"an outcome of {seq}", lambda: bool(self.outcomes(seq)), timeout_s)
        return self.outcomes(seq)[0]

    def _take(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        parsed = TOPICS.parse_up(message.topic)
        if parsed.device != self.device:
            return
        with self._changed:
            match parsed.kind:
                case Up.REPORTED:
                    self.reports.append(codec.decode(Reported, self._open(message.payload, PayloadType.REPORTED)))
                case Up.EVENT:
                    self.events.append(codec.decode(Event, self._open(message.payload, PayloadType.EVENT)))
                case Up.WINDOW:
                    self.windows.append(unpack_window(self._open(message.payload, PayloadType.PACKED_WINDOW)))
                case Up.FEEDBACK:
                    plain = inflate(self._open(message.payload, PayloadType.FEEDBACK))
                    self.rows.append(codec.decode(FeedbackRows, plain))
                case Up.HEALTH:
                    self.healths.append(json.loads(message.payload))
                case Up.STATUS:
                    self.statuses.append(codec.decode(Status, message.payload))
                case Up.GET:
                    self._repair(codec.decode(Get, message.payload))
            self._changed.notify_all()

    def _repair(self, get: Get) -> None:
        self.gets.append(get)
        for digest in get.digests if self.answer_gets else ():
            self._client.publish(TOPICS.block(self.device, digest), self._known[digest], qos=1)

    def _open(self, data: bytes, kind: PayloadType) -> bytes:
        envelope = open_envelope(data, kind)
        (signature,) = envelope.signatures
        signed = pre_authentication_encoding(kind, envelope.content)
        self.device_key.verify_key.verify(signed, signature.raw)
        assert signature.keyid == key_id(bytes(self.device_key.verify_key))
        return envelope.content


@dataclass
class AgentProcess:
    """The real supervisor, started and killed at will."""

    folder: Path
    server: FakeServer
    extra: str = ""
    child: "subprocess.Popen[bytes] | None" = None
    real: bool = False

    @property
    def state_dir(self) -> Path:
        return self.folder / "state"

    def enrol(self) -> None:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        install_roots(self.state_dir, self.server.image.first_root, self.server.director.first_root)
        save_identity(
            self.state_dir,
            Identity(
                device=self.server.device,
                seed=bytes(self.server.device_key).hex(),
                server_url="http://127.0.0.1:1",
                topic_root=TOPICS.root,
                broker_host="127.0.0.1",
                broker_port=self.server.port,
                broker_password="unused",
            ),
        )
        (self.folder / "agent.toml").write_text(
            f'profile = "generic"\nsimulated = true\nstate_dir = "{self.state_dir}"\n'
            "[api]\nport = 0\n[mqtt]\nreconnect_max_s = 0.5\n"
            "[fetch]\nchunk_timeout_s = 0.5\ntimeout_s = 20\n"
            "[worker]\nhang_s = 2.0\nload_timeout_s = 5.0\n[telemetry]\nbeat_s = 0.1\n" + self.extra
        )

    def start(self) -> None:
        config = str(self.folder / "agent.toml")
        command = [sys.executable, "-m", "tests.fakes.agent_main", config]
        if self.real:
            command = [sys.executable, "-m", "edge_agent", "run", "--config", config]
        with (self.folder / "agent.log").open("ab") as log:
            self.child = subprocess.Popen(command, stderr=log, cwd=_ROOT)

    def kill(self) -> None:
        """End it as a power cut would, as far as a process can."""
        if self.child is not None:
            self.child.kill()
            self.child.wait(10)
            self.child = None

    def stop(self, timeout_s: float = 30.0) -> int:
        assert self.child is not None
        self.child.send_signal(signal.SIGTERM)
        status = self.child.wait(timeout_s)
        self.child = None
        return status

    def status(self) -> AgentStatus | None:
        try:
            found = read_status(self.state_dir)
        except (OSError, codec.MalformedError):
            return None
        return found if self.child is not None and found.supervisor_pid == self.child.pid else None

    def wait_status(self, what: str, true: Callable[[AgentStatus], bool], timeout_s: float = 30.0) -> AgentStatus:
        deadline, pause = time.monotonic() + timeout_s, threading.Event()
        while True:
            found = self.status()
            if found is not None and true(found):
                return found
            assert time.monotonic() < deadline, f"never happened: {what}; status {found}\n{self.log()}"
            assert self.child is not None
            assert self.child.poll() is None, self.log()
            pause.wait(0.01)

    def wait_state(self, state: UpdateState, timeout_s: float = 30.0, seq: int = 0) -> AgentStatus:
        """Wait for a state, of document `seq` or a newer one: the file may lag behind what was reported."""

        def there(found: AgentStatus) -> bool:
            return found.state is state and found.desired_seq >= seq

        return self.wait_status(f"state {state}", there, timeout_s)

    def ask(self) -> dict[str, Any]:
        """Ask the serving worker what it serves."""
        found = self.wait_status("a worker", lambda status: status.worker_pid is not None)
        with urllib.request.urlopen(found.api_url, timeout=5) as answer:
            served: dict[str, Any] = json.load(answer)
        return served

    def log(self) -> str:
        return (self.folder / "agent.log").read_text()[-4000:]


@contextmanager
def running_agent(folder: Path, server: FakeServer, extra: str = "", *, real: bool = False) -> Iterator[AgentProcess]:
    """Start an agent with the fake worker, or with the `real` one; it is killed at the end."""
    agent = AgentProcess(folder, server, extra, real=real)
    agent.enrol()
    agent.start()
    try:
        yield agent
    finally:
        agent.kill()
