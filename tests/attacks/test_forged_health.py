"""Health, reports, windows and events that are forged or replayed: nothing that a decision rests on changes.

What a device may have measured counts by its own signature alone, in the order of its own counters. The wire is in
memory but for the last test, which has a real Mosquitto between.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_agent.contract import codec
from edge_agent.contract.envelope import PayloadType, deflate, pre_authentication_encoding, seal
from edge_agent.contract.messages import Health, Outcome, Reported, Running, Status
from edge_agent.contract.states import Presence, Reason, Result
from edge_agent.contract.topics import Topics, Up
from fleet_server.api.metrics import render_metrics
from fleet_server.broker.client import BrokerAddress
from fleet_server.broker.ingest import Ingest
from fleet_server.broker.session import Message, Session
from fleet_server.links import PatientIntake
from fleet_server.services.wire import Traffic
from tests.fakes.mosquitto import running_mosquitto
from tests.fakes.mqtt import eventually, listening
from tests.fakes.mqtt_devices import FakeDevice, FakeSigner, capabilities, window_counts
from tests.fakes.server_app import Served, served

TOPICS = Topics()
CAM, OTHER, STRANGER = FakeDevice("cam-1"), FakeDevice("cam-2"), FakeDevice("stranger")
# What decisions are made of and write; presence, last contact and health are for those who look.
_TABLES = (
    "rollouts", "rollout_devices", "decisions", "windows", "events", "assignments", "bad_versions", "desired", "proofs",
)  # fmt: skip


class InlineIngest(Ingest):
    """The ingest without its thread."""

    def hear(self, topic: str, payload: bytes, *, retained: bool = False) -> None:
        """Take in one message."""
        self._take(Message(topic, payload, retained, lambda: None))


class Attacked:
    """A server in the middle of a rollout of version 1 to two devices; it waits for both."""

    def __init__(self, fleet: Served) -> None:
        self.fleet = fleet
        for device in (CAM, OTHER):
            body = {
                "token": fleet.token(),
                "device": device.name,
                "public_key": device.public_key.hex(),
                "capabilities": codec.to_plain(capabilities(profile="made-up")),
            }
            fleet.call("POST", "/enrol", json=body)
        self.restart()
        fleet.group()
        fleet.upload("v1", b"one")
        self.ingest.hear(TOPICS.up("cam-1", Up.REPORTED), CAM.seal(CAM.report(5)))
        self.ingest.hear(TOPICS.up("cam-2", Up.REPORTED), OTHER.seal(OTHER.report(5)))
        self.rollout = fleet.roll(1, phases=["100%"])

    def restart(self) -> None:
        """Begin anew to take messages in, as a server does that has forgotten all that is not in its database."""
        intake = PatientIntake(self.fleet.server.intake, threading.Event(), self.fleet.server.recovery.meet_stranger)
        self.ingest = InlineIngest(SimpleNamespace(), TOPICS, intake.public_key, intake)  # type: ignore[arg-type]

    def claim(self, device: FakeDevice, seq: int, boot: int = 1) -> Reported:
        """What the device would report had it succeeded."""
        wanted = self.fleet.wire.desired[device.name]
        running = tuple(
            Running(item.model, item.version, item.variant, item.digest, attested=True) for item in wanted.bundles
        )
        outcome = Outcome(wanted.seq, Result.SUCCEEDED, Reason.OK, "", 0)
        return replace(device.report(seq, wanted.seq, running), boot=boot, outcome=outcome)

    def state(self) -> Any:
        """All that decisions rest on and make, and what is known of each device's own words."""
        self.fleet.turn()
        with self.fleet.server._database.read() as connection:
            told = connection.exec_driver_sql(
                "SELECT id, reported, reported_boot, reported_seq FROM devices"
            ).fetchall()
            tables = [connection.exec_driver_sql(f"SELECT * FROM {name}").fetchall() for name in _TABLES]
        return told, tables, self.fleet.server.context.drift.assess("digits", 1, "all")


@pytest.fixture
def attacked(tmp_path: Path) -> Iterator[Attacked]:
    with served(tmp_path) as fleet:
        yield Attacked(fleet)


def _crossed(document: Reported, signed_as: PayloadType) -> bytes:
    """A report whose signature is of the device's key, but over another type of payload."""
    payload, signer = codec.encode(document), FakeSigner("cam-1")
    return seal(
        PayloadType.REPORTED, payload, signer.keyid, signer.sign(pre_authentication_encoding(signed_as, payload))
    )


def _health(model: str = "digits", errors: int = 10_000) -> bytes:
    return codec.encode(Health(0, 1, model, 1, 1, errors, 0, 9.0, 9.0, 9.0, 0.1, 9.0, 1, 1, 1, 40, 50, 1, 0, 6, "0"))


