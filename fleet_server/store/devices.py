"""Enrolled devices: who they are, what they reported last, when they were seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from edge_agent.contract import codec
from edge_agent.contract.messages import Capabilities, Reported
from edge_agent.contract.states import Presence
from fleet_server.store.errors import NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import devices


@dataclass(frozen=True, slots=True)
class Device:
    """One enrolled device; `capabilities` and `reported` are JSON's own types of the contract's messages."""

    id: str
    public_key: str
    profile: str
    cohort: str
    simulated: bool
    labels: Mapping[str, str]
    capabilities: Mapping[str, Any]
    enrolled: int
    presence: str = "unknown"
    status_boot: int = -1
    last_seen: int | None = None
    reported_boot: int = -1
    reported_seq: int = -1
    reported: Mapping[str, Any] | None = None

    @property
    def online(self) -> bool:
        """Whether its retained status says that it is there."""
        return self.presence == Presence.READY

    def read_capabilities(self) -> Capabilities:
        """What the board is, as it said itself last."""
        return codec.from_plain(Capabilities, dict(self.capabilities))

    def read_reported(self) -> Reported | None:
        """What it said last that it runs, under its own signature."""
        return None if self.reported is None else codec.from_plain(Reported, dict(self.reported))


_read = reader(Device)


def insert_device(connection: Connection, device: Device) -> None:
    """Add a device."""
    connection.execute(
        insert(devices).values(
            id=device.id,
            public_key=device.public_key,
            profile=device.profile,
            cohort=device.cohort,
            simulated=device.simulated,
            labels=dict(device.labels),
            capabilities=dict(device.capabilities),
            enrolled=device.enrolled,
            presence=device.presence,
            status_boot=device.status_boot,
            last_seen=device.last_seen,
            reported_boot=device.reported_boot,
            reported_seq=device.reported_seq,
            reported=None,
        )
    )


def find_device(connection: Connection, device: str) -> Device | None:
    """Return a device, or None."""
    row = connection.execute(select(devices).where(devices.c.id == device)).one_or_none()
    return None if row is None else _read(row)


def get_device(connection: Connection, device: str) -> Device:
    """Return a device.

    Raises:
        NotFoundError: there is none of this id.
    """
    found = find_device(connection, device)
    if found is None:
        raise NotFoundError(f"there is no device {device!r}")
    return found


def all_devices(connection: Connection) -> tuple[Device, ...]:
    """Return every device in the order of ids."""
    return tuple(_read(row) for row in connection.execute(select(devices).order_by(devices.c.id)))


def page_devices(connection: Connection, request: PageRequest, text: str = "") -> Page[Device]:
    """Return one page of the devices whose id or profile contains `text`."""
    query = select(devices)
    if text:
        query = query.where(
            or_(devices.c.id.contains(text, autoescape=True), devices.c.profile.contains(text, autoescape=True))
        )
    return read_page(connection, query, devices.c.id, request, _read)


def count_devices(connection: Connection) -> tuple[int, int]:
    """Return how many devices there are, and how many of them are online."""
    total = connection.execute(select(func.count()).select_from(devices)).scalar_one()
    online = connection.execute(
        select(func.count()).select_from(devices).where(devices.c.presence == Presence.READY.value)
    ).scalar_one()
    return total, online


def save_labels(connection: Connection, device: str, labels: Mapping[str, str]) -> None:
    """Replace a device's labels."""
    connection.execute(update(devices).where(devices.c.id == device).values(labels=dict(labels)))


def save_status(connection: Connection, device: str, presence: str, boot: int) -> None:
    """Save what a device's status says."""
    connection.execute(update(devices).where(devices.c.id == device).values(presence=presence, status_boot=boot))


def save_seen(connection: Connection, device: str, now: int) -> None:
    """Save when a device was heard last."""
    connection.execute(update(devices).where(devices.c.id == device).values(last_seen=now))


def save_reported(connection: Connection, reported: Reported) -> None:
    """Save a device's newest report, and what it says of its board."""
    connection.execute(
        update(devices)
        .where(devices.c.id == reported.device)
        .values(
            reported=codec.to_plain(reported),
            reported_boot=reported.boot,
            reported_seq=reported.seq,
            capabilities=codec.to_plain(reported.capabilities),
        )
    )


def delete_device(connection: Connection, device: str) -> None:
    """Remove a device and all that hangs on it."""
    connection.execute(delete(devices).where(devices.c.id == device))
