"""Devices: what they say of themselves is taken in here, in order; and they are shown, labelled and removed.

House rules: order is by (boot, seq), never by a device's clock; what is older or repeated changes nothing. A device's
identity is the topic's, which the broker binds to its credentials. What a device says counts while it is active.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import structlog
from sqlalchemy import Connection

from edge_agent.contract import codec
from edge_agent.contract.feedback import FeedbackRows
from edge_agent.contract.messages import Event, Get, Health, Reported, Status
from edge_agent.contract.states import Presence
from edge_agent.contract.windows import Window
from fleet_server.core.devices import judge_report
from fleet_server.core.ordering import judge_reported, judge_status
from fleet_server.core.packed_counts import UnreadableCountsError
from fleet_server.core.selectors import SelectorError, check_label, matches
from fleet_server.services.announcements import Announcer
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock
from fleet_server.services.controller import Controller
from fleet_server.services.errors import InvalidError
from fleet_server.services.events import record_event
from fleet_server.services.feedback import take_feedback
from fleet_server.services.groups import read_selector, subject_of
from fleet_server.services.identities import Identities
from fleet_server.services.releases import ImageRepository
from fleet_server.services.retention import Retention
from fleet_server.services.wire import Wire
from fleet_server.store import desired, devices, events, groups, health, proofs, windows
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.desired import StoredDesired
from fleet_server.store.health import StoredHealth
from fleet_server.store.pages import Page, PageRequest, encode_cursor
from fleet_server.store.recovery import find_held

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device with its newest desired document and newest health of each model."""

    device: devices.Device
    desired: StoredDesired | None
    health: tuple[StoredHealth, ...]
    reported: Reported | None

    @property
    def in_sync(self) -> bool:
        """Whether it attests, under its own signature, exactly what it should run."""
        if self.desired is None:
            return True
        wanted = {bundle.digest for bundle in self.desired.read_body().bundles}
        if self.reported is None:
            return not wanted
        running = self.reported.running
        return wanted == {bundle.digest for bundle in running} and all(bundle.attested for bundle in running)


class DeviceIntake:
    """Takes in what devices write; each method is one message, and one transaction."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactFolder,
        controller: Controller,
        identities: Identities,
        image: ImageRepository,
        wire: Wire,
        announcer: Announcer,
        clock: Clock,
        wake: Callable[[], None],
        kept: Retention,
    ) -> None:
        self._image = image
        self._database = database
        self._artifacts = artifacts
        self._controller = controller
        self._identities = identities
        self._wire = wire
        self._announcer = announcer
        self._clock = clock
        self._wake = wake
        self._kept = kept

    def public_key(self, device: str) -> bytes | None:
        """Return a device's raw Ed25519 public key, or None where it is not enrolled or takes no part."""
        with self._database.read() as connection:
            found = devices.find_active(connection, device)
        return None if found is None else bytes.fromhex(found.public_key)

    def on_status(self, device: str, status: Status) -> None:
        """Take in a birth, an end or a will."""
        with self._database.write() as connection:
            known = devices.find_active(connection, device)
            if known is None:
                return
            last = Status(Presence(known.presence), known.status_boot, 0) if known.status_boot >= 0 else None
            if not judge_status(last, Status(status.state, status.boot, 0)):
                return
            now = self._clock()
            devices.save_status(connection, device, status.state, status.boot)
            if status.state is Presence.READY:
                devices.save_seen(connection, device, now)
            if status.state != known.presence:
                record_event(
                    connection,
                    events.StoredEvent(now, "server", f"device_{status.state}", device=device),
                    self._announcer,
                )
        self._wake()

    def on_reported(self, report: Reported, envelope: bytes = b"") -> None:
        """Take in a signed report, where it is newer than the last and shows no copy of the device's identity."""
        del envelope  # its signature was checked at the door; the parsed content is what is kept
        with self._database.write() as connection:
            known = devices.find_active(connection, report.device)
            if known is None:
                return
            if self._is_copied(connection, known, report):
                return
            last = (known.reported_boot, known.reported_seq) if known.reported_boot >= 0 else None
            repeated = last == (report.boot, report.seq) and find_held(connection, report.device) is not None
            if not repeated and not judge_reported(last, (report.boot, report.seq)):
                return  # after a restore even a repeat is news: the device still stands so
            now = self._clock()
            devices.save_reported(connection, report)
            devices.save_seen(connection, report.device, now)
            for proof in report.outcome.proofs if report.outcome is not None else ():
                proofs.save_proof(connection, known.id, known.profile, proof, now, simulated=known.simulated)
            self._image.hear(connection, report)
            self._controller.hear(connection, report)
        self._wake()

    def _is_copied(self, connection: Connection, known: devices.Device, report: Reported) -> bool:
        """Whether the reports of a device show that two boards use its identity; it is quarantined then."""
        digest = sha256(codec.encode(report)).hexdigest()
        before = devices.find_heard(connection, known.id, report.boot, report.seq)
        heard, evidence = judge_report(known.heard, (report.boot, report.ts), digest, before)
        if evidence is not None:
            self._identities.suspect(connection, known.id, evidence, f"report {report.seq} of boot {report.boot}")
        elif before is None:
            devices.save_heard(connection, report, digest, heard)
        return evidence is not None

    def on_health(self, device: str, message: Health) -> None:
        """Take in a health object."""
        with self._database.write() as connection:
            if devices.find_active(connection, device) is not None:
                now = self._clock()
                health.insert_health(connection, device, message, now, self._kept.health)
                devices.save_seen(connection, device, now)

    def on_window(self, window: Window) -> None:
        """Take in a signed window; a repeat of at least as many rows replaces."""
        with self._database.write() as connection:
            if devices.find_active(connection, window.device) is None:
                return
            try:
                kept = windows.save_window(connection, window, self._clock(), self._kept.window_days)
            except UnreadableCountsError as error:
                _log.warning("window_refused", device=window.device, number=window.number, reason=str(error))
                return
        if not kept:
            _log.info("window_dropped", device=window.device, boot=window.boot, number=window.number)

    def on_feedback(self, rows: FeedbackRows) -> None:
        """Take in signed labelled rows; a repeat replaces."""
        with self._database.write() as connection:
            take_feedback(connection, rows, self._clock(), self._kept.feedback)

    def on_event(self, event: Event) -> None:
        """Take in a signed event, once."""
        with self._database.write() as connection:
            if devices.find_active(connection, event.device) is not None:
                stored = events.StoredEvent(
                    at=self._clock(),
                    source="device",
                    code=event.code,
                    detail=event.detail,
                    device=event.device,
                    model=event.model,
                    fields=dict(event.fields),
                    key=f"{event.device}/{event.boot}/{event.n}",
                )
                record_event(connection, stored, self._announcer)

    def on_get(self, device: str, get: Get) -> None:
        """Answer a device's request for chunks that its own desired document names."""
        with self._database.read() as connection:
            stored = desired.find_desired(connection, device)
        if stored is not None:
            sent = self._wire.answer(device, get, frozenset(stored.digests), self._artifacts.read)
            _log.info("chunks_repaired", device=device, wanted=len(get.digests), sent=sent)


