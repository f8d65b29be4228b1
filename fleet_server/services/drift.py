"""Drift of a version in a group: its windows, compared with the training baseline by the rules of the core."""

from dataclasses import dataclass

from edge_agent.contract import codec
from edge_agent.contract.artifacts import parse_parcel
from edge_agent.contract.baseline import Baseline
from edge_agent.contract.windows import Window
from fleet_server.core.drift import DriftReport, Scope, assess_drift
from fleet_server.services.groups import members_of
from fleet_server.services.packing import unpack_file
from fleet_server.store import assignments, groups, models, windows
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.errors import NotFoundError
from fleet_server.store.windows import StoredWindow, WindowFilter


@dataclass(frozen=True, slots=True)
class GroupDrift:
    """The verdict on a group, and on each of its devices by itself."""

    model: str
    version: int
    group: str | None
    report: DriftReport
    devices: tuple[tuple[str, DriftReport], ...]


class Drift:
    """Assesses drift from the windows that are kept."""

    def __init__(self, database: Database, artifacts: ArtifactFolder) -> None:
        self._database = database
        self._artifacts = artifacts

    def assess(self, model: str, version: int | None, group: str | None) -> GroupDrift:
        """Say whether a version's inputs and outputs drifted; without `version`, the one that most devices run.

        Raises:
            NotFoundError: there is no such model, version or group.
        """
        with self._database.read() as connection:
            models.get_model(connection, model)
            members = (
                None
                if group is None
                else {item.id for item in members_of(connection, groups.get_group(connection, group))}
            )
            if version is None:
                held = [
                    item.version
                    for item in assignments.all_assignments(connection, model)
                    if members is None or item.device in members
                ]
                version = max(set(held), key=held.count) if held else models.next_version(connection, model) - 1
            models.get_version(connection, model, version)
            baselines = {
                item.digest: self._baseline(parcel.digest, manifest.baseline_file)
                for item in models.list_variants(connection, model, version)
                if item.digest is not None
                and (manifest := item.read_manifest()) is not None
                and (parcel := models.find_any_parcel(connection, item.digest)) is not None
            }
            stored = [
                item
                for item in windows.list_windows(connection, WindowFilter(model=model, version=version))
                if (members is None or item.device in members) and item.digest in baselines
            ]
        if not baselines:
            raise NotFoundError(f"{model} version {version} has no bundle with a baseline")
        baseline = next(iter(baselines.values()))
        found = [
            (item.device, _window(item)) for item in stored if baselines[item.digest].features == baseline.features
        ]
        names = sorted({device for device, _ in found})
        per_device = tuple(
            (name, assess_drift(baseline, [window for device, window in found if device == name], scope=Scope.DEVICE))
            for name in names
        )
        whole = assess_drift(baseline, [window for _, window in found], scope=Scope.GROUP)
        return GroupDrift(model, version, group, whole, per_device)

    def _baseline(self, parcel: str, name: str) -> Baseline:
        content = unpack_file(parse_parcel(self._artifacts.read(parcel)), name, self._artifacts)
        return codec.decode(Baseline, content)


def _window(stored: StoredWindow) -> Window:
    return Window(
        device=stored.device,
        boot=stored.boot,
        number=stored.number,
        model=stored.model,
        version=stored.version,
        digest=stored.digest,
        started=stored.started,
        ended=stored.ended,
        counts=stored.read_counts(),
    )
