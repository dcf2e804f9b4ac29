"""Adverse events of a subject: list, entry with the keyboard, grades, end; the clock and judgements of serious ones."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from starlette.responses import Response

from lutetia.errors import MissingRecordError
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.pages.subject_forms import (
    Field,
    FormSpec,
    read_and_take,
    show_form,
    take,
    version_of,
)
from lutetia.web.pages.subject_frame import blank, subject_page
from lutetia.workflow import adverse_events
from lutetia.workflow.entry_checks import RULES

_BACK = "/adverse-events"
_RULES = RULES["adverse_events"]
_GRADES = tuple(str(n) for n in range(1, 6))


@dataclass(frozen=True, slots=True)
class EventForm:
    """What the form of an event sends; checked by the use case."""

    started_on: str
    term: str
    grade: str
    serious: str
    related: str
    ongoing: str
    ended_on: str | None = None
    outcome: str | None = None
    seriousness: str | None = None
    aware_at: str | None = None
    related_to: str | None = None
    action: str | None = None
    aesi: str | None = None
    code: str | None = None
    system_organ_class: str | None = None


def show(page: Page, subject_id: str) -> Response:
    """All events of a subject, each with its present grade; serious ones first."""
    rows = queries.of_subject(page.reader, page.actor, "adverse_events", subject_id)
    serious = {r["ae_id"]: r for r in queries.of_subject(page.reader, page.actor, "serious_events", subject_id)}
    events: dict[str, list[Record]] = {}
    for row in sorted(rows, key=lambda r: int(r["seq"])):
        events.setdefault(row["ae_id"], []).append(row)
    shown = [_line(page, periods, serious.get(ae_id)) for ae_id, periods in events.items()]
    shown.sort(key=lambda line: (not line["serious"], not line["ongoing"], line["since"]), reverse=False)
    return subject_page(page, subject_id, "events", "subjects/events.html", events=shown)


def event(page: Page, subject_id: str, ae_id: str) -> Response:
    """One event: its grades over time, and for a serious one report and judgements."""
    periods = _periods(page, subject_id, ae_id)
    found = queries.of_subject(page.reader, page.actor, "serious_events", subject_id)
    serious = next((r for r in found if r["ae_id"] == ae_id), None)
    people = queries.people(page.reader)
    return subject_page(
        page, subject_id, "events", "subjects/event.html", ae_id=ae_id, periods=periods, last=periods[-1],
        line=_line(page, periods, serious), serious=serious, people=people,
        judges=page.may("judge_expectedness"), details=_details(page, periods[-1]),
    )  # fmt: skip


def unreported(page: PageContext) -> list[dict[str, Any]]:
    """Serious events that wait for their report, with the hours left, the most urgent first."""
    return [_due(page, one) for one in adverse_events.serious_due(page.trial, page.actor)]


def _due(page: PageContext, one: adverse_events.SeriousDue) -> dict[str, Any]:
    """A serious event that waits for its report."""
    hours, minutes = divmod(int(abs(one.hours_left) * 60.0), 60)
    key = "events.left" if one.hours_left >= 0 else "events.overdue"
    return {
        "href": f"/subjects/{one.subject_id}/adverse-events/{one.ae_id}", "subject": one.subject_id, "term": one.term,
        "late": one.hours_left < 0, "words": page.t(key, hours=hours, minutes=f"{minutes:02d}"),
    }  # fmt: skip


def entry(page: Page, subject_id: str) -> Response:
    """The form of a new event."""
    first = {"started_on": page.today(), "ongoing": "yes", "serious": "no"}
    return show_form(page, subject_id, _event_spec(), blank(page, "adverse_event", **first))


def record(page: Page, subject_id: str) -> Response:
    """Store a new event."""
    form, spec = page.form("adverse_event"), _event_spec()
    sent = form.read(EventForm)
    if sent is None:
        return show_form(page, subject_id, spec, form, status=422)
    command = adverse_events.RecordEvent(subject_id, _values(sent))
    return take(page, subject_id, spec, form, adverse_events.record_event, command)


def correct_form(page: Page, subject_id: str, ae_id: str) -> Response:
    """The last period of an event, to be corrected."""
    row = _periods(page, subject_id, ae_id)[-1]
    return show_form(page, subject_id, _event_spec(row), page.saved_form("adverse_event", row))


def correct(page: Page, subject_id: str, ae_id: str) -> Response:
    """Right a wrong entry, with a reason."""
    form = page.form("adverse_event")
    periods = _periods(page, subject_id, ae_id)
    row = next((p for p in periods if str(p["record_id"]) == form.value("record_id")), periods[-1])
    spec = _event_spec(row)
    sent = form.read(EventForm)
    if sent is None:
        return show_form(page, subject_id, spec, form, status=422)
    command = adverse_events.CorrectEvent(
        subject_id, ae_id, int(row["seq"]), _changed(sent, row), form.value("reason"), version_of(form)
    )
    return take(page, subject_id, spec, form, adverse_events.correct_event, command)


def grade_form(page: Page, subject_id: str, ae_id: str) -> Response:
    """The form of another grade."""
    return show_form(
        page, subject_id, _grade(page, subject_id, ae_id), blank(page, "ae_grade", started_on=page.today())
    )


def change_grade(page: Page, subject_id: str, ae_id: str) -> Response:
    """The event goes on with another grade."""
    return read_and_take(
        page,
        subject_id,
        _grade(page, subject_id, ae_id),
        adverse_events.ChangeGrade,
        adverse_events.change_grade,
        ae_id=ae_id,
    )


def end_form(page: Page, subject_id: str, ae_id: str) -> Response:
    """The form of the end."""
    return show_form(page, subject_id, _end(page, subject_id, ae_id), blank(page, "ae_end", ended_on=page.today()))


def end(page: Page, subject_id: str, ae_id: str) -> Response:
    """The event has ended."""
    return read_and_take(
        page, subject_id, _end(page, subject_id, ae_id), adverse_events.EndEvent, adverse_events.end_event, ae_id=ae_id
    )


def report_form(page: Page, subject_id: str, ae_id: str) -> Response:
    """The form of the report to the sponsor."""
    now = page.trial.clock.now().astimezone(page.zone).strftime("%Y-%m-%dT%H:%M")
    return show_form(page, subject_id, _report(page, subject_id, ae_id), blank(page, "ae_report", reported_at=now))


def report(page: Page, subject_id: str, ae_id: str) -> Response:
    """Record that a serious event was reported."""
    return read_and_take(
        page,
        subject_id,
        _report(page, subject_id, ae_id),
        adverse_events.ReportSerious,
        adverse_events.report_serious,
        ae_id=ae_id,
    )


def causality_form(page: Page, subject_id: str, ae_id: str) -> Response:
    """The form of a physician's judgement."""
    return show_form(page, subject_id, _causality(page, subject_id, ae_id), blank(page, "ae_causality"))


