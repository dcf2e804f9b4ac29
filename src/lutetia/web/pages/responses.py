"""Tumour assessments of a subject: entry with what the lesions say by RECIST 1.1, correction, and the list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.errors import StaleRecordError
from lutetia.report.numbers import change
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.field_messages import beside_fields
from lutetia.web.forms import Form, values_of
from lutetia.web.pages.stale import again, stale_page
from lutetia.web.pages.subject_forms import version_of
from lutetia.web.pages.subject_frame import blank, subject_page
from lutetia.workflow import response
from lutetia.workflow.entry_checks import RULES

_ROWS = 6  # offered for lesions at least
_MOST_ROWS = 60
_LESION = ("lesion", "region", "kind", "diameter_mm", "finding")
_HEAD = ("assessed_on", "method", "response", "progression")


@dataclass(frozen=True, slots=True)
class ResponseForm:
    """What the head of the form sends."""

    assessed_on: str
    method: str
    response: str
    progression: str
    reason: str = ""


def response_form(page: Page, subject_id: str) -> Response:
    """The form of an assessment: a stored one (`?record=`), or a new one with the lesions of the last one named."""
    stored = _stored(page, subject_id, page.argument("record"))
    if stored is not None:
        return _form(page, subject_id, _saved_form(page, subject_id, stored), stored=stored)
    found = queries.of_subject(page.reader, page.actor, "lesions", subject_id)
    last = max((r["assessed_on"] for r in found), default=None)
    texts = {"assessed_on": page.today(), "method": response.RECIST}
    for place, row in enumerate(r for r in found if r["assessed_on"] == last and r["kind"] != "new"):
        texts |= {f"{name}_{place}": str(row[name] or "") for name in ("lesion", "region", "kind")}
    return _form(page, subject_id, blank(page, "response", **texts))


def record_response(page: Page, subject_id: str) -> Response:
    """Store an assessment; where somebody changed it meanwhile, both versions are shown."""
    form = page.form("response")
    stored = _stored(page, subject_id, form.value("record_id")) if version_of(form) else None
    if again(form):
        return _form(page, subject_id, form, stored=stored)
    command = _command(form, subject_id)
    if command is None:
        return _form(page, subject_id, form, status=422, stored=stored)
    try:
        done = form.attempt(response.record_response, page.trial, page.actor, command)
    except StaleRecordError as error:
        return _stale(page, subject_id, form, error)
    if done is None:
        _beside_rows(form)
        return _form(page, subject_id, form, status=422, stored=stored)
    return page.redirect(f"/subjects/{subject_id}/follow-up", notice="response.done")


def derive(page: Page, subject_id: str) -> Response:
    """What the lesions say as they are typed, as a fragment; stores nothing."""
    form = page.form("response")
    day, method, chosen, progression = (form.value(name).strip() for name in _HEAD)
    lesions = _lesions(form)
    found = None
    if day and lesions and not form.errors:
        command = response.RecordResponse(subject_id, day, method, chosen, progression, lesions)
        found = form.attempt(response.suggest_response, page.trial, page.actor, command)
    problem = next(iter(form.errors.values()), "")
    return page.render("subjects/suggested.html", problem=problem, **_suggestion(page, found, chosen))


def shown_assessments(page: PageContext, rows: Sequence[Record], lesions: Sequence[Record]) -> list[dict[str, Any]]:
    """Assessments for the list, the newest first."""
    sums = response.assessment_sums(lesions)
    return [_shown(page, row, lesions, sums) for row in sorted(rows, key=lambda r: r["assessed_on"], reverse=True)]


def _shown(page: PageContext, row: Record, lesions: Sequence[Record], sums: Mapping[str, float]) -> dict[str, Any]:
    own = [r for r in lesions if r["assessed_on"] == row["assessed_on"]]
    method, further = row["method"] or "", row["further"] if isinstance(row["further"], dict) else {}
    total = sums.get(row["assessed_on"])
    derived = str(further.get("derived", ""))
    differs = derived not in ("", row["response"])
    return {
        "record": row["record_id"], "on": row["assessed_on"], "response": _category(page, row["response"] or "–"),
        "method": page.t.known(f"response.method_words.{method}", otherwise=method),
        "progression": row["progression"] == "yes", "sum": "" if total is None else f"{total:g}",
        "lesions": [_lesion_words(page, r) for r in own],
        "decided": page.t("response.decided", category=_category(page, derived), reason=further.get("reason", ""))
        if differs else "",
    }  # fmt: skip


def _lesion_words(page: PageContext, row: Record) -> str:
    t, kind = page.t, row["kind"] or ""
    name = ", ".join(filter(None, (row["lesion"], row["region"])))
    finding = (row["further"] or {}).get("finding", "") if isinstance(row["further"], dict) else ""
    size = "" if row["diameter_mm"] is None else f"{row['diameter_mm']:g} mm"
    words = [size, t.known(f"response.finding_words.{finding}", otherwise="") if finding else "",
             "" if kind == "target" else t.known(f"response.lesion_words.{kind}", otherwise=kind)]  # fmt: skip
    return f"{name}: {', '.join(filter(None, words))}"


def _category(page: PageContext, category: str) -> str:
    return page.t.known(f"response.response_words.{category}", otherwise=category)


def _suggestion(page: PageContext, found: response.Suggested | None, chosen: str) -> dict[str, Any]:
    """Words of the fragment: the category, the sums it rests on, and what does not fit."""
    if found is None:
        return {"category": "", "facts": [], "doubts": (), "why": "", "differs": False}
    t, derived = page.t, found.derived
    facts = [] if found.sum_mm is None else [(t("response.sum"), f"{found.sum_mm:g} mm")]
    if derived is not None:
        for key, size, part in (("from_baseline", derived.baseline_mm, derived.from_baseline),
                                ("from_nadir", derived.nadir_mm, derived.from_nadir)):  # fmt: skip
            facts += [] if size is None or part is None else [(t(f"response.{key}", size=f"{size:g}"), change(part))]
        parts = (("of_targets", derived.target), ("of_non_targets", derived.non_target))
        facts += [(t(f"response.{key}"), text) for key, text in parts if text]
    return {"category": _category(page, found.category) if found.category else "", "facts": facts,
            "doubts": found.doubts, "why": found.why, "differs": chosen not in ("", found.category)}  # fmt: skip


def _command(form: Form, subject_id: str) -> response.RecordResponse | None:
    head, lesions = form.read(ResponseForm), _lesions(form)
    if head is None or form.errors:
        return None
    return response.RecordResponse(
        subject_id, head.assessed_on, head.method, head.response, head.progression, lesions, head.reason,
        version_of(form),
    )  # fmt: skip


def _lesions(form: Form) -> list[response.LesionSize]:
    found = []
    for place in range(_MOST_ROWS):
        texts = {name: form.value(f"{name}_{place}").strip() for name in _LESION}
        if not texts["lesion"] and not texts["diameter_mm"]:
            continue
        one = Form(form.texts, "response", form.zone, {name: [text] for name, text in texts.items()})
        size = one.read(response.LesionSize)
        if size is None:
            form.errors |= {f"{name}_{place}": words for name, words in one.errors.items()}
        else:
            found.append(size)
    return found


def _beside_rows(form: Form) -> None:
    """Move a message about one lesion to its row, others to their fields."""
    message = form.errors.get("", "")
    if (named := re.match(r"lesion (.*?): (?:(diameter_mm|finding|kind|region): )?", message)) is None:
        return beside_fields(form, (*_HEAD, "reason"))
    for place in range(_MOST_ROWS):
        if form.value(f"lesion_{place}").strip() == named[1]:
            what = ", ".join(filter(None, (named[1], form.label(named[2]) if named[2] else "")))
            form.errors = {f"{named[2] or 'lesion'}_{place}": f"{what}: {message[named.end() :]}"}
    return None


def _form(
    page: PageContext, subject_id: str, form: Form, *, status: int = 200, stored: Record | None = None
) -> Response:
    rules, t = RULES["responses"], page.t
    choices = {
        name: [(w, t.known(f"response.{name}_words.{w}", otherwise=w)) for w in rules[name].choices]
        for name in ("method", "response", "progression")
    }
    kinds = [(w, t.known(f"response.lesion_words.{w}", otherwise=w)) for w in RULES["lesions"]["kind"].choices]
    findings = [(w, t(f"response.finding_words.{w}")) for w in response.FINDINGS]
    filled = [n for n in range(_MOST_ROWS) if any(form.value(f"{name}_{n}") for name in _LESION)]
    return subject_page(
        page, subject_id, "follow_up", "subjects/response.html", status=status, form=form, choices=choices, kinds=kinds,
        findings=findings, stored=stored, rows=range(max(_ROWS, (max(filled) + 3) if filled else 0)),
    )  # fmt: skip


def _stored(page: PageContext, subject_id: str, record: str) -> Record | None:
    rows = queries.of_subject(page.reader, page.actor, "responses", subject_id) if record else []
    return next((row for row in rows if str(row["record_id"]) == record), None)


def _saved_form(page: PageContext, subject_id: str, stored: Record) -> Form:
    """A stored assessment with its lesions as the text of the form."""
    zone = page.zone
    texts = values_of({name: stored[name] for name in _HEAD}, zone)
    own = [r for r in queries.of_subject(page.reader, page.actor, "lesions", subject_id)
           if r["assessed_on"] == stored["assessed_on"]]  # fmt: skip
    for place, row in enumerate(own):
        further = row["further"] if isinstance(row["further"], dict) else {}
        record = {name: row.get(name) for name in _LESION[:-1]} | {"finding": further.get("finding")}
        texts |= {f"{name}_{place}": text for name, text in values_of(record, zone).items()}
    return Form(page.t, "response", zone, texts)


def _stale(page: PageContext, subject_id: str, form: Form, error: StaleRecordError) -> Response:
    page.close()  # the saved values are read as they are now
    stored = _stored(page, subject_id, form.value("record_id"))
    saved = _saved_form(page, subject_id, stored) if stored is not None else blank(page, "response")
    lines = [(form.label(name), form.value(name), saved.value(name)) for name in _HEAD]
    mine, theirs = ({one.value(f"lesion_{n}"): _row_words(one, n) for n in range(_MOST_ROWS)
                     if one.value(f"lesion_{n}")} for one in (form, saved))  # fmt: skip
    lines += [
        (f"{form.label('lesion')} {name}", mine.get(name, ""), theirs.get(name, "")) for name in {**mine, **theirs}
    ]
    if stored is None:
        return stale_page(page, error, lines)
    hidden = {"record_id": str(stored["record_id"]), "version": str(stored["record_version"])}
    return stale_page(page, error, lines, record=("responses", int(stored["record_id"])), hidden=hidden)


def _row_words(form: Form, place: int) -> str:
    return ", ".join(filter(None, (form.value(f"{name}_{place}") for name in _LESION[1:])))
