"""Administration of a cycle: the form a nuclide, the live look at what it means, correction of a wrong entry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from lutetia.errors import LutetiaError, TransitionError
from lutetia.report.numbers import change, fixed, gigabecquerel, nuclide_text
from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.pages import cycles_view as view
from lutetia.web.pages.cycles_records import CycleNumber, CycleRecords, read_cycle, stale_reasons
from lutetia.workflow.administration import (
    CorrectAdministration,
    NuclideGiven,
    RecordAdministration,
    correct_administration,
    record_administration,
)
from lutetia.workflow.administration_check import check_given

_FIELDS = ("batch", "measured_MBq", "measured_at", "residual_MBq", "residual_at", "started_at", "ended_at")


@dataclass(frozen=True, slots=True)
class CorrectionForm:
    """What a correction sends besides the values of the nuclide."""

    nuclide: str
    reason: str
    version: int


def show(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """The form, with the prescription beside it."""
    page.refuse_masked()
    return _form_page(page, subject_id, cycle, page.form(view.FAMILY))


def record(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Record what was given."""
    page.refuse_masked()
    found = read_cycle(page, subject_id, cycle)
    form, rows = page.form(view.FAMILY), _released(found)
    given, not_given = [], {}
    for row in rows:
        name = row["nuclide"]
        if why := form.value(f"{name}.not_given").strip():
            not_given[name] = why
        elif (part := read_part(form, name)) is not None:
            given.append(part)
    if not form.errors:
        command = RecordAdministration(
            subject_id, cycle, int(rows[0]["version"]), given, not_given, form.value("given_despite"),
            form.value("explanation"),
        )  # fmt: skip
        if form.attempt(record_administration, page.trial, page.actor, command) is not None:
            return page.redirect(found.path, notice="cycles.done.administration")
        page.close()
    return _form_page(page, subject_id, cycle, form, status=422)


def look(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """What the entries mean: activity at the start of infusion and its deviations, as a fragment; nothing is stored."""
    page.refuse_masked()
    form = page.form(view.FAMILY)
    rows = _released(read_cycle(page, subject_id, cycle), otherwise_all=True)
    found = [_look(page, form, row, subject_id, cycle) for row in rows]
    return page.render("cycles/looked.html", found=[f for f in found if f])


def _look(page: PageContext, form: Form, row: Record, subject_id: str, cycle: int) -> dict[str, Any] | None:
    name = row["nuclide"]
    if not all(form.value(f"{name}.{field}").strip() for field in _FIELDS):
        return None
    part = read_part(form, name)
    if part is None:
        return {"name": nuclide_text(name), "problem": next(e for f, e in form.errors.items() if f.startswith(name))}
    try:
        check = check_given(page.trial, page.actor, subject_id, cycle, part)
    except LutetiaError as error:
        return {"name": nuclide_text(name), "problem": str(error)}
    return {"name": nuclide_text(name), "amount": gigabecquerel(check.administered_MBq), "problem": "",
            "prescribed": gigabecquerel(check.prescribed_MBq),
            "ratio": change(check.administered_MBq / check.prescribed_MBq - 1.0) if check.prescribed_MBq else "",
            "deviations": [(d[1], d[2].partition(": ")[2]) for d in check.deviations]}  # fmt: skip


def read_part(form: Form, nuclide: str) -> NuclideGiven | None:
    """The entries of one nuclide, whose fields carry its name; mistakes become messages of the whole form."""
    own = {field: form.values.get(f"{nuclide}.{field}", ()) for field in _FIELDS}
    part = Form(form.texts, form.family, form.zone, own)
    found = part.read(NuclideGiven, nuclide=nuclide)
    form.errors |= {f"{nuclide}.{field}": f"{nuclide_text(nuclide)}, {text}" for field, text in part.errors.items()}
    return found


def _released(found: CycleRecords, *, otherwise_all: bool = False) -> tuple[Record, ...]:
    rows = found.standing
    if rows and (rows[0]["state"] == "RELEASED" or otherwise_all):
        return rows
    raise TransitionError(
        f"cycle {found.number}: is {found.cycle['state']} and has no released prescription; release one first"
    )


def _form_page(page: PageContext, subject_id: str, cycle: int, form: Form, *, status: int = 200) -> Response:
    found = read_cycle(page, subject_id, cycle)
    rows = _released(found)
    values = view.head(page, found) | {"nuclides": [_part(page, row, found) for row in rows]}
    stale = () if status == 200 else stale_reasons(page, rows)
    return page.render("cycles/administration.html", status=status, form=form, stale=stale, **values)


def _part(page: PageContext, row: Mapping[str, Any], found: CycleRecords) -> dict[str, Any]:
    name = row["nuclide"]
    return {"name": name, "text": nuclide_text(name),
            "prescribed": gigabecquerel(row["prescribed_MBq"]),
            "prescribed_MBq": fixed(row["prescribed_MBq"], 0),
            "batches": _batches(page, found, name)}  # fmt: skip


def _batches(page: PageContext, found: CycleRecords, nuclide: str) -> list[tuple[str, str]]:
    """Open batches of a nuclide at the subject's site, the one that expires last first; expired ones say so."""
    rows = queries.records(page.reader, page.actor, "product_batches", nuclide=nuclide, site=found.subject["site"])
    offered = []
    for row in sorted((r for r in rows if r["state"] == "OPEN"), key=lambda r: str(r["expires_at"]), reverse=True):
        key = "cycles.batch_expired" if row["expires_at"] < page.reader.now else "cycles.batch_until"
        offered.append((str(row["batch"]), page.t(key, batch=row["batch"], when=page.local(row["expires_at"]))))
    return offered


def show_correction(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """The form to right a wrong entry, of the nuclide that the address names."""
    page.refuse_masked()
    found = read_cycle(page, subject_id, cycle)
    row = _chosen(found, page.argument("nuclide"))
    record = {f"{row['nuclide']}.{k}": v for k, v in {**row, **(row["further"] or {})}.items() if k in _FIELDS}
    return _correction(page, found, row, page.saved_form(view.FAMILY, record))


def correct(page: Page, subject_id: str, cycle: CycleNumber) -> Response:
    """Store a corrected entry."""
    page.refuse_masked()
    found = read_cycle(page, subject_id, cycle)
    form = page.form(view.FAMILY)
    row = _chosen(found, form.value("nuclide"))
    part, sent = read_part(form, row["nuclide"]), form.read(CorrectionForm)
    if part is not None and sent is not None:
        command = CorrectAdministration(subject_id, cycle, part, sent.reason, sent.version)
        if form.attempt(correct_administration, page.trial, page.actor, command) is not None:
            return page.redirect(found.path, notice="cycles.done.correction")
    return _correction(page, found, row, form, status=422)


def _chosen(found: CycleRecords, nuclide: str) -> Record:
    given: Sequence[Record] = [r for r in found.given if r["started_at"]]
    chosen = next((r for r in given if r["nuclide"] == nuclide), given[0] if given else None)
    if chosen is None:
        raise TransitionError(f"cycle {found.number}: nothing was given yet; record the administration first")
    return chosen


def _correction(page: PageContext, found: CycleRecords, row: Record, form: Form, *, status: int = 200) -> Response:
    others = [(r["nuclide"], nuclide_text(r["nuclide"])) for r in found.given if r["started_at"]]
    part = _part(page, row, found)
    if row["batch"] and row["batch"] not in {b for b, _ in part["batches"]}:
        part["batches"] = [(row["batch"], row["batch"]), *part["batches"]]
    return page.render("cycles/correction.html", status=status, form=form, row=row, n=part, others=others,
                       **view.head(page, found))  # fmt: skip
