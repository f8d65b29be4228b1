"""Closed windows by their key (device, model, version, boot, number): a repeat of at least as many rows replaces.

House rules: a window belongs to the hour in which it ended by the device's clock, where that is an hour which the
server keeps, else to the hour in which it came first; a repeat stays in its hour and its place. Windows are forgotten
by whole hours that are rolled up, and leave a mark: a repeat of a forgotten window is late and dropped, so that no hour
counts it twice.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, update

from edge_agent.contract import codec
from edge_agent.contract.windows import Window, WindowCounts
from fleet_server.core.packed_counts import pack_counts, unpack_counts
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema_monitoring import window_marks, windows

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class StoredWindow:
    """A window as it was received; `packed` is its counts as the database keeps them, `n` its place in the order."""

    n: int
    device: str
    model: str
    version: int
    boot: int
    number: int
    digest: str
    started: int
    ended: int
    received: int
    packed: bytes

    @property
    def counts(self) -> Mapping[str, Any]:
        """The counts in JSON's own types."""
        plain: Mapping[str, Any] = codec.to_plain(self.read_counts())
        return plain

    def read_counts(self) -> WindowCounts:
        """The counts."""
        return unpack_counts(self.packed)


class WindowRow(NamedTuple):
    """What evidence reads of a window; as in `StoredWindow`."""

    n: int
    device: str
    version: int
    started: int
    ended: int
    received: int
    packed: bytes


@dataclass(frozen=True, slots=True)
class WindowFilter:
    """Which windows are wanted; `since` is when the server received them, in epoch milliseconds."""

    device: str | None = None
    model: str | None = None
    version: int | None = None
    since: int | None = None


_read = reader(StoredWindow)
_SHOWN: Any = select(
    *(column for column in windows.c if column.name not in ("hour", "rolled", "counts")),
    windows.c.counts.label("packed"),
)
_ROW: Any = select(*(windows.c["counts" if name == "packed" else name] for name in WindowRow._fields))
_IDENTITY = (windows.c.device, windows.c.model, windows.c.version)


def save_window(connection: Connection, window: Window, received: int, kept_days: int = 7) -> bool:
    """Save a window in the place of an earlier copy of itself; return False where it is dropped.

    Dropped is a late repeat, and one of fewer rows than what is held: a device that could not keep its newest copy of
    an open window may send an older one after the whole.

    Raises:
        UnreadableCountsError: its counts cannot be kept.
    """
    packed = pack_counts(window.counts)
    key = (*(column == getattr(window, column.name) for column in _IDENTITY),)
    same = (*key, windows.c.boot == window.boot, windows.c.number == window.number)
    known = connection.execute(select(windows.c.n, windows.c.counts).where(*same)).one_or_none()
    if known is not None:
        if _rows_of(window.counts) < _rows_of(unpack_counts(known.counts)):
            return False
        changed = {"digest": window.digest, "started": window.started, "ended": window.ended, "received": received}
        connection.execute(update(windows).where(windows.c.n == known.n).values(**changed, rolled=False, counts=packed))
        return True
    if _is_late(connection, window):
        return False
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
            hour=_choose_hour(window.ended, received, kept_days),
            rolled=False,
            counts=packed,
        )
    )
    return True


def _rows_of(counts: WindowCounts) -> int:
    """Return how much came to a window: rows, refused ones, and labels that came back."""
    return counts.rows + counts.rejected + counts.feedback.n


def _choose_hour(ended: int, received: int, kept_days: int) -> int:
    oldest = received - kept_days * 24 * HOUR_MS + HOUR_MS  # an hour that is not about to be forgotten
    at = ended if oldest <= ended <= received else received
    return at - at % HOUR_MS


def _is_late(connection: Connection, window: Window) -> bool:
    marked = connection.execute(
        select(window_marks.c.boot, window_marks.c.number).where(
            window_marks.c.device == window.device,
            window_marks.c.model == window.model,
            window_marks.c.version == window.version,
        )
    ).one_or_none()
    return marked is not None and (window.boot, window.number) <= tuple(marked)


def _where(wanted: WindowFilter) -> Any:
    query = _SHOWN
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


def windows_after(connection: Connection, n: int, limit: int) -> tuple[StoredWindow, ...]:
    """Return at most `limit` windows that came first after the place `n`, in their order."""
    rows = connection.execute(_SHOWN.where(windows.c.n > n).order_by(windows.c.n).limit(limit)).all()
    return tuple(StoredWindow(*row) for row in rows)


def walk_windows(connection: Connection, model: str, after: int, until: int) -> Iterator[WindowRow]:
    """Yield the windows of a model from the place after `after` up to `until`, in their order."""
    query = _ROW.where(windows.c.n > after, windows.c.n <= until, windows.c.model == model)
    return map(WindowRow._make, connection.execute(query.order_by(windows.c.n)))


def place_before(connection: Connection, since: int) -> int:
    """Return a place after which all windows are that came since a time (epoch ms), in a few look-ups.

    Places are in the order in which windows came first, so halving finds it; a repeat came later than its place says,
    which can but lead to an earlier place.
    """
    low, high = 0, last_place(connection)
    while low < high:
        middle = (low + high) // 2
        query = select(windows.c.n, windows.c.received).where(windows.c.n > middle).order_by(windows.c.n).limit(1)
        n, received = connection.execute(query).one()
        if received >= since:
            high = middle
        else:
            low = n
    return low


def last_place(connection: Connection) -> int:
    """Return the place of the newest window, 0 without any."""
    return int(connection.execute(select(func.coalesce(func.max(windows.c.n), 0))).scalar_one())


def latest_of(
    connection: Connection, model: str, version: int, devices: frozenset[str] | None, count: int
) -> list[StoredWindow]:
    """Return the newest `count` windows of each device (of all, or of these) with a version, in their order."""
    rank = func.row_number().over(partition_by=windows.c.device, order_by=windows.c.n.desc()).label("rank")
    ranked = (
        select(windows.c.n, windows.c.device, rank)
        .where(windows.c.model == model, windows.c.version == version)
        .subquery()
    )
    places = connection.execute(select(ranked.c.n, ranked.c.device).where(ranked.c.rank <= count)).all()
    wanted = sorted(n for n, device in places if devices is None or device in devices)
    found: list[StoredWindow] = []
    for start in range(0, len(wanted), 500):
        query = _SHOWN.where(windows.c.n.in_(wanted[start : start + 500])).order_by(windows.c.n)
        found += (_read(row) for row in connection.execute(query))
    return found


def forget_windows(connection: Connection, before: int) -> None:
    """Delete windows of rolled hours before a time, and mark the last of each device and version."""
    old = (windows.c.hour < before - before % HOUR_MS, windows.c.rolled.is_(True))
    last: dict[tuple[Any, ...], tuple[int, int]] = {}
    query = select(*_IDENTITY, windows.c.boot, func.max(windows.c.number)).where(*old)
    for *key, boot, number in connection.execute(query.group_by(*_IDENTITY, windows.c.boot)):
        last[tuple(key)] = max(last.get(tuple(key), (-1, -1)), (boot, number))
    for (device, model, version), (boot, number) in last.items():
        mine = (
            window_marks.c.device == device,
            window_marks.c.model == model,
            window_marks.c.version == version,
        )
        held = connection.execute(select(window_marks.c.boot, window_marks.c.number).where(*mine)).one_or_none()
        if held is None or tuple(held) < (boot, number):
            connection.execute(delete(window_marks).where(*mine))
            values = {"device": device, "model": model, "version": version, "boot": boot, "number": number}
            connection.execute(insert(window_marks).values(**values))
    connection.execute(delete(windows).where(*old))