def causality(page: Page, subject_id: str, ae_id: str) -> Response:
    """A physician judges whether the event is related."""
    return read_and_take(
        page,
        subject_id,
        _causality(page, subject_id, ae_id),
        adverse_events.JudgeSerious,
        adverse_events.judge_causality,
        ae_id=ae_id,
    )


def expectedness_form(page: Page, subject_id: str, ae_id: str) -> Response:
    """The form of a safety officer's judgement."""
    return show_form(page, subject_id, _expectedness(page, subject_id, ae_id), blank(page, "ae_expectedness"))


def expectedness(page: Page, subject_id: str, ae_id: str) -> Response:
    """A safety officer judges whether the event is expected."""
    return read_and_take(
        page, subject_id, _expectedness(page, subject_id, ae_id), adverse_events.JudgeSerious,
        adverse_events.judge_expectedness, ae_id=ae_id,
    )  # fmt: skip


def _event_spec(saved: Record | None = None) -> FormSpec:
    def choice(name: str) -> tuple[str, ...]:
        return _RULES[name].choices

    fields = (
        Field("text", "term", wide=True),
        Field("text", "started_on"),
        Field("radios", "grade", _GRADES),
        Field("radios", "ongoing", choice("ongoing")),
        Field("text", "ended_on", required=False),
        Field("radios", "related", choice("related")),
        Field("text", "related_to", required=False),
        Field("select", "outcome", choice("outcome"), required=False),
        Field("text", "action", required=False),
        Field("radios", "serious", choice("serious")),
        Field("select", "seriousness", choice("seriousness"), required=False),
        Field("moment", "aware_at", required=False),
        Field("radios", "aesi", choice("aesi"), required=False),
        Field("text", "system_organ_class", required=False),
        Field("text", "code", required=False),
    )
    if saved is None:
        return FormSpec("adverse_event", "events", "/adverse-events/new", _BACK, fields)
    back = f"{_BACK}/{saved['ae_id']}"
    return FormSpec(
        "adverse_event", "events", f"{back}/correct", back, fields, reason="required", saved=("adverse_events", saved)
    )


def _step(ae_id: str, family: str, path: str, saved: tuple[str, Record] | None, *fields: Field) -> FormSpec:
    back = f"{_BACK}/{ae_id}"
    return FormSpec(family, "events", f"{back}/{path}", back, fields, saved=saved)


def _grade(page: PageContext, subject_id: str, ae_id: str) -> FormSpec:
    last = ("adverse_events", _periods(page, subject_id, ae_id)[-1])
    return _step(ae_id, "ae_grade", "grade", last, Field("radios", "grade", _GRADES), Field("date", "started_on"))


