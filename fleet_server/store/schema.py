"""The tables of the server's database; `migrations/` makes exactly these (a test compares them).

House rules: times are epoch milliseconds in UTC; `n` is a row's place in the order of a list and the cursor of its
pages; documents that were signed or received are kept as they came.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _json(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, JSON(none_as_null=True), nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _order() -> Column[int]:
    return Column("n", Integer, primary_key=True, autoincrement=True)


def _device(*, primary_key: bool = False) -> Column[str]:
    owner = ForeignKey("devices.id", ondelete="CASCADE")
    return Column("device", String(64), owner, nullable=False, primary_key=primary_key)


devices = Table(
    "devices",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("public_key", String(64), nullable=False),
    Column("profile", String(64), nullable=False),
    Column("cohort", String(64), nullable=False),
    Column("simulated", Boolean, nullable=False),
    _json("labels"),
    _json("capabilities"),
    _time("enrolled"),
    Column("presence", String(16), nullable=False),
    Column("status_boot", BigInteger, nullable=False),
    _time("last_seen", nullable=True),
    Column("reported_boot", BigInteger, nullable=False),
    Column("reported_seq", BigInteger, nullable=False),
    _json("reported", nullable=True),
    Column("standing", String(16), nullable=False, server_default="active"),
    Column("standing_at", BigInteger, nullable=False, server_default="0"),
    Column("standing_reason", String(200), nullable=False, server_default=""),
    Column("keyed_at", BigInteger, nullable=False, server_default="0"),
    Column("heard_boot", BigInteger, nullable=False, server_default="-1"),
    Column("latest_boot", BigInteger, nullable=False, server_default="-1"),
    Column("returns", Integer, nullable=False, server_default="0"),
    Column("latest_ts", BigInteger, nullable=False, server_default="0"),
)

tokens = Table(
    "tokens",
    metadata,
    _order(),
    Column("id", String(32), nullable=False, unique=True),
    Column("secret_hash", String(64), nullable=False, unique=True),
    Column("label", String(200), nullable=False),
    Column("profile", String(64)),
    _json("labels"),
    Column("uses", Integer, nullable=False),
    Column("used", Integer, nullable=False),
    _time("created"),
    _time("expires"),
    sqlite_autoincrement=True,
)

models = Table("models", metadata, Column("name", String(64), primary_key=True), _time("created"))

versions = Table(
    "versions",
    metadata,
    Column("model", String(64), ForeignKey("models.name"), nullable=False),
    Column("version", Integer, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    _json("record"),
    _time("created"),
    PrimaryKeyConstraint("model", "version"),
)

variants = Table(
    "variants",
    metadata,
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("variant", String(64), nullable=False),
    Column("runtime", String(16), nullable=False),
    Column("precision", String(16), nullable=False),
    Column("digest", String(64), index=True),
    Column("reason", Text),
    _json("manifest", nullable=True),
    PrimaryKeyConstraint("model", "version", "variant"),
)

parcels = Table(
    "parcels",
    metadata,
    Column("bundle", String(64), nullable=False),
    Column("chunk_bytes", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("packed_size", BigInteger, nullable=False),
    _json("chunks"),
    PrimaryKeyConstraint("bundle", "chunk_bytes"),
)

groups = Table(
    "groups",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("query", Text, nullable=False),
    _time("created"),
    Column("accept_auto", Boolean, nullable=False, server_default=false()),
)

targets = Table(
    "targets",
    metadata,
    Column("group", String(64), ForeignKey("groups.name", ondelete="CASCADE"), nullable=False),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("rollout", String(32), nullable=False),
    _time("set_at"),
    PrimaryKeyConstraint("group", "model"),
)

rollouts = Table(
    "rollouts",
    metadata,
    _order(),
    Column("id", String(32), nullable=False, unique=True),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("group", String(64), nullable=False),
    _json("policy"),
    _json("options"),
    Column("state", String(16), nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("phase", Integer, nullable=False),
    Column("phase_started", Double, nullable=False),
    _time("created"),
    _time("updated"),
    Column("author", String(100), nullable=False),
    sqlite_autoincrement=True,
)

rollout_devices = Table(
    "rollout_devices",
    metadata,
    Column("rollout", String(32), ForeignKey("rollouts.id", ondelete="CASCADE"), nullable=False),
    Column("device", String(64), nullable=False, index=True),
    Column("phase", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("variant", String(64)),
    Column("digest", String(64)),
    Column("from_version", Integer),
    Column("from_digest", String(64)),
    Column("offered_seq", BigInteger, nullable=False),
    Column("return_seq", BigInteger, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("failed", Boolean, nullable=False),
    Column("offered_at", Double, nullable=False, server_default="0"),
    Column("heard_at", Double, nullable=False, server_default="0"),
    Column("failed_at", Double, nullable=False, server_default="0"),
    PrimaryKeyConstraint("rollout", "device"),
)

proofs = Table(
    "proofs",
    metadata,
    _device(),
    Column("digest", String(64), nullable=False),
    Column("profile", String(64), nullable=False),
    Column("simulated", Boolean, nullable=False),
    Column("latency_p50_us", Double, nullable=False),
    Column("memory_mb", Double, nullable=False),
    _time("at"),
    PrimaryKeyConstraint("device", "digest"),
)

assignments = Table(
    "assignments",
    metadata,
    _device(),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("variant", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    _json("options"),
    _time("set_at"),
    PrimaryKeyConstraint("device", "model"),
)

bad_versions = Table(
    "bad_versions",
    metadata,
    _device(),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("reason", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    _time("at"),
    PrimaryKeyConstraint("device", "model", "version"),
)

desired = Table(
    "desired",
    metadata,
    _device(primary_key=True),
    Column("seq", BigInteger, nullable=False),
    _json("body"),
    _json("digests"),
    Column("published_seq", BigInteger, nullable=False),
    _time("created"),
)

outbox = Table(
    "outbox",
    metadata,
    _order(),
    Column("device", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("detail", String(64), nullable=False),
    _time("created"),
    UniqueConstraint("device"),
    sqlite_autoincrement=True,
)

distributed = Table(
    "distributed",
    metadata,
    Column("cohort", String(64), nullable=False),
    Column("parcel", String(64), nullable=False),
    _time("at"),
    PrimaryKeyConstraint("cohort", "parcel"),
)

health = Table(
    "health",
    metadata,
    _order(),
    _device(),
    Column("model", String(64), nullable=False),
    _time("received"),
    _json("body"),
    Index("ix_health_device_model_n", "device", "model", "n"),
    sqlite_autoincrement=True,
)

events = Table(
    "events",
    metadata,
    _order(),
    Column("key", String(160), unique=True),
    _time("at"),
    Column("source", String(16), nullable=False),
    Column("code", String(64), nullable=False),
    Column("device", String(64), index=True),
    Column("model", String(64)),
    Column("detail", Text, nullable=False),
    _json("fields"),
    sqlite_autoincrement=True,
)

decisions = Table(
    "decisions",
    metadata,
    _order(),
    _time("at"),
    Column("kind", String(32), nullable=False),
    Column("rollout", String(32), index=True),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("author", String(100), nullable=False),
    _json("policy"),
    _json("evidence"),
    sqlite_autoincrement=True,
)

operations = Table(
    "operations",
    metadata,
    _order(),
    Column("id", String(32), nullable=False, unique=True),
    Column("kind", String(32), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    _json("request"),
    _json("progress"),
    _json("result", nullable=True),
    Column("error", Text),
    _time("created"),
    _time("updated"),
    sqlite_autoincrement=True,
)

settings = Table(
    "settings", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False)
)
