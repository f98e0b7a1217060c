"""What Alembic runs: the steps, in the transaction of the caller's connection."""

from alembic import context

from palate.service.store.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, compare_type=True
)
context.run_migrations()
