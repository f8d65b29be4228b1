"""The director: what one device should run, as a TUF repository of its own that is signed for it alone.

House rules: it orders nothing that the image repository does not list. The targets' and the snapshot's version is the
number of the desired document, the timestamp's jumps by the clock; the device's id is inside of what is signed.
Source: Uptane standard 2.1.0, sections 5.3.2 and 5.4.2.
"""

from securesystemslib.signer import CryptoSigner
from sqlalchemy import Connection
from tuf.api.metadata import MetaFile, Snapshot, TargetFile, Targets, Timestamp

from edge_agent.contract.messages import Desired, DesiredBundle
from edge_agent.contract.trust import DIRECTOR, NOTE, DirectorNote, OrderNote, note_plain, seal_pack
from fleet_server.services.clock import Clock
from fleet_server.services.image_metadata import (
    ONLINE_DAYS,
    SENSIBLE_VERSION,
    file_name,
    jump,
    names_key,
    online_expiry,
    sign_online,
)
from fleet_server.store import desired as documents
from fleet_server.store import devices, releases
from fleet_server.store.desired import Work
from fleet_server.store.errors import NotFoundError

_HALF_MS = ONLINE_DAYS * 24 * 3600 * 1000 // 2
_RENEWED_AT_ONCE = 1000


class Director:
    """Signs packs for devices."""

    def __init__(self, signer: CryptoSigner, clock: Clock) -> None:
        self._signer = signer
        self._clock = clock

    def pack(self, connection: Connection, desired: Desired) -> bytes:
        """Return a device's pack for a desired document, and save that it was signed.

        Raises:
            NotFoundError: there is no root that names this server's key, no such device, or a bundle is not listed.
            OversizeError: it is larger than devices take.
        """
        root = releases.newest_root(connection, DIRECTOR)
        if root is None or not names_key(root.body.encode(), self._signer):
            raise NotFoundError("no root names this server's director key: see `edgeloop release status`")
        board, now = devices.get_device(connection, desired.device), self._clock()
        reported = board.read_reported()
        said = 0 if reported is None else reported.trust.director_timestamp
        last = max(releases.find_signed(connection, desired.device), said if said < SENSIBLE_VERSION else 0)
        targets = self._targets(connection, desired, board.profile, now)
        snapshot = Snapshot(
            version=desired.seq, expires=online_expiry(now), meta={"targets.json": MetaFile(desired.seq)}
        )
        timestamp = Timestamp(
            version=jump(last, now), expires=online_expiry(now), snapshot_meta=MetaFile(snapshot.version)
        )
        files = {
            file_name("root", file.version): file.body.encode()
            for file in releases.list_files(connection, DIRECTOR)
            if file.role == "root"
        }
        files[file_name("targets", targets.version)] = sign_online(targets, self._signer)
        files[file_name("snapshot", snapshot.version)] = sign_online(snapshot, self._signer)
        files[file_name("timestamp", timestamp.version)] = sign_online(timestamp, self._signer)
        releases.save_signed(connection, desired.device, timestamp.version, now)
        return seal_pack(files)

    def renew(self, connection: Connection) -> int:
        """Have the packs that were signed long ago signed anew, before they expire; return how many now."""
        now = self._clock()
        old = releases.signed_before(connection, now - _HALF_MS, _RENEWED_AT_ONCE)
        for device in old:
            if documents.find_desired(connection, device) is not None:
                documents.enqueue(connection, device, Work.PUBLISH, "renewed", now)
        return len(old)

    def _targets(self, connection: Connection, desired: Desired, profile: str, now: int) -> Targets:
        found = [_target(connection, bundle, profile) for bundle in desired.bundles]
        note = DirectorNote(desired.device, desired.ts, desired.soak, desired.settings)
        return Targets(
            version=desired.seq,
            expires=online_expiry(now),
            targets={target.path: target for target in found},
            unrecognized_fields={NOTE: note_plain(note)},
        )


def _target(connection: Connection, bundle: DesiredBundle, profile: str) -> TargetFile:
    listed = releases.list_version(connection, bundle.model, bundle.version).get(bundle.variant)
    if listed is None or listed.bundle.digest != bundle.digest:
        raise NotFoundError(f"{bundle.model} version {bundle.version} {bundle.variant} is not signed")
    note = OrderNote(
        model=bundle.model,
        version=bundle.version,
        variant=bundle.variant,
        runtime=bundle.runtime,
        hardware=profile,
        parcel=bundle.parcel,
        cohort=bundle.cohort,
        size=bundle.size,
        memory_mb=bundle.memory_mb,
        threshold=bundle.threshold,
    )
    custom = {"custom": note_plain(note)}
    return TargetFile(listed.bundle.length, {"sha256": bundle.digest}, listed.bundle.target, custom)
