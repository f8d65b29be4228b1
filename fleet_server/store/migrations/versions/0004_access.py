"""Access: users, roles and scoped keys."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def _owner(table: str) -> list[sa.schema.SchemaItem]:
    return [
        sa.Column("owner_user", sa.String(length=64), nullable=True),
        sa.Column("owner_key", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["owner_user"], ["users.name"], name=op.f(f"fk_{table}_owner_user"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["owner_key"], ["api_keys.id"], name=op.f(f"fk_{table}_owner_key"), ondelete="CASCADE"),
    ]


def upgrade() -> None:
    """Apply; keys that exist had all rights and keep them, browsers sign in again."""
    op.create_table(
        "users",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
    )
    for column in (
        sa.Column("role", sa.String(length=16), nullable=False, server_default="admin"),
        sa.Column("scope", sa.JSON(none_as_null=True), nullable=False, server_default="{}"),
        sa.Column("author", sa.String(length=100), nullable=False, server_default=""),
        sa.Column("expires", sa.BigInteger(), nullable=True),
        sa.Column("used", sa.BigInteger(), nullable=True),
        sa.Column("revoked", sa.BigInteger(), nullable=True),
    ):
        op.add_column("api_keys", column)
    op.drop_table("sessions")
    op.drop_table("signin_codes")
    op.create_table(
        "sessions",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        *_owner("sessions"),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("seen", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_sessions")),
        sa.UniqueConstraint("id", name=op.f("uq_sessions_id")),
    )
    op.create_table(
        "signin_codes",
        sa.Column("hash", sa.String(length=64), nullable=False),
        *_owner("signin_codes"),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_signin_codes")),
    )
    for table in ("sessions", "signin_codes"):
        for column_name in ("owner_user", "owner_key"):
            op.create_index(op.f(f"ix_{table}_{column_name}"), table, [column_name])
