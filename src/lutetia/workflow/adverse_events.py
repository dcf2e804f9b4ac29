"""Adverse events: entry, grades as a sequence, end; serious ones with a 24-hour clock, causality, expectedness.

A row of the sequence is one period of one grade. Not here: grades of laboratory values (`laboratory`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, select

from lutetia.errors import InputError, MissingRecordError, TransitionError
from lutetia.trial import access
from lutetia.trial.clock import instant
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Update
from lutetia.trial.schema import DATA
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import (
    RELATED,
    death_day,
    is_fatal,
    local_day,
    refuse_after_death,
    subject_of,
)
from lutetia.workflow.edits import (
    allowed_subject,
    deviation_edits,
    local_now,
    now_of,
    query_edits,
    refuse_twin,
    required_text,
    same_record,
)
from lutetia.workflow.entry_checks import RULES, SoftFinding, check_form, dates_in_order

REPORT_WITHIN = timedelta(hours=24)  # from awareness, for serious events
EXPECTEDNESS = ("expected", "unexpected")
_CARRIED = ("term", "code", "system_organ_class", "serious", "seriousness", "related", "related_to", "expected", "aesi",
            "action", "aware_at", "reported_at")  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """A new adverse event: fields of the form by name, in the exchange format's words."""

    subject_id: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ChangeGrade:
    """The event goes on with another grade from a day on; the period before ends there.

    `record_id` and `version` are those of the period that the person saw as the last one.
    """

    subject_id: str
    ae_id: str
    grade: int
    started_on: str
    record_id: int | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class EndEvent:
    """The event has ended, with an outcome; `record_id` and `version` as in `ChangeGrade`."""

    subject_id: str
    ae_id: str
    ended_on: str
    outcome: str
    record_id: int | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class CorrectEvent:
    """Right a wrong entry of one period; `version` is the record version that the person saw."""

    subject_id: str
    ae_id: str
    seq: int
    values: Mapping[str, Any]
    reason: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class ReportSerious:
    """The report of a serious event to the sponsor, with its narrative."""

    subject_id: str
    ae_id: str
    reported_at: str
    narrative: str


@dataclass(frozen=True, slots=True)
class JudgeSerious:
    """A physician's causality (none, possible, probable, definite) or a safety officer's expectedness.

    `version` is that of the record of the serious event that the person saw.
    """

    subject_id: str
    ae_id: str
    judgement: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class SeriousDue:
    """A serious event that is not reported yet, and the hours that are left (negative: late)."""

    subject_id: str
    ae_id: str
    term: str
    due_at: str
    hours_left: float


def record_event(trial: Trial, actor: Actor, command: RecordEvent) -> str:
    """Store a new adverse event and return its number; a serious one starts the 24-hour clock.

    Raises
    ------
    InputError
        For values that cannot be or contradict each other.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        subject = subject_of(reader, command.subject_id)
        found = check_form(
            "adverse_events", command.values, now=local_now(reader, command.subject_id), where="adverse event"
        )
        _check_together(found.values, reader, subject)
        known = reader.records("adverse_events", subject_id=command.subject_id)
        refuse_twin(known, found.values, "ae_id", "adverse event")
        numbers = {int(r["ae_id"]) for r in known if r["ae_id"].isdecimal()}  # imported ones may be named otherwise
        ae_id = f"{max(numbers, default=0) + 1:03d}"
        row = {"subject_id": command.subject_id, "ae_id": ae_id, "seq": 1, **found.values}
        findings = [*found.findings, *_unusual(found.values, subject), *_death_missing(reader, row)]
        edits: list[Edit] = [Create("adverse_events", row)]
        edits += _serious_edits(command.subject_id, ae_id, found.values)
        edits += query_edits(reader, findings, subject_id=command.subject_id, site=subject["site"],
                             table="adverse_events", values=row)  # fmt: skip
        return Change("record_event", edits, result=ae_id)

    return str(trial.commit(change, actor).result)


def change_grade(trial: Trial, actor: Actor, command: ChangeGrade) -> Receipt:
    """Add a period with another grade to an event that goes on.

    Raises
    ------
    TransitionError
        If the event has ended.
    InputError
        If the day is before the current period or the grade is the same.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        last = _last_period(reader, command.subject_id, command.ae_id)
        where = f"adverse event {command.ae_id}"
        same_record(last, command.record_id, where)
        if last["ongoing"] != "yes":
            raise TransitionError(f"{where}: ended on {last['ended_on']}; record a new event instead")
        if int(last["grade"]) == command.grade:
            raise InputError(f"{where}: found grade {command.grade} again; expected another grade")
        values = {**{k: last[k] for k in _CARRIED if k != "expected"}, "grade": command.grade, "ongoing": "yes",
                  "started_on": command.started_on}  # fmt: skip
        checked = check_form("adverse_events", values, now=local_now(reader, command.subject_id), where=where).values
        dates_in_order({"a": last["started_on"], "b": checked["started_on"]}, ("a", "b"), where=where)
        if command.grade == 5:
            raise InputError(f"{where}: found grade 5; correct the event instead, with serious yes, seriousness death, "
                             "outcome fatal, and when the site learnt of it")  # fmt: skip
        row = {"subject_id": command.subject_id, "ae_id": command.ae_id, "seq": int(last["seq"]) + 1,
               **checked, "expected": last["expected"]}  # fmt: skip
        ended = {"ended_on": command.started_on, "ongoing": "no"}
        closed = Update("adverse_events", int(last["record_id"]), ended, command.version)
        return Change("change_grade", [closed, Create("adverse_events", row)])

    return trial.commit(change, actor, "grade changed")


