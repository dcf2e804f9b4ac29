"""How a change is written: records, audit rows and voided signatures of one action, inside the single writer's turn.

Here: the one place that inserts, updates or deletes. Not here: transactions (`database`), who may (`access`).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert, select, update

from lutetia import __version__
from lutetia.errors import (
    InputError,
    LockedRecordError,
    ReasonRequiredError,
    StaleRecordError,
    TrialError,
)
from lutetia.trial import audit
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Event, Key, Receipt, Redact, Remove, Sign, Touch, Update
from lutetia.trial.schema import AUDIT, BODIES, DATA, TableSpec, canonical, key_text, spec_of
from lutetia.trial.seals import covering_signatures, signature_digest
from lutetia.trial.values import require_keys, require_text, stored_values

SOFTWARE = f"lutetia {__version__}"


@dataclass(slots=True)
class Writer:
    """The state of one commit: what is still to be inserted and the head of the chain so far."""

    reader: Reader
    actor: Actor
    reason: str | None
    action: str
    at: str
    sequence: int
    head: str
    records: dict[str, list[Record]] = field(default_factory=dict)
    trail: list[dict[str, Any]] = field(default_factory=list)
    contents: list[dict[str, Any]] = field(default_factory=list)
    sites: dict[str, str | None] = field(default_factory=dict)
    locks: list[Record] | None = None


def apply(reader: Reader, change: Change, actor: Actor, *, reason: str | None, at: str) -> Receipt:
    """Write all edits of a change in order; the caller commits or rolls back.

    Raises
    ------
    TrialError, InputError, UnknownNameError
        For an edit that cannot be made; see the classes of `lutetia.errors`.
    """
    if reason is not None and not reason.strip():
        raise InputError("reason: found empty text; expected words, or no reason at all")
    require_text(reason or "", "reason")
    sequence, head = audit.head(reader)
    writer = Writer(reader, actor, reason, change.action, at, sequence, head)
    numbers = tuple(_EDITS[type(edit)](writer, edit) for edit in change.edits)
    _flush(writer)
    return Receipt(writer.sequence, writer.head, at, numbers, change.result)


def _create(writer: Writer, edit: Create) -> int:
    spec = spec_of(edit.table)
    values = stored_values(spec, edit.values)
    require_keys(spec, values)
    _refuse_locked(writer, spec, values, record=None)
    empty: Record = dict.fromkeys((*spec.names, "further"))
    row = {"record_id": writer.sequence + 1, "record_version": 1} | empty | values
    writer.records.setdefault(spec.name, []).append(row)
    changes = {name: [None, value] for name, value in values.items() if value is not None}
    return _log(writer, "create", spec, row=row, changes=changes)


def _update(writer: Writer, edit: Update) -> int:
    spec, row = _current(writer, edit.table, edit.key, edit.version)
    values = stored_values(spec, edit.values)
    changes = {n: [row[n], v] for n, v in values.items() if canonical(row[n]) != canonical(v)}
    if not changes:
        return int(row["record_id"])
    merged = row | values
    require_keys(spec, merged)
    if spec.kept and (named := [name for name in spec.keys if name in changes]):
        raise TrialError(f"{spec.name}.{named[0]}: names a record that is kept for ever; expected no change of it")
    for named_as in (row, merged):  # a record does not leave what is locked by being given another key
        _refuse_locked(writer, spec, named_as, record=row["record_id"])
    _demand_reason(writer, spec, changes)
    table = DATA[spec.name]
    changed = {name: pair[1] for name, pair in changes.items()} | {"record_version": row["record_version"] + 1}
    writer.reader.connection.execute(update(table).where(table.c.record_id == row["record_id"]).values(changed))
    _log(writer, "update", spec, row=merged, changes=changes)
    if not set(changes) <= spec.flow:
        _void_signatures(writer, spec, row["record_id"])
    return int(row["record_id"])


def _remove(writer: Writer, edit: Remove) -> int:
    spec, row = _current(writer, edit.table, edit.key, edit.version)
    if spec.kept:
        raise TrialError(f"{spec.name}: found a request to remove a record; expected none: its rows are kept for ever")
    _refuse_locked(writer, spec, row, record=row["record_id"])
    changes = {n: [row[n], None] for n in (*spec.names, "further") if row[n] is not None}
    if spec.reasoned and writer.reason is None:
        raise ReasonRequiredError(f"{spec.name}: removing a saved record needs a reason; give one and save again")
    table = DATA[spec.name]
    writer.reader.connection.execute(table.delete().where(table.c.record_id == row["record_id"]))
    _log(writer, "remove", spec, row=row, changes=changes)
    _void_signatures(writer, spec, row["record_id"])
    return int(row["record_id"])


def _event(writer: Writer, edit: Event) -> None:
    site = edit.site if edit.site is not None or edit.subject_id is None else _site_of(writer, edit.subject_id)
    body = {"values": dict(edit.values)}
    _append(writer, kind="event", table="", record=None, subject_id=edit.subject_id, site=site, body=body)


def _touch(writer: Writer, edit: Touch) -> int:
    return int(_current(writer, edit.table, edit.key, edit.version)[1]["record_id"])


def _sign(writer: Writer, edit: Sign) -> int:
    _flush(writer)
    confirmed = edit.confirmed
    if confirmed.user_id != writer.actor.user_id:
        raise TrialError("signature: found another person's confirmation; expected the one who acts")
    covered = [_current(writer, table, key, None) for table, key in edit.covers]
    if not covered:
        raise InputError("signature: found no record to sign; expected at least one")
    number = writer.reader.next_number("signatures", "signature_id")
    values = {
        "signature_id": number, "user_id": confirmed.user_id, "name": confirmed.name, "role": confirmed.role,
        "meaning": edit.meaning, "signed_at": writer.at, "session_id": writer.actor.session_id,
        "audit_head": writer.head, "state": "valid",
    }  # fmt: skip
    values["digest"] = signature_digest(values, [(spec, row) for spec, row in covered])
    _create(writer, Create("signatures", values))
    for spec, row in covered:
        names = {"signature_id": number, "table_name": spec.name, "record": row["record_id"]}
        _create(writer, Create("signature_records", names))
    if writer.actor.session_id is not None:
        _note_first_signature(writer, writer.actor.session_id)
    _flush(writer)
    return number


def _note_first_signature(writer: Writer, session_id: str) -> None:
    _flush(writer)
    row = writer.reader.find("sessions", {"session_id": session_id})
    if row is not None and row["signed_at"] is None:
        _update(writer, Update("sessions", {"session_id": session_id}, {"signed_at": writer.at}))


def _redact(writer: Writer, edit: Redact) -> None:
    _flush(writer)
    row = writer.reader.record("redactions", {"target": edit.sequence})
    statement = update(BODIES).where(BODIES.c.sequence == edit.sequence).values(body=row["replacement"])
    writer.reader.connection.execute(statement)  # the database refuses it unless two people stand in that row


_EDITS: dict[type, Any] = {
    Create: _create, Update: _update, Remove: _remove, Event: _event, Touch: _touch, Redact: _redact, Sign: _sign,
}  # fmt: skip


def _current(writer: Writer, table: str, key: Key, version: int | None) -> tuple[TableSpec, Record]:
    _flush(writer)
    spec, row = spec_of(table), writer.reader.record(table, key)
    if version is not None and row["record_version"] != version:
        text = f"{table} {key_text(spec, row)}: found version {row['record_version']}, expected {version}"
        raise StaleRecordError(f"{text}: somebody changed it since you opened it; reload, compare and save again")
    return spec, row


def _demand_reason(writer: Writer, spec: TableSpec, changes: Mapping[str, list[Any]]) -> None:
    if not spec.reasoned or writer.reason is not None:
        return
    saved = [n for n, (old, _) in changes.items() if old is not None and n not in spec.flow]
    if saved:
        raise ReasonRequiredError(f"{spec.name}.{saved[0]}: a saved value changes; give the reason and save again")


def _refuse_locked(writer: Writer, spec: TableSpec, row: Mapping[str, Any], *, record: int | None) -> None:
    if not spec.lockable:
        return
    if writer.locks is None:
        _flush(writer)
        writer.locks = writer.reader.records("locks", state="locked")
    for lock in writer.locks:
        if _holds(lock, spec.name, row.get("subject_id"), record):
            place = f"{spec.name} {key_text(spec, row)}"
            text = f"{place}: found the {lock['level']} locked since {lock['locked_at']}"
            raise LockedRecordError(f"{text}; expected it open; ask the data manager to unlock it with a reason")


def _holds(lock: Record, table: str, subject_id: str | None, record: int | None) -> bool:
    for name, found in (("subject_id", subject_id), ("table_name", table), ("record", record)):
        if lock[name] is not None and lock[name] != found:
            return False
    return True


def _void_signatures(writer: Writer, spec: TableSpec, record: int) -> None:
    why = f"{spec.name} record {record} changed ({writer.action})"
    for number in covering_signatures(writer.reader, spec.name, record):
        values = {"state": "void", "voided_at": writer.at, "void_reason": why}
        _update(writer, Update("signatures", {"signature_id": number}, values))


def _site_of(writer: Writer, subject_id: str) -> str | None:
    if subject_id not in writer.sites:
        for row in writer.records.get("subjects", ()):
            writer.sites[row["subject_id"]] = row["site"]
    if subject_id not in writer.sites:
        subjects = DATA["subjects"]
        found = writer.reader.value(select(subjects.c.site).where(subjects.c.subject_id == subject_id))
        writer.sites[subject_id] = found
    return writer.sites[subject_id]


def _log(writer: Writer, kind: str, spec: TableSpec, *, row: Record, changes: dict[str, Any]) -> int:
    subject_id = row.get("subject_id")
    site = row["site"] if "site" in spec.types else None
    if site is None and subject_id is not None:
        site = _site_of(writer, subject_id)
    body = {"key": key_text(spec, row), "changes": changes}
    number = int(row["record_id"])
    _append(writer, kind=kind, table=spec.name, record=number, subject_id=subject_id, site=site, body=body)
    return number


def _append(
    writer: Writer, *, kind: str, table: str, record: int | None, subject_id: str | None, site: str | None,
    body: dict[str, Any],
) -> None:  # fmt: skip
    # The salt keeps a short value from being guessed from its hash after the body was redacted.
    text = canonical(body | {"reason": writer.reason, "salt": secrets.token_hex(8)})
    values = (
        writer.sequence + 1, writer.head, writer.at, writer.actor.user_id, writer.actor.session_id, writer.action,
        kind, table, record, subject_id, site, audit.text_hash(text), SOFTWARE,
    )  # fmt: skip
    writer.sequence, writer.head = writer.sequence + 1, audit.row_hash(values)
    writer.trail.append(dict(zip(audit.COLUMNS, (*values, writer.head), strict=True)))
    writer.contents.append({"sequence": writer.sequence, "body": text})


def _flush(writer: Writer) -> None:
    connection = writer.reader.connection
    for table, rows in writer.records.items():
        connection.execute(insert(DATA[table]), rows)
    if writer.trail:
        connection.execute(insert(AUDIT), writer.trail)
        connection.execute(insert(BODIES), writer.contents)
    writer.records, writer.trail, writer.contents = {}, [], []


def colliding_key(reader: Reader, change: Change) -> str | None:
    """Table and key of the first new record whose key exists already; sought after the database refused a change."""
    seen: set[str] = set()
    for edit in change.edits:
        if isinstance(edit, Create):
            spec = spec_of(edit.table)
            values = stored_values(spec, edit.values)
            named = f"{spec.name} {key_text(spec, values)}"
            if named in seen or reader.find(spec.name, {name: values.get(name) for name in spec.keys}):
                return named
            seen.add(named)
    return None
