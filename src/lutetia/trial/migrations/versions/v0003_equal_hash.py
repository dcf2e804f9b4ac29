"""SQLite: an INSERT OR REPLACE may not take the place of an audit row with an equal hash."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_TRIGGER = (
    "CREATE TRIGGER audit_in_sequence BEFORE INSERT ON audit FOR EACH ROW WHEN "
    "NEW.sequence <> (SELECT COALESCE(MAX(sequence), 0) + 1 FROM audit) OR "
    "EXISTS (SELECT 1 FROM audit a WHERE a.hash = NEW.hash) "
    "BEGIN SELECT RAISE(ABORT, 'audit: out of sequence'); END"
)


def upgrade() -> None:
    """Replace the trigger; PostgreSQL has no such statement."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_in_sequence")
        op.execute(_TRIGGER)
