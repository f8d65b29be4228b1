"""What a device is assigned, and the document that follows from it; all within the caller's transaction.

House rules: what failed on a device, or is not signed by a release key, is never in its document; a changed set is a
newer document, saved together with what the broker must be told; the same set makes no new document.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from edge_agent.contract import codec
from edge_agent.contract.manifest import Precision, Runtime
from edge_agent.contract.messages import AgentSettings, Desired, DesiredBundle, Reported, Soak
from edge_agent.contract.runtimes import Denial
from edge_agent.contract.trust import ANY_HARDWARE
from fleet_server.core.releases import Listed
from fleet_server.core.variants import Candidate, Choice, MeasuredCost, choose_variant
from fleet_server.services.packing import cut_again
from fleet_server.services.profiles import Profiles, chunk_bytes
from fleet_server.store import assignments, desired, devices, models, proofs, releases
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.assignments import Assignment
from fleet_server.store.errors import NotFoundError
from fleet_server.store.recovery import seq_floor

# What a device says beyond this is not believed: it would use up the numbers, which have 64 bits.
MAX_SEQ = 2**53


@dataclass(frozen=True, slots=True)
class Grant:
    """A version of a model in the variant chosen for a device; `options` holds soak, settings and threshold."""

    model: str
    version: int
    variant: str
    digest: str
    options: Mapping[str, Any]


class Assigner:
    """Assigns versions to devices and keeps their desired documents in step."""

    def __init__(
        self, artifacts: ArtifactFolder, profiles: Profiles, denials: tuple[Denial, ...], settings: AgentSettings
    ) -> None:
        self._artifacts = artifacts
        self._profiles = profiles
        self._denials = denials
        self._settings = settings

    def choose(self, connection: Connection, device: devices.Device, model: str, version: int) -> Choice:
        """Return the variant of a version that fits a device best, or why none does."""
        stored = models.list_variants(connection, model, version)
        measured = proofs.board_latencies(connection, [item.digest for item in stored if item.digest])
        costs = tuple(
            MeasuredCost(profile, digest, sorted(values)[len(values) // 2], len(values))
            for (profile, digest), values in measured.items()
        )
        listed = releases.list_version(connection, model, version)
        candidates = tuple(_candidate(item, listed.get(item.variant), device.profile) for item in stored)
        profile = self._profiles.get(device.profile)
        return choose_variant(device.read_capabilities(), profile, candidates, costs, self._denials)

    def grant(self, connection: Connection, device: str, grant: Grant, now: int) -> int:
        """Assign a version to a device; return the number of the document that says so."""
        assignments.forget_bad(connection, device, grant.model, grant.version)
        before = _find(connection, device, grant.model)
        options = dict(grant.options)
        if before is not None:
            options["before"] = {key: value for key, value in before.options.items() if key != "before"}
        made = Assignment(device, grant.model, grant.version, grant.variant, grant.digest, now, options)
        assignments.save_assignment(connection, made)
        return self.refresh(connection, device, now)

    def give_back(
        self, connection: Connection, device: str, model: str, version: int | None, digest: str | None, now: int
    ) -> int:
        """Assign what a device ran before, or take the model from it; return the number of the document.

        What is not signed any more is not given back.
        """
        current = _find(connection, device, model)
        if version is None or digest is None or not _is_listed(connection, model, version, digest):
            assignments.delete_assignment(connection, device, model)
        elif current is None or (current.version, current.digest) != (version, digest):
            options = dict(current.options.get("before", {})) if current is not None else {}
            variant = _variant_name(connection, model, version, digest)
            made = Assignment(device, model, version, variant, digest, now, options)
            assignments.save_assignment(connection, made)
        return self.refresh(connection, device, now)

    def refresh(self, connection: Connection, device: str, now: int) -> int:
        """Make a newer document where the device's set has changed; return the number of its newest, 0 for none."""
        board = devices.get_device(connection, device)
        last = desired.find_desired(connection, device)
        granted = self._allowed(connection, device)
        if last is None and not granted:
            return 0
        reported = board.read_reported()
        heard = 0 if reported is None else _seen(reported)
        floor = max(0 if last is None else last.seq, heard, seq_floor(connection))
        made = self._compose(connection, board, granted, floor + 1, now)
        if last is not None and _same(made, last.read_body()) and floor == last.seq:
            return last.seq
        digests = self._digests(connection, made)
        stored = desired.StoredDesired(device, made.seq, codec.to_plain(made), digests, 0, now)
        desired.save_desired(connection, stored)
        return made.seq

    def _allowed(self, connection: Connection, device: str) -> tuple[Assignment, ...]:
        bad = {(item.model, item.version) for item in assignments.list_bad(connection, device)}
        found = assignments.list_assignments(connection, device)
        return tuple(
            item
            for item in found
            if (item.model, item.version) not in bad and _is_listed(connection, item.model, item.version, item.digest)
        )

    def _compose(
        self, connection: Connection, board: devices.Device, granted: tuple[Assignment, ...], seq: int, now: int
    ) -> Desired:
        bundles = tuple(self._bundle(connection, board, item) for item in granted)
        newest = sorted(granted, key=lambda item: (item.set_at, item.model))
        soak: Mapping[str, Any] = next((item.options["soak"] for item in newest[::-1] if item.options.get("soak")), {})
        settings = codec.to_plain(self._settings)
        for item in newest:
            settings |= item.options.get("settings") or {}
        return Desired(
            board.id, seq, now, bundles, codec.from_plain(Soak, soak), codec.from_plain(AgentSettings, settings)
        )

    def _bundle(self, connection: Connection, board: devices.Device, item: Assignment) -> DesiredBundle:
        variant = models.find_variant(connection, item.model, item.version, item.variant)
        manifest = None if variant is None else variant.read_manifest()
        if manifest is None:
            raise NotFoundError(f"{item.model} version {item.version} has no variant {item.variant!r}")
        parcel = self.parcel(connection, item.digest, board.profile)
        return DesiredBundle(
            model=item.model,
            version=item.version,
            variant=item.variant,
            digest=item.digest,
            parcel=parcel.digest,
            cohort=board.cohort,
            size=parcel.packed_size,
            runtime=manifest.runtime,
            memory_mb=manifest.requires.memory_mb,
            threshold=item.options.get("threshold"),
        )

    def parcel(self, connection: Connection, digest: str, profile: str) -> models.StoredParcel:
        """Return a bundle's parcel in chunks of the size that a profile's devices take.

        Raises:
            NotFoundError: the bundle was never packed.
        """
        size = chunk_bytes(self._profiles, profile)
        found = models.find_parcel(connection, digest, size)
        if found is not None:
            return found
        other = models.find_any_parcel(connection, digest)
        if other is None:
            raise NotFoundError(f"the bundle {digest} was never packed")
        made = cut_again(other, self._artifacts, size)
        models.insert_parcel(connection, made)
        return made

    def _digests(self, connection: Connection, made: Desired) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for bundle in made.bundles:
            parcel = models.find_parcel_by_digest(connection, bundle.parcel)
            found |= dict.fromkeys((bundle.parcel, *(parcel.chunks if parcel else ())))
        return tuple(found)


