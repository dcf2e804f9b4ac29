"""What a signature binds: SHA-256 of the signed records with who, when and what for.

Here: the digest, and which signatures cover a record. Columns that a state machine moves on (`TableSpec.flow`) and the
bookkeeping ones are left out, so that the next step of a signed record does not void it; everything else does.
Not here: asking the person (`signatures`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select

from lutetia.trial.reader import Reader, Record
from lutetia.trial.schema import DATA, TableSpec, canonical

_BOUND = ("signature_id", "user_id", "name", "role", "meaning", "signed_at", "session_id")


def record_content(spec: TableSpec, row: Record) -> dict[str, Any]:
    """What of a record is signed: its table, number and every value but the flow columns."""
    names = [name for name in (*spec.names, "further") if name not in spec.flow and row.get(name) is not None]
    return {"table": spec.name, "record": row["record_id"], "values": {name: row[name] for name in names}}


def signature_digest(signature: Mapping[str, Any], covered: Sequence[tuple[TableSpec, Record]]) -> str:
    """SHA-256 (hexadecimal) that belongs to this signature on these records and to no other."""
    bound = {name: signature.get(name) for name in _BOUND}
    ordered = sorted(covered, key=lambda pair: (pair[0].name, pair[1]["record_id"]))
    content = {"signature": bound, "records": [record_content(spec, row) for spec, row in ordered]}
    return hashlib.sha256(canonical(content).encode()).hexdigest()


def covering_signatures(reader: Reader, table: str, record: int) -> list[int]:
    """Numbers of the valid signatures that cover a record."""
    covers, signatures = DATA["signature_records"], DATA["signatures"]
    statement = (
        select(signatures.c.signature_id)
        .join(covers, covers.c.signature_id == signatures.c.signature_id)
        .where(covers.c.table_name == table, covers.c.record == record, signatures.c.state == "valid")
        .order_by(signatures.c.signature_id)
    )
    return [int(row["signature_id"]) for row in reader.rows(statement)]
