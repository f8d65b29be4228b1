"""Windows rolled up by the hour, for each device and bundle; groups and whole models are merged when they are read.

House rules: an hour is always made anew of all its windows, which are all still there: they are forgotten by whole
hours, and none is added to an hour that was. So a repeat, or a window that came late, changes the hour as it should.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

from sqlalchemy import Connection, and_, bindparam, delete, insert, select, update

from edge_agent.contract.windows import WindowCounts, merge
from fleet_server.core.packed_counts import pack_counts, shape_of, unpack_counts
from fleet_server.store.rows import reader
from fleet_server.store.schema_monitoring import window_hours, windows


@dataclass(frozen=True, slots=True)
class StoredHour:
    """The windows of one device and bundle that ended in the hour that begins at `hour`, merged."""

    device: str
    model: str
    version: int
    digest: str
    hour: int
    windows: int
    counts: bytes

    def read_counts(self) -> WindowCounts:
        """The counts."""
        return unpack_counts(self.counts)


_read = reader(StoredHour)
_KEY = ("device", "model", "version", "digest", "hour")


def any_due(connection: Connection, before: int) -> bool:
    """Whether an hour that begins before a time is not up to date with its windows."""
    due = select(windows.c.n).where(windows.c.rolled.is_(False), windows.c.hour < before).limit(1)
    return connection.execute(due).first() is not None


def roll_up(connection: Connection, before: int, limit: int) -> int:
    """Bring at most `limit` hours that begin before a time up to date with their windows; return how many were."""
    columns = [windows.c[name] for name in _KEY]
    waiting = select(*columns).where(windows.c.rolled.is_(False), windows.c.hour < before)
    due = waiting.distinct().limit(limit).subquery()
    mine = and_(*(windows.c[name] == due.c[name] for name in _KEY))
    found: dict[tuple[object, ...], list[bytes]] = {}
    places = []
    rows = connection.execute(select(windows.c.n, *columns, windows.c.counts).join(due, mine).order_by(windows.c.n))
    for n, *key, packed in rows:
        places.append({"place": n})
        found.setdefault(tuple(key), []).append(packed)
    if not found:
        return 0
    keys = [dict(zip(_KEY, key, strict=True)) for key in found]
    held = and_(*(window_hours.c[name] == bindparam(f"old_{name}") for name in _KEY))
    connection.execute(
        delete(window_hours).where(held), [{f"old_{name}": value for name, value in key.items()} for key in keys]
    )
    made = [
        key | {"windows": len(packed), "counts": packed[0] if len(packed) == 1 else _merge(packed)}
        for key, packed in zip(keys, found.values(), strict=True)
    ]
    connection.execute(insert(window_hours), made)
    connection.execute(update(windows).where(windows.c.n == bindparam("place")).values(rolled=True), places)
    return len(found)


def _merge(packed: Sequence[bytes]) -> bytes:
    """Merge windows of one bundle; one that is of another shape than the newest is not of that bundle, and left out."""
    counts = [unpack_counts(item) for item in packed]
    shape = shape_of(counts[-1])
    return pack_counts(reduce(merge, (item for item in counts if shape_of(item) == shape)))


def read_hours(
    connection: Connection, model: str, version: int, since: int, device: str | None = None
) -> Iterator[StoredHour]:
    """Yield the hours of a version from `since` on, of one device or of all, oldest first."""
    query = select(window_hours).where(
        window_hours.c.hour >= since, window_hours.c.model == model, window_hours.c.version == version
    )
    if device is not None:
        query = query.where(window_hours.c.device == device)
    for row in connection.execute(query.order_by(window_hours.c.hour)):
        yield _read(row)


def forget_hours(connection: Connection, before: int) -> None:
    """Delete hours before a time."""
    connection.execute(delete(window_hours).where(window_hours.c.hour < before))
