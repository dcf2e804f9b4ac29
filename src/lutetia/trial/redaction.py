"""Removing leaked personal data from the audit trail: proposed by one person, confirmed by another, logged, and with
the chain still verifying.

The audit row keeps the hash of the original body; the body is replaced by one in which the named columns read
``[redacted]``. The replacement stands in the `redactions` table, whose own audit rows carry it, so `audit.verify` can
tell a redaction from an alteration. Correct the record first: a value that is still current cannot be redacted.
Not here: whether the callers may (`workflow`).
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import select

from lutetia.errors import AuditError, InputError, SignatureError
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Redact, Update
from lutetia.trial.schema import AUDIT, BODIES, canonical
from lutetia.trial.store import Trial

REDACTED = "[redacted]"
#: The word that redacts the reason given for a change, beside column names.
REASON = "reason"


def propose_redaction(trial: Trial, actor: Actor, sequence: int, *, columns: list[str], reason: str) -> Receipt:
    """Prepare the replacement of an audit row's body; nothing is removed yet.

    Parameters
    ----------
    sequence
        Number of the audit row.
    columns
        Columns whose old and new values go; ``reason`` for the words given as reason.

    Raises
    ------
    InputError
        If the row holds none of them, or a value is still current in the record.
    """
    if not reason.strip():
        raise InputError("redaction: found no reason; expected why the data must go")

    def change(reader: Reader) -> Change:
        replacement = _replacement(reader, sequence, columns)
        values = {
            "target": sequence, "fields": columns, "replacement": replacement, "reason": reason,
            "proposed_by": actor.user_id, "proposed_at": reader.now,
        }  # fmt: skip
        return Change("propose_redaction", [Create("redactions", values)])

    return trial.commit(change, actor, reason)


def confirm_redaction(trial: Trial, actor: Actor, sequence: int) -> Receipt:
    """Replace the body; by another person than the one who proposed it.

    Raises
    ------
    SignatureError
        If it is the same person.
    """

    def change(reader: Reader) -> Change:
        row = reader.record("redactions", {"target": sequence})
        if row["proposed_by"] == actor.user_id:
            raise SignatureError("redaction: found one person twice; expected another one to confirm it")
        if row["confirmed_by"] is not None:
            raise AuditError(f"redaction of row {sequence}: found it done already; expected an open proposal")
        values = {"confirmed_by": actor.user_id, "confirmed_at": reader.now}
        edits: list[Edit] = [Update("redactions", {"target": sequence}, values), Redact(sequence)]
        return Change("confirm_redaction", edits)

    receipt = trial.commit(change, actor)
    with trial.read() as reader:
        table = reader.value(select(AUDIT.c.table_name).where(AUDIT.c.sequence == sequence))
    trial.database.wipe([BODIES.name, *([table] if table else [])])
    return receipt


def _replacement(reader: Reader, sequence: int, columns: list[str]) -> str:
    found = reader.row(
        select(AUDIT, BODIES.c.body).join(BODIES, BODIES.c.sequence == AUDIT.c.sequence).where(
            AUDIT.c.sequence == sequence
        )
    )  # fmt: skip
    if found is None:
        raise InputError(f"redaction: found no audit row {sequence}; expected an existing one")
    if found["table_name"] == "redactions":
        raise InputError(f"redaction: row {sequence} belongs to a redaction; expected a row about a record; it stays")
    body: dict[str, Any] = json.loads(found["body"])
    changes = body.get("changes", {})
    unknown = [name for name in columns if name != REASON and name not in changes]
    if unknown or not columns:
        raise InputError(f"redaction: row {sequence} holds {', '.join(changes)}; found {unknown or 'no column'}")
    current = None if found["record"] is None else reader.find(found["table_name"], int(found["record"]))
    kept = {n: list(pair) if n not in columns else _redacted(n, pair, current or {}) for n, pair in changes.items()}
    shown = body | {"changes": kept} if changes else dict(body)
    shown["salt"] = REDACTED  # with the salt a short value could be guessed from the hash that stays
    if REASON in columns:
        shown["reason"] = REDACTED
    return canonical(shown)


def _redacted(name: str, pair: list[Any], current: Record) -> list[Any]:
    """Old and new value without those that the record no longer holds."""
    kept = [value if value is None or value == current.get(name) else REDACTED for value in pair]
    if kept == list(pair):
        text = f"redaction: the record's {name} still holds the value; expected it corrected first"
        raise InputError(f"{text}; change the record with a reason, then redact both rows")
    return kept
