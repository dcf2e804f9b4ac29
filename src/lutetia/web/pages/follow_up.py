"""Contacts, end of treatment, and how a subject leaves; and deviations with their review.

Not here: entry of tumour assessments (`responses`).
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from lutetia.errors import MissingRecordError
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.trial.states import next_states
from lutetia.web.context import Page, PageContext
from lutetia.web.pages.responses import shown_assessments
from lutetia.web.pages.subject_forms import Field, FormSpec, read_and_take, show_form, take
from lutetia.web.pages.subject_frame import blank, subject_page
from lutetia.workflow import deviations, follow_up
from lutetia.workflow.entry_checks import RULES

_BACK = "/follow-up"


def show(page: Page, subject_id: str) -> Response:
    """Assessments with their lesions, contacts, and the steps that the subject's state permits."""
    subject = queries.subject(page.reader, page.actor, subject_id)
    found = {
        n: queries.of_subject(page.reader, page.actor, n, subject_id) for n in ("responses", "lesions", "disposition")
    }
    following = next_states("subject", subject["state"]) if subject["state"] else ()
    return subject_page(
        page, subject_id, "follow_up", "subjects/follow_up.html", leaves=_leaving(following),
        responses=shown_assessments(page, found["responses"], found["lesions"]),
        may_end="FOLLOW_UP" in following and subject["state"] != "LOST",
        contacts=sorted((d for d in found["disposition"] if d["event"] not in ("screened", "consented", "eligible")),
                        key=lambda d: d["on"], reverse=True),
    )  # fmt: skip


def contact_form(page: Page, subject_id: str) -> Response:
    """The form of a contact."""
    return show_form(page, subject_id, _CONTACT, blank(page, "contact", on=page.today()))


def record_contact(page: Page, subject_id: str) -> Response:
    """Record that the subject was seen alive."""
    return read_and_take(page, subject_id, _CONTACT, follow_up.Contact, follow_up.record_contact)


def end_form(page: Page, subject_id: str) -> Response:
    """The form of the end of treatment."""
    return show_form(page, subject_id, _END, blank(page, "treatment_end", on=page.today()))


def end_treatment(page: Page, subject_id: str) -> Response:
    """Move the subject to follow-up."""
    return read_and_take(page, subject_id, _END, follow_up.EndTreatment, follow_up.end_treatment)


def leave_form(page: Page, subject_id: str) -> Response:
    """The form by which a subject leaves."""
    spec = _leave(page, subject_id)
    return show_form(page, subject_id, spec, blank(page, "leaving", on=page.today(), event=page.argument("event")))


def leave(page: Page, subject_id: str) -> Response:
    """Record withdrawal, loss, death or completion."""
    return read_and_take(page, subject_id, _leave(page, subject_id), follow_up.Leave, follow_up.leave)


def show_deviations(page: Page, subject_id: str) -> Response:
    """Deviations and their reviews."""
    rows = queries.of_subject(page.reader, page.actor, "deviations", subject_id)
    people = queries.people(page.reader)
    shown = [_deviation(page, row, people) for row in sorted(rows, key=lambda r: r["on"] or "", reverse=True)]
    return subject_page(page, subject_id, "deviations", "subjects/deviations.html", rows=shown)


def deviation_form(page: Page, subject_id: str) -> Response:
    """The form of a deviation."""
    return show_form(page, subject_id, _DEVIATION, blank(page, "deviation", on=page.today(), severity="minor"))


def record_deviation(page: Page, subject_id: str) -> Response:
    """Store a deviation."""
    return read_and_take(page, subject_id, _DEVIATION, deviations.RecordDeviation, deviations.record_deviation)


def review_form(page: Page, subject_id: str, deviation_id: str) -> Response:
    """The form of a physician's review."""
    return show_form(page, subject_id, _review(page, subject_id, deviation_id), blank(page, "deviation_review"))


def review(page: Page, subject_id: str, deviation_id: str) -> Response:
    """A physician has looked at a deviation."""
    spec = _review(page, subject_id, deviation_id)
    form = page.form("deviation_review")
    command = form.read(deviations.ReviewDeviation, subject_id=subject_id, deviation_id=deviation_id)
    if command is None:
        return show_form(page, subject_id, spec, form, status=422)
    return take(page, subject_id, spec, form, deviations.review_deviation, command)


_CONTACT = FormSpec("contact", "follow_up", "/follow-up/contact", _BACK, (Field("date", "on"),))
_END = FormSpec("treatment_end", "follow_up", "/follow-up/end-of-treatment", _BACK,
                (Field("date", "on"), Field("textarea", "reason")))  # fmt: skip
_DEVIATION = FormSpec(
    "deviation", "deviations", "/deviations/new", "/deviations",
    (
        Field("date", "on"),
        Field("select", "kind", RULES["deviations"]["kind"].choices),
        Field("radios", "severity", RULES["deviations"]["severity"].choices, wide=True),
        Field("textarea", "description"),
    ),
)  # fmt: skip


def _leave(page: PageContext, subject_id: str) -> FormSpec:
    state = queries.subject(page.reader, page.actor, subject_id)["state"]
    permitted = _leaving(next_states("subject", state)) if state else tuple(follow_up.LEAVING)
    fields = (Field("select", "event", permitted or tuple(follow_up.LEAVING)), Field("date", "on"),
              Field("textarea", "reason", required=False))  # fmt: skip
    return FormSpec("leaving", "follow_up", "/follow-up/leave", _BACK, fields, tone="danger")


def _leaving(states: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(event for event, state in follow_up.LEAVING.items() if state in states)


def _review(page: PageContext, subject_id: str, deviation_id: str) -> FormSpec:
    rows = queries.of_subject(page.reader, page.actor, "deviations", subject_id)
    row = next((r for r in rows if r["deviation_id"] == deviation_id), None)
    if row is None:
        raise MissingRecordError(f"subject {subject_id}: has no deviation {deviation_id}; open the list of deviations")
    return FormSpec(
        "deviation_review", "deviations", f"/deviations/{deviation_id}/review", "/deviations",
        (Field("textarea", "assessment"),), saved=("deviations", row),
        notes=() if page.masked else (str(row["description"] or ""),),
    )  # fmt: skip


def _deviation(page: PageContext, row: Record, people: dict[str, str]) -> dict[str, Any]:
    review = row["further"].get("review", {}) if isinstance(row["further"], dict) else {}
    kind = row["kind"] or ""
    return {
        "id": row["deviation_id"], "record": row["record_id"], "on": row["on"], "text": row["description"] or "",
        "kind": page.t.known(f"deviation.kind_words.{kind}", otherwise=kind.replace("_", " ")),
        "severity": row["severity"] or "", "reviewer": people.get(row["reviewed_by"], row["reviewed_by"] or ""),
        "at": review.get("reviewed_at"), "assessment": review.get("assessment", ""),
    }  # fmt: skip
