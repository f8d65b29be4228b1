"""The trust chain's own rows: signed metadata as it came, what it lists, what was yanked, what the director signed.

House rules: `listed` says what the stored targets say and is replaced together with them, so that a question about one
version need not parse them; metadata is kept byte for byte, since its signatures are over bytes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    ForeignKey,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    delete,
    func,
    insert,
    select,
)

from fleet_server.core.releases import Bundle, Listed
from fleet_server.store.schema import metadata, variants

trust_files = Table(
    "trust_files",
    metadata,
    Column("repository", String(16), nullable=False),
    Column("role", String(80), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("repository", "role", "version"),
)

listed = Table(
    "listed",
    metadata,
    Column("target", String(200), primary_key=True),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("variant", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("length", Integer, nullable=False),
    Column("runtime", String(16), nullable=False),
    Column("auto", Boolean, nullable=False),
    Column("role", String(80), nullable=False),
    Column("hardware", JSON(none_as_null=True), nullable=False),
    Index("ix_listed_model_version", "model", "version"),
)

yanked = Table(
    "yanked",
    metadata,
    Column("target", String(200), primary_key=True),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("author", String(100), nullable=False),
)

auto_versions = Table(
    "auto_versions",
    metadata,
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    PrimaryKeyConstraint("model", "version"),
)

director_signed = Table(
    "director_signed",
    metadata,
    Column("device", String(64), ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True),
    Column("timestamp_version", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)


@dataclass(frozen=True, slots=True)
class TrustFile:
    """One signed file of a repository."""

    repository: str
    role: str
    version: int
    body: str


def list_files(connection: Connection, repository: str) -> tuple[TrustFile, ...]:
    """Return the files that are kept of a repository: every root, and the newest of each other role."""
    rows = connection.execute(
        select(trust_files)
        .where(trust_files.c.repository == repository)
        .order_by(trust_files.c.role, trust_files.c.version)
    )
    return tuple(TrustFile(row.repository, row.role, row.version, row.body) for row in rows)


def newest_root(connection: Connection, repository: str) -> TrustFile | None:
    """Return a repository's newest root, or None before the first."""
    here = (trust_files.c.repository == repository) & (trust_files.c.role == "root")
    row = connection.execute(select(trust_files).where(here).order_by(trust_files.c.version.desc()).limit(1)).first()
    return None if row is None else TrustFile(row.repository, row.role, row.version, row.body)


def find_file(connection: Connection, repository: str, role: str) -> TrustFile | None:
    """Return the kept file of a role other than root, or None."""
    here = (trust_files.c.repository == repository) & (trust_files.c.role == role)
    row = connection.execute(select(trust_files).where(here)).one_or_none()
    return None if row is None else TrustFile(row.repository, row.role, row.version, row.body)


def save_root(connection: Connection, root: TrustFile) -> None:
    """Add a root to those that are kept."""
    connection.execute(
        insert(trust_files).values(repository=root.repository, role="root", version=root.version, body=root.body)
    )


def replace_files(connection: Connection, repository: str, files: Iterable[TrustFile]) -> None:
    """Keep these files as all that there is of a repository's roles but root."""
    here = (trust_files.c.repository == repository) & (trust_files.c.role != "root")
    connection.execute(delete(trust_files).where(here))
    for file in files:
        connection.execute(
            insert(trust_files).values(repository=repository, role=file.role, version=file.version, body=file.body)
        )


def _read_listed(row: Any) -> Listed:
    bundle = Bundle(row.model, row.version, row.variant, row.digest, row.length, row.runtime, row.auto)
    return Listed(bundle, tuple(row.hardware), row.role)


def all_listed(connection: Connection) -> dict[str, Listed]:
    """Return everything that the image repository lists, by target name."""
    return {row.target: _read_listed(row) for row in connection.execute(select(listed).order_by(listed.c.target))}


def list_version(connection: Connection, model: str, version: int) -> dict[str, Listed]:
    """Return what is listed of a version, by variant."""
    here = (listed.c.model == model) & (listed.c.version == version)
    return {row.variant: _read_listed(row) for row in connection.execute(select(listed).where(here))}


def replace_listed(connection: Connection, found: Mapping[str, Listed]) -> None:
    """Keep this as all that the image repository lists."""
    connection.execute(delete(listed))
    rows = [
        {
            "target": name,
            "model": item.bundle.model,
            "version": item.bundle.version,
            "variant": item.bundle.variant,
            "digest": item.bundle.digest,
            "length": item.bundle.length,
            "runtime": item.bundle.runtime,
            "auto": item.bundle.auto,
            "role": item.role,
            "hardware": list(item.hardware),
        }
        for name, item in found.items()
    ]
    if rows:
        connection.execute(insert(listed), rows)


def save_yanked(connection: Connection, bundle: Bundle, at: int, author: str) -> None:
    """Save that a bundle was taken off the list."""
    connection.execute(
        insert(yanked).values(target=bundle.target, model=bundle.model, version=bundle.version, at=at, author=author)
    )


def all_yanked(connection: Connection) -> dict[str, tuple[str, int]]:
    """Return the names of targets that were taken off the list, with their model and version."""
    return {row.target: (row.model, row.version) for row in connection.execute(select(yanked))}


def mark_auto(connection: Connection, model: str, version: int) -> None:
    """Save that automatic retraining made a version."""
    connection.execute(insert(auto_versions).values(model=model, version=version))


def is_auto(connection: Connection, model: str, version: int) -> bool:
    """Whether automatic retraining made a version."""
    here = (auto_versions.c.model == model) & (auto_versions.c.version == version)
    return connection.execute(select(auto_versions).where(here)).first() is not None


def built_bundles(connection: Connection) -> tuple[Bundle, ...]:
    """Return every bundle that was built, by model, version and variant; the lengths of manifests are not known (0)."""
    joined = variants.outerjoin(
        auto_versions, (variants.c.model == auto_versions.c.model) & (variants.c.version == auto_versions.c.version)
    )
    rows = connection.execute(
        select(variants, auto_versions.c.model.is_not(None).label("auto"))
        .select_from(joined)
        .where(variants.c.digest.is_not(None))
        .order_by(variants.c.model, variants.c.version, variants.c.variant)
    )
    return tuple(
        Bundle(row.model, row.version, row.variant, row.digest, 0, row.runtime, bool(row.auto)) for row in rows
    )


def find_signed(connection: Connection, device: str) -> int:
    """Return the version of the director's timestamp that was signed last for a device, 0 for none."""
    here = director_signed.c.device == device
    row = connection.execute(select(director_signed.c.timestamp_version).where(here)).first()
    return 0 if row is None else int(row[0])


def save_signed(connection: Connection, device: str, timestamp_version: int, at: int) -> None:
    """Save what the director signed for a device."""
    connection.execute(delete(director_signed).where(director_signed.c.device == device))
    connection.execute(insert(director_signed).values(device=device, timestamp_version=timestamp_version, at=at))


def signed_before(connection: Connection, at: int, most: int) -> tuple[str, ...]:
    """Return devices, `most` at most, for which the director signed last before `at` (epoch ms), the oldest first."""
    rows = connection.execute(
        select(director_signed.c.device).where(director_signed.c.at < at).order_by(director_signed.c.at).limit(most)
    )
    return tuple(row[0] for row in rows)


def count_listed(connection: Connection) -> int:
    """Return how many bundles are listed."""
    return connection.execute(select(func.count()).select_from(listed)).scalar_one()
