"""Weight, performance status and concomitant treatments of a subject, and its visits."""

from __future__ import annotations

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.pages.subject_forms import Field, FormSpec, read_and_take, show_form, version_of
from lutetia.web.pages.subject_frame import blank, subject_page
from lutetia.workflow import vitals
from lutetia.workflow.entry_checks import RULES

_BACK = "/vitals"


def show(page: Page, subject_id: str) -> Response:
    """Everything of these kinds, the latest first."""
    found = {n: queries.of_subject(page.reader, page.actor, n, subject_id) for n in ("vitals", "treatments", "visits")}
    return subject_page(
        page, subject_id, "vitals", "subjects/vitals.html", today=page.today(),
        vitals=sorted(found["vitals"], key=lambda r: r["taken_on"], reverse=True),
        treatments=sorted(found["treatments"], key=lambda r: r["started_on"], reverse=True),
        visits=sorted(found["visits"], key=lambda r: r["due_on"] or "", reverse=True),
    )  # fmt: skip


def vitals_form(page: Page, subject_id: str) -> Response:
    """The form of a day's weight and status; `?record=` corrects a stored one."""
    stored = _stored(page, "vitals", subject_id)
    form = page.saved_form("vitals", stored) if stored else blank(page, "vitals", taken_on=page.today())
    return show_form(page, subject_id, _vitals(stored), form)


def record_vitals(page: Page, subject_id: str) -> Response:
    """Store weight and status."""
    stored = _stored(page, "vitals", subject_id)
    return read_and_take(page, subject_id, _vitals(stored), vitals.RecordVitals, vitals.record_vitals)


def treatment_form(page: Page, subject_id: str) -> Response:
    """The form of a treatment; `?record=` corrects or ends a stored one."""
    stored = _stored(page, "treatments", subject_id)
    form = page.saved_form("treatments", stored) if stored else blank(page, "treatments", started_on=page.today())
    return show_form(page, subject_id, _treatment(stored), form)


def record_treatment(page: Page, subject_id: str) -> Response:
    """Store a treatment, or its end."""
    stored = _stored(page, "treatments", subject_id)
    return read_and_take(page, subject_id, _treatment(stored), vitals.RecordTreatment, vitals.record_treatment)


def _stored(page: PageContext, table: str, subject_id: str) -> Record | None:
    """The record that the address names, or that the form carried."""
    text = page.argument("record")
    if page.sent is not None and version_of(form := page.form(table)) is not None:
        text = form.value("record_id")
    rows = queries.of_subject(page.reader, page.actor, table, subject_id) if text else []
    return next((row for row in rows if str(row["record_id"]) == text), None)


def _vitals(stored: Record | None) -> FormSpec:
    rules = RULES["vitals"]
    fields = (Field("date", "taken_on"), Field("number", "weight_kg", unit="kg", required=False),
              Field("radios", "ecog", _range(rules["ecog"].hard), required=False, wide=True))  # fmt: skip
    return FormSpec("vitals", "vitals", "/vitals/entry", _BACK, fields, reason="required" if stored else "",
                    saved=("vitals", stored) if stored else None, makes="vitals")  # fmt: skip


def _treatment(stored: Record | None) -> FormSpec:
    fields = (Field("select", "kind", RULES["treatments"]["kind"].choices), Field("text", "agent", required=False),
              Field("date", "started_on"), Field("date", "ended_on", required=False))  # fmt: skip
    return FormSpec("treatments", "vitals", "/vitals/treatment", _BACK, fields, reason="required" if stored else "",
                    saved=("treatments", stored) if stored else None, makes="treatments")  # fmt: skip


def _range(limits: tuple[float, float] | None) -> tuple[str, ...]:
    return tuple(str(n) for n in range(int(limits[0]), int(limits[1]) + 1)) if limits else ()
