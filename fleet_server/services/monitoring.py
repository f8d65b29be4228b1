"""Watches drift: judges windows as they come, device by device, then the groups and models that they belong to.

House rules: windows are judged once, in the order in which they came; how far that went is saved with what was found,
so that a restart repeats and loses nothing. It runs on the controller's loop, a bounded number of windows each time.
"""

from collections.abc import Iterable

import structlog
from sqlalchemy import Connection

from fleet_server.core.concept_rules import Labelled
from fleet_server.core.count_arrays import ABS_ERROR, FEEDBACK_CORRECT, FEEDBACK_N, read_arrays
from fleet_server.core.drift_policy import DriftPolicy, DriftPolicyError, parse_drift_policy
from fleet_server.core.selectors import matches
from fleet_server.services.announcements import Announcer
from fleet_server.services.clock import Clock
from fleet_server.services.device_looks import judge_windows
from fleet_server.services.groups import read_selector, subject_of
from fleet_server.services.scope_looks import OnAlert, ScopeLooks, no_one_listens
from fleet_server.services.yardsticks import Measured, Yardsticks
from fleet_server.store import devices, drift, groups, windows
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.windows import StoredWindow

_log = structlog.get_logger(__name__)
_BATCH = 500
_BATCHES = 8
# Groups are looked through each tick in a small fleet, every ten seconds at ten thousand devices.
_DEVICES_PER_MS = 1.0

Version = tuple[str, int]
Members = dict[str, frozenset[str] | None]


class Monitor:
    """Judges drift; `on_alert` hears of each group or model whose drift was confirmed, in the same transaction."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactFolder,
        announcer: Announcer,
        clock: Clock,
        on_alert: OnAlert = no_one_listens,
    ) -> None:
        self._database = database
        self._yardsticks = Yardsticks(artifacts)
        self._scopes = ScopeLooks(announcer, on_alert)
        self._clock = clock
        self._touched: set[Version] | None = None
        self._groups_at = 0

    def tick(self) -> int:
        """Judge what has come, a bounded number of windows; return how many were judged.

        Raises:
            UnavailableError: the database cannot be written now.
        """
        judged = 0
        for _ in range(_BATCHES):
            count = self._take_batch()
            judged += count
            if count < _BATCH:
                break
        self._judge_groups()
        return judged

    def _take_batch(self) -> int:
        with self._database.read() as connection:
            cursor = drift.read_cursor(connection)
            if windows.last_place(connection) <= cursor:
                return 0
        with self._database.write() as connection:
            found = windows.windows_after(connection, cursor, _BATCH)
            members: Members | None = None
            for key, part in _by_bundle(found).items():
                model, version, digest = key
                measured = self._yardsticks.find(connection, model, version, digest)
                if measured is None:
                    _log.info("windows_not_judged", model=model, version=version, digest=digest, windows=len(part))
                    continue
                policy = read_policy(connection, model)
                self._judge_devices(connection, measured, part, policy)
                labelled = _labelled(measured, part)
                if labelled and measured.promise is not None:
                    members = members if members is not None else _members(connection)
                    self._judge_truth(connection, measured, (model, version), labelled, members, policy)
                self._touch((model, version))
            if found:
                drift.save_cursor(connection, found[-1].n)
        return len(found)

    def _touch(self, version: Version) -> None:
        if self._touched is not None:
            self._touched.add(version)

    def _judge_devices(
        self, connection: Connection, measured: Measured, part: list[StoredWindow], policy: DriftPolicy
    ) -> None:
        names = {item.device for item in part}
        version = part[0].model, part[0].version
        known = drift.find_devices(connection, *version, names)
        memories = drift.find_memories(connection, *version, names)
        found, learnt = judge_windows(measured.yardstick, part, (known, memories), policy, self._clock())
        drift.save_devices(connection, list(found.values()))
        drift.save_memories(connection, *version, learnt)

    def _judge_truth(
        self,
        connection: Connection,
        measured: Measured,
        version: Version,
        labelled: list[tuple[str, Labelled]],
        members: Members,
        policy: DriftPolicy,
    ) -> None:
        for group, names in members.items():
            mine = [item for device, item in labelled if names is None or device in names]
            if mine:
                self._scopes.judge_truth(connection, measured, version, group, mine, policy, self._clock())

    def _judge_groups(self) -> None:
        """Judge the groups of the versions that have new looks; after a start, of all versions."""
        now = self._clock()
        if now < self._groups_at or self._touched == set():
            return
        with self._database.write() as connection:
            members = _members(connection)
            fleet = len(devices.all_devices(connection))
            touched = self._touched if self._touched is not None else set(drift.watched_versions(connection))
            for model, version in touched:
                measured = self._yardsticks.any_of(connection, model, version)
                if measured is None:
                    continue
                policy = read_policy(connection, model)
                for group in members.items():
                    self._scopes.judge(connection, measured, (model, version), group, policy, now)
        # A look that is not due yet becomes so by time alone: the version stays until it was judged.
        self._touched = self._waiting(touched)
        self._groups_at = now + int(fleet * _DEVICES_PER_MS)

    def _waiting(self, touched: Iterable[Version]) -> set[Version]:
        with self._database.read() as connection:
            return {
                (model, version)
                for model, version in touched
                if (scope := drift.find_scope(connection, model, version, "", "data")) is None
                or any(item.look_n > scope.judged_n for item in drift.list_fresh(connection, model, version))
            }


def read_policy(connection: Connection, model: str) -> DriftPolicy:
    """Return a model's drift policy, or the default."""
    stored = drift.find_policy(connection, model)
    if stored is None:
        return DriftPolicy()
    try:
        return parse_drift_policy(stored.policy)
    except DriftPolicyError as error:  # of another release: what it says is not what this one does
        _log.warning("drift_policy_unreadable", model=model, error=str(error))
        return DriftPolicy()


def _by_bundle(found: Iterable[StoredWindow]) -> dict[tuple[str, int, str], list[StoredWindow]]:
    parts: dict[tuple[str, int, str], list[StoredWindow]] = {}
    for item in found:
        parts.setdefault((item.model, item.version, item.digest), []).append(item)
    return parts


def _labelled(measured: Measured, part: list[StoredWindow]) -> list[tuple[str, Labelled]]:
    counts, _ = read_arrays([item.packed for item in part], measured.yardstick.shape)
    return [
        (item.device, Labelled(int(row[FEEDBACK_N]), int(row[FEEDBACK_CORRECT]), float(sums[ABS_ERROR])))
        for item, row, sums in zip(part, counts.scalars, counts.floats, strict=True)
        if row[FEEDBACK_N] > 0
    ]


def _members(connection: Connection) -> Members:
    """Return the devices of each group, by its name; the fleet has no name, and no list."""
    subjects = [subject_of(item) for item in devices.all_devices(connection)]
    found: Members = {"": None}
    for group in groups.all_groups(connection):
        selector = read_selector(group.query)
        found[group.name] = frozenset(item.id for item in subjects if matches(selector, item))
    return found
