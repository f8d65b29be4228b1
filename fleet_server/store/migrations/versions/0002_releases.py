"""Releases: what the trust chain keeps of signed versions."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    _make_repository()
    _make_marks()
    with op.batch_alter_table("groups", schema=None) as batch_op:
        batch_op.add_column(sa.Column("accept_auto", sa.Boolean(), nullable=False, server_default=sa.false()))


def _make_repository() -> None:
    op.create_table(
        "trust_files",
        sa.Column("repository", sa.String(length=16), nullable=False),
        sa.Column("role", sa.String(length=80), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("repository", "role", "version", name=op.f("pk_trust_files")),
    )
    op.create_table(
        "listed",
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("variant", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("runtime", sa.String(length=16), nullable=False),
        sa.Column("auto", sa.Boolean(), nullable=False),
        sa.Column("role", sa.String(length=80), nullable=False),
        sa.Column("hardware", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("target", name=op.f("pk_listed")),
    )
    with op.batch_alter_table("listed", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_listed_model_version"), ["model", "version"], unique=False)


def _make_marks() -> None:
    op.create_table(
        "yanked",
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("author", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("target", name=op.f("pk_yanked")),
    )
    op.create_table(
        "auto_versions",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("model", "version", name=op.f("pk_auto_versions")),
    )
    op.create_table(
        "director_signed",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("timestamp_version", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device"], ["devices.id"], name=op.f("fk_director_signed_device_devices"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("device", name=op.f("pk_director_signed")),
    )
