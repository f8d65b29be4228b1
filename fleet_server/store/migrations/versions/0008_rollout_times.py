"""When a rollout's device was offered its version, was heard since, and failed."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; what is under way counts as offered, and as failed, when its state changed last."""
    with op.batch_alter_table("rollout_devices") as table:
        for name in ("offered_at", "heard_at", "failed_at"):
            table.add_column(sa.Column(name, sa.Double(), nullable=False, server_default="0"))
    op.execute("UPDATE rollout_devices SET offered_at = changed_at WHERE state NOT IN ('waiting', 'skipped')")
    op.execute("UPDATE rollout_devices SET failed_at = changed_at WHERE failed")
