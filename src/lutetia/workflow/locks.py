"""Lock and unlock a form, a subject or the whole study; what is locked, the write gateway refuses to change.

A lock is a record of its own: it stays in the database with who locked, who unlocked and why.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutetia.errors import InputError, TrialError
from lutetia.trial import Actor, Change, Create, Reader, Receipt, Record, Trial, Update, access
from lutetia.trial.schema import key_text, spec_of
from lutetia.workflow.course_records import subject_of
from lutetia.workflow.edits import required_text

LEVELS = ("form", "subject", "study")


@dataclass(frozen=True, slots=True)
class Lock:
    """What is locked: a form (table and record number), a subject, or with neither the study."""

    level: str
    subject_id: str | None = None
    table: str | None = None
    record: int | None = None


@dataclass(frozen=True, slots=True)
class Unlock:
    """A lock by its number, and why it is opened."""

    lock_id: int
    reason: str


def lock(trial: Trial, actor: Actor, command: Lock) -> Receipt:
    """Lock; `result` is the lock's number.

    Raises
    ------
    AccessDeniedError
        Without the right to lock.
    InputError
        If the level and what is named do not fit, or it is locked already.
    TrialError
        While queries about it are open.
    """
    access.require(actor, "lock")
    _check(command)

    def change(reader: Reader) -> Change:
        subject_id = _subject(reader, command)
        named = {"level": command.level, "subject_id": subject_id, "table_name": command.table,
                 "record": command.record}  # fmt: skip
        if held := reader.records("locks", state="locked", **named):
            raise InputError(f"lock: the {command.level} is locked since {held[0]['locked_at']} already")
        _refuse_open_queries(reader, command, subject_id)
        number = reader.next_number("locks", "lock_id")
        values = {"lock_id": number, "state": "locked", "locked_by": actor.user_id, "locked_at": reader.now} | named
        return Change(f"lock_{command.level}", [Create("locks", values)], result=number)

    return trial.commit(change, actor)


def unlock(trial: Trial, actor: Actor, command: Unlock) -> Receipt:
    """Open a lock, with the reason.

    Raises
    ------
    AccessDeniedError
        Without the right to lock and unlock.
    InputError
        Without a reason, or if the lock is open already.
    """
    access.require(actor, "lock")
    reason = required_text(command.reason, "reason of the unlocking")

    def change(reader: Reader) -> Change:
        found = reader.record("locks", {"lock_id": command.lock_id})
        if found["state"] != "locked":
            raise InputError(f"lock {command.lock_id}: was opened at {found['unlocked_at']} already")
        values = {"state": "unlocked", "unlocked_by": actor.user_id, "unlocked_at": reader.now, "reason": reason}
        return Change(f"unlock_{found['level']}", [Update("locks", found["record_id"], values)])

    return trial.commit(change, actor, reason)


def open_locks(reader: Reader, subject_id: str | None = None) -> list[Record]:
    """Locks in force: all, or those that hold a subject (its own, its forms' and the study's)."""
    rows = reader.records("locks", state="locked")
    return [row for row in rows if subject_id is None or row["subject_id"] in (None, subject_id)]


def _check(command: Lock) -> None:
    expected = {
        "form": command.table is not None and command.record is not None,
        "subject": command.subject_id is not None and command.table is None and command.record is None,
        "study": command.subject_id is None and command.table is None and command.record is None,
    }
    if command.level not in expected:
        raise InputError(f"lock: found level {command.level!r}; expected one of {', '.join(LEVELS)}")
    if not expected[command.level]:
        text = "a form needs table and record, a subject its number, the study nothing else"
        raise InputError(f"lock: what is named does not fit the level {command.level}; {text}")
    if command.table is not None and not spec_of(command.table).lockable:
        raise InputError(f"lock: {command.table} holds no data of subjects; expected a form of a subject")


def _subject(reader: Reader, command: Lock) -> str | None:
    if command.table is not None and command.record is not None:
        return str(reader.record(command.table, command.record)["subject_id"])
    if command.subject_id is not None:
        return str(subject_of(reader, command.subject_id)["subject_id"])
    return None


def _refuse_open_queries(reader: Reader, command: Lock, subject_id: str | None) -> None:
    rows = [row for row in reader.records("queries") if row["state"] != "CLOSED"]
    if subject_id is not None:
        rows = [row for row in rows if row["subject_id"] == subject_id]
    if command.level == "form":
        rows = [row for row in rows if row["table_name"] == command.table and _concerns(reader, command, row)]
    if rows:
        numbers = ", ".join(str(row["query_id"]) for row in rows[:5])
        raise TrialError(f"lock: {len(rows)} queries are not closed (number {numbers}); close them first")


def _concerns(reader: Reader, command: Lock, query: Record) -> bool:
    """Whether a query is about the form: by its record number, or by its key where a check at entry opened it."""
    if command.table is None or command.record is None or query["record"] is not None:
        return bool(query["record"] == command.record)
    row = reader.record(command.table, command.record)
    return bool(query["record_key"] == key_text(spec_of(command.table), row))