def _window(device: FakeDevice, signer: FakeDevice) -> bytes:
    return signer.seal(device.window(1, window_counts(10_000)))


Forgery = Callable[[Attacked], tuple[str, bytes]]
_REPORT, _WINDOW, _EVENT = (TOPICS.up("cam-1", kind) for kind in (Up.REPORTED, Up.WINDOW, Up.EVENT))

FORGERIES: dict[str, tuple[str, Forgery]] = {
    "report without an envelope": ("malformed", lambda at: (_REPORT, codec.encode(at.claim(CAM, 6)))),
    "report signed with zeros": (
        "bad_signature",
        lambda at: (_REPORT, seal(PayloadType.REPORTED, codec.encode(at.claim(CAM, 6)), "0" * 16, b"\0" * 64)),
    ),
    "report signed by another device": ("bad_signature", lambda at: (_REPORT, OTHER.seal(at.claim(CAM, 6)))),
    "report signed by a stranger": ("bad_signature", lambda at: (_REPORT, STRANGER.seal(at.claim(CAM, 6)))),
    "report signed as an event": ("bad_signature", lambda at: (_REPORT, _crossed(at.claim(CAM, 6), PayloadType.EVENT))),
    "report sealed as an event": (
        "malformed",
        lambda at: (_REPORT, CAM.seal_bytes(PayloadType.EVENT, codec.encode(at.claim(CAM, 6)))),
    ),
    "report of a future boot, wrong key": ("bad_signature", lambda at: (_REPORT, OTHER.seal(at.claim(CAM, 1, 10**9)))),
    "another device's report on this topic": ("bad_signature", lambda at: (_REPORT, OTHER.seal(at.claim(OTHER, 6)))),
    "another device's id, own key": ("wrong_device", lambda at: (_REPORT, CAM.seal(at.claim(OTHER, 6)))),
    "report of a stranger": (
        "unknown_device",
        lambda at: (TOPICS.up("stranger", Up.REPORTED), STRANGER.seal(STRANGER.report(1))),
    ),
    "report on no topic of a device": ("bad_topic", lambda at: (_REPORT + "/more", CAM.seal(at.claim(CAM, 6)))),
    "replay of an older number": ("repeated", lambda at: (_REPORT, CAM.seal(at.claim(CAM, 4)))),
    "replay of an older boot": ("repeated", lambda at: (_REPORT, CAM.seal(at.claim(CAM, 99, 0)))),
    "cut envelope": ("malformed", lambda at: (_REPORT, CAM.seal(at.claim(CAM, 6))[:-40])),
    "window without an envelope": (
        "malformed",
        lambda _: (_WINDOW, deflate(codec.encode(CAM.window(1, window_counts())))),
    ),
    "window signed by another device": ("bad_signature", lambda _: (_WINDOW, _window(CAM, OTHER))),
    "window of another device, own key": ("wrong_device", lambda _: (_WINDOW, _window(OTHER, CAM))),
    "event signed by another device": ("bad_signature", lambda _: (_EVENT, OTHER.seal(CAM.event(1)))),
    "event of another device, own key": ("wrong_device", lambda _: (_EVENT, CAM.seal(OTHER.event(1)))),
    "report on the topic of events": ("malformed", lambda at: (_EVENT, CAM.seal(at.claim(CAM, 6)))),
    "health of another model": ("wrong_model", lambda _: (TOPICS.health("cam-1", "digits"), _health("wear"))),
}


def test_another_content_under_a_number_that_was_used_puts_the_device_out(attacked: Attacked) -> None:
    """Only a copy of the device's key can say so: the device is no evidence any more, and nothing advances."""
    attacked.ingest.hear(_REPORT, CAM.seal(attacked.claim(CAM, 5)))
    shown = attacked.fleet.rollout(attacked.rollout)
    assert shown["state"] == "running"
    standing = {name: attacked.fleet.call("GET", f"/devices/{name}")["standing"] for name in ("cam-1", "cam-2")}
    assert standing == {"cam-1": "quarantined", "cam-2": "active"}


def test_a_forgery_changes_nothing_and_is_counted(attacked: Attacked) -> None:
    before = attacked.state()
    for name, (reason, make) in FORGERIES.items():
        counted = attacked.ingest.passed_over[reason]
        attacked.ingest.hear(*make(attacked))
        assert attacked.state() == before, name
        assert attacked.ingest.passed_over[reason] == counted + 1, name
    assert attacked.fleet.rollout(attacked.rollout)["state"] == "running"
    traffic = Traffic(passed_over=attacked.ingest.passed_over)
    metrics = render_metrics(attacked.fleet.server.context.fleet.summary(), traffic, ())
    for reason, count in attacked.ingest.passed_over.items():
        assert f'edgeloop_messages_passed_over_total{{reason="{reason}"}} {count}\n' in metrics
    assert {reason for reason, count in attacked.ingest.passed_over.items() if count} == {
        reason for reason, _ in FORGERIES.values()
    }
    for device in (CAM, OTHER):  # and their own genuine words promote, so nothing of this had stopped them
        attacked.ingest.hear(TOPICS.up(device.name, Up.REPORTED), device.seal(attacked.claim(device, 6)))
    attacked.fleet.turn()
    assert attacked.fleet.rollout(attacked.rollout)["state"] == "succeeded"


