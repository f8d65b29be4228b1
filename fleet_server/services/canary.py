"""What is observed of a rollout's devices: their windows by look, what pace needs of their boards, who went bad.

House rules: windows are read once, when a look ends, in the order of their places, which a repeat keeps; only those
of the rollout's own devices are added up. So a moment's look rests on the same windows whoever asks, and none counts
twice. A window that began before the first offer and ended after it is of neither side. All is read in a transaction
for reading: whoever brings windows in does not wait.
"""

import datetime as dt
import itertools
import threading
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from fleet_server.core.canary import (
    BEFORE_LOOKS,
    BoardFacts,
    DeviceHistory,
    Observed,
    compare,
    find_bad,
    first_offer,
    is_canary,
    is_stable,
    look_at,
)
from fleet_server.core.canary_metrics import DeviceSums
from fleet_server.core.differences import Difference
from fleet_server.core.policies import Silence
from fleet_server.core.rollouts import RolloutView
from fleet_server.core.window_sums import add_up, hold_sums, read_held
from fleet_server.store import assignments, devices, windows
from fleet_server.store.windows import WindowRow

# The label that says where a board stands: an IANA name such as Europe/Vienna.
TIME_ZONE_LABEL = "timezone"
# Rows that a device must answer are counted as often as this.
_INFERENCES_EVERY_S = 10.0
# Windows that are added up at once.
_AT_ONCE = 50_000
# Besides looks, which count from 1: of the former version before the first offer; rows of the new one before it.
_BEFORE, _EARLY = 0, -1

# Whose windows, whether of the new version, of which look.
_Key = tuple[str, bool, int]


@dataclass
class _Gathered:
    """What was added up for one rollout so far, of the windows in places after `first` up to `read_to`; epoch ms."""

    began: float
    first: int
    read_to: int
    devices: frozenset[str] = frozenset()
    read_at: float = 0.0
    look: int = 0
    before: dict[str, DeviceSums] = field(default_factory=dict)
    looks: dict[tuple[str, bool], dict[int, bytes]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)
    arms: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    differences: tuple[Difference, ...] = ()
    bad_at: dict[str, float] = field(default_factory=dict)


class Observer:
    """Observes rollouts; it holds sums between looks, which it makes again from what is stored after a restart."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gathered: dict[str, _Gathered] = {}

    def observe(self, connection: Connection, view: RolloutView, now: float) -> Observed:
        """Return what a decision at `now` (epoch seconds) reads besides the states of devices."""
        policy, began, look = view.rollout.policy, first_offer(view), look_at(view, now)
        boards = self._boards(connection, view, now) if policy.maintenance or policy.max_unavailable else {}
        if began is None:
            return Observed(boards)
        with self._lock:
            gathered = self._gather(connection, view, began, look, now)
            inferences = dict(gathered.rows) if policy.min_inferences else {}  # others go on adding to these
        bad_at = gathered.bad_at | _rejected(connection, view, began)
        if policy.silent is Silence.BAD and policy.silent_s is not None:
            bad_at |= _quiet_stable(view, gathered, policy.silent_s, now)
        return Observed(boards, inferences, bad_at, look, gathered.differences)

    def forget(self, settled: frozenset[str]) -> None:
        """Let go of the sums of rollouts that are not among the `settled` ones any more."""
        with self._lock:
            for rollout in self._gathered.keys() - settled:
                del self._gathered[rollout]

    def _gather(self, connection: Connection, view: RolloutView, began: float, look: int, now: float) -> _Gathered:
        rollout, policy = view.rollout, view.rollout.policy
        found = self._gathered.get(rollout.id)
        if found is None or found.began != began:
            first = windows.place_before(connection, int((began - BEFORE_LOOKS * policy.look_s) * 1000))
            found = self._gathered[rollout.id] = _Gathered(began, first, first)
        counted = bool(policy.min_inferences) and abs(now - found.read_at) >= _INFERENCES_EVERY_S
        if look > found.look or counted:
            found.read_at = now
            _read(connection, found, view)
        arms = _arms(view)
        if look > found.look or (look and arms != found.arms):
            found.look, found.arms = look, arms
            _judge(connection, found, view)
        return found

    @staticmethod
    def _boards(connection: Connection, view: RolloutView, now: float) -> dict[str, BoardFacts]:
        wanted = {member.device for member in view.devices}
        return {
            board.id: BoardFacts(board.online, utc_offset_s(board.labels, now))
            for board in devices.all_devices(connection)
            if board.id in wanted
        }


def utc_offset_s(labels: Mapping[str, str], now: float) -> float | None:
    """Return the offset from UTC of a device's time zone at `now`, 0 where it has none, or None where it is unknown."""
    name = labels.get(TIME_ZONE_LABEL)
    if not name:
        return 0.0
    try:
        offset = dt.datetime.fromtimestamp(now, zoneinfo.ZoneInfo(name)).utcoffset()
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return None
    return None if offset is None else offset.total_seconds()


