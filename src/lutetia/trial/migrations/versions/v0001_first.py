"""The first schema, frozen as SQL for each kind of database."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables, indexes and triggers in an empty database."""
    connection = op.get_bind()
    path = Path(__file__).parents[1] / f"revision_0001_{connection.dialect.name}.sql"
    for statement in path.read_text(encoding="utf-8").split("\n;;\n"):
        connection.exec_driver_sql(statement)
