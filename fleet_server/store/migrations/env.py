"""Alembic's entry: migrations run on the connection that `Database.upgrade` hands over."""

from alembic import context

from fleet_server.store import schema_feedback, schema_monitoring  # noqa: F401 - their tables
from fleet_server.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
