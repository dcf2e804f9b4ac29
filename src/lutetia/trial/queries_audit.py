"""The audit trail as people read it: filtered, at their sites, without what is hidden from them.

Not here: its verification and replay (`audit`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select, true

from lutetia.trial.access import masked, require, visible_sites
from lutetia.trial.masking import HIDDEN_TABLES, reason_reveals, visible_changes, visible_event
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.schema import AUDIT, BODIES


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """What of the trail is wanted; None means everything. Instants are UTC text, `until` included."""

    subject_id: str | None = None
    table: str | None = None
    record: int | None = None
    column: str | None = None
    actor: str | None = None
    action: str | None = None
    site: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the trail in plain values; `changes` maps a column to its old and new value."""

    sequence: int
    at: str
    actor: str
    action: str
    kind: str
    table: str
    record: int | None
    key: str
    subject_id: str | None
    site: str | None
    changes: dict[str, list[Any]]
    values: dict[str, Any]
    reason: str | None
    software: str
    hash: str


def audit_trail(
    reader: Reader, actor: Actor, wanted: AuditFilter | None = None, *, limit: int = 200, before: int | None = None
) -> list[AuditEntry]:
    """Rows of the trail that this person may read, newest first.

    Parameters
    ----------
    before
        Only rows with a smaller sequence number: the last one of the page before.

    Raises
    ------
    AccessDeniedError
        If the person may read none.
    """
    require(actor, "read_audit")
    wanted = AuditFilter() if wanted is None else wanted
    hide = masked(actor, "read_audit")
    statement = _filtered(wanted, actor, hide=hide)
    if before is not None:
        statement = statement.where(AUDIT.c.sequence < before)
    if wanted.column is None:
        return [_entry(row, hide=hide) for row in reader.rows(statement.limit(limit))]
    entries = (_entry(row, hide=hide) for row in reader.rows(statement))
    return [entry for entry in entries if wanted.column in entry.changes][:limit]


def field_history(reader: Reader, actor: Actor, table: str, record: int, *, column: str) -> list[AuditEntry]:
    """Every change of one field, oldest first: what stands beside the field on its page."""
    found = audit_trail(reader, actor, AuditFilter(table=table, record=record, column=column), limit=1000)
    return found[::-1]


def _filtered(wanted: AuditFilter, actor: Actor, *, hide: bool) -> Select[Any]:
    statement = select(AUDIT, BODIES.c.body).join(BODIES, BODIES.c.sequence == AUDIT.c.sequence)
    equal = {
        "subject_id": wanted.subject_id, "table_name": wanted.table, "record": wanted.record, "actor": wanted.actor,
        "action": wanted.action, "site": wanted.site,
    }  # fmt: skip
    for name, value in equal.items():
        statement = statement if value is None else statement.where(AUDIT.c[name] == value)
    sites = visible_sites(actor, "read_audit")
    own = true() if sites is None else AUDIT.c.site.in_(sorted(sites))
    shown = true() if not hide else AUDIT.c.table_name.not_in(sorted(HIDDEN_TABLES))
    since = true() if wanted.since is None else AUDIT.c.at >= wanted.since
    until = true() if wanted.until is None else AUDIT.c.at <= wanted.until
    return statement.where(own, shown, since, until).order_by(AUDIT.c.sequence.desc())


def _entry(row: Record, *, hide: bool) -> AuditEntry:
    body = json.loads(row["body"])
    table, changes = row["table_name"], body.get("changes", {})
    reason = None if hide and reason_reveals(table, changes) else body.get("reason")
    points_inside = hide and any(v in HIDDEN_TABLES for pair in changes.values() for v in pair if isinstance(v, str))
    return AuditEntry(
        sequence=row["sequence"], at=row["at"], actor=row["actor"], action=row["action"], kind=row["kind"],
        table=table, record=row["record"], key="" if points_inside else body.get("key", ""),
        subject_id=row["subject_id"], site=row["site"],
        changes={} if points_inside else visible_changes(table, changes, masked=hide),
        values=visible_event(body.get("values", {}), masked=hide), reason=None if points_inside else reason,
        software=row["software"], hash=row["hash"],
    )  # fmt: skip
