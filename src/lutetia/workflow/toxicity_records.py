"""One subject's adverse events and red-cell transfusions as the toxicity rules take them.

Here: calendar days as instants of the site, partial dates, and the haemoglobin value of a transfusion. Not here: what
an event does to the next cycle (`lutetia.protocol`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from lutetia.clinical.labs import LabValue
from lutetia.clinical.transfusions import TRANSFUSED_ANALYTE, TRANSFUSED_GRADE, indicating_value
from lutetia.core.clock import first_instant
from lutetia.protocol.event_terms import event_kinds
from lutetia.protocol.findings import ToxicityEvent
from lutetia.trial.reader import Reader, Record
from lutetia.workflow.course_records import RELATED, given_cycles, readable_labs, red_cell_days, zone_of


@dataclass(frozen=True, slots=True)
class Transfusion:
    """Red cells given on a day, the haemoglobin value that led to it, and when the next one was taken; None: none."""

    given_on: date
    value: LabValue | None
    next_at: datetime | None


def toxicity_events(reader: Reader, subject_id: str) -> tuple[ToxicityEvent, ...]:
    """Related adverse events, one a grade period and kind, and red-cell transfusions, which make anaemia grade 3."""
    zone = zone_of(reader, subject_id)
    today = datetime.fromisoformat(reader.now).astimezone(zone).date()
    rows = sorted(reader.records("adverse_events", subject_id=subject_id), key=lambda r: (r["ae_id"], int(r["seq"])))
    found = []
    for place, row in enumerate(rows):
        if row["related"] not in RELATED or not row["grade"]:
            continue
        after = rows[place + 1] if place + 1 < len(rows) and rows[place + 1]["ae_id"] == row["ae_id"] else None
        ended = after["started_on"] if after is not None else row["ended_on"]
        found += _events(row, ended, zone, today)
    return (*found, *(_transfusion_event(t, zone) for t in transfusions(reader, subject_id)))


def _events(row: Record, ended: str | None, zone: ZoneInfo, today: date) -> list[ToxicityEvent]:
    """One event for each kind that the term names; a partial start is its whole month or year.

    A partial end is the last day of its month or year, or today where that is earlier: what has ended is past.
    """
    first, last = _days(row["started_on"])
    over = None
    if ended is not None:
        over = _days(ended)[1] if len(ended) == len("2026-05-31") else min(_days(ended)[1], today)
        last = max(first, min(last, over))
    return [
        ToxicityEvent(
            kind, int(row["grade"]), _start_of(first, zone), None if over is None else _start_of(over, zone),
            started_until=_start_of(last + timedelta(days=1), zone) - timedelta(microseconds=1),
            episode=row["ae_id"], name=row["term"] or "",
        )
        for kind in event_kinds(row["term"] or "")
    ]  # fmt: skip


def _days(partial: str) -> tuple[date, date]:
    """First and last day of a date, or of a month or year alone."""
    first = date.fromisoformat((partial + "-01-01")[:10])
    if len(partial) == len("2026-05-31"):
        return first, first
    months = 12 if len(partial) == len("2026") else 1
    years, month = divmod(first.month - 1 + months, 12)
    return first, date(first.year + years, month + 1, 1) - timedelta(days=1)


def _start_of(day: date, zone: ZoneInfo) -> datetime:
    return first_instant(datetime.combine(day, time()), zone)


def transfusions(reader: Reader, subject_id: str) -> list[Transfusion]:
    """Red-cell transfusions of a subject that make anaemia grade 3."""
    days = red_cell_days(reader, subject_id)
    if not days:
        return []
    given = given_cycles(reader, subject_id)
    values = readable_labs(reader, subject_id)[0]
    return indicated(values, days, zone=zone_of(reader, subject_id), first_start=given[0].start if given else None)


def indicated(
    values: Iterable[LabValue], days: Iterable[date], *, zone: ZoneInfo, first_start: datetime | None
) -> list[Transfusion]:
    """Transfusions with their haemoglobin values; one before treatment began counts only with a value.

    Parameters
    ----------
    values
        Of one subject.
    days
        On which red cells were given.
    zone, first_start
        Of the site; the first infusion, None before it.
    """
    own = sorted((v for v in values if v.analyte == TRANSFUSED_ANALYTE), key=lambda v: v.taken_at)
    taken = [v.taken_at.astimezone(zone).date() for v in own]
    first_day = None if first_start is None else first_start.astimezone(zone).date()
    treated = [
        first_start is not None
        and (v.taken_at >= first_start if v.has_time else day > first_start.astimezone(zone).date())
        for v, day in zip(own, taken, strict=True)
    ]
    found = []
    for given_on in days:
        place = indicating_value(taken, treated, given_on, first_day=first_day)
        if place is None and (first_day is None or given_on < first_day):
            continue
        later = (v.taken_at for v, day in zip(own, taken, strict=True) if day > given_on)
        found.append(Transfusion(given_on, None if place is None else own[place], next(later, None)))
    return found


def _transfusion_event(given: Transfusion, zone: ZoneInfo) -> ToxicityEvent:
    """From the value that led to it, or else its own day, until the next value, which is then judged by itself."""
    start, until = _start_of(given.given_on, zone), _start_of(given.given_on + timedelta(days=1), zone)
    name = f"red-cell transfusion on {given.given_on.isoformat()}"
    known = None if given.value is None else given.value.taken_at
    return ToxicityEvent(
        TRANSFUSED_ANALYTE, TRANSFUSED_GRADE, known or start, given.next_at,
        started_until=known or until - timedelta(microseconds=1), name=name,
    )  # fmt: skip
