"""Enrolled devices: who they are, whether they take part, what they reported last, when they were seen."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    ForeignKey,
    Integer,
    String,
    Table,
    UniqueConstraint,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from edge_agent.contract import codec
from edge_agent.contract.messages import Capabilities, Reported
from edge_agent.contract.states import Presence
from fleet_server.core.devices import Heard, Standing
from fleet_server.store.errors import NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import devices, metadata

# Content of the newest reports by number: what a repeat is told from a copy by.
_HEARD_KEPT = 128
heard = Table(
    "reports_heard",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=True),
    Column("device", String(64), ForeignKey("devices.id", ondelete="CASCADE"), nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    UniqueConstraint("device", "boot", "seq"),
)


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
    standing: str = Standing.ACTIVE.value
    standing_at: int = 0
    standing_reason: str = ""
    keyed_at: int = 0
    heard_boot: int = -1
    latest_boot: int = -1
    returns: int = 0
    latest_ts: int = 0

    @property
    def active(self) -> bool:
        """Whether it takes part: what it says counts, and rollouts reach it."""
        return self.standing == Standing.ACTIVE

    @property
    def heard(self) -> Heard:
        """What is remembered of the order of its reports."""
        return Heard(self.heard_boot, self.latest_boot, self.returns, self.latest_ts)

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
            standing=device.standing,
            standing_at=device.standing_at,
            standing_reason=device.standing_reason,
            keyed_at=device.keyed_at,
        )
    )


def find_device(connection: Connection, device: str) -> Device | None:
    """Return a device, or None."""
    row = connection.execute(select(devices).where(devices.c.id == device)).one_or_none()
    return None if row is None else _read(row)


def find_active(connection: Connection, device: str) -> Device | None:
    """Return a device that takes part, or None."""
    found = find_device(connection, device)
    return found if found is not None and found.active else None


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
    """Return every device that takes part, in the order of ids."""
    active = select(devices).where(devices.c.standing == Standing.ACTIVE.value).order_by(devices.c.id)
    return tuple(_read(row) for row in connection.execute(active))


def list_standing(connection: Connection, standing: Standing) -> tuple[str, ...]:
    """Return the ids of the devices of a standing, in order."""
    query = select(devices.c.id).where(devices.c.standing == standing.value).order_by(devices.c.id)
    return tuple(connection.execute(query).scalars())


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


def save_standing(connection: Connection, device: str, standing: Standing, reason: str, now: int) -> None:
    """Save whether a device takes part, and why."""
    values = {"standing": standing.value, "standing_at": now, "standing_reason": reason}
    connection.execute(update(devices).where(devices.c.id == device).values(**values))


def save_key(connection: Connection, device: str, public_key: str, now: int) -> None:
    """Save a device's new key; its new board numbers its reports from the beginning."""
    values = {"public_key": public_key, "keyed_at": now, "status_boot": -1, "reported_boot": -1, "reported_seq": -1}
    values |= {"heard_boot": -1, "latest_boot": -1, "returns": 0, "latest_ts": 0}
    connection.execute(update(devices).where(devices.c.id == device).values(**values))
    connection.execute(delete(heard).where(heard.c.device == device))


def find_heard(connection: Connection, device: str, boot: int, seq: int) -> str | None:
    """Return the digest of the report that was heard under this number, or None."""
    query = select(heard.c.digest).where(heard.c.device == device, heard.c.boot == boot, heard.c.seq == seq)
    return connection.execute(query).scalar_one_or_none()


def save_heard(connection: Connection, report: Reported, digest: str, state: Heard) -> None:
    """Remember a new report's content by its number, and the order of boots; the oldest are forgotten."""
    values = {"heard_boot": state.boot, "latest_boot": state.latest, "returns": state.returns}
    values |= {"latest_ts": state.latest_ts}
    connection.execute(update(devices).where(devices.c.id == report.device).values(**values))
    connection.execute(insert(heard).values(device=report.device, boot=report.boot, seq=report.seq, digest=digest))
    kept = select(heard.c.n).where(heard.c.device == report.device).order_by(heard.c.n.desc())
    oldest = connection.execute(kept.offset(_HEARD_KEPT).limit(1)).scalar_one_or_none()
    if oldest is not None:
        connection.execute(delete(heard).where(heard.c.device == report.device, heard.c.n <= oldest))


def delete_device(connection: Connection, device: str) -> None:
    """Remove a device and all that hangs on it."""
    connection.execute(delete(devices).where(devices.c.id == device))
