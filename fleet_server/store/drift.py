"""What is known of drift: each device's, each group's and model's, the policies, and how far windows were judged.

House rules: memories are bytes here; `fleet_server.core` knows their form. What a device learnt has a table of its own,
so that a device that has learnt costs a short row for each window.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, delete, func, insert, select

from fleet_server.core.drift_machine import DriftState, Looks
from fleet_server.store.rows import reader
from fleet_server.store.schema import settings
from fleet_server.store.schema_monitoring import drift_devices, drift_memories, drift_policies, drift_scopes

_CURSOR = "drift_cursor"


@dataclass(frozen=True, slots=True)
class DeviceDrift:
    """A device's drift for one version. `look` is how far its newest look was from its past and from training."""

    device: str
    model: str
    version: int
    digest: str
    state: DriftState
    since: int
    windows: int = 0
    rows: int = 0
    learnt: int = 0
    looks: Looks = ()
    sentence: str = ""
    pending: bytes | None = None
    look: bytes | None = None
    look_at: int = 0
    look_n: int = 0


@dataclass(frozen=True, slots=True)
class ScopeDrift:
    """Drift of a version in a group, or of all its devices (`group` empty), in what was seen or in its truth."""

    model: str
    version: int
    group: str
    aspect: str
    state: DriftState
    since: int
    judged_at: int = 0
    judged_n: int = 0
    looks: Looks = ()
    sentence: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    memory: bytes = b""


@dataclass(frozen=True, slots=True)
class Fresh:
    """When a device's newest look was, and the place of the window that it ended with."""

    device: str
    look_at: int
    look_n: int


@dataclass(frozen=True, slots=True)
class LookShown:
    """A device's newest look, without what it learnt."""

    device: str
    state: DriftState
    learnt: int
    look: bytes


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """A model's drift policy, who set it and when."""

    model: str
    policy: Mapping[str, Any]
    author: str
    set_at: int


_read_policy = reader(StoredPolicy)
_DEVICE = tuple(item.name for item in fields(DeviceDrift))
_values = attrgetter(*_DEVICE)


# Most devices' looks say the same: that nothing moved.
@lru_cache(maxsize=1024)
def _read_looks(text: str) -> Looks:
    return _looks(json.loads(text))


@lru_cache(maxsize=1024)
def _write_looks(looks: Looks) -> str:
    return json.dumps(looks)


def _looks(plain: Sequence[Sequence[Sequence[float]]]) -> Looks:
    return tuple(tuple((int(column), float(weight)) for column, weight in look) for look in plain)


def _read_device(row: Any) -> DeviceDrift:
    """Read a row of the columns `_DEVICE`, in their order: thousands are read at once."""
    values = list(row)
    values[4], values[9] = DriftState(values[4]), _read_looks(values[9])
    return DeviceDrift(*values)


def _read_scope(row: Any) -> ScopeDrift:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return ScopeDrift(**values | {"state": DriftState(values["state"]), "looks": _looks(values["looks"])})


def find_devices(
    connection: Connection, model: str, version: int, names: Iterable[str] | None = None
) -> dict[str, DeviceDrift]:
    """Return what is known of devices (of these, or of all) with a version, by name."""
    query = select(*(drift_devices.c[name] for name in _DEVICE)).where(
        drift_devices.c.model == model, drift_devices.c.version == version
    )
    if names is None:
        return {row[0]: _read_device(row) for row in connection.execute(query.order_by(drift_devices.c.device))}
    part = query.where(_is_one_of(drift_devices.c.device, names))
    return {row[0]: _read_device(row) for row in connection.execute(part).all()}


def _is_one_of(column: Column[str], names: Iterable[str]) -> ColumnElement[bool]:
    """Whether a column is one of many names, which go to the database as one value."""
    return column.in_(select(func.json_each(json.dumps(list(names))).table_valued("value").c.value))


def find_memories(connection: Connection, model: str, version: int, names: Iterable[str]) -> dict[str, bytes]:
    """Return what these devices learnt with a version, by name."""
    columns = drift_memories.c
    query = select(columns.device, columns.memory).where(
        columns.model == model, columns.version == version, _is_one_of(columns.device, names)
    )
    return {row[0]: row[1] for row in connection.execute(query).all()}


