"""Pipelines and proposals."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "pipelines",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=100), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_pipelines")),
    )
    json = sa.JSON(none_as_null=True)
    op.create_table(
        "proposals",
        sa.Column("n", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("open_model", sa.String(length=64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("cause", sa.String(length=32), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("evidence", json, nullable=False),
        sa.Column("pipeline", sa.String(length=64), nullable=False),
        sa.Column("author", sa.String(length=100), nullable=False),
        sa.Column("opened", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("operation", sa.String(length=64), nullable=True),
        sa.Column("made", sa.Integer(), nullable=True),
        sa.Column("rollout", sa.String(length=64), nullable=True),
        sa.Column("verdict", json, nullable=True),
        sa.Column("fresh", json, nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_proposals")),
        sa.UniqueConstraint("id", name=op.f("uq_proposals_id")),
        sa.UniqueConstraint("open_model", name=op.f("uq_proposals_open_model")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_proposals_model"), "proposals", ["model"], unique=False)
