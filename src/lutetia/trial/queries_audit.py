"""The audit trail as people read it: filtered, at their sites, without what is hidden from them.

Not here: its verification and replay (`audit`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, select, true

from lutetia.trial.access import masked, require, visible_sites
from lutetia.trial.masked_view import MaskedView, masked_view
from lutetia.trial.masking import HIDDEN_TABLES, reason_reveals, visible_changes, visible_event
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.schema import AUDIT, BODIES

#: Rows that are read at once where a column is sought.
_PART = 1000


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

    The numbers of a masked person, given and returned, count the rows of the own view.

    Raises
    ------
    AccessDeniedError
        If the person may read none.
    """
    require(actor, "read_audit")
    wanted = AuditFilter() if wanted is None else wanted
    view = masked_view(reader) if masked(actor, "read_audit") else None
    if view is not None:
        before = None if before is None else view.sequence(before)
        if wanted.record is not None:
            wanted = replace(wanted, record=view.sequence(wanted.record) or 0)
    found: list[AuditEntry] = []
    while len(found) < limit:
        statement = _filtered(wanted, actor, hide=view is not None)
        if before is not None:
            statement = statement.where(AUDIT.c.sequence < before)
        some = _PART if wanted.column is not None else limit
        rows = reader.rows(statement.limit(some))
        entries = (_entry(row, view) for row in rows if view is None or view.sees(row["sequence"]))
        found += [entry for entry in entries if wanted.column is None or wanted.column in entry.changes]
        if len(rows) < some:
            break
        before = rows[-1]["sequence"]
    return found[:limit]


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


def _entry(row: Record, view: MaskedView | None) -> AuditEntry:
    """A row of the trail; `view` is that of a masked reader, who sees the row."""
    body, table, record = json.loads(row["body"]), row["table_name"], row["record"]
    changes, key, reason = body.get("changes", {}), body.get("key", ""), body.get("reason")
    sequence = row["sequence"]
    if view is None:
        shown = visible_changes(table, changes, masked=False)
    else:
        shown, key, sequence = view.changes(table, record, changes), view.key(table, key), view.place(sequence)
        record = None if record is None else view.place(record)
        reason = None if reason_reveals(table) else reason
    return AuditEntry(
        sequence=sequence, at=row["at"], actor=row["actor"], action=row["action"], kind=row["kind"],
        table=table, record=record, key=key, subject_id=row["subject_id"], site=row["site"], changes=shown,
        values=visible_event(body.get("values", {}), masked=view is not None), reason=reason,
        software=row["software"], hash=row["hash"],
    )  # fmt: skip