def save_memories(connection: Connection, model: str, version: int, found: Mapping[str, bytes]) -> None:
    """Save what devices learnt with a version."""
    if not found:
        return
    columns = drift_memories.c
    key = columns.model == model, columns.version == version
    connection.execute(delete(drift_memories).where(*key, _is_one_of(columns.device, found)))
    rows = [{"device": name, "model": model, "version": version, "memory": memory} for name, memory in found.items()]
    connection.execute(insert(drift_memories), rows)


def save_devices(connection: Connection, found: Sequence[DeviceDrift]) -> None:
    """Save what is known of devices."""
    if not found:
        return
    columns = drift_devices.c
    connection.execute(
        delete(drift_devices).where(
            columns.model == found[0].model,
            columns.version == found[0].version,
            _is_one_of(columns.device, [item.device for item in found]),
        )
    )
    rows = [dict(zip(_DEVICE, _values(item), strict=True)) for item in found]
    for row in rows:
        row["looks"] = _write_looks(row["looks"])
    connection.execute(insert(drift_devices), rows)


def list_fresh(connection: Connection, model: str, version: int) -> tuple[Fresh, ...]:
    """Return when each device's newest look was."""
    columns = drift_devices.c
    query = select(columns.device, columns.look_at, columns.look_n).where(
        columns.model == model, columns.version == version, columns.look.is_not(None)
    )
    return tuple(Fresh(*row) for row in connection.execute(query))


def list_looks(connection: Connection, model: str, version: int, after: int) -> tuple[LookShown, ...]:
    """Return the newest look of each device, where it ended with a window after the place `after`."""
    columns = drift_devices.c
    query = select(columns.device, columns.state, columns.learnt, columns.look).where(
        columns.model == model, columns.version == version, columns.look.is_not(None), columns.look_n > after
    )
    rows = connection.execute(query.order_by(columns.device))
    return tuple(LookShown(device, DriftState(state), learnt, look) for device, state, learnt, look in rows)


def watched_versions(connection: Connection) -> tuple[tuple[str, int], ...]:
    """Return the versions of which devices' drift is known."""
    rows = connection.execute(select(drift_devices.c.model, drift_devices.c.version).distinct())
    return tuple((row.model, row.version) for row in rows)


def find_scope(connection: Connection, model: str, version: int, group: str, aspect: str) -> ScopeDrift | None:
    """Return what is known of a group's drift."""
    columns = drift_scopes.c
    row = connection.execute(
        select(drift_scopes).where(
            columns.model == model, columns.version == version, columns.group == group, columns.aspect == aspect
        )
    ).one_or_none()
    return None if row is None else _read_scope(row)


def save_scope(connection: Connection, found: ScopeDrift) -> None:
    """Save what is known of a group's drift."""
    columns = drift_scopes.c
    connection.execute(
        delete(drift_scopes).where(
            columns.model == found.model,
            columns.version == found.version,
            columns.group == found.group,
            columns.aspect == found.aspect,
        )
    )
    connection.execute(insert(drift_scopes).values(**asdict(found)))


def find_policy(connection: Connection, model: str) -> StoredPolicy | None:
    """Return the drift policy that was set for a model."""
    row = connection.execute(select(drift_policies).where(drift_policies.c.model == model)).one_or_none()
    return None if row is None else _read_policy(row)


def save_policy(connection: Connection, policy: StoredPolicy) -> None:
    """Set the drift policy of a model."""
    connection.execute(delete(drift_policies).where(drift_policies.c.model == policy.model))
    connection.execute(insert(drift_policies).values(**asdict(policy)))


def read_cursor(connection: Connection) -> int:
    """Return the place of the last window that was judged."""
    found = connection.execute(select(settings.c.value).where(settings.c.key == _CURSOR)).scalar_one_or_none()
    return 0 if found is None else int(found)


def save_cursor(connection: Connection, place: int) -> None:
    """Set the place of the last window that was judged."""
    connection.execute(delete(settings).where(settings.c.key == _CURSOR))
    connection.execute(insert(settings).values(key=_CURSOR, value=str(place)))


def forget_drift(connection: Connection, before: int) -> None:
    """Delete what is known of devices' and groups' drift whose last look was before a time."""
    connection.execute(delete(drift_devices).where(drift_devices.c.look_at < before))
    key = ("device", "model", "version")
    known = select(drift_devices.c.device).where(*(drift_devices.c[name] == drift_memories.c[name] for name in key))
    connection.execute(delete(drift_memories).where(~known.exists()))
    connection.execute(delete(drift_scopes).where(drift_scopes.c.judged_at < before))
