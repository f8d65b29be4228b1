"""Events of devices and of the server: recorded once, then announced."""

from typing import Any

from sqlalchemy import Connection

from fleet_server.services.announcements import Announcer
from fleet_server.services.clock import iso
from fleet_server.store.database import Database
from fleet_server.store.events import StoredEvent, insert_event, page_events
from fleet_server.store.pages import Page, PageRequest


def plain_event(event: StoredEvent) -> dict[str, Any]:
    """Return an event as the API shows it."""
    return {
        "at": iso(event.at),
        "source": event.source,
        "code": event.code,
        "device": event.device,
        "model": event.model,
        "detail": event.detail,
        "fields": dict(event.fields),
    }


def record_event(connection: Connection, event: StoredEvent, announcer: Announcer) -> bool:
    """Save and announce an event; return whether it is new."""
    new = insert_event(connection, event)
    if new:
        announcer.announce("event", plain_event(event))
    return new


class Events:
    """Reads the log of events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_events(self, request: PageRequest, device: str | None = None) -> Page[StoredEvent]:
        """Return one page of events, newest first."""
        with self._database.read() as connection:
            return page_events(connection, request, device)
