"""Closed windows by their key (device, model, version, boot, number): a repeat replaces."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from edge_agent.contract import codec
from edge_agent.contract.windows import Window, WindowCounts
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import windows


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """A window as it was received; `counts` is JSON's own form of the contract's counts."""

    device: str
    model: str
    version: int
    boot: int
    number: int
    digest: str
    started: int
    ended: int
    received: int
    counts: Mapping[str, Any]

    def read_counts(self) -> WindowCounts:
        """The counts."""
        return codec.from_plain(WindowCounts, dict(self.counts))


@dataclass(frozen=True, slots=True)
class WindowFilter:
    """Which windows are wanted; `since` is when the server received them, in epoch milliseconds."""

    device: str | None = None
    model: str | None = None
    version: int | None = None
    since: int | None = None


_read = reader(StoredWindow, "n")


def save_window(connection: Connection, window: Window, received: int) -> None:
    """Save a window in the place of an earlier copy of itself."""
    connection.execute(
        delete(windows).where(
            windows.c.device == window.device,
            windows.c.model == window.model,
            windows.c.version == window.version,
            windows.c.boot == window.boot,
            windows.c.number == window.number,
        )
    )
    connection.execute(
        insert(windows).values(
            device=window.device,
            model=window.model,
            version=window.version,
            boot=window.boot,
            number=window.number,
            digest=window.digest,
            started=window.started,
            ended=window.ended,
            received=received,
            counts=codec.to_plain(window.counts),
        )
    )


def _where(wanted: WindowFilter) -> Any:
    query = select(windows)
    if wanted.device is not None:
        query = query.where(windows.c.device == wanted.device)
    if wanted.model is not None:
        query = query.where(windows.c.model == wanted.model)
    if wanted.version is not None:
        query = query.where(windows.c.version == wanted.version)
    if wanted.since is not None:
        query = query.where(windows.c.received >= wanted.since)
    return query


def page_windows(connection: Connection, wanted: WindowFilter, request: PageRequest) -> Page[StoredWindow]:
    """Return one page of windows, newest first."""
    return read_page(connection, _where(wanted), windows.c.n, request, _read, newest_first=True)


def list_windows(connection: Connection, wanted: WindowFilter) -> tuple[StoredWindow, ...]:
    """Return the windows wanted in the order in which they came."""
    return tuple(_read(row) for row in connection.execute(_where(wanted).order_by(windows.c.n)))


def forget_windows(connection: Connection, before: int) -> None:
    """Delete windows received before a time."""
    connection.execute(delete(windows).where(windows.c.received < before))
