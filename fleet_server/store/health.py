"""Health objects as they came, a bounded history for each device and model; for dashboards, never evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from edge_agent.contract import codec
from edge_agent.contract.messages import Health
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import health

_TRIM_EVERY = 50


@dataclass(frozen=True, slots=True)
class StoredHealth:
    """One health object of a device for one model."""

    device: str
    model: str
    received: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class HealthFilter:
    """Which health objects are wanted; `since` is when the server received them, in epoch milliseconds."""

    device: str | None = None
    model: str | None = None
    since: int | None = None


_read = reader(StoredHealth, "n")


def insert_health(connection: Connection, device: str, message: Health, received: int, kept: int) -> None:
    """Add a health object, and keep about the newest `kept` of its device and model."""
    connection.execute(
        insert(health).values(device=device, model=message.model, received=received, body=codec.to_plain(message))
    )
    if message.seq % _TRIM_EVERY == 0:
        mine = (health.c.device == device, health.c.model == message.model)
        newest = select(health.c.n).where(*mine).order_by(health.c.n.desc()).limit(kept).scalar_subquery()
        connection.execute(delete(health).where(*mine, health.c.n.not_in(newest)))


def page_health(connection: Connection, wanted: HealthFilter, request: PageRequest) -> Page[StoredHealth]:
    """Return one page of health objects, newest first."""
    query = select(health)
    if wanted.device is not None:
        query = query.where(health.c.device == wanted.device)
    if wanted.model is not None:
        query = query.where(health.c.model == wanted.model)
    if wanted.since is not None:
        query = query.where(health.c.received >= wanted.since)
    return read_page(connection, query, health.c.n, request, _read, newest_first=True)


def latest_health(connection: Connection, device: str | None = None) -> tuple[StoredHealth, ...]:
    """Return the newest health object of each device and model, or those of one device."""
    newest = select(func.max(health.c.n)).group_by(health.c.device, health.c.model)
    if device is not None:
        newest = newest.where(health.c.device == device)
    rows = connection.execute(select(health).where(health.c.n.in_(newest)).order_by(health.c.device, health.c.model))
    return tuple(_read(row) for row in rows)
