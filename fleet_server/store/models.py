"""Models, their numbered versions and variants, and the parcels in which bundles travel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, insert, select

from edge_agent.contract import codec
from edge_agent.contract.card import VersionRecord
from edge_agent.contract.manifest import Manifest
from fleet_server.store.errors import NotFoundError
from fleet_server.store.pages import Page, PageRequest, read_page
from fleet_server.store.rows import reader
from fleet_server.store.schema import models, parcels, variants, versions


@dataclass(frozen=True, slots=True)
class Model:
    """A named line of versions."""

    name: str
    created: int


@dataclass(frozen=True, slots=True)
class Version:
    """An immutable version; `fingerprint` is the SHA-256 over the digests of its variants."""

    model: str
    version: int
    fingerprint: str
    record: Mapping[str, Any]
    created: int

    def read_record(self) -> VersionRecord:
        """The card and the list of variants as the trainer handed them over."""
        return codec.from_plain(VersionRecord, dict(self.record))


@dataclass(frozen=True, slots=True)
class Variant:
    """One compiled form of a version, or the reason why there is none."""

    model: str
    version: int
    variant: str
    runtime: str
    precision: str
    digest: str | None
    reason: str | None
    manifest: Mapping[str, Any] | None

    def read_manifest(self) -> Manifest | None:
        """The manifest of a built variant."""
        return None if self.manifest is None else codec.from_plain(Manifest, dict(self.manifest))


@dataclass(frozen=True, slots=True)
class StoredParcel:
    """A bundle packed in chunks of a size; `chunks` leaves out the parcel itself."""

    bundle: str
    chunk_bytes: int
    digest: str
    packed_size: int
    chunks: tuple[str, ...]


_read_model, _read_version, _read_variant = reader(Model), reader(Version), reader(Variant)


def insert_version(connection: Connection, version: Version, built: tuple[Variant, ...]) -> None:
    """Add a version with its variants, and its model where it is the first."""
    known = connection.execute(select(models.c.name).where(models.c.name == version.model)).one_or_none()
    if known is None:
        connection.execute(insert(models).values(name=version.model, created=version.created))
    connection.execute(
        insert(versions).values(
            model=version.model,
            version=version.version,
            fingerprint=version.fingerprint,
            record=dict(version.record),
            created=version.created,
        )
    )
    for variant in built:
        connection.execute(
            insert(variants).values(
                model=variant.model,
                version=variant.version,
                variant=variant.variant,
                runtime=variant.runtime,
                precision=variant.precision,
                digest=variant.digest,
                reason=variant.reason,
                manifest=None if variant.manifest is None else dict(variant.manifest),
            )
        )


def next_version(connection: Connection, model: str) -> int:
    """Return the number that the model's next version gets, from 1."""
    last = connection.execute(select(func.max(versions.c.version)).where(versions.c.model == model)).scalar_one()
    return 1 if last is None else int(last) + 1


def find_fingerprint(connection: Connection, model: str, fingerprint: str) -> int | None:
    """Return the number of the model's version with this content, or None."""
    row = connection.execute(
        select(versions.c.version).where(versions.c.model == model, versions.c.fingerprint == fingerprint)
    ).first()
    return None if row is None else int(row[0])


def page_models(connection: Connection, request: PageRequest) -> Page[Model]:
    """Return one page of the models by name."""
    return read_page(connection, select(models), models.c.name, request, _read_model)


def get_model(connection: Connection, model: str) -> Model:
    """Return a model.

    Raises:
        NotFoundError: there is none of this name.
    """
    row = connection.execute(select(models).where(models.c.name == model)).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no model {model!r}")
    return _read_model(row)


def page_versions(connection: Connection, model: str, request: PageRequest) -> Page[Version]:
    """Return one page of a model's versions, newest first."""
    query = select(versions).where(versions.c.model == model)
    return read_page(connection, query, versions.c.version, request, _read_version, newest_first=True)


def get_version(connection: Connection, model: str, version: int) -> Version:
    """Return a version.

    Raises:
        NotFoundError: there is none of this number.
    """
    row = connection.execute(
        select(versions).where(versions.c.model == model, versions.c.version == version)
    ).one_or_none()
    if row is None:
        raise NotFoundError(f"there is no version {version} of the model {model!r}")
    return _read_version(row)


def list_variants(connection: Connection, model: str, version: int) -> tuple[Variant, ...]:
    """Return the variants of a version by name, those not built among them."""
    rows = connection.execute(
        select(variants).where(variants.c.model == model, variants.c.version == version).order_by(variants.c.variant)
    )
    return tuple(_read_variant(row) for row in rows)


def find_variant(connection: Connection, model: str, version: int, variant: str) -> Variant | None:
    """Return a variant of a version, or None."""
    row = connection.execute(
        select(variants).where(variants.c.model == model, variants.c.version == version, variants.c.variant == variant)
    ).one_or_none()
    return None if row is None else _read_variant(row)


def find_any_parcel(connection: Connection, bundle: str) -> StoredParcel | None:
    """Return a bundle's parcel with the largest chunks, or None."""
    row = connection.execute(
        select(parcels).where(parcels.c.bundle == bundle).order_by(parcels.c.chunk_bytes.desc())
    ).first()
    return None if row is None else _read_parcel(row)


def find_parcel(connection: Connection, bundle: str, chunk_bytes: int) -> StoredParcel | None:
    """Return a bundle's parcel with chunks of this size, or None."""
    row = connection.execute(
        select(parcels).where(parcels.c.bundle == bundle, parcels.c.chunk_bytes == chunk_bytes)
    ).one_or_none()
    return None if row is None else _read_parcel(row)


def find_parcel_by_digest(connection: Connection, digest: str) -> StoredParcel | None:
    """Return the parcel with this digest, or None."""
    row = connection.execute(select(parcels).where(parcels.c.digest == digest)).first()
    return None if row is None else _read_parcel(row)


def _read_parcel(row: Any) -> StoredParcel:
    return StoredParcel(row.bundle, row.chunk_bytes, row.digest, row.packed_size, tuple(row.chunks))


def insert_parcel(connection: Connection, parcel: StoredParcel) -> None:
    """Add a parcel where its bundle has none of this chunk size."""
    if find_parcel(connection, parcel.bundle, parcel.chunk_bytes) is None:
        connection.execute(
            insert(parcels).values(
                bundle=parcel.bundle,
                chunk_bytes=parcel.chunk_bytes,
                digest=parcel.digest,
                packed_size=parcel.packed_size,
                chunks=list(parcel.chunks),
            )
        )


def count_models(connection: Connection) -> int:
    """Return how many models there are."""
    return connection.execute(select(func.count()).select_from(models)).scalar_one()