def _end(page: PageContext, subject_id: str, ae_id: str) -> FormSpec:
    last = ("adverse_events", _periods(page, subject_id, ae_id)[-1])
    outcome = Field("select", "outcome", _RULES["outcome"].choices)
    return _step(ae_id, "ae_end", "end", last, Field("text", "ended_on"), outcome)


def _report(page: PageContext, subject_id: str, ae_id: str) -> FormSpec:
    fields = (Field("moment", "reported_at"), Field("textarea", "narrative"))
    return _step(ae_id, "ae_report", "report", _serious(page, subject_id, ae_id), *fields)


def _causality(page: PageContext, subject_id: str, ae_id: str) -> FormSpec:
    judgement = Field("radios", "judgement", _RULES["related"].choices, wide=True)
    return _judgement(page, subject_id, ae_id, "causality", judgement)


def _expectedness(page: PageContext, subject_id: str, ae_id: str) -> FormSpec:
    judgement = Field("radios", "judgement", adverse_events.EXPECTEDNESS)
    return _judgement(page, subject_id, ae_id, "expectedness", judgement)


def _judgement(page: PageContext, subject_id: str, ae_id: str, name: str, judgement: Field) -> FormSpec:
    """The form of a judgement; it asks for a reason where another one may be stored already."""
    serious = _serious(page, subject_id, ae_id)
    spec = _step(ae_id, f"ae_{name}", name, serious, judgement)
    return replace(spec, reason="optional") if serious is not None and serious[1][name] else spec


def _serious(page: PageContext, subject_id: str, ae_id: str) -> tuple[str, Record] | None:
    rows = queries.of_subject(page.reader, page.actor, "serious_events", subject_id)
    return next((("serious_events", r) for r in rows if r["ae_id"] == ae_id), None)


def _values(sent: EventForm) -> dict[str, str]:
    return {name: value for name, value in asdict(sent).items() if value is not None}


def _changed(sent: EventForm, row: Record) -> dict[str, str | None]:
    """The fields as sent; one that was emptied is emptied, one that the form never had stays away."""
    values = asdict(sent)
    return {name: value for name, value in values.items() if value is not None or row[name] is not None}


def _periods(page: PageContext, subject_id: str, ae_id: str) -> list[Record]:
    rows = queries.of_subject(page.reader, page.actor, "adverse_events", subject_id)
    found = sorted((r for r in rows if r["ae_id"] == ae_id), key=lambda r: int(r["seq"]))
    if not found:
        raise MissingRecordError(f"subject {subject_id}: has no adverse event {ae_id}; open the list of events")
    return found


def _line(page: PageContext, periods: list[Record], serious: Record | None) -> dict[str, Any]:
    first, last = periods[0], periods[-1]
    known = [int(p["grade"]) for p in periods if p["grade"] is not None]
    return {
        "id": last["ae_id"], "term": last["term"] or "–", "grade": last["grade"], "worst": max(known, default=None),
        "since": first["started_on"] or "", "until": last["ended_on"] or "", "ongoing": last["ongoing"] == "yes",
        "related": last["related"] or "", "outcome": last["outcome"] or "", "serious": last["serious"] == "yes",
        "clock": _clock(page, serious),
    }  # fmt: skip


def _clock(page: PageContext, serious: Record | None) -> dict[str, Any] | None:
    """How much of the time to report a serious event is left."""
    if serious is None:
        return None
    if serious["reported_at"]:
        late = serious["reported_at"] > (serious["due_at"] or serious["reported_at"])
        return {
            "tone": "warning" if late else "ok",
            "words": page.t("events.reported", at=page.local(serious["reported_at"])),
            "due": "",
        }
    if not serious["due_at"]:
        return {"tone": "danger", "words": page.t("events.no_clock"), "due": ""}
    left = (datetime.fromisoformat(serious["due_at"]) - page.trial.clock.now()).total_seconds() / 60.0
    hours, minutes = divmod(int(abs(left)), 60)
    key, tone = ("events.left", "warning") if left >= 0 else ("events.overdue", "danger")
    return {"tone": tone, "words": page.t(key, hours=hours, minutes=f"{minutes:02d}"), "due": serious["due_at"]}


def _details(page: PageContext, row: Record) -> list[tuple[str, str]]:
    names = ("related_to", "action", "outcome", "aesi", "system_organ_class", "code", "seriousness", "expected")
    found = []
    for name in names:
        if row[name]:
            words = page.t.known(f"adverse_event.{name}_words.{row[name]}", otherwise=str(row[name]).replace("_", " "))
            found.append((page.t.known(f"adverse_event.{name}", otherwise=name), words))
    return found
