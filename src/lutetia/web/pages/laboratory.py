"""Laboratory values of a subject: the table of samples, and entry of a sample with the keyboard."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response

from lutetia.errors import StaleRecordError
from lutetia.trial import queries
from lutetia.trial.clock import instant
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form, values_of
from lutetia.web.pages.stale import again, stale_page
from lutetia.web.pages.subject_frame import blank, subject_page
from lutetia.workflow import laboratory
from lutetia.workflow.laboratory_reading import (
    AnalyteLine,
    analyte_labels,
    entry_lines,
    graded_values,
    strange_rows,
    unit_text,
)
from lutetia.workflow.missing import MISSING_CODES
from lutetia.workflow.study_setup import study_record

_PARTS = ("value", "unit", "lln", "uln", "missing")
_SHOWN = 60
_SEEN = "version_"


@dataclass(frozen=True, slots=True)
class SampleForm:
    """What the head of the entry form sends."""

    taken_at: str
    sample_id: str = ""
    visit: str = ""
    reason: str | None = None


def show(page: Page, subject_id: str) -> Response:
    """Samples, the newest first, with the grade of every value."""
    rows = queries.of_subject(page.reader, page.actor, "labs", subject_id)
    grades = {
        (v.analyte, v.sample_id): v.grade for found in graded_values(page.reader, subject_id).values() for v in found
    }
    reasons = {(r["sample_id"], r["analyte"]): why for r, why in strange_rows(page.reader, subject_id)}
    understood = [row for row in rows if (row["sample_id"], row["analyte"]) not in reasons]
    present = {row["analyte"] for row in understood}
    columns = [(name, label, _unit(understood, name)) for name, label in analyte_labels().items() if name in present]
    samples: dict[str, dict[str, Any]] = {}
    for row in sorted(understood, key=lambda r: str(r["taken_at"]), reverse=True):
        sample = samples.setdefault(
            row["sample_id"], {"id": row["sample_id"], "at": row["taken_at"], "visit": row["visit"], "cells": {}}
        )
        sample["cells"][row["analyte"]] = _cell(row, grades.get((row["analyte"], row["sample_id"])), columns)
    shown, part = page.paged(list(samples.values()), size=_SHOWN)
    return subject_page(
        page, subject_id, "laboratory", "subjects/laboratory.html", columns=columns, samples=shown, pager=part,
        strange=[(row, why) for row in rows if (why := reasons.get((row["sample_id"], row["analyte"])))],
    )  # fmt: skip


def entry(page: Page, subject_id: str) -> Response:
    """The entry form; `?sample=` opens a stored one, `?visit=` begins one of a visit."""
    rows = _rows_of(page, subject_id, page.argument("sample"))
    return _entry(page, subject_id, _stored(page, rows), saved=rows)


def save(page: Page, subject_id: str) -> Response:
    """Store a sample, or say beside each value why not; one that somebody changed meanwhile shows both versions."""
    form = page.form("laboratory")
    head = _head(form)
    if head is None:
        return _entry(page, subject_id, form, status=422)
    if again(form):
        return _entry(page, subject_id, form, saved=_rows_of(page, subject_id, _sample(head)))
    entries = _entries(page, subject_id, form)
    command = laboratory.EnterLabs(
        subject_id, head.taken_at, entries, head.sample_id, head.visit, head.reason, _versions(form)
    )
    try:
        stored = form.attempt(laboratory.enter_labs, page.trial, page.actor, command)
    except StaleRecordError as error:
        page.close()  # the saved values are read as they are now
        return _stale(page, error, _rows_of(page, subject_id, _sample(head)), head, entries)
    if stored is None:
        _beside_rows(form, entries)
        return _entry(page, subject_id, form, status=422)
    return page.redirect(f"/subjects/{subject_id}/laboratory", notice="laboratory.done")


def _head(form: Form) -> SampleForm | None:
    """The head of the form; a sample of which only the day is known has a day instead of a time."""
    text = form.value("taken_at").strip()
    day_only = len(text) == len("2026-02-03") and form.day("taken_at") is not None
    return form.read(SampleForm, **({"taken_at": text} if day_only else {}))


def _stale(
    page: PageContext,
    error: StaleRecordError,
    rows: Sequence[Record],
    head: SampleForm,
    entries: Sequence[laboratory.LabEntry],
) -> Response:
    """Both versions of a sample: what was typed, and what is stored now."""
    labels, stored = analyte_labels(), {row["analyte"]: row for row in rows}
    at = next((str(row["taken_at"]) for row in rows), "")
    lines = [(page.t("laboratory.taken_at"), page.local(_instant(head.taken_at)), page.local(at))] if at else []
    for one in entries:
        row = stored.get(one.analyte)
        yours = _printed(one.value or one.missing_reason, one.unit, one.lln, one.uln)
        theirs = _printed(f"{row['qualifier'] or ''}{row['value'] or row['missing_reason'] or ''}", row["unit"],
                          row["lln"], row["uln"]) if row else ""  # fmt: skip
        lines.append((labels[one.analyte], yours, theirs))
    record = ("labs", max(int(row["record_id"]) for row in rows)) if rows else None
    return stale_page(page, error, lines, record=record, hidden={"sample_id": _sample(head)})


def _printed(value: str, unit: str | None, lln: str | None, uln: str | None) -> str:
    """A value with its unit and limits of normal, such as ``96 10⁹/L (150–400)``."""
    limits = f"({lln or ''}–{uln or ''})" if lln or uln else ""
    return " ".join(filter(None, (value, unit_text(unit), limits)))


def _sample(head: SampleForm) -> str:
    return head.sample_id or laboratory.sample_of(_instant(head.taken_at))


def _instant(text: str) -> str:
    return instant(text, where="taken_at")


def _rows_of(page: PageContext, subject_id: str, sample: str) -> list[Record]:
    rows = queries.of_subject(page.reader, page.actor, "labs", subject_id)
    return [row for row in rows if sample and row["sample_id"] == sample]


def _versions(form: Form) -> dict[str, int]:
    """Versions of the stored values that the person saw, by analyte."""
    texts = {name.removeprefix(_SEEN): form.value(name) for name in form.values if name.startswith(_SEEN)}
    return {name: int(text) for name, text in texts.items() if text.isdecimal() and len(text) < 10}


def grade(page: Page, subject_id: str) -> Response:
    """What the checks say of one value as it is typed; stores nothing."""
    form, name = page.form("laboratory"), page.argument("analyte")
    head, entry = _head(form), _one(form, name)
    if head is None or not (entry.value or entry.missing_reason):
        return page.render("subjects/grade.html", row=None, reason="")
    fields = {"subject_id": subject_id, "sample_id": head.sample_id, "taken_at": head.taken_at, "visit": head.visit}
    fields |= {part: str(getattr(entry, part)) for part in laboratory.LabEntry.__slots__}
    content = io.StringIO()
    writer = csv.DictWriter(content, list(fields))
    writer.writeheader()
    writer.writerow(fields)
    command = laboratory.ImportLabs(content.getvalue().encode(), name)
    preview = form.attempt(laboratory.preview_labs, page.trial, page.actor, command)
    row = preview.rows[0] if preview else None
    return page.render("subjects/grade.html", row=row, reason=plain_reason(row.reason) if row else "")


def _entry(
    page: PageContext, subject_id: str, form: Form, *, status: int = 200, saved: Sequence[Record] | None = None
) -> Response:
    """The form; `saved` are the stored values that it shows, None where it is shown again with what was sent."""
    lines = entry_lines(page.reader, subject_id)
    sent = "csrf" in (page.sent or {})
    shown = [(line, {part: _text(form, line, part, sent=sent) for part in _PARTS}) for line in lines]
    visits = [(v["visit"], v["visit"]) for v in queries.of_subject(page.reader, page.actor, "visits", subject_id)]
    planned = study_record(page.reader)["settings"].get("visits", ())
    visits += [(v["name"], v["name"]) for v in planned if v["name"] not in dict(visits)]
    versions = _versions(form) if saved is None else {row["analyte"]: int(row["record_version"]) for row in saved}
    stored = bool(versions) or bool(form.value("reason")) or "" in form.errors
    return subject_page(
        page, subject_id, "laboratory", "subjects/laboratory_entry.html", status=status, form=form, lines=shown,
        visits=visits, stored=stored, codes=[(code, code) for code in MISSING_CODES], versions=versions,
    )  # fmt: skip


def _text(form: Form, line: AnalyteLine, part: str, *, sent: bool) -> str:
    """What a field shows: what was typed, or else what the laboratory printed last; units with µ and raised digits."""
    name = f"{part}_{line.analyte}"
    text = form.value(name) if sent else form.value(name) or getattr(line, part, "")
    return unit_text(text) if part == "unit" else text


def _stored(page: PageContext, rows: Sequence[Record]) -> Form:
    """The form of a stored sample; of a new one where there are no rows."""
    if not rows:
        now = page.trial.clock.now().astimezone(page.zone)
        return blank(page, "laboratory", taken_at=now.strftime("%Y-%m-%dT%H:%M"), visit=page.argument("visit"))
    head = values_of({n: rows[0][n] for n in ("taken_at", "sample_id", "visit")}, page.zone)
    texts: dict[str, list[str]] = dict(head)
    for row in rows:
        named = {"value": f"{row['qualifier'] or ''}{row['value'] or ''}", "missing": row["missing_reason"]}
        named |= {part: row[part] for part in ("unit", "lln", "uln")}
        texts |= {f"{part}_{row['analyte']}": [text or ""] for part, text in named.items()}
    return Form(page.t, "laboratory", page.zone, texts)


def _entries(page: PageContext, subject_id: str, form: Form) -> list[laboratory.LabEntry]:
    """What was entered; a value that was stored and is blank now is asked about, not forgotten."""
    lines, seen = entry_lines(page.reader, subject_id), _versions(form)
    found = [(line, _one(form, line.analyte)) for line in lines]
    return [
        replace(entry, unit=line.unit) if entry.unit == unit_text(line.unit) else entry
        for line, entry in found
        if entry.value or entry.missing_reason or line.analyte in seen
    ]


def _one(form: Form, analyte: str) -> laboratory.LabEntry:
    value, unit, lln, uln, missing = (form.value(f"{part}_{analyte}").strip() for part in _PARTS)
    return laboratory.LabEntry(analyte, value, unit, lln, uln, missing)


def _beside_rows(form: Form, entries: Sequence[laboratory.LabEntry]) -> None:
    """Move the reasons of refused rows, ``row 2: …``, to the values of those rows."""
    parts = re.split(r"(?m)^row (\d+): ", form.errors.get("", ""))
    labels = analyte_labels()
    for number, words in zip(parts[1::2], parts[2::2], strict=True):
        name = entries[int(number) - 2].analyte
        if words.startswith("taken_at: "):
            form.errors["taken_at"] = f"{form.label('taken_at')}: {plain_reason(words)}"
            continue
        form.errors[f"value_{name}"] = f"{labels[name]}: {plain_reason(words)}"
    if len(parts) > 1:
        del form.errors[""]


def plain_reason(words: str) -> str:
    """The reason of a refused row without the name of the field beside which it stands, and with units typeset."""
    known = "|".join(map(re.escape, analyte_labels()))
    plain = re.sub(rf"^(value|taken_at|{known}): ", "", words.strip())
    return re.sub(r"\bu(?=mol|kat|L\b)", "µ", plain.replace("10^9", "10⁹").replace("10^3", "10³"))


def _unit(rows: Sequence[Record], analyte: str) -> str:
    last = max((r for r in rows if r["analyte"] == analyte), key=lambda r: str(r["taken_at"]))
    return unit_text(last["unit"])


def _cell(row: Record, found: int | None, columns: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    unit = next((u for name, _, u in columns if name == row["analyte"]), "")
    words = f"{row['qualifier'] if row['qualifier'] in ('<', '>') else ''}{row['value'] or ''}"
    return {"record": row["record_id"], "words": words or row["missing_reason"] or "–", "missing": row["value"] is None,
            "grade": found or 0, "unit": "" if unit_text(row["unit"]) == unit else unit_text(row["unit"])}  # fmt: skip
