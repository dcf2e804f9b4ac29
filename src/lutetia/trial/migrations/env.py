"""What Alembic runs: the revisions, on the connection that `lutetia.trial.upgrade` hands over."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transactional_ddl=False)  # the transaction is the caller's
context.run_migrations()
