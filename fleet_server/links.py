"""Joins the services to MQTT: the wire over a session, and an intake that waits while the database cannot write.

House rules: nothing that a device sent is dropped because the disk is full or the database locked: it waits, and the
broker with it.
"""

import threading
from collections.abc import Callable, Collection

import structlog

from edge_agent.contract.feedback import FeedbackRows
from edge_agent.contract.messages import Event, Get, Health, Reported, Status
from edge_agent.contract.topics import Topics
from edge_agent.contract.windows import Window
from fleet_server.broker.desired import PackPublisher
from fleet_server.broker.distribution import Distribution
from fleet_server.broker.evidence import Rejected
from fleet_server.broker.ingest import Ingest
from fleet_server.broker.session import Session
from fleet_server.services.devices import DeviceIntake
from fleet_server.services.wire import Traffic
from fleet_server.store.errors import UnavailableError

_log = structlog.get_logger(__name__)
_RETRY_S = 1.0


class MqttWire:
    """The wire of the services over one MQTT session."""

    def __init__(self, session: Session, topics: Topics) -> None:
        self._session = session
        self._topics = topics
        self._publisher = PackPublisher(session, topics)
        self._distribution = Distribution(session, topics)
        self._ingest: Ingest | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker is there now."""
        return self._session.connected

    @property
    def generation(self) -> int:
        """How many times the broker was connected."""
        return self._session.counters.connects

    def listen(self, intake: "PatientIntake", share: str | None) -> None:
        """Begin to take in what devices write, by a shared subscription of the group `share` where there is one."""
        self._ingest = Ingest(self._session, self._topics, intake.public_key, intake, share=share)
        self._ingest.start()

    def close(self) -> None:
        """End: take in nothing more, end a shipment that is under way, disconnect."""
        self._distribution.close()
        if self._ingest is not None:
            self._ingest.stop()
        self._session.stop()

    def forget(self, device: str) -> None:
        """Accept any order of a removed device's messages again."""
        if self._ingest is not None:
            self._ingest.forget(device)

    def traffic(self) -> Traffic:
        """Return the counters."""
        counted = self._session.counters
        chunks = self._distribution.published_bytes
        passed_over = {} if self._ingest is None else self._ingest.passed_over
        return Traffic(
            counted.messages_in, counted.messages_out, counted.bytes_in, counted.bytes_out, chunks, passed_over
        )

    def ship(self, cohort: str, parcel: bytes, read: Callable[[str], bytes]) -> None:
        """Publish a parcel and its chunks for a cohort."""
        self._distribution.ship(cohort, parcel, read)

    def take_down(self, cohort: str, digests: Collection[str]) -> None:
        """Clear chunks that no device of the cohort needs any more."""
        self._distribution.clear(cohort, digests)

    def publish(self, device: str, pack: bytes) -> None:
        """Publish a device's director pack, retained."""
        self._publisher.publish(device, pack)

    def publish_trust(self, repository: str, pack: bytes) -> None:
        """Publish the pack of a repository that all devices read, retained."""
        self._publisher.publish_trust(repository, pack)

    def clear(self, device: str) -> None:
        """Clear what is retained for and from a removed device."""
        self._publisher.clear(device)

    def answer(self, device: str, get: Get, allowed: Collection[str], read: Callable[[str], bytes]) -> int:
        """Send a device the chunks that it asks for, of those allowed."""
        return self._distribution.answer(device, get, allowed, read)


class PatientIntake:
    """Hands what devices write to the services, again and again while the database cannot be written."""

    def __init__(self, intake: DeviceIntake, stopping: threading.Event, meet_stranger: Callable[[str], None]) -> None:
        self._intake = intake
        self._meet_stranger = meet_stranger
        self._stopping = stopping
        self._rejected = 0

    @property
    def rejected(self) -> int:
        """Messages that did not count."""
        return self._rejected

    def public_key(self, device: str) -> bytes | None:
        """Return a device's raw public key, or None."""
        found: list[bytes | None] = []
        self._patiently(lambda: found.append(self._intake.public_key(device)))
        return found[0] if found else None

    def on_status(self, device: str, status: Status) -> None:
        """Take in a status."""
        self._patiently(lambda: self._intake.on_status(device, status))

    def on_reported(self, reported: Reported, envelope: bytes) -> None:
        """Take in a report."""
        self._patiently(lambda: self._intake.on_reported(reported, envelope))

    def on_disordered(self, reported: Reported) -> None:
        """Look at a report that is out of order."""
        self._patiently(lambda: self._intake.on_reported(reported))

    def on_health(self, device: str, health: Health) -> None:
        """Take in a health object."""
        self._patiently(lambda: self._intake.on_health(device, health))

    def on_window(self, window: Window) -> None:
        """Take in a window."""
        self._patiently(lambda: self._intake.on_window(window))

    def on_feedback(self, rows: FeedbackRows) -> None:
        """Take in labelled rows."""
        self._patiently(lambda: self._intake.on_feedback(rows))

    def on_event(self, event: Event) -> None:
        """Take in an event."""
        self._patiently(lambda: self._intake.on_event(event))

    def on_get(self, device: str, get: Get) -> None:
        """Answer a request for chunks; where the broker is away the device asks again."""
        try:
            self._patiently(lambda: self._intake.on_get(device, get))
        except OSError as error:
            _log.warning("repair_failed", device=device, error=str(error))

    def on_rejected(self, device: str | None, topic: str, reason: Rejected, detail: str) -> None:
        """Count and log what does not count."""
        self._rejected += 1
        if reason is Rejected.UNKNOWN_DEVICE and device is not None:
            self._meet_stranger(device)
        _log.warning("message_rejected", device=device, topic=topic[:200], reason=reason.value, detail=detail[:200])

    def _patiently(self, take: Callable[[], None]) -> None:
        waiting = False
        while True:
            try:
                take()
            except UnavailableError as error:
                if not waiting:
                    _log.error("intake_paused", error=str(error))
                waiting = True
                if self._stopping.wait(_RETRY_S):
                    return
            else:
                return
