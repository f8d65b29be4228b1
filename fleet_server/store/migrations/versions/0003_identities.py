"""Identities: certificates, approval and quarantine of devices."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    for column in (
        sa.Column("standing", sa.String(length=16), nullable=False, server_default="active"),
        sa.Column("standing_at", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("standing_reason", sa.String(length=200), nullable=False, server_default=""),
        sa.Column("keyed_at", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("heard_boot", sa.BigInteger(), nullable=False, server_default="-1"),
        sa.Column("latest_boot", sa.BigInteger(), nullable=False, server_default="-1"),
        sa.Column("returns", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("latest_ts", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("devices", column)
    op.create_table(
        "certificates",
        sa.Column("n", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("issued", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_certificates")),
        sa.UniqueConstraint("serial", name=op.f("uq_certificates_serial")),
        sa.UniqueConstraint("key_hash", name=op.f("uq_certificates_key_hash")),
    )
    op.create_index(op.f("ix_certificates_device"), "certificates", ["device"])
    op.create_table(
        "reports_heard",
        sa.Column("n", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("boot", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["device"], ["devices.id"], name=op.f("fk_reports_heard_device_devices"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_reports_heard")),
        sa.UniqueConstraint("device", "boot", "seq", name=op.f("uq_reports_heard_device_boot_seq")),
    )
