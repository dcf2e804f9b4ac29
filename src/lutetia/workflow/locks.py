"""Lock and unlock a form, a subject or the whole study; what is locked, the write gateway refuses to change.

A lock is a record of its own: it stays in the database with who locked, who unlocked and why. That of the study is
signed, and whoever signs it types the study's id: it stops the work of all sites, and the seed can be revealed then.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from lutetia.errors import InputError, SignatureError, TrialError
from lutetia.trial import Actor, Change, Create, Edit, Reader, Receipt, Record, Sign, Trial, Update, access
from lutetia.trial.schema import DATA, SCHEMA, key_text, spec_of
from lutetia.trial.signatures import VALID, Confirmed
from lutetia.workflow.course_records import subject_of
from lutetia.workflow.edits import required_text

LEVELS = ("form", "subject", "study")
#: What the signature of a study lock says.
STUDY_LOCKED = "study locked"


@dataclass(frozen=True, slots=True)
class Lock:
    """What is locked: a form (table and record number), a subject, or with neither the study.

    `study_id` as the person typed it and `confirmed` from `trial.signatures.confirm` are for the study alone.
    """

    level: str
    subject_id: str | None = None
    table: str | None = None
    record: int | None = None
    study_id: str = ""
    confirmed: Confirmed | None = None


@dataclass(frozen=True, slots=True)
class OpenPoints:
    """What is still open in the study. Queries that are not closed forbid a lock, the others are to be looked at."""

    queries: int
    prescriptions: int
    jobs: int
    serious_events: int
    deviations: int
    unsigned: int


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
        If the level and what is named do not fit, it is locked already, or the study's id is not that of this study.
    SignatureError
        If the study is to be locked without signature.
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
        if command.level == "study":
            _check_study(reader, command)
        _refuse_open_queries(reader, command, subject_id)
        number = reader.next_number("locks", "lock_id")
        values = {"lock_id": number, "state": "locked", "locked_by": actor.user_id, "locked_at": reader.now} | named
        edits: list[Edit] = [Create("locks", values)]
        if command.confirmed is not None:
            edits.append(Sign((("locks", {"lock_id": number}),), STUDY_LOCKED, command.confirmed))
        return Change(f"lock_{command.level}", edits, result=number)

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


def open_points(reader: Reader) -> OpenPoints:
    """What is still open in the whole study, for who is about to lock it."""
    rows = reader.records("queries")
    unreported = reader.records("serious_events", reported_at=None)
    waiting = {(r["subject_id"], r["cycle"], r["version"]) for state in ("PROPOSED", "OVERRIDE_PENDING")
               for r in reader.records("prescriptions", state=state)}  # fmt: skip
    return OpenPoints(
        queries=sum(row["state"] != "CLOSED" for row in rows), prescriptions=len(waiting),
        jobs=sum(reader.count("jobs", state=state) for state in ("QUEUED", "RUNNING")),
        serious_events=len(unreported), deviations=reader.count("deviations", reviewed_by=None),
        unsigned=_unsigned(reader),
    )  # fmt: skip


def open_locks(reader: Reader, subject_id: str | None = None) -> list[Record]:
    """Locks in force: all, or those that hold a subject (its own, its forms' and the study's)."""
    rows = reader.records("locks", state="locked")
    return [row for row in rows if subject_id is None or row["subject_id"] in (None, subject_id)]


def _unsigned(reader: Reader) -> int:
    """Number of records of subjects that carry no valid signature."""
    covers, signatures = DATA["signature_records"], DATA["signatures"]
    names = [spec.name for spec in SCHEMA.values() if spec.lockable and spec.name != "truth"]
    signed = (
        select(covers.c.table_name, covers.c.record)
        .join(signatures, signatures.c.signature_id == covers.c.signature_id)
        .where(signatures.c.state == VALID, covers.c.table_name.in_(names))
        .distinct()
    )
    return sum(reader.count(name) for name in names) - len(reader.rows(signed))


def _check_study(reader: Reader, command: Lock) -> None:
    study_id = reader.records("study")[0]["study_id"]
    if command.study_id.strip() != study_id:
        raise InputError(f"lock: found the id {command.study_id!r}; expected {study_id}, as this study is called")
    if command.confirmed is None:
        raise SignatureError("lock: found no signature; expected that of the person who locks the study; sign it")


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
