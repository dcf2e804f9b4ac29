"""Laboratory values of a subject: the table of samples, and entry of a sample with the keyboard."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form, values_of
from lutetia.web.pages.subject_frame import blank, subject_page
from lutetia.workflow import laboratory
from lutetia.workflow.laboratory_reading import analyte_labels, entry_lines, graded_values
from lutetia.workflow.missing import MISSING_CODES

_PARTS = ("value", "unit", "lln", "uln", "missing")
_SHOWN = 60


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
    present = {row["analyte"] for row in rows}
    columns = [(name, label, _unit(rows, name)) for name, label in analyte_labels().items() if name in present]
    samples: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda r: str(r["taken_at"]), reverse=True):
        sample = samples.setdefault(
            row["sample_id"], {"id": row["sample_id"], "at": row["taken_at"], "visit": row["visit"], "cells": {}}
        )
        sample["cells"][row["analyte"]] = _cell(row, grades.get((row["analyte"], row["sample_id"])), columns)
    shown, part = page.paged(list(samples.values()), size=_SHOWN)
    return subject_page(
        page, subject_id, "laboratory", "subjects/laboratory.html", columns=columns, samples=shown, pager=part,
    )  # fmt: skip


def entry(page: Page, subject_id: str) -> Response:
    """The entry form; `?sample=` opens a stored one."""
    sample = page.argument("sample")
    rows = [
        r
        for r in queries.of_subject(page.reader, page.actor, "labs", subject_id)
        if sample and r["sample_id"] == sample
    ]
    return _entry(page, subject_id, _stored(page, rows), stored=bool(rows))


def save(page: Page, subject_id: str) -> Response:
    """Store a sample, or say beside each value why not."""
    form = page.form("laboratory")
    head = form.read(SampleForm)
    entries = [] if head is None else _entries(page, subject_id, form)
    if head is None:
        return _entry(page, subject_id, form, status=422)
    command = laboratory.EnterLabs(subject_id, head.taken_at, entries, head.sample_id, head.visit, head.reason)
    if form.attempt(laboratory.enter_labs, page.trial, page.actor, command) is None:
        _beside_rows(form, entries)
        return _entry(page, subject_id, form, status=422)
    return page.redirect(f"/subjects/{subject_id}/laboratory", notice="laboratory.done")


def grade(page: Page, subject_id: str) -> Response:
    """What the checks say of one value as it is typed; stores nothing."""
    form, name = page.form("laboratory"), page.argument("analyte")
    head = form.read(SampleForm)
    entry = _one(form, name)
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


def _entry(page: PageContext, subject_id: str, form: Form, *, status: int = 200, stored: bool = False) -> Response:
    lines = entry_lines(page.reader, subject_id)
    if "csrf" in (page.sent or {}):
        known = form.values
        shown = [
            (line, {part: next(iter(known.get(f"{part}_{line.analyte}", ())), "") for part in _PARTS}) for line in lines
        ]
    else:
        shown = [
            (line, {part: form.value(f"{part}_{line.analyte}") or getattr(line, part, "") for part in _PARTS})
            for line in lines
        ]
    visits = [(v["visit"], v["visit"]) for v in queries.of_subject(page.reader, page.actor, "visits", subject_id)]
    planned = (queries.study(page.reader)["settings"] or {}).get("visits", ())
    visits += [(v["name"], v["name"]) for v in planned if v["name"] not in dict(visits)]
    stored = stored or bool(form.value("reason")) or "" in form.errors
    return subject_page(
        page, subject_id, "laboratory", "subjects/laboratory_entry.html", status=status, form=form, lines=shown,
        visits=visits, stored=stored, codes=[(code, code) for code in MISSING_CODES],
    )  # fmt: skip


def _stored(page: PageContext, rows: Sequence[Record]) -> Form:
    """The form of a stored sample; of a new one where there are no rows."""
    if not rows:
        now = page.trial.clock.now().astimezone(page.services.study.zone)
        return blank(page, "laboratory", taken_at=now.strftime("%Y-%m-%dT%H:%M"))
    head = values_of({n: rows[0][n] for n in ("taken_at", "sample_id", "visit")}, page.services.study.zone)
    texts = {name: next(iter(found), "") for name, found in head.items()}
    if len(texts["taken_at"]) == 10:
        texts["taken_at"] += "T00:00"
    for row in rows:
        named = {"value": f"{row['qualifier'] or ''}{row['value'] or ''}", "missing": row["missing_reason"]}
        named |= {part: row[part] for part in ("unit", "lln", "uln")}
        texts |= {f"{part}_{row['analyte']}": text or "" for part, text in named.items()}
    return blank(page, "laboratory", **texts)


def _entries(page: PageContext, subject_id: str, form: Form) -> list[laboratory.LabEntry]:
    found = [_one(form, line.analyte) for line in entry_lines(page.reader, subject_id)]
    return [entry for entry in found if entry.value or entry.missing_reason]


def _one(form: Form, analyte: str) -> laboratory.LabEntry:
    value, unit, lln, uln, missing = (form.value(f"{part}_{analyte}").strip() for part in _PARTS)
    return laboratory.LabEntry(analyte, value, unit, lln, uln, missing)


def _beside_rows(form: Form, entries: Sequence[laboratory.LabEntry]) -> None:
    """Move the reasons of refused rows, ``row 2: …``, to the values of those rows."""
    parts = re.split(r"(?m)^row (\d+): ", form.errors.get("", ""))
    labels = analyte_labels()
    for number, words in zip(parts[1::2], parts[2::2], strict=True):
        name = entries[int(number) - 2].analyte
        form.errors[f"value_{name}"] = f"{labels[name]}: {plain_reason(words)}"
    if len(parts) > 1:
        del form.errors[""]


def plain_reason(words: str) -> str:
    """The reason of a refused row without the number of the row and the name of the field beside which it stands."""
    return re.sub(r"^(row \d+: )?(value: )?", "", words.strip())


def _unit(rows: Sequence[Record], analyte: str) -> str:
    last = max((r for r in rows if r["analyte"] == analyte), key=lambda r: str(r["taken_at"]))
    return "" if last["unit"] in (None, "1") else str(last["unit"])


def _cell(row: Record, found: int | None, columns: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    unit = next((u for name, _, u in columns if name == row["analyte"]), "")
    words = f"{row['qualifier'] if row['qualifier'] in ('<', '>') else ''}{row['value'] or ''}"
    return {"record": row["record_id"], "words": words or row["missing_reason"] or "–", "missing": row["value"] is None,
            "grade": found or 0, "unit": "" if (row["unit"] or "") in (unit, "1") else row["unit"]}  # fmt: skip
