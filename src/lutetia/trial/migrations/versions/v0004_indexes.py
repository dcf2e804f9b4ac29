"""Indexes for what every request, every change and the overview ask: sessions, signatures, queries, visits, jobs."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

_INDEXES = """
sessions token_hash
sessions user_id
grants user_id
signature_records table_name record
queries table_name record
queries state
visits state due_on
prescriptions state
jobs state
"""


def upgrade() -> None:
    """Create them; no record changes."""
    for line in _INDEXES.strip().splitlines():
        table, *columns = line.split()
        op.create_index(f"ix_{table}_{'_'.join(columns)}", table, columns)
