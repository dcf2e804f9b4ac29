"""Pieces of changes that several form families make: queries, deviations, changes of state, stored files.

Each function reads what it needs and returns edits; the use case puts them into its one change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from lutetia.errors import DuplicateRecordError, InputError, StaleRecordError
from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Create, Edit, Update
from lutetia.trial.schema import key_text, spec_of
from lutetia.trial.states import check_transition
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import local_day, subject_of, zone_of
from lutetia.workflow.entry_checks import SoftFinding


def allowed_subject(trial: Trial, actor: Actor, action: str, subject_id: str) -> Record:
    """The subject's record, if the actor may do this at its site.

    Raises
    ------
    MissingRecordError, AccessDeniedError
        If there is no such subject, or the actor lacks the right there.
    """
    with trial.read() as reader:
        subject = subject_of(reader, subject_id)
    access.require(actor, action, subject["site"])
    return subject


def required_text(text: str, what: str) -> str:
    """The text without blanks around it.

    Raises
    ------
    InputError
        If nothing is left.
    """
    if not text.strip():
        raise InputError(f"{what}: is missing; say it in words")
    return text.strip()


def now_of(reader: Reader) -> datetime:
    """The trial's time at which the reading began."""
    return datetime.fromisoformat(reader.now)


def local_now(reader: Reader, subject_id: str) -> datetime:
    """The trial's time at a subject's site, whose day is the last one on which something can have happened."""
    return now_of(reader).astimezone(zone_of(reader, subject_id))


def query_edits(
    reader: Reader,
    findings: Iterable[SoftFinding],
    *,
    subject_id: str,
    site: str,
    table: str,
    values: Mapping[str, Any],
    after: int = 0,
) -> list[Edit]:
    """Queries opened by the checks at entry, one a finding, with the text as first message.

    Parameters
    ----------
    after
        Queries that the same change has made already.
    """
    found = list(findings)
    if not found:
        return []
    number = reader.next_number("queries", "query_id") + after
    edits: list[Edit] = []
    for query_id, finding in enumerate(found, start=number):
        query = {
            "query_id": query_id, "subject_id": subject_id, "site": site, "table_name": table,
            "record_key": key_text(spec_of(table), values), "field": finding.field, "state": "OPEN",
            "opened_by": "system", "opened_at": reader.now, "source": "entry check",
        }  # fmt: skip
        message = {"query_id": query_id, "seq": 1, "kind": "open", "text": finding.text, "user_id": "system",
                   "sent_at": reader.now}  # fmt: skip
        edits += [Create("queries", query), Create("query_messages", message)]
    return edits


def deviation_edits(reader: Reader, subject_id: str, found: Iterable[tuple[str, str, str]], *, on: str) -> list[Edit]:
    """Deviations of (kind, severity, description), numbered after the last of the subject."""
    numbers = [str(r["deviation_id"]) for r in reader.records("deviations", subject_id=subject_id)]
    last = max((int(n) for n in numbers if n.isdecimal()), default=0)
    return [
        Create("deviations", {"subject_id": subject_id, "deviation_id": f"{last + offset:03d}", "on": on,
                              "kind": kind, "severity": severity, "description": text})
        for offset, (kind, severity, text) in enumerate(found, start=1)
    ]  # fmt: skip


def cycle_step(reader: Reader, cycle: Mapping[str, Any], state: str, *, reason: str | None = None) -> Update:
    """The cycle's change to another state.

    Raises
    ------
    TransitionError
        If the state machine does not permit it.
    """
    where = f"subject {cycle['subject_id']}, cycle {cycle['cycle']}"
    check_transition("cycle", cycle["state"], state, where=where)
    site = subject_of(reader, cycle["subject_id"])["site"]
    values = {"state": state, "state_on": local_day(reader, site, now_of(reader)), "reason": reason}
    return Update("cycles", int(cycle["record_id"]), values)


def subject_step(reader: Reader, subject: Mapping[str, Any], state: str) -> Update:
    """The subject's change to another state; raises `TransitionError` where the state machine does not permit it."""
    check_transition("subject", subject["state"], state, where=f"subject {subject['subject_id']}")
    on = local_day(reader, subject["site"], now_of(reader))
    return Update("subjects", int(subject["record_id"]), {"state": state, "state_on": on})


def changed_record(table: str, stored: Record, values: Mapping[str, Any], version: int | None) -> Update:
    """New values of a stored record, of which the person saw `version` (0: none yet, None: not compared).

    Values that are stored already make no conflict, whoever stored them.
    """
    new = {name: value for name, value in values.items() if stored[name] != value}
    return Update(table, int(stored["record_id"]), new, version if new else None)


def same_record(row: Record, record_id: int | None, where: str) -> None:
    """Refuse a form that was opened on another record than the one that it would change now.

    Raises
    ------
    StaleRecordError
        If `record_id` is given and is another one.
    """
    if record_id not in (None, row["record_id"]):
        raise StaleRecordError(f"{where}: somebody changed it since you opened it; reload, compare and save again")


def refuse_twin(known: Iterable[Record], values: Mapping[str, Any], number: str, what: str) -> None:
    """Refuse the same entry once more, as when a form is sent twice; `number` is the column that numbers records.

    Raises
    ------
    DuplicateRecordError
        If a record has all these values already.
    """
    for row in known:
        if all(row[name] == value for name, value in values.items()):
            raise DuplicateRecordError(
                f"{what}: the same entry is stored already as number {row[number]}; if it happened twice, tell the two "
                "apart in words"
            )


def file_edits(reader: Reader, actor: Actor, contents: Mapping[str, tuple[str, int, str]]) -> list[Edit]:
    """Records of stored files that have none yet: hash → name, size, media type."""
    return [
        Create("files", {"sha256": digest, "size": size, "media_type": media, "name": name,
                         "added_by": actor.user_id, "added_at": reader.now})
        for digest, (name, size, media) in contents.items()
        if reader.find("files", {"sha256": digest}) is None
    ]  # fmt: skip
