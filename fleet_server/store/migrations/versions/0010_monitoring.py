"""Windows as packed rows with their hours, and the state of drift."""

import json

import sqlalchemy as sa
from alembic import op

from edge_agent.contract import codec
from edge_agent.contract.windows import WindowCounts
from fleet_server.core.packed_counts import pack_counts

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_HOUR_MS = 3_600_000
_BATCH = 500


def _device() -> sa.Column[str]:
    return sa.Column("device", sa.String(length=64), nullable=False)


def _key() -> tuple[sa.Column[str], sa.Column[str], sa.Column[int]]:
    model = sa.Column("model", sa.String(length=64), nullable=False)
    return _device(), model, sa.Column("version", sa.Integer(), nullable=False)


def _owned(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["device"], ["devices.id"], name=f"fk_{table}_device", ondelete="CASCADE")


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _whole(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=length), nullable=False)


def _long(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.JSON(), nullable=False)


def _blob(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def upgrade() -> None:
    """Apply."""
    op.drop_index("ix_windows_model_version", table_name="windows")
    op.rename_table("windows", "windows_before")
    _make_windows()
    _move_windows()
    op.drop_table("windows_before")
    _make_drift()


def _make_windows() -> None:
    unique = ("device", "model", "version", "boot", "number")
    op.create_table(
        "windows",
        sa.Column("n", sa.Integer(), autoincrement=True, nullable=False),
        *_key(),
        *(_number(name) for name in ("boot", "number")),
        _text("digest", 64),
        *(_number(name) for name in ("started", "ended", "received", "hour")),
        sa.Column("rolled", sa.Boolean(), nullable=False),
        _blob("counts"),
        _owned("windows"),
        sa.PrimaryKeyConstraint("n", name="pk_windows"),
        sa.UniqueConstraint(*unique, name="uq_windows_device_model_version_boot_number"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_windows_rolled_hour", "windows", ["rolled", "hour"])
    op.create_table(
        "window_marks",
        *_key(),
        *(_number(name) for name in ("boot", "number")),
        _owned("window_marks"),
        sa.PrimaryKeyConstraint("device", "model", "version", name="pk_window_marks"),
    )
    op.create_table(
        "window_hours",
        *_key(),
        _text("digest", 64),
        _number("hour"),
        _whole("windows"),
        _blob("counts"),
        _owned("window_hours"),
        sa.PrimaryKeyConstraint("device", "model", "version", "digest", "hour", name="pk_window_hours"),
    )
    op.create_index("ix_window_hours_hour", "window_hours", ["hour", "model", "version"])


def _move_windows() -> None:
    """Pack the counts of each window that is kept."""
    connection = op.get_bind()
    names = ("n", "device", "model", "version", "boot", "number", "digest", "started", "ended", "received")
    before = sa.table("windows_before", *(sa.column(name) for name in (*names, "counts")))
    after = sa.table("windows", *(sa.column(name) for name in (*names, "hour", "rolled", "counts")))
    last = 0
    while rows := connection.execute(
        sa.select(before).where(before.c.n > last).order_by(before.c.n).limit(_BATCH)
    ).all():
        connection.execute(
            sa.insert(after),
            [
                {name: getattr(row, name) for name in names}
                | {
                    "hour": row.received - row.received % _HOUR_MS,
                    "rolled": False,
                    "counts": pack_counts(codec.from_plain(WindowCounts, _plain(row.counts))),
                }
                for row in rows
            ],
        )
        last = rows[-1].n


def _plain(counts: object) -> object:
    return json.loads(counts) if isinstance(counts, str) else counts


def _make_drift() -> None:
    op.create_table(
        "drift_devices",
        *_key(),
        _text("digest", 64),
        _text("state", 16),
        _number("since"),
        _whole("windows"),
        _number("rows"),
        _whole("learnt"),
        _long("looks"),
        _long("sentence"),
        _blob("pending", nullable=True),
        _blob("look", nullable=True),
        _number("look_at"),
        _number("look_n"),
        _owned("drift_devices"),
        sa.PrimaryKeyConstraint("model", "version", "device", name="pk_drift_devices"),
    )
    op.create_table(
        "drift_memories",
        *_key(),
        _blob("memory"),
        _owned("drift_memories"),
        sa.PrimaryKeyConstraint("model", "version", "device", name="pk_drift_memories"),
    )
    _make_scopes()


def _make_scopes() -> None:
    op.create_table(
        "drift_scopes",
        *_key()[1:],
        _text("group", 64),
        _text("aspect", 16),
        _text("state", 16),
        _number("since"),
        _number("judged_at"),
        _number("judged_n"),
        _json("looks"),
        _long("sentence"),
        _json("evidence"),
        _blob("memory"),
        sa.PrimaryKeyConstraint("model", "version", "group", "aspect", name="pk_drift_scopes"),
    )
    op.create_table(
        "drift_policies",
        _text("model", 64),
        _json("policy"),
        _text("author", 100),
        _number("set_at"),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name="fk_drift_policies_model", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("model", name="pk_drift_policies"),
    )
