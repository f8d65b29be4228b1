"""Tells the broker what the database says: what release keys signed, then chunks, then the packs that name them.

House rules: an entry leaves the outbox only after the broker's acknowledgement; one device's trouble leaves the others'
entries alone; without a broker everything waits.
"""

from collections.abc import Collection

import structlog

from edge_agent.contract.artifacts import parse_parcel
from edge_agent.contract.trust import IMAGE, OversizeError
from fleet_server.core.cohorts import Shipment, plan_clearing
from fleet_server.services.clock import Clock
from fleet_server.services.director import Director
from fleet_server.services.releases import ImageRepository
from fleet_server.services.wire import Wire
from fleet_server.store import desired, releases
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.desired import Entry, Work
from fleet_server.store.errors import NotFoundError

_log = structlog.get_logger(__name__)


class Outbox:
    """Empties the outbox to the broker."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactFolder,
        wire: Wire,
        repositories: tuple[ImageRepository, Director],
        clock: Clock,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._wire = wire
        self._image, self._director = repositories
        self._clock = clock

    def forget_broker(self) -> int:
        """Put every document into the outbox again: the broker may have lost what it held. Return how many."""
        with self._database.write() as connection:
            return desired.enqueue_all(connection, self._clock())

    def deliver(self) -> int:
        """Tell the broker what waits; return how many entries are done.

        The image repository's pack goes first, and while it cannot go no document does: a device could not take it.

        Raises:
            fleet_server.store.errors.UnavailableError: the database cannot be read or written now.
        """
        with self._database.read() as connection:
            entries = desired.list_outbox(connection)
        done = 0
        for entry in sorted(entries, key=lambda entry: entry.kind != Work.TRUST):
            if not self._wire.connected:
                break
            try:
                self._do(entry)
            except (OSError, NotFoundError, OversizeError) as error:
                _log.warning("delivery_postponed", device=entry.device, kind=entry.kind, error=str(error))
                if entry.kind == Work.TRUST:
                    break
                continue
            done += 1
        return done

    def renew(self) -> int:
        """Have packs that were signed long ago signed anew, before they expire; return how many.

        Raises:
            fleet_server.store.errors.UnavailableError: the database cannot be read or written now.
        """
        with self._database.write() as connection:
            return self._director.renew(connection)

    def tidy(self) -> int:
        """Take off the broker what no device has needed for a day (`core.cohorts.KEEP_S`); return how many parcels.

        Raises:
            fleet_server.store.errors.UnavailableError: the database cannot be read or written now.
        """
        now = self._clock()
        with self._database.write() as connection:
            held = {Shipment(*place): at / 1000 for place, at in desired.list_distributed(connection).items()}
            wanted = {
                Shipment(bundle.cohort, bundle.parcel)
                for stored in desired.all_desired(connection)
                for bundle in stored.read_body().bundles
            }
            for shipment in wanted & held.keys():
                desired.touch_distributed(connection, shipment.cohort, shipment.bundle, now)
        stale = plan_clearing(held, wanted, now / 1000)
        for shipment in stale:
            if not self._wire.connected:
                break
            self._take_down(shipment, held.keys() - set(stale))
        return len(stale)

    def _take_down(self, shipment: Shipment, kept: Collection[Shipment]) -> None:
        """Clear a parcel and those of its chunks that no kept parcel of the cohort has too."""
        shared = {digest for other in kept if other.cohort == shipment.cohort for digest in self._digests(other.bundle)}
        try:
            self._wire.take_down(shipment.cohort, self._digests(shipment.bundle) - shared)
        except OSError as error:
            _log.warning("clearing_postponed", cohort=shipment.cohort, parcel=shipment.bundle, error=str(error))
            return
        with self._database.write() as connection:
            desired.forget_distributed(connection, shipment.cohort, shipment.bundle)
        _log.info("chunks_cleared", cohort=shipment.cohort, parcel=shipment.bundle)

    def _digests(self, parcel: str) -> set[str]:
        return {parcel, *parse_parcel(self._artifacts.read(parcel)).chunks}

    def _do(self, entry: Entry) -> None:
        match Work(entry.kind):
            case Work.TRUST:
                self._publish_trust()
                seq = None
            case Work.CLEAR:
                self._wire.clear(entry.device)
                seq = None
            case Work.PUBLISH:
                seq = self._publish(entry.device)
        with self._database.write() as connection:
            desired.finish_entry(connection, entry.n)
            if seq is not None:
                desired.mark_published(connection, entry.device, seq)

    def _publish_trust(self) -> None:
        with self._database.read() as connection:
            if releases.find_file(connection, IMAGE, "timestamp") is None:
                return  # nothing is signed yet; the first push puts it here again
            pack = self._image.pack(connection)
        self._wire.publish_trust(IMAGE, pack)

    def _publish(self, device: str) -> int | None:
        """Ship what a device's document names, then its pack; return the document's number, None where it has none."""
        with self._database.read() as connection:
            stored = desired.find_desired(connection, device)
        if stored is None:
            return None
        body = stored.read_body()
        for bundle in body.bundles:
            self._ship(bundle.cohort, bundle.parcel)
        with self._database.write() as connection:
            pack = self._director.pack(connection, body)
        self._wire.publish(device, pack)
        return stored.seq

    def _ship(self, cohort: str, parcel: str) -> None:
        with self._database.read() as connection:
            if desired.is_distributed(connection, cohort, parcel):
                return
        self._wire.ship(cohort, self._artifacts.read(parcel), self._artifacts.read)
        with self._database.write() as connection:
            desired.mark_distributed(connection, cohort, parcel, self._clock())
