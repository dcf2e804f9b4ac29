"""One-time codes are good once (`users.totp_step`), and the history of a field is found by index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column and the index."""
    op.add_column("users", sa.Column("totp_step", sa.BigInteger(), nullable=True))
    op.create_index("ix_audit_table_record", "audit", ["table_name", "record"])