def _read(connection: Connection, found: _Gathered, view: RolloutView) -> None:
    """Add up the windows that came since; those of a device that joined, from the first place on."""
    devices, newest = frozenset(member.device for member in view.devices), windows.last_place(connection)
    if joined := devices - found.devices:
        _add(connection, found, view, joined, found.first, found.read_to)
    _add(connection, found, view, devices, found.read_to, newest)
    found.devices, found.read_to = devices, newest


def _add(
    connection: Connection, found: _Gathered, view: RolloutView, devices: frozenset[str], after: int, until: int
) -> None:
    rows = _place_all(found, view, devices, windows.walk_windows(connection, view.rollout.model, after, until))
    while True:
        keys: dict[_Key, int] = {}
        batch = ((keys.setdefault(key, len(keys)), packed) for key, packed in itertools.islice(rows, _AT_ONCE))
        sums = add_up(batch)
        if not sums:
            return
        for key, owner in keys.items():
            _keep(found, key, sums[owner])


def _place_all(
    found: _Gathered, view: RolloutView, devices: frozenset[str], rows: Iterator[WindowRow]
) -> Iterator[tuple[_Key, bytes]]:
    """Yield these devices' windows with what they are of."""
    policy, version, began = view.rollout.policy, view.rollout.version, found.began
    since = began - BEFORE_LOOKS * policy.look_s
    for row in rows:
        received = row.received / 1000
        if row.device not in devices or received < since:
            continue
        found.last[row.device] = max(found.last.get(row.device, 0), row.received)
        new = row.version == version
        if received <= began:
            yield (row.device, new, _EARLY if new else _BEFORE), row.packed
        elif new or min(row.started, row.received - max(row.ended - row.started, 0)) / 1000 >= began:
            yield (row.device, new, int((received - began) // policy.look_s) + 1), row.packed


def _keep(found: _Gathered, key: _Key, sums: DeviceSums) -> None:
    device, new, look = key
    if new:
        found.rows[device] = found.rows.get(device, 0) + sums.rows
    if look == _BEFORE:
        found.before[device] = found.before[device] + sums if device in found.before else sums
    elif look > _BEFORE:
        looks = found.looks.setdefault((device, new), {})
        looks[look] = hold_sums(read_held(looks[look]) + sums if look in looks else sums)


def _judge(connection: Connection, found: _Gathered, view: RolloutView) -> None:
    profiles = {board.id: board.profile for board in devices.all_devices(connection)}
    histories = {}
    for canary, arm in ((True, found.arms[0]), (False, found.arms[1])):
        for device in arm:
            held = found.looks.get((device, canary), {})
            looks = {look: read_held(sums) for look, sums in held.items() if look <= found.look}
            histories[device] = DeviceHistory(found.before.get(device), looks)
    found.differences = compare(view, histories, profiles)
    found.bad_at = find_bad(view.rollout.policy, histories, found.began)


def _arms(view: RolloutView) -> tuple[frozenset[str], frozenset[str]]:
    canary = frozenset(member.device for member in view.devices if is_canary(member))
    return canary, frozenset(member.device for member in view.devices if is_stable(member))


def _rejected(connection: Connection, view: RolloutView, began: float) -> dict[str, float]:
    """Return stable devices on which the version that they run has failed since the first offer."""
    stable = {member.device: member.from_version for member in view.devices if is_stable(member)}
    return {
        item.device: item.at / 1000
        for item in assignments.list_bad(connection)
        if item.model == view.rollout.model
        and item.at / 1000 >= began
        and stable.get(item.device, -1) == item.version
    }  # fmt: skip


def _quiet_stable(view: RolloutView, found: _Gathered, silent_s: float, now: float) -> dict[str, float]:
    """Return stable devices that sent windows and then none for as long as makes a device silent."""
    quiet = {}
    for member in view.devices:
        if is_stable(member) and member.device in found.last:
            since = max(found.last[member.device] / 1000, found.began) + silent_s
            if since <= now:
                quiet[member.device] = since
    return quiet
