"""Alembic's entry: migrations run on the connection that `Database.upgrade` hands over."""

from alembic import context

from fleet_server.store import schema_feedback  # noqa: F401 - its tables
from fleet_server.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
