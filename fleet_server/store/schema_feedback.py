"""The tables of labelled rows: messages of devices as they came, and how many rows were dropped of each model."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    UniqueConstraint,
)

from fleet_server.store.schema import metadata

feedback = Table(
    "feedback",
    metadata,
    Column("n", Integer, primary_key=True, autoincrement=True),
    Column("device", String(64), ForeignKey("devices.id", ondelete="CASCADE"), nullable=False),
    Column("boot", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("model", String(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("ts", BigInteger, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("columns", JSON(none_as_null=True), nullable=False),
    Column("rows", JSON(none_as_null=True), nullable=False),
    Column("row_count", Integer, nullable=False),
    UniqueConstraint("device", "boot", "number"),
    Index("ix_feedback_model_n", "model", "n"),
    Index("ix_feedback_received", "received"),
    sqlite_autoincrement=True,
)

feedback_losses = Table(
    "feedback_losses",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("capped", BigInteger, nullable=False),
    Column("expired", BigInteger, nullable=False),
)
