"""The newest signed desired document of each device, and the outbox of what the broker must still be told.

House rules: a document and its entry in the outbox are saved in one transaction; an entry leaves the outbox only after
the broker has acknowledged; every entry may be done twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from edge_agent.contract import codec
from edge_agent.contract.messages import Desired
from fleet_server.store.rows import reader
from fleet_server.store.schema import desired, distributed, outbox


class Work(StrEnum):
    """What the broker must still be told: of a device, or (`trust`) of what all devices read."""

    PUBLISH = "publish"
    CLEAR = "clear"
    TRUST = "trust"


# In the place of a device, and none can be called that: the pack that all devices read.
EVERYBODY = "/trust"


@dataclass(frozen=True, slots=True)
class StoredDesired:
    """A device's newest desired document; `digests` are all that it may ask for: bundles' parcels and chunks."""

    device: str
    seq: int
    body: Mapping[str, Any]
    digests: tuple[str, ...]
    published_seq: int
    created: int

    def read_body(self) -> Desired:
        """The document's content."""
        return codec.from_plain(Desired, dict(self.body))


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that the broker must still be told."""

    n: int
    device: str
    kind: str
    detail: str
    created: int


_read_entry = reader(Entry)


def _read(row: Any) -> StoredDesired:
    return StoredDesired(row.device, row.seq, row.body, tuple(row.digests), row.published_seq, row.created)


def find_desired(connection: Connection, device: str) -> StoredDesired | None:
    """Return a device's newest desired document, or None."""
    row = connection.execute(select(desired).where(desired.c.device == device)).one_or_none()
    return None if row is None else _read(row)


def all_desired(connection: Connection) -> tuple[StoredDesired, ...]:
    """Return the newest desired document of every device that has one."""
    return tuple(_read(row) for row in connection.execute(select(desired).order_by(desired.c.device)))


def save_desired(connection: Connection, made: StoredDesired) -> None:
    """Save a device's newer document, and that the broker must be told of it; one that is held back stays so."""
    held = connection.execute(
        select(desired.c.published_seq).where(desired.c.device == made.device, desired.c.published_seq < 0)
    ).scalar_one_or_none()
    connection.execute(delete(desired).where(desired.c.device == made.device))
    connection.execute(
        insert(desired).values(
            device=made.device,
            seq=made.seq,
            body=dict(made.body),
            digests=list(made.digests),
            published_seq=made.published_seq if held is None else held,
            created=made.created,
        )
    )
    enqueue(connection, made.device, Work.PUBLISH, "", made.created)


def mark_published(connection: Connection, device: str, seq: int) -> None:
    """Save that the broker has acknowledged a device's document of this number."""
    connection.execute(
        update(desired).where(desired.c.device == device, desired.c.published_seq < seq).values(published_seq=seq)
    )


def enqueue(connection: Connection, device: str, kind: Work, detail: str, now: int) -> None:
    """Put one thing into the outbox, behind what is there; what was there of the device gives way."""
    connection.execute(delete(outbox).where(outbox.c.device == device))
    connection.execute(insert(outbox).values(device=device, kind=kind.value, detail=detail, created=now))


def enqueue_all(connection: Connection, now: int) -> int:
    """Put everything into the outbox again, and forget which chunks the broker holds; return how many documents."""
    connection.execute(delete(distributed))
    enqueue_trust(connection, now)
    return enqueue_documents(connection, now)


def enqueue_trust(connection: Connection, now: int) -> None:
    """Have the image repository's pack published; it goes before every document that waits."""
    enqueue(connection, EVERYBODY, Work.TRUST, "", now)


def enqueue_documents(connection: Connection, now: int) -> int:
    """Put every device's document into the outbox again; return how many."""
    devices = [row[0] for row in connection.execute(select(desired.c.device))]
    for device in devices:
        enqueue(connection, device, Work.PUBLISH, "", now)
    return len(devices)


def list_outbox(connection: Connection) -> tuple[Entry, ...]:
    """Return what the broker must still be told, the oldest first, but for documents held back after a restore."""
    held = select(desired.c.device).where(desired.c.published_seq < 0)
    ready = (outbox.c.kind != Work.PUBLISH.value) | outbox.c.device.not_in(held)
    return tuple(_read_entry(row) for row in connection.execute(select(outbox).where(ready).order_by(outbox.c.n)))


def finish_entry(connection: Connection, n: int) -> None:
    """Take what was done out of the outbox."""
    connection.execute(delete(outbox).where(outbox.c.n == n))


def is_distributed(connection: Connection, cohort: str, parcel: str) -> bool:
    """Whether the broker holds a parcel's chunks for a cohort, as far as this server knows."""
    row = connection.execute(
        select(distributed.c.at).where(distributed.c.cohort == cohort, distributed.c.parcel == parcel)
    ).first()
    return row is not None


def list_distributed(connection: Connection) -> dict[tuple[str, str], int]:
    """Return what the broker holds: (cohort, parcel), with the time (epoch ms) when a device last needed it."""
    return {(row.cohort, row.parcel): row.at for row in connection.execute(select(distributed))}


def touch_distributed(connection: Connection, cohort: str, parcel: str, now: int) -> None:
    """Save that a device still needs a parcel."""
    here = (distributed.c.cohort == cohort) & (distributed.c.parcel == parcel)
    connection.execute(update(distributed).where(here).values(at=now))


def forget_distributed(connection: Connection, cohort: str, parcel: str) -> None:
    """Save that the broker does not hold a parcel any more."""
    here = (distributed.c.cohort == cohort) & (distributed.c.parcel == parcel)
    connection.execute(delete(distributed).where(here))


def mark_distributed(connection: Connection, cohort: str, parcel: str, now: int) -> None:
    """Save that the broker holds a parcel's chunks for a cohort."""
    if not is_distributed(connection, cohort, parcel):
        connection.execute(insert(distributed).values(cohort=cohort, parcel=parcel, at=now))
