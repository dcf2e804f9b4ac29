"""Adverse events: fields that contradict each other, the periods of one event, and what is asked about.

Not here: ranges and words of single fields (`entry_checks`), the use cases (`adverse_events`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from lutetia.errors import InputError
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Edit, Update
from lutetia.workflow.course_records import death_day, is_fatal, local_day, refuse_after_death
from lutetia.workflow.entry_checks import SoftFinding, dates_in_order

_NAMES = ("term", "code", "system_organ_class")  # of the event, not of one of its grades


def check_together(values: Mapping[str, Any], reader: Reader, subject: Record) -> None:
    """Refuse fields that contradict each other.

    Raises
    ------
    InputError
        Naming the fields.
    """
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
    for name in ("started_on", "ended_on"):
        refuse_after_death(reader, subject["subject_id"], values.get(name) or "", f"{where}: {name}")


def check_clock(values: Mapping[str, Any], reader: Reader, subject: Record, started_on: str) -> None:
    """Refuse a site that learns of an event before its first day, and a report before that.

    Raises
    ------
    InputError
        Naming the fields.
    """
    aware, reported = values.get("aware_at"), values.get("reported_at")
    if aware and (day := local_day(reader, subject["site"], datetime.fromisoformat(aware))) < started_on:
        raise InputError(f"adverse event: aware_at: found {day}, before the event began on {started_on}; correct one")
    if reported and (not aware or reported < aware):
        raise InputError(f"adverse event: reported_at: found {reported}; expected a time from aware_at {aware} on")


def neighbours(row: Record, new: Mapping[str, Any], periods: Sequence[Record]) -> list[Edit]:
    """What a corrected period means for the others of its event: they meet, do not overlap, and name the same event.

    Raises
    ------
    InputError
        If the period would begin before the one before it, or end after the next one began.
    """
    where, edits = f"adverse event {row['ae_id']}", list[Edit]()
    named = {name: new.get(name) for name in _NAMES if new.get(name) != row[name]}
    for other in periods:
        step, changes = int(other["seq"]) - int(row["seq"]), dict(named)
        if step == -1:
            dates_in_order({"a": other["started_on"], "b": new["started_on"]}, ("a", "b"), where=where)
            if other["ended_on"] == row["started_on"]:
                changes["ended_on"] = new["started_on"]
        if step == 1 and (new["ongoing"] == "yes" or new["ended_on"] > other["started_on"]):
            raise InputError(
                f"{where}: ended_on: found {new.get('ended_on') or 'none'}; expected {other['started_on']} or before, "
                "when its next grade began"
            )
        if step and changes:
            edits.append(Update("adverse_events", int(other["record_id"]), changes))
    return edits


def unusual(values: Mapping[str, Any], subject: Record) -> list[SoftFinding]:
    """Questions about an event before randomisation, and about one of grade 4 that is not serious."""
    found = []
    entered = subject["randomised_on"]
    if entered and values["started_on"] < entered[: len(values["started_on"])]:
        text = f"started_on {values['started_on']} is before randomisation on {entered}; is it an event of the trial?"
        found.append(SoftFinding("started_on", text))
    if values["serious"] == "no" and values["grade"] == 4:
        found.append(SoftFinding("serious", "grade 4 is life-threatening by definition; is the event not serious?"))
    return found


def death_missing(reader: Reader, row: Mapping[str, Any]) -> list[SoftFinding]:
    """A question about a fatal event of a subject whose death is not recorded."""
    if not is_fatal(row) or death_day(reader, row["subject_id"]) is not None:
        return []
    return [SoftFinding("grade", "the event is fatal, but no death is recorded; record when the subject died")]
