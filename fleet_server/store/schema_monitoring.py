"""The tables of monitoring: windows and their hours, what is known of each device's and group's drift, policies.

House rules: those of `schema`. Counts are rows of `fleet_server.core.packed_counts`.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from fleet_server.store.schema import metadata


def _device() -> Column[str]:
    return Column("device", String(64), ForeignKey("devices.id", ondelete="CASCADE"), nullable=False)


windows = Table(
    "windows",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=True),
    _device(),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("hour", BigInteger, nullable=False),
    Column("rolled", Boolean, nullable=False),
    Column("counts", LargeBinary, nullable=False),
    UniqueConstraint("device", "model", "version", "boot", "number"),
    Index("ix_windows_rolled_hour", "rolled", "hour"),
    sqlite_autoincrement=True,
)

# The last window forgotten of a device and version: a repeat of one up to it is late, and counts no second time.
window_marks = Table(
    "window_marks",
    metadata,
    _device(),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    PrimaryKeyConstraint("device", "model", "version"),
)

window_hours = Table(
    "window_hours",
    metadata,
    _device(),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("hour", BigInteger, nullable=False),
    Column("windows", Integer, nullable=False),
    Column("counts", LargeBinary, nullable=False),
    PrimaryKeyConstraint("device", "model", "version", "digest", "hour"),
    Index("ix_window_hours_hour", "hour", "model", "version"),
)

drift_devices = Table(
    "drift_devices",
    metadata,
    _device(),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("windows", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("learnt", Integer, nullable=False),
    Column("looks", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("pending", LargeBinary),
    Column("look", LargeBinary),
    Column("look_at", BigInteger, nullable=False),
    Column("look_n", BigInteger, nullable=False),
    PrimaryKeyConstraint("model", "version", "device"),
)

# What a device learnt: five times the rest, and of no change once it has learnt.
drift_memories = Table(
    "drift_memories",
    metadata,
    _device(),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("memory", LargeBinary, nullable=False),
    PrimaryKeyConstraint("model", "version", "device"),
)

drift_scopes = Table(
    "drift_scopes",
    metadata,
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("group", String(64), nullable=False),
    Column("aspect", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("judged_at", BigInteger, nullable=False),
    Column("judged_n", BigInteger, nullable=False),
    Column("looks", JSON(none_as_null=True), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("evidence", JSON(none_as_null=True), nullable=False),
    Column("memory", LargeBinary, nullable=False),
    PrimaryKeyConstraint("model", "version", "group", "aspect"),
)

drift_policies = Table(
    "drift_policies",
    metadata,
    Column("model", String(64), ForeignKey("models.name", ondelete="CASCADE"), primary_key=True),
    Column("policy", JSON(none_as_null=True), nullable=False),
    Column("author", String(100), nullable=False),
    Column("set_at", BigInteger, nullable=False),
)
