"""Models and versions: a checked version folder becomes an immutable, numbered version whose bundles are packed."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import structlog
from sqlalchemy import Connection

from edge_agent.contract import codec
from edge_agent.contract.artifacts import CHUNK_BYTES
from fleet_server.services.announcements import Announcer
from fleet_server.services.audit import record_audit
from fleet_server.services.bundle_rules import CheckedVersion, check_version
from fleet_server.services.clock import Clock
from fleet_server.services.errors import InvalidError
from fleet_server.services.events import record_event
from fleet_server.services.listings import ReleaseState, state_of
from fleet_server.services.packing import pack_bundle
from fleet_server.store import models, releases
from fleet_server.store.artifacts import ArtifactFolder
from fleet_server.store.database import Database
from fleet_server.store.errors import ConflictError
from fleet_server.store.events import StoredEvent
from fleet_server.store.pages import Page, PageRequest

_log = structlog.get_logger(__name__)


class Models:
    """Registers and shows versions; `sign` is called after each that came: it signs where a release key is here."""

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactFolder,
        announcer: Announcer,
        clock: Clock,
        sign: Callable[[], None],
    ) -> None:
        self._sign = sign
        self._database = database
        self._artifacts = artifacts
        self._announcer = announcer
        self._clock = clock

    def register(
        self,
        model: str,
        folder: Path,
        actor: str,
        progress: Callable[[str], None] = lambda _line: None,
        *,
        auto: bool = False,
        saved: Callable[[Connection, models.Version], None] = lambda _connection, _version: None,
    ) -> models.Version:
        """Check, pack and number the version in `folder`; `auto` where automatic retraining made it.

        `saved` is called in the transaction that saves it.

        Raises:
            InvalidError: something of it is missing, altered or malformed, or it is of another model.
            ConflictError: the model has a version with exactly these bundles.
        """
        checked = check_version(folder)
        if checked.record.card.model != model:
            raise InvalidError(f"this is a version of the model {checked.record.card.model!r}, not of {model!r}")
        parcels = []
        for variant in checked.variants:
            if variant.folder is not None and variant.manifest is not None and variant.entry.digest is not None:
                progress(f"packing {variant.entry.variant}")
                parcels.append(
                    pack_bundle(variant.folder, variant.entry.digest, variant.manifest, self._artifacts, CHUNK_BYTES)
                )
        return self._save(checked, tuple(parcels), actor, saved, auto=auto)

    def _save(
        self,
        checked: CheckedVersion,
        parcels: tuple[models.StoredParcel, ...],
        actor: str,
        saved: Callable[[Connection, models.Version], None],
        *,
        auto: bool,
    ) -> models.Version:
        model, now = checked.record.card.model, self._clock()
        digests = sorted(f"{item.entry.variant}={item.entry.digest}" for item in checked.variants if item.entry.digest)
        fingerprint = sha256("\n".join(digests).encode()).hexdigest()
        with self._database.write() as connection:
            same = models.find_fingerprint(connection, model, fingerprint)
            if same is not None:
                raise ConflictError(f"version {same} of {model!r} has exactly these bundles already")
            number = models.next_version(connection, model)
            version = models.Version(model, number, fingerprint, codec.to_plain(checked.record), now)
            models.insert_version(connection, version, _variants(checked, number))
            if auto:
                releases.mark_auto(connection, model, number)
            for parcel in parcels:
                models.insert_parcel(connection, parcel)
            subject, detail = f"{model}@{number}", {"fingerprint": fingerprint, "bundles": digests}
            record_audit(connection, now, actor, "version_registered", subject, detail)
            event = StoredEvent(now, "server", "version_registered", model=model, fields={"version": str(number)})
            record_event(connection, event, self._announcer)
            saved(connection, version)
        _log.info("version_registered", model=model, version=number, variants=len(parcels))
        self._sign()
        return version

    def list_models(self, request: PageRequest) -> Page[models.Model]:
        """Return one page of the models."""
        with self._database.read() as connection:
            return models.page_models(connection, request)

    def show_model(self, model: str) -> tuple[models.Model, int]:
        """Return a model and the number of its newest version."""
        with self._database.read() as connection:
            return models.get_model(connection, model), models.next_version(connection, model) - 1

    def list_versions(self, model: str, request: PageRequest) -> Page[models.Version]:
        """Return one page of a model's versions, newest first."""
        with self._database.read() as connection:
            models.get_model(connection, model)
            return models.page_versions(connection, model, request)

    def release_state(self, model: str, version: int) -> ReleaseState:
        """Return how a version stands with the release keys."""
        with self._database.read() as connection:
            return state_of(connection, model, version)

    def show_version(
        self, model: str, version: int
    ) -> tuple[models.Version, tuple[tuple[models.Variant, int | None], ...]]:
        """Return a version and its variants, each with the bytes that travel where it was built."""
        with self._database.read() as connection:
            found = models.get_version(connection, model, version)
            variants = []
            for variant in models.list_variants(connection, model, version):
                parcel = models.find_parcel(connection, variant.digest, CHUNK_BYTES) if variant.digest else None
                variants.append((variant, parcel.packed_size if parcel else None))
        return found, tuple(variants)


def _variants(checked: CheckedVersion, number: int) -> tuple[models.Variant, ...]:
    return tuple(
        models.Variant(
            model=checked.record.card.model,
            version=number,
            variant=item.entry.variant,
            runtime=item.entry.runtime,
            precision=item.entry.precision,
            digest=item.entry.digest,
            reason=item.entry.reason,
            manifest=None if item.manifest is None else codec.to_plain(item.manifest),
        )
        for item in checked.variants
    )
