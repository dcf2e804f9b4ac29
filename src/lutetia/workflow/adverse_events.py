"""Adverse events: entry, grades as a sequence, end; serious ones with a 24-hour clock, causality, expectedness.

A row of the sequence is one period of one grade. Not here: grades of laboratory values (`laboratory`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, and_, select

from lutetia.errors import InputError, MissingRecordError, ReasonRequiredError, TransitionError
from lutetia.trial import access
from lutetia.trial.clock import instant
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Remove, Update
from lutetia.trial.schema import DATA
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import (
    RELATED,
    is_fatal,
    local_day,
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
from lutetia.workflow.entry_checks import RULES, check_form, dates_in_order
from lutetia.workflow.event_checks import check_clock, check_together, death_missing, neighbours, unusual

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

    `version` is that of the record of the serious event that the person saw; another judgement than the stored one
    needs a `reason`.
    """

    subject_id: str
    ae_id: str
    judgement: str
    version: int | None = None
    reason: str | None = None


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
        check_together(found.values, reader, subject)
        check_clock(found.values, reader, subject, found.values["started_on"])
        known = reader.records("adverse_events", subject_id=command.subject_id)
        refuse_twin(known, found.values, "ae_id", "adverse event")
        numbers = {int(r["ae_id"]) for r in known if r["ae_id"].isdecimal()}  # imported ones may be named otherwise
        ae_id = f"{max(numbers, default=0) + 1:03d}"
        row = {"subject_id": command.subject_id, "ae_id": ae_id, "seq": 1, **found.values}
        findings = [*found.findings, *unusual(found.values, subject), *death_missing(reader, row)]
        edits: list[Edit] = [Create("adverse_events", row)]
        edits += _serious_edits(reader, command.subject_id, ae_id, found.values)
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
        check_together(checked, reader, subject_of(reader, command.subject_id))
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
        check_together(checked, reader, subject_of(reader, command.subject_id))
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
        subject = subject_of(reader, command.subject_id)
        check_together(checked, reader, subject)
        periods = _periods(reader, command.subject_id, command.ae_id)
        first = min(periods, key=lambda p: int(p["seq"]))
        check_clock(checked, reader, subject, (checked if first["seq"] == row["seq"] else first)["started_on"])
        edits: list[Edit] = [Update("adverse_events", int(row["record_id"]), checked, command.version)]
        edits += neighbours(row, checked, periods)
        known = reader.find("serious_events", {"subject_id": command.subject_id, "ae_id": command.ae_id})
        if known is None:
            edits += _serious_edits(reader, command.subject_id, command.ae_id, checked)
        elif checked["serious"] == "yes":
            edits += _moved_clock(reader, known, checked)
            edits += _notice_edits(reader, known, {"related": row["related"]}, {"related": checked["related"]})
        elif known["reported_at"] is None and all(p["serious"] != "yes" for p in periods if p["seq"] != row["seq"]):
            edits.append(Remove("serious_events", int(known["record_id"])))  # nothing is to be reported any more
        asked = [] if is_fatal(row) else death_missing(reader, {**row, **checked})
        edits += query_edits(reader, asked, subject_id=command.subject_id, site=subject["site"], table="adverse_events",
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
    """A physician judges whether a serious event is related to the treatment; related and unexpected makes a notice.

    Raises
    ------
    ReasonRequiredError
        If another judgement is stored and no reason is given.
    """
    allowed_subject(trial, actor, "sign_forms", command.subject_id)
    if command.judgement not in ("none", *RELATED):
        raise InputError(f"causality: found {command.judgement!r}; expected one of none, {', '.join(RELATED)}")

    def change(reader: Reader) -> Change:
        serious = _serious(reader, command.subject_id, command.ae_id)
        _reason_of_change("causality", serious, command)
        values = {"causality": command.judgement, "causality_by": actor.user_id, "causality_at": reader.now}
        last = _last_period(reader, command.subject_id, command.ae_id)
        edits: list[Edit] = [Update("serious_events", int(serious["record_id"]), values, command.version)]
        edits.append(Update("adverse_events", int(last["record_id"]), {"related": command.judgement}))
        edits += _notice_edits(reader, serious, {"related": last["related"]}, {"causality": command.judgement})
        return Change("judge_causality", edits)

    return trial.commit(change, actor, (command.reason or "").strip() or "causality judged")


def judge_expectedness(trial: Trial, actor: Actor, command: JudgeSerious) -> Receipt:
    """A safety officer judges whether a serious event is expected; related and unexpected makes a notice.

    Raises
    ------
    ReasonRequiredError
        As in `judge_causality`.
    """
    access.require(actor, "judge_expectedness")
    if command.judgement not in EXPECTEDNESS:
        raise InputError(f"expectedness: found {command.judgement!r}; expected one of {', '.join(EXPECTEDNESS)}")

    def change(reader: Reader) -> Change:
        serious = _serious(reader, command.subject_id, command.ae_id)
        last = _last_period(reader, command.subject_id, command.ae_id)
        _reason_of_change("expectedness", serious, command)
        values = {"expectedness": command.judgement, "expectedness_by": actor.user_id,
                  "expectedness_at": reader.now}  # fmt: skip
        word = "yes" if command.judgement == "expected" else "no"
        edits: list[Edit] = [Update("serious_events", int(serious["record_id"]), values, command.version),
                             Update("adverse_events", int(last["record_id"]), {"expected": word})]  # fmt: skip
        before = {"related": last["related"]}
        edits += _notice_edits(reader, serious, before, before | {"expectedness": command.judgement})
        return Change("judge_expectedness", edits)

    return trial.commit(change, actor, (command.reason or "").strip() or "expectedness judged")


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


def _reason_of_change(what: str, serious: Record, command: JudgeSerious) -> None:
    """Demand a reason for another judgement than the stored one; of a stale form something else is said."""
    stored = serious[what] if command.version in (None, serious["record_version"]) else None
    if stored not in (None, command.judgement) and not (command.reason or "").strip():
        raise ReasonRequiredError(f"reason: {what} was judged {stored} before; say why it is {command.judgement} now")


def _notice_edits(reader: Reader, serious: Record, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Edit]:
    """A notice to the safety officer where a serious event becomes related and unexpected, by whichever judgement.

    `before` and `after` hold the event's `related` and what was judged; a stored causality goes before `related`.
    """
    old, new = ({**serious, **values} for values in (before, after))
    known = [(row["causality"] or row.get("related")) in RELATED and row["expectedness"] == EXPECTEDNESS[1]
             for row in (old, new)]  # fmt: skip
    if known != [False, True]:
        return []
    text = f"subject {serious['subject_id']}: serious event {serious['ae_id']} is related and unexpected"
    return [Create("notices", {"notice_id": reader.next_number("notices", "notice_id"), "role": "safety_officer",
                               "kind": "susar", "text": text, "created_at": reader.now})]  # fmt: skip


def _moved_clock(reader: Reader, serious: Record, values: Mapping[str, Any]) -> list[Edit]:
    """The 24 hours run from the corrected awareness; a report that is late by it is a deviation."""
    clock = _clock(values) | {"reported_at": values.get("reported_at") or serious["reported_at"]}
    if all(serious[name] == value for name, value in clock.items()):
        return []
    if clock["reported_at"] and clock["reported_at"] < clock["aware_at"]:
        raise InputError(f"adverse event: aware_at: found {clock['aware_at']}, after the report at "
                         f"{clock['reported_at']}; correct it")  # fmt: skip
    edits: list[Edit] = [Update("serious_events", int(serious["record_id"]), clock)]
    if _is_late(clock) and not _is_late(serious):
        edits += _late(reader, serious["subject_id"], serious["ae_id"], clock["reported_at"], clock["due_at"])
    return edits


def _clock(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "aware_at": values["aware_at"],
        "due_at": _due(values["aware_at"]),
        "reported_at": values.get("reported_at"),
    }


def _is_late(clock: Mapping[str, Any]) -> bool:
    return bool(clock["reported_at"] and clock["due_at"] and clock["reported_at"] > clock["due_at"])


def _due(aware_at: str) -> str:
    return (datetime.fromisoformat(aware_at) + REPORT_WITHIN).isoformat()


def _late(reader: Reader, subject_id: str, ae_id: str, reported_at: str, due_at: str) -> list[Edit]:
    text = f"serious event {ae_id} reported at {reported_at}; due at {due_at}"
    day = local_day(reader, subject_of(reader, subject_id)["site"], now_of(reader))
    return deviation_edits(reader, subject_id, [("procedure", "major", text)], on=day)


def _serious_edits(reader: Reader, subject_id: str, ae_id: str, values: Mapping[str, Any]) -> list[Edit]:
    if values["serious"] != "yes":
        return []
    clock = _clock(values)
    late = _late(reader, subject_id, ae_id, clock["reported_at"], clock["due_at"]) if _is_late(clock) else []
    return [Create("serious_events", {"subject_id": subject_id, "ae_id": ae_id, **clock}), *late]


def _entered(row: Record) -> dict[str, Any]:
    names = RULES["adverse_events"]
    return {name: row[name] for name in names if row[name] is not None}


def _last_period(reader: Reader, subject_id: str, ae_id: str) -> Record:
    return max(_periods(reader, subject_id, ae_id), key=lambda r: int(r["seq"]))


def _periods(reader: Reader, subject_id: str, ae_id: str) -> list[Record]:
    rows = reader.records("adverse_events", subject_id=subject_id, ae_id=ae_id)
    if not rows:
        raise MissingRecordError(f"subject {subject_id}: has no adverse event {ae_id}")
    return rows


def _serious(reader: Reader, subject_id: str, ae_id: str) -> Record:
    found = reader.find("serious_events", {"subject_id": subject_id, "ae_id": ae_id})
    if found is None:
        raise MissingRecordError(f"subject {subject_id}: event {ae_id} is not serious; correct the event first")
    return found