def end_event(trial: Trial, actor: Actor, command: EndEvent) -> Receipt:
    """Close an event that goes on, with day and outcome.

    Raises
    ------
    TransitionError
        If it has ended already.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        last = _last_period(reader, command.subject_id, command.ae_id)
        where = f"adverse event {command.ae_id}"
        same_record(last, command.record_id, where)
        if last["ongoing"] != "yes":
            raise TransitionError(f"{where}: ended on {last['ended_on']} already; correct it with a reason")
        values = _entered(last) | {"ended_on": command.ended_on, "outcome": command.outcome, "ongoing": "no"}
        checked = check_form("adverse_events", values, now=local_now(reader, command.subject_id), where=where).values
        _check_together(checked, reader, subject_of(reader, command.subject_id))
        new = {k: checked[k] for k in ("ended_on", "outcome", "ongoing")}
        return Change("end_event", [Update("adverse_events", int(last["record_id"]), new, command.version)])

    return trial.commit(change, actor, "event ended")


def correct_event(trial: Trial, actor: Actor, command: CorrectEvent) -> Receipt:
    """Right a wrong entry of one period, with a reason.

    Raises
    ------
    StaleRecordError
        If somebody changed it meanwhile.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)
    reason = required_text(command.reason, "reason")

    def change(reader: Reader) -> Change:
        key = {"subject_id": command.subject_id, "ae_id": command.ae_id, "seq": command.seq}
        row = reader.record("adverse_events", key)
        merged = _entered(row) | dict(command.values)
        checked = check_form(
            "adverse_events", merged, now=local_now(reader, command.subject_id), where=f"adverse event {command.ae_id}"
        ).values
        _check_together(checked, reader, subject_of(reader, command.subject_id))
        edits: list[Edit] = [Update("adverse_events", int(row["record_id"]), checked, command.version)]
        known = reader.find("serious_events", {"subject_id": command.subject_id, "ae_id": command.ae_id})
        if known is None:
            edits += _serious_edits(command.subject_id, command.ae_id, checked)
        elif checked["serious"] == "yes" and checked["aware_at"] != known["aware_at"]:
            edits += _moved_clock(reader, known, checked["aware_at"])
        asked = [] if is_fatal(row) else _death_missing(reader, {**row, **checked})
        site = subject_of(reader, command.subject_id)["site"]
        edits += query_edits(reader, asked, subject_id=command.subject_id, site=site, table="adverse_events",
                             values=row)  # fmt: skip
        return Change("correct_event", edits)

    return trial.commit(change, actor, reason)


