"""What happened, on devices and on the server; a repeat of a device's event is known by its key and left out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, insert, select

from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import events


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """One event; `key` names it uniquely where it may come twice."""

    at: int
    source: str
    code: str
    detail: str = ""
    device: str | None = None
    model: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None


_read = reader(StoredEvent, "n")


def insert_event(connection: Connection, event: StoredEvent) -> bool:
    """Add an event; return whether it is new."""
    if event.key is not None:
        known = connection.execute(select(events.c.n).where(events.c.key == event.key)).one_or_none()
        if known is not None:
            return False
    connection.execute(
        insert(events).values(
            key=event.key,
            at=event.at,
            source=event.source,
            code=event.code,
            device=event.device,
            model=event.model,
            detail=event.detail,
            fields=dict(event.fields),
        )
    )
    return True


def page_events(connection: Connection, request: PageRequest, device: str | None = None) -> Page[StoredEvent]:
    """Return one page of events, newest first."""
    query = select(events)
    if device is not None:
        query = query.where(events.c.device == device)
    return read_page(connection, query, events.c.n, request, _read, newest_first=True)