class Devices:
    """Shows and labels devices."""

    def __init__(self, database: Database, clock: Clock, wake: Callable[[], None]) -> None:
        self._database = database
        self._clock = clock
        self._wake = wake

    def reported_runtimes(self) -> frozenset[tuple[str, str]]:
        """Return every (runtime, version) that a device reports."""
        with self._database.read() as connection:
            boards = [device.read_capabilities() for device in devices.all_devices(connection)]
        return frozenset(item for board in boards for item in board.runtimes.items())

    def list_devices(self, request: PageRequest, group: str | None, text: str) -> Page[DeviceView]:
        """Return one page of the devices, or of a group's devices, whose id or profile contains `text`."""
        with self._database.read() as connection:
            selector = None if group is None else read_selector(groups.get_group(connection, group).query)
            latest: dict[str, list[StoredHealth]] = {}
            for item in health.latest_health(connection):
                latest.setdefault(item.device, []).append(item)
            views: list[DeviceView] = []
            after, cursor = request.cursor, None
            while True:
                page = devices.page_devices(connection, PageRequest(after, request.limit), text)
                for device in page.items:
                    if selector is not None and not matches(selector, subject_of(device)):
                        continue
                    if len(views) == request.limit:
                        cursor = encode_cursor(views[-1].device.id)
                        break
                    stored = desired.find_desired(connection, device.id)
                    views.append(DeviceView(device, stored, tuple(latest.get(device.id, ())), device.read_reported()))
                if cursor is not None or page.next is None:
                    return Page(tuple(views), cursor)
                after = page.next

    def show(self, device: str) -> DeviceView:
        """Return a device.

        Raises:
            NotFoundError: there is none of this id.
        """
        with self._database.read() as connection:
            found = devices.get_device(connection, device)
            return DeviceView(
                found,
                desired.find_desired(connection, device),
                health.latest_health(connection, device),
                found.read_reported(),
            )

    def label(self, device: str, changes: Mapping[str, str | None], actor: str) -> None:
        """Set labels, or take those away whose value is None.

        Raises:
            NotFoundError: there is none of this id.
            InvalidError: a label is malformed.
        """
        try:
            for key, value in changes.items():
                check_label(key, value or "")
        except SelectorError as error:
            raise InvalidError(str(error)) from error
        with self._database.write() as connection:
            labels = dict(devices.get_device(connection, device).labels)
            for key, value in changes.items():
                if value is None:
                    labels.pop(key, None)
                else:
                    labels[key] = value
            devices.save_labels(connection, device, labels)
            record_audit(connection, self._clock(), actor, "device_labelled", device, changes)
        self._wake()