def _find(connection: Connection, device: str, model: str) -> Assignment | None:
    return next((item for item in assignments.list_assignments(connection, device) if item.model == model), None)


def _variant_name(connection: Connection, model: str, version: int, digest: str) -> str:
    for variant in models.list_variants(connection, model, version):
        if variant.digest == digest:
            return variant.variant
    raise NotFoundError(f"{model} version {version} has no bundle {digest}")


def _same(made: Desired, last: Desired) -> bool:
    return (made.bundles, made.soak, made.settings) == (last.bundles, last.soak, last.settings)


def _candidate(item: models.Variant, listed: Listed | None, profile: str) -> Candidate:
    manifest = item.read_manifest()
    packed = 0 if manifest is None else manifest.cost.packed_size
    runtime, precision = Runtime(item.runtime), Precision(item.precision)
    withheld = None
    if listed is None or listed.bundle.digest != item.digest:
        withheld = "no release key has signed it"
    elif not {profile, ANY_HARDWARE} & set(listed.hardware):
        withheld = f"it is signed for {', '.join(listed.hardware)}, not for {profile}"
    return Candidate(item.variant, runtime, precision, item.digest, item.reason, manifest, packed, withheld)


def _is_listed(connection: Connection, model: str, version: int, digest: str) -> bool:
    found = releases.list_version(connection, model, version).values()
    return any(item.bundle.digest == digest for item in found)


def _seen(reported: Reported) -> int:
    """Return the highest number of a document that a device has seen, as far as that makes sense."""
    trust = reported.trust
    numbers = (reported.desired_seq, trust.director_targets, trust.director_snapshot)
    return max((number for number in numbers if number < MAX_SEQ), default=0)