def test_a_restarted_server_is_not_fooled_by_a_replay(attacked: Attacked) -> None:
    window, event = (_WINDOW, _window(CAM, CAM)), (_EVENT, CAM.seal(CAM.event(1)))
    attacked.ingest.hear(*window)
    attacked.ingest.hear(*event)
    told, tables, drift = attacked.state()
    attacked.restart()
    for message in (window, event, (_REPORT, CAM.seal(attacked.claim(CAM, 4)))) * 2:
        attacked.ingest.hear(*message)
    told_after, tables_after, drift_after = attacked.state()
    # A repeated window replaces the first: its row and the time at which it came are others.
    assert [row[1:-1] for row in tables_after.pop(3)] == [row[1:-1] for row in tables.pop(3)]
    assert (told_after, tables_after, drift_after) == (told, tables, drift)


def test_a_retained_leftover_is_no_evidence(attacked: Attacked) -> None:
    before = attacked.state()
    for topic, payload in ((_WINDOW, _window(CAM, CAM)), (_EVENT, CAM.seal(CAM.event(1)))):
        attacked.ingest.hear(topic, payload, retained=True)
    assert attacked.state() == before
    assert attacked.ingest.passed_over["retained"] == 2


def test_what_is_unsigned_by_design_decides_nothing(attacked: Attacked) -> None:
    """Health and presence: dashboards may be lied to by who can write there, a rollout may not."""
    before = attacked.state()
    attacked.ingest.hear(TOPICS.health("cam-1", "digits"), _health())
    attacked.ingest.hear(TOPICS.up("cam-1", Up.STATUS), codec.encode(Status(Presence.LOST, 10**9, 0)))
    told, tables, drift = attacked.state()
    tables[4] = [row for row in tables[4] if "device_lost" not in str(row)]
    assert (told, tables, drift) == before


def test_a_report_of_an_earlier_rollout_does_not_promote_a_later_one(attacked: Attacked) -> None:
    fleet, old = attacked.fleet, {device.name: device.seal(attacked.claim(device, 6)) for device in (CAM, OTHER)}
    for name, sealed in old.items():
        attacked.ingest.hear(TOPICS.up(name, Up.REPORTED), sealed)
    fleet.turn()
    assert fleet.rollout(attacked.rollout)["state"] == "succeeded"
    fleet.upload("v2", b"two")
    later = fleet.roll(2, phases=["100%"])
    before = attacked.state()
    for name, sealed in old.items():
        attacked.ingest.hear(TOPICS.up(name, Up.REPORTED), sealed)
    assert attacked.state() == before
    assert set(fleet.states(later).values()) == {"offered"}


@pytest.mark.system
def test_through_a_real_broker(attacked: Attacked, tmp_path: Path) -> None:
    intake = PatientIntake(
        attacked.fleet.server.intake, threading.Event(), attacked.fleet.server.recovery.meet_stranger
    )
    (tmp_path / "broker").mkdir()
    with running_mosquitto(tmp_path / "broker") as broker:
        address = BrokerAddress(broker.host, broker.port)
        session = Session(address, "_server", TOPICS.server_status())
        ingest = Ingest(session, TOPICS, intake.public_key, intake)
        ingest.start()
        session.start()
        try:
            assert session.wait_connected(10)
            session.publish("sync", b"")
            before = attacked.state()
            with listening(address, "cam-1") as camera:
                for reason, make in FORGERIES.values():
                    if reason != "repeated":  # a server that begins anew has no order to hold them against
                        topic, payload = make(attacked)
                        camera.publish(topic, payload, retain=True)
                wanted = sum(reason not in ("repeated", "bad_topic") for reason, _ in FORGERIES.values())
                rejected = lambda: sum(ingest.passed_over.values())  # noqa: E731
                assert eventually(lambda: rejected() >= wanted), dict(ingest.passed_over)
                assert attacked.state() == before
                camera.publish(_REPORT, CAM.seal(attacked.claim(CAM, 6)))
                assert eventually(lambda: ingest.counters.get("reported", 0) == 1)
            attacked.fleet.turn()
            assert attacked.fleet.states(attacked.rollout)["cam-1"] == "succeeded"
        finally:
            ingest.stop()
            session.stop()
