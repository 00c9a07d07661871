"""Alembic's entry: runs the revisions on the engine that `run.upgrade` hands over."""

from alembic import context

from core.adapters.tables_sql import metadata

with context.config.attributes["engine"].connect() as connection:
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True, transaction_per_migration=True, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
