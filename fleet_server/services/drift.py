"""Drift as it is shown: what the monitor knows of a group and its devices, beside the newest windows' figures.

House rules: reading decides nothing; the states are the monitor's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from sqlalchemy import Connection

from edge_agent.contract.windows import WindowCounts, merge
from fleet_server.core.drift import FeatureVerdict, compare_with_training
from fleet_server.core.drift_machine import DriftState
from fleet_server.core.drift_policy import DriftPolicy, DriftPolicyError, parse_drift_policy, plain_policy
from fleet_server.core.packed_counts import shape_of
from fleet_server.services.audit import record_audit
from fleet_server.services.clock import Clock
from fleet_server.services.errors import InvalidError
from fleet_server.services.groups import members_of
from fleet_server.services.monitoring import read_policy
from fleet_server.services.scope_looks import DATA, TRUTH
from fleet_server.services.yardsticks import Measured, Yardsticks
from fleet_server.store import assignments, drift, groups, models, window_hours, windows
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.drift import DeviceDrift, ScopeDrift
from fleet_server.store.errors import NotFoundError

# So many newest windows of each device are compared with training.
_SHOWN_WINDOWS = 3
_HOURS, _MOST_HOURS = 24, 168


@dataclass(frozen=True, slots=True)
class GroupDrift:
    """The verdict on a group (or a model's whole fleet), on its answers' truth, and on each of its devices."""

    model: str
    version: int
    group: str | None
    data: ScopeDrift
    truth: ScopeDrift | None
    rows: int
    windows: int
    features: tuple[FeatureVerdict, ...]
    output: FeatureVerdict | None
    devices: tuple[DeviceDrift, ...]


@dataclass(frozen=True, slots=True)
class HourShown:
    """An hour of a group: how many devices and windows it merges, and its counts."""

    hour: int
    devices: int
    windows: int
    counts: WindowCounts


class Drift:
    """Shows drift and hours, and sets policies."""

    def __init__(self, database: Database, artifacts: ArtifactFolder, clock: Clock) -> None:
        self._database = database
        self._artifacts = artifacts
        self._clock = clock

    def assess(self, model: str, version: int | None, group: str | None) -> GroupDrift:
        """Say whether a version's inputs and outputs drifted; without `version`, the one that most devices run.

        Raises:
            NotFoundError: there is no such model, version or group.
        """
        with self._database.read() as connection:
            models.get_model(connection, model)
            members = _members(connection, group)
            version = version if version is not None else _most_run(connection, model, members)
            models.get_version(connection, model, version)
            measured = Yardsticks(self._artifacts).any_of(connection, model, version)
            if measured is None:
                raise NotFoundError(f"{model} version {version} has no bundle with a baseline")
            held = drift.find_devices(connection, model, version)
            devices = tuple(item for name, item in held.items() if members is None or name in members)
            data = drift.find_scope(connection, model, version, group or "", DATA)
            truth = drift.find_scope(connection, model, version, group or "", TRUTH)
            newest = windows.latest_of(connection, model, version, members, _SHOWN_WINDOWS)
        if data is None:
            data = ScopeDrift(model, version, group or "", DATA, DriftState.LEARNING, self._clock())
        counts = [item.read_counts() for item in newest]
        counts = [item for item in counts if shape_of(item) == measured.yardstick.shape]
        features, output = _compare(measured, counts, data)
        rows = sum(item.rows for item in counts)
        return GroupDrift(model, version, group, data, truth, rows, len(counts), features, output, devices)

    def hours(
        self, model: str, version: int | None, group: str | None, device: str | None, since: int | None
    ) -> tuple[int, tuple[HourShown, ...]]:
        """Return the version, and its hours from `since` (a day back) on, of one device, a group or all, oldest first.

        Raises:
            NotFoundError: there is no such model, version or group.
            InvalidError: `since` is further back than the hours that are merged at once.
        """
        now = self._clock()
        since = now - _HOURS * windows.HOUR_MS if since is None else since
        if since < now - _MOST_HOURS * windows.HOUR_MS:
            raise InvalidError(f"since is at most {_MOST_HOURS} hours back: {_MOST_HOURS} hours are merged at once")
        with self._database.read() as connection:
            models.get_model(connection, model)
            members = _members(connection, group)
            version = version if version is not None else _most_run(connection, model, members)
            models.get_version(connection, model, version)
            merged: dict[int, tuple[set[str], int, WindowCounts]] = {}
            for item in window_hours.read_hours(connection, model, version, since, device):
                if members is not None and item.device not in members:
                    continue
                counts = item.read_counts()
                names, count, whole = merged.get(item.hour, (set(), 0, None))
                if whole is None:
                    merged[item.hour] = ({item.device}, item.windows, counts)
                elif shape_of(whole) == shape_of(counts):
                    merged[item.hour] = (names | {item.device}, count + item.windows, merge(whole, counts))
        return version, tuple(
            HourShown(hour, len(names), count, counts) for hour, (names, count, counts) in sorted(merged.items())
        )

    def policy(self, model: str) -> DriftPolicy:
        """Return a model's drift policy, or the default.

        Raises:
            NotFoundError: there is no such model.
        """
        with self._database.read() as connection:
            models.get_model(connection, model)
            return read_policy(connection, model)

    def set_policy(self, model: str, document: Mapping[str, Any], actor: str) -> DriftPolicy:
        """Set a model's drift policy; what the document leaves out is the default.

        Raises:
            NotFoundError: there is no such model.
            InvalidError: the document is no policy; the message names the field.
        """
        try:
            policy = parse_drift_policy(document)
        except DriftPolicyError as error:
            raise InvalidError(str(error)) from error
        now = self._clock()
        with self._database.write() as connection:
            models.get_model(connection, model)
            drift.save_policy(connection, drift.StoredPolicy(model, plain_policy(policy), actor, now))
            record_audit(connection, now, actor, "drift_policy_set", model, plain_policy(policy))
        return policy


def _members(connection: Connection, group: str | None) -> frozenset[str] | None:
    if group is None:
        return None
    return frozenset(item.id for item in members_of(connection, groups.get_group(connection, group)))


def _most_run(connection: Connection, model: str, members: frozenset[str] | None) -> int:
    held = [
        item.version
        for item in assignments.all_assignments(connection, model)
        if members is None or item.device in members
    ]
    return max(set(held), key=held.count) if held else models.next_version(connection, model) - 1


def _compare(
    measured: Measured, counts: list[WindowCounts], data: ScopeDrift
) -> tuple[tuple[FeatureVerdict, ...], FeatureVerdict | None]:
    if not counts:
        return (), None
    drifted: frozenset[str] = frozenset()
    if data.state is DriftState.DRIFT:
        drifted = frozenset(item["feature"] for item in data.evidence.get("features", ()))
    return compare_with_training(measured.baseline, reduce(merge, counts), drifted)