def report_serious(trial: Trial, actor: Actor, command: ReportSerious) -> Receipt:
    """Record that a serious event was reported; later than 24 hours after awareness is a deviation.

    Raises
    ------
    MissingRecordError
        If the event is not serious.
    TransitionError
        If it was reported already.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)
    narrative = required_text(command.narrative, "narrative")

    def change(reader: Reader) -> Change:
        serious = _serious(reader, command.subject_id, command.ae_id)
        where = f"serious event {command.ae_id}"
        if serious["reported_at"]:
            raise TransitionError(f"{where}: was reported at {serious['reported_at']} already")
        at = instant(command.reported_at, where=f"{where}, reported_at")
        if at > reader.now or at < serious["aware_at"]:
            raise InputError(f"{where}: found reported_at {at}; expected a time from {serious['aware_at']} until now")
        values = {"reported_at": at, "narrative": narrative}
        edits: list[Edit] = [Update("serious_events", int(serious["record_id"]), values)]
        last = _last_period(reader, command.subject_id, command.ae_id)
        edits.append(Update("adverse_events", int(last["record_id"]), {"reported_at": at}))
        if at > serious["due_at"]:
            edits += _late(reader, command.subject_id, command.ae_id, at, serious["due_at"])
        return Change("report_serious", edits)

    return trial.commit(change, actor)


def judge_causality(trial: Trial, actor: Actor, command: JudgeSerious) -> Receipt:
    """A physician judges whether a serious event is related to the treatment."""
    allowed_subject(trial, actor, "sign_forms", command.subject_id)
    if command.judgement not in ("none", *RELATED):
        raise InputError(f"causality: found {command.judgement!r}; expected one of none, {', '.join(RELATED)}")

    def change(reader: Reader) -> Change:
        serious = _serious(reader, command.subject_id, command.ae_id)
        values = {"causality": command.judgement, "causality_by": actor.user_id, "causality_at": reader.now}
        last = _last_period(reader, command.subject_id, command.ae_id)
        edits: list[Edit] = [Update("serious_events", int(serious["record_id"]), values, command.version)]
        edits.append(Update("adverse_events", int(last["record_id"]), {"related": command.judgement}))
        return Change("judge_causality", edits)

    return trial.commit(change, actor, "causality judged")


def judge_expectedness(trial: Trial, actor: Actor, command: JudgeSerious) -> Receipt:
    """A safety officer judges whether a serious event is expected; related and unexpected makes a notice."""
    access.require(actor, "judge_expectedness")
    if command.judgement not in EXPECTEDNESS:
        raise InputError(f"expectedness: found {command.judgement!r}; expected one of {', '.join(EXPECTEDNESS)}")

    def change(reader: Reader) -> Change:
        serious = _serious(reader, command.subject_id, command.ae_id)
        last = _last_period(reader, command.subject_id, command.ae_id)
        values = {"expectedness": command.judgement, "expectedness_by": actor.user_id,
                  "expectedness_at": reader.now}  # fmt: skip
        word = "yes" if command.judgement == "expected" else "no"
        edits: list[Edit] = [Update("serious_events", int(serious["record_id"]), values, command.version),
                             Update("adverse_events", int(last["record_id"]), {"expected": word})]  # fmt: skip
        if word == "no" and (serious["causality"] or last["related"]) in RELATED:
            text = f"subject {command.subject_id}: serious event {command.ae_id} is related and unexpected"
            edits.append(Create("notices", {"notice_id": reader.next_number("notices", "notice_id"),
                                            "role": "safety_officer", "kind": "susar", "text": text,
                                            "created_at": reader.now}))  # fmt: skip
        return Change("judge_expectedness", edits)

    return trial.commit(change, actor, "expectedness judged")


def serious_due(trial: Trial, actor: Actor) -> list[SeriousDue]:
    """Serious events that the actor may see and that are not reported yet, the most urgent first.

    One without a stored time is due at once.
    """
    access.require(actor, "see_subject")
    found: dict[tuple[str, str], SeriousDue] = {}
    with trial.read() as reader:
        for row in reader.rows(_not_reported(access.visible_sites(actor))):
            due_at = row["due_at"] or reader.now
            hours = (datetime.fromisoformat(due_at) - now_of(reader)).total_seconds() / 3600.0
            key = (row["subject_id"], row["ae_id"])  # the last of its periods names the event
            found[key] = SeriousDue(*key, row["term"] or row["ae_id"], due_at, hours)
    return sorted(found.values(), key=lambda item: item.hours_left)


def _not_reported(sites: frozenset[str] | None) -> Select[Any]:
    """Serious events without a report, a row a period in their order."""
    serious, events, subjects = DATA["serious_events"], DATA["adverse_events"], DATA["subjects"]
    same = and_(events.c.subject_id == serious.c.subject_id, events.c.ae_id == serious.c.ae_id)
    statement = (
        select(serious.c.subject_id, serious.c.ae_id, serious.c.due_at, events.c.term)
        .join(subjects, subjects.c.subject_id == serious.c.subject_id)
        .outerjoin(events, same)
        .where(serious.c.reported_at.is_(None))
        .order_by(serious.c.subject_id, serious.c.ae_id, events.c.seq)
    )
    return statement if sites is None else statement.where(subjects.c.site.in_(sorted(sites)))


def _check_together(values: Mapping[str, Any], reader: Reader, subject: Record) -> None:
    """Fields that contradict each other."""
    where = "adverse event"
    dates_in_order(values, ("started_on", "ended_on"), where=where)
    if values["ongoing"] == "yes" and values.get("ended_on"):
        raise InputError(f"{where}: ended_on: found {values['ended_on']} although the event goes on; keep one of them")
    if values["ongoing"] == "no" and not values.get("ended_on"):
        raise InputError(
            f"{where}: ended_on: is missing although the event does not go on; enter it, partly if need be"
        )
    fatal = {values["grade"] == 5, values.get("outcome") == "fatal", values.get("seriousness") == "death"}
    if fatal == {True, False} and (values["grade"] == 5 or values.get("outcome") == "fatal"):
        raise InputError(f"{where}: grade 5, outcome fatal and seriousness death go together; correct one of them")
    if values["serious"] == "yes":
        for name in ("seriousness", "aware_at"):
            if not values.get(name):
                raise InputError(f"{where}: {name}: is missing; a serious event needs it")
    elif values["grade"] == 5:
        raise InputError(f"{where}: serious: found no for grade 5; a fatal event is always serious")
    refuse_after_death(reader, subject["subject_id"], values["started_on"], f"{where}: started_on")


def _unusual(values: Mapping[str, Any], subject: Record) -> list[SoftFinding]:
    found = []
    entered = subject["randomised_on"]
    if entered and values["started_on"] < entered[: len(values["started_on"])]:
        text = f"started_on {values['started_on']} is before randomisation on {entered}; is it an event of the trial?"
        found.append(SoftFinding("started_on", text))
    if values["serious"] == "no" and values["grade"] == 4:
        found.append(SoftFinding("serious", "grade 4 is life-threatening by definition; is the event not serious?"))
    return found


def _death_missing(reader: Reader, row: Mapping[str, Any]) -> list[SoftFinding]:
    """A fatal event of a subject whose death is not recorded."""
    if not is_fatal(row) or death_day(reader, row["subject_id"]) is not None:
        return []
    return [SoftFinding("grade", "the event is fatal, but no death is recorded; record when the subject died")]


def _moved_clock(reader: Reader, serious: Record, aware_at: str) -> list[Edit]:
    """The 24 hours run from the corrected awareness; a report that is late by it is a deviation."""
    due = _due(aware_at)
    edits: list[Edit] = [Update("serious_events", int(serious["record_id"]), {"aware_at": aware_at, "due_at": due})]
    reported = serious["reported_at"]
    if reported and due < reported <= serious["due_at"]:
        edits += _late(reader, serious["subject_id"], serious["ae_id"], reported, due)
    return edits


def _due(aware_at: str) -> str:
    return (datetime.fromisoformat(aware_at) + REPORT_WITHIN).isoformat()


def _late(reader: Reader, subject_id: str, ae_id: str, reported_at: str, due_at: str) -> list[Edit]:
    text = f"serious event {ae_id} reported at {reported_at}; due at {due_at}"
    day = local_day(reader, subject_of(reader, subject_id)["site"], now_of(reader))
    return deviation_edits(reader, subject_id, [("procedure", "major", text)], on=day)


def _serious_edits(subject_id: str, ae_id: str, values: Mapping[str, Any]) -> list[Edit]:
    if values["serious"] != "yes":
        return []
    clock = {"aware_at": values["aware_at"], "due_at": _due(values["aware_at"])}
    return [Create("serious_events", {"subject_id": subject_id, "ae_id": ae_id, **clock})]


def _entered(row: Record) -> dict[str, Any]:
    names = RULES["adverse_events"]
    return {name: row[name] for name in names if row[name] is not None}


def _last_period(reader: Reader, subject_id: str, ae_id: str) -> Record:
    rows = reader.records("adverse_events", subject_id=subject_id, ae_id=ae_id)
    if not rows:
        raise MissingRecordError(f"subject {subject_id}: has no adverse event {ae_id}")
    return max(rows, key=lambda r: int(r["seq"]))


def _serious(reader: Reader, subject_id: str, ae_id: str) -> Record:
    found = reader.find("serious_events", {"subject_id": subject_id, "ae_id": ae_id})
    if found is None:
        raise MissingRecordError(f"subject {subject_id}: event {ae_id} is not serious; correct the event first")
    return found
