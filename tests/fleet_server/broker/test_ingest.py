"""Ingest over a real Mosquitto: verified, ordered, counted; nothing is lost while the server is away."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.contract import codec
from edge_agent.contract.envelope import PayloadType
from edge_agent.contract.feedback import FeedbackRows
from edge_agent.contract.messages import Event, Get, Health, Reported, Status
from edge_agent.contract.states import Presence
from edge_agent.contract.topics import Topics, Up
from edge_agent.contract.trust import IMAGE
from edge_agent.contract.windows import Window
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.desired import PackPublisher
from fleet_server.broker.evidence import Rejected
from fleet_server.broker.ingest import Ingest
from fleet_server.broker.session import Session
from tests.fakes.mosquitto import RunningMosquitto, running_mosquitto
from tests.fakes.mqtt import Listener, eventually, listening
from tests.fakes.mqtt_devices import FakeDevice, window_counts

pytestmark = pytest.mark.system

TOPICS = Topics()
CAM = FakeDevice("cam-1")
STRANGER = FakeDevice("stranger")


class Notes:
    """A sink that notes what came, and on which thread."""

    def __init__(self) -> None:
        self.statuses: list[tuple[str, Status]] = []
        self.reports: list[Reported] = []
        self.disordered: list[Reported] = []
        self.healths: list[tuple[str, Health]] = []
        self.windows: list[Window] = []
        self.rows: list[FeedbackRows] = []
        self.events: list[Event] = []
        self.gets: list[tuple[str, Get]] = []
        self.rejected: list[tuple[str | None, Rejected]] = []
        self.threads: set[str] = set()
        self.fail_next = False

    def on_status(self, device: str, status: Status) -> None:
        self.statuses.append((device, status))

    def on_reported(self, reported: Reported, envelope: bytes) -> None:
        assert PayloadType.REPORTED.encode() in envelope
        self.reports.append(reported)

    def on_disordered(self, reported: Reported) -> None:
        self.disordered.append(reported)

    def on_health(self, device: str, health: Health) -> None:
        self.healths.append((device, health))

    def on_window(self, window: Window) -> None:
        self.windows.append(window)

    def on_feedback(self, rows: FeedbackRows) -> None:
        self.rows.append(rows)

    def on_event(self, event: Event) -> None:
        self.threads.add(threading.current_thread().name)
        if self.fail_next:
            self.fail_next = False
            raise RuntimeError("a bug in the sink")
        self.events.append(event)

    def on_get(self, device: str, get: Get) -> None:
        self.gets.append((device, get))

    def on_rejected(self, device: str | None, topic: str, reason: Rejected, detail: str) -> None:
        assert detail
        self.rejected.append((device, reason))


class Server:
    """A session with its ingest, started and stopped as one."""

    def __init__(self, broker: RunningMosquitto) -> None:
        self.notes = Notes()
        self.session = Session(BrokerAddress(broker.host, broker.port), "_server", TOPICS.server_status())
        self.ingest = Ingest(self.session, TOPICS, {"cam-1": CAM.public_key}.get, self.notes)
        self.ingest.start()
        self.session.start()
        assert self.session.wait_connected(10)
        self.session.publish("sync", b"")  # a round trip: the subscriptions before it are in force

    def stop(self) -> None:
        self.ingest.stop()
        self.session.stop()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RunningMosquitto]:
    with running_mosquitto(tmp_path) as found:
        yield found


@pytest.fixture
def server(broker: RunningMosquitto) -> Iterator[Server]:
    found = Server(broker)
    yield found
    found.stop()


@pytest.fixture
def camera(broker: RunningMosquitto) -> Iterator[Listener]:
    with listening(BrokerAddress(broker.host, broker.port), "cam-1") as found:
        yield found


def health(model: str) -> Health:
    return Health(0, 1, model, 1, 10, 0, 0, 0.1, 0.2, 0.3, 0.9, 0, 0, 0, 1, 40, 50, 1000, 0, 60, "0.1.0")


def test_every_kind_arrives_typed(server: Server, camera: Listener) -> None:
    notes, status, get = server.notes, Status(Presence.READY, 1, 5), Get(("a" * 64,))
    camera.publish(TOPICS.up("cam-1", Up.STATUS), codec.encode(status), retain=True)
    camera.publish(TOPICS.up("cam-1", Up.REPORTED), CAM.seal(CAM.report(1)), retain=True)
    camera.publish(TOPICS.health("cam-1", "digits"), codec.encode(health("digits")))
    camera.publish(TOPICS.up("cam-1", Up.WINDOW), CAM.seal(CAM.window(1, window_counts())))
    camera.publish(TOPICS.up("cam-1", Up.FEEDBACK), CAM.seal(CAM.feedback(1)))
    camera.publish(TOPICS.up("cam-1", Up.EVENT), CAM.seal(CAM.event(1)))
    camera.publish(TOPICS.up("cam-1", Up.GET), codec.encode(get))
    assert eventually(lambda: bool(notes.gets))
    assert notes.statuses == [("cam-1", status)]
    assert notes.reports == [CAM.report(1)]
    assert notes.healths == [("cam-1", health("digits"))]
    assert notes.windows == [CAM.window(1, window_counts())]
    assert notes.rows == [CAM.feedback(1)]
    assert notes.events == [CAM.event(1)]
    assert notes.gets == [("cam-1", get)]
    assert notes.rejected == []
    assert notes.threads == {"ingest"}


def test_what_does_not_count_is_counted_with_its_reason(server: Server, camera: Listener) -> None:
    reported, event = TOPICS.up("cam-1", Up.REPORTED), TOPICS.up("cam-1", Up.EVENT)
    camera.publish(reported, STRANGER.seal(CAM.report(1)))
    camera.publish(reported, CAM.seal(STRANGER.report(1)))
    camera.publish(reported, b"\xff\x00")
    camera.publish(TOPICS.up("stranger", Up.EVENT), STRANGER.seal(STRANGER.event(1)))
    camera.publish(f"{TOPICS.root}/d/cam-1/up/nonsense", b"x")
    camera.publish(TOPICS.health("cam-1", "wine"), codec.encode(health("digits")))
    camera.publish(TOPICS.up("cam-1", Up.GET), b'{"digests":[]}')
    camera.publish(event, CAM.seal(CAM.event(1)))
    assert eventually(lambda: bool(server.notes.events))
    assert server.notes.rejected == [
        ("cam-1", Rejected.BAD_SIGNATURE),
        ("cam-1", Rejected.WRONG_DEVICE),
        ("cam-1", Rejected.MALFORMED),
        ("stranger", Rejected.UNKNOWN_DEVICE),
        (None, Rejected.BAD_TOPIC),
        ("cam-1", Rejected.WRONG_MODEL),
        ("cam-1", Rejected.MALFORMED),
    ]
    assert server.ingest.counters["rejected_malformed"] == 2
    assert server.notes.reports == []


def test_reports_come_in_order_and_once(server: Server, camera: Listener) -> None:
    topic = TOPICS.up("cam-1", Up.REPORTED)
    rebooted = FakeDevice("cam-1", boot=2)
    for report in (CAM.report(5), CAM.report(5), CAM.report(4), rebooted.report(1), CAM.report(9)):
        camera.publish(topic, CAM.seal(report))
    camera.publish(TOPICS.up("cam-1", Up.EVENT), CAM.seal(CAM.event(1)))
    assert eventually(lambda: bool(server.notes.events))
    assert [(report.boot, report.seq) for report in server.notes.reports] == [(1, 5), (2, 1)]
    assert server.ingest.counters["reported"] == 2
    # What is out of order is handed on as that: who knows all reports can tell a repeat from a copied board.
    assert server.notes.disordered == [CAM.report(4), CAM.report(9)]
    server.ingest.forget("cam-1")
    camera.publish(topic, CAM.seal(CAM.report(1)))
    assert eventually(lambda: len(server.notes.reports) == 3)


def test_a_restarted_server_reads_what_is_retained_and_what_came_meanwhile(
    broker: RunningMosquitto, camera: Listener
) -> None:
    first = Server(broker)
    camera.publish(TOPICS.up("cam-1", Up.REPORTED), CAM.seal(CAM.report(1)), retain=True)
    assert eventually(lambda: len(first.notes.reports) == 1)
    first.stop()
    for n in range(50):
        camera.publish(TOPICS.up("cam-1", Up.EVENT), CAM.seal(CAM.event(n)))
    second = Server(broker)
    try:
        assert eventually(lambda: len(second.notes.events) == 50)
        assert [event.n for event in second.notes.events] == list(range(50))
        # What is retained comes by another subscription, and so in its own time.
        assert eventually(lambda: second.notes.reports == [CAM.report(1)])
    finally:
        second.stop()


def test_retained_copies_of_anything_else_are_ignored(broker: RunningMosquitto, camera: Listener) -> None:
    camera.publish(TOPICS.up("cam-1", Up.EVENT), CAM.seal(CAM.event(1)), retain=True)
    camera.publish(TOPICS.up("cam-1", Up.REPORTED), CAM.seal(CAM.report(1)), retain=True)
    server = Server(broker)
    try:
        assert eventually(lambda: len(server.notes.reports) == 1)
        camera.publish(TOPICS.up("cam-1", Up.EVENT), CAM.seal(CAM.event(2)))
        assert eventually(lambda: [event.n for event in server.notes.events] == [2])
    finally:
        server.stop()


def test_a_bug_in_the_sink_costs_one_message(server: Server, camera: Listener) -> None:
    server.notes.fail_next = True
    for n in range(3):
        camera.publish(TOPICS.up("cam-1", Up.EVENT), CAM.seal(CAM.event(n)))
    assert eventually(lambda: [event.n for event in server.notes.events] == [1, 2])
    assert server.ingest.counters["sink_error"] == 1


def test_a_pack_waits_for_its_device_and_what_all_read_for_all(server: Server, broker: RunningMosquitto) -> None:
    publisher = PackPublisher(server.session, TOPICS)
    publisher.publish("cam-1", b"its own")
    publisher.publish_trust(IMAGE, b"for all")
    with listening(BrokerAddress(broker.host, broker.port), "cam-1") as camera:
        camera.subscribe(TOPICS.desired("cam-1"), TOPICS.trust(IMAGE))
        assert eventually(lambda: camera.got(TOPICS.desired("cam-1")) == [b"its own"])
        assert eventually(lambda: camera.got(TOPICS.trust(IMAGE)) == [b"for all"])
        camera.publish(TOPICS.up("cam-1", Up.REPORTED), CAM.seal(CAM.report(1)), retain=True)
        publisher.clear("cam-1")
    with listening(BrokerAddress(broker.host, broker.port), "cam-2") as late:
        late.subscribe(f"{TOPICS.root}/d/#", TOPICS.server_status())
        assert eventually(lambda: bool(late.got(TOPICS.server_status())))
        assert len(late.received) == 1
