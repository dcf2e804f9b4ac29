"""Randomisation of a subject in two steps, its receipt, and what is recorded afterwards.

What a masked person sees of it says neither arm nor place in the list.
"""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from lutetia.errors import TrialError
from lutetia.trial import queries
from lutetia.trial.queries_audit import AuditFilter, audit_trail
from lutetia.trial.randomisation_records import stratum_levels
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.pages.subject_forms import Field, FormSpec, read_and_take, show_form, take
from lutetia.web.pages.subject_frame import blank, subject_page
from lutetia.workflow import randomisation
from lutetia.workflow.course_records import GIVEN_STATES
from lutetia.workflow.study_setup import study_record

_BACK = "/randomisation"


def show(page: Page, subject_id: str) -> Response:
    """Ready to be randomised, or the receipt of the allocation."""
    return _show(page, subject_id, blank(page, "randomisation"))


def confirm(page: Page, subject_id: str) -> Response:
    """First step: the strata as entered, to be read again before anything is allocated."""
    form = page.form("randomisation")
    asked = randomisation.read_randomise(page.trial, page.actor, subject_id)
    for factor in asked.factors:
        level = form.value(factor.name).strip()
        if not level or (factor.levels and level not in factor.levels):
            form.errors[factor.name] = page.t("form.choose_one", field=_factor(page, factor.name))
    if form.errors or asked.faults:
        return _show(page, subject_id, form, status=422)
    levels = [(_factor(page, f.name), f.name, form.value(f.name).strip()) for f in asked.factors]
    return subject_page(
        page, subject_id, "randomisation", "subjects/randomise.html", levels=levels, version=asked.version, form=form
    )


def randomise(page: Page, subject_id: str) -> Response:
    """Second step: allocate."""
    form = page.form("randomisation")
    asked = randomisation.read_randomise(page.trial, page.actor, subject_id)
    levels = {factor.name: form.value(factor.name).strip() for factor in asked.factors}
    text = form.value("seen_version")
    version = int(text) if text.isdecimal() and len(text) < 10 else None
    command = randomisation.Randomise(subject_id, levels, version)
    if form.attempt(randomisation.randomise, page.trial, page.actor, command) is None:
        return _show(page, subject_id, form, status=422)
    return page.redirect(f"/subjects/{subject_id}{_BACK}", notice="randomisation.done")


def stratum_form(page: Page, subject_id: str) -> Response:
    """The form of a corrected stratum."""
    return show_form(page, subject_id, _stratum(page, subject_id), blank(page, "stratum"))


def correct_stratum(page: Page, subject_id: str) -> Response:
    """Record the true stratum; the allocation stays."""
    spec, form = _stratum(page, subject_id), page.form("stratum")
    levels = {f.name: form.value(f.name) for f in spec.fields}
    command = randomisation.CorrectStratum(subject_id, levels, form.value("reason"))
    return take(page, subject_id, spec, form, randomisation.correct_stratum, command)


def unblind_form(page: Page, subject_id: str) -> Response:
    """The form of an unblinding."""
    return show_form(page, subject_id, _UNBLIND, blank(page, "unblinding"))


def unblind(page: Page, subject_id: str) -> Response:
    """Record an unblinding; the arm is shown once, to those from whom it is not hidden."""
    form = page.form("unblinding")
    command = form.read(randomisation.Unblind, subject_id=subject_id)
    arm = None if command is None else form.attempt(randomisation.unblind, page.trial, page.actor, command)
    if form.errors:
        return show_form(page, subject_id, _UNBLIND, form, status=422)
    return subject_page(page, subject_id, "randomisation", "subjects/unblinded.html", arm=arm)


def cross_over_form(page: Page, subject_id: str) -> Response:
    """The form of a cycle that was given as in another arm."""
    page.refuse_masked()
    return show_form(page, subject_id, _cross_over(page, subject_id), blank(page, "cross_over"))


def record_cross_over(page: Page, subject_id: str) -> Response:
    """Record the arm as treated; the randomised one stays."""
    page.refuse_masked()
    spec, verb = _cross_over(page, subject_id), randomisation.record_cross_over
    return read_and_take(page, subject_id, spec, randomisation.RecordCrossOver, verb)


_UNBLIND = FormSpec(
    "unblinding", "randomisation", "/randomisation/unblinding", _BACK,
    (
        Field("select", "kind", randomisation.UNBLINDING_KINDS),
        Field("text", "person"),
        Field("textarea", "reason"),
        Field("textarea", "impact"),
    ),
    tone="danger",
)  # fmt: skip


def _show(page: PageContext, subject_id: str, form: Form, *, status: int = 200) -> Response:
    subject = queries.subject(page.reader, page.actor, subject_id)
    done = subject["randomised_on"] is not None
    asked, problem = None, ""
    if not done and page.may("randomise", subject["site"]):
        try:
            asked = randomisation.read_randomise(page.trial, page.actor, subject_id)
        except TrialError as error:
            problem = str(error)
    factors = [] if asked is None else [
        (f.name, _factor(page, f.name), [(v, v) for v in f.levels]) for f in asked.factors
    ]  # fmt: skip
    return subject_page(
        page, subject_id, "randomisation", "subjects/randomisation.html", status=status, done=done, asked=asked,
        problem=problem, factors=factors, form=form, receipt=_receipt(page, subject_id) if done else None,
        events=_events(page, subject_id), may_randomise=page.may("randomise", subject["site"]),
        may_cross_over=page.may("record_administration", subject["site"]) and not page.masked,
    )  # fmt: skip


def _receipt(page: PageContext, subject_id: str) -> dict[str, Any] | None:
    """What proves the allocation; nothing of it for masked persons."""
    rows = queries.of_subject(page.reader, page.actor, "allocations", subject_id)
    if not rows:
        return None
    row, people = rows[0], queries.people(page.reader)
    scheme = page.reader.find("randomisation_schemes", {"scheme_id": row["scheme_id"]})
    found = {"arm": row["arm"], "stratum": row["stratum"], "slot": row["slot"], "at": page.local(row["allocated_at"]),
             "by": people.get(row["allocated_by"], row["allocated_by"] or ""), "receipt": row["receipt"] or "",
             "commitment": scheme["commitment"] if scheme else "", "sequence": "", "head": ""}  # fmt: skip
    if page.may("read_audit"):
        wanted = AuditFilter(subject_id=subject_id, table="allocations")
        entry = next(iter(audit_trail(page.reader, page.actor, wanted, limit=1)), None)
        found |= {"sequence": entry.sequence, "head": entry.hash} if entry else {}
    return found


def _events(page: PageContext, subject_id: str) -> list[dict[str, Any]]:
    rows = queries.of_subject(page.reader, page.actor, "randomisation_events", subject_id)
    people = queries.people(page.reader)
    return [
        {"kind": page.t.known(f"randomisation.events.{r['kind']}", otherwise=r["kind"]), "on": r["on"],
         "reason": r["reason"], "impact": r["impact"] or "", "who": people.get(r["recorded_by"], r["recorded_by"]),
         "details": [(name.replace("_", " "), value) for name, value in (r["details"] or {}).items()]}
        for r in rows
    ]  # fmt: skip


def _stratum(page: PageContext, subject_id: str) -> FormSpec:
    """Factors and levels of the scheme by which the subject was allocated; the site is not asked for."""
    rows = queries.of_subject(page.reader, page.actor, "allocations", subject_id)
    fields: list[Field] = []
    if rows:
        scheme = page.reader.record("randomisation_schemes", {"scheme_id": rows[0]["scheme_id"]})
        now = stratum_levels(rows[0]["stratum"])
        for factor in scheme["specification"]["factors"]:
            name, levels = factor["name"], tuple(factor.get("levels") or ())
            if name != "site":
                hint = page.t("stratum.entered", level=now.get(name, "–"))
                label = _factor(page, name)
                kind = Field("select", name, tuple((v, v) for v in levels), label=label, hint=hint)
                fields.append(kind if levels else Field("text", name, label=label, hint=hint))
    return FormSpec("stratum", "randomisation", "/randomisation/stratum", _BACK, tuple(fields), reason="required")


def _cross_over(page: PageContext, subject_id: str) -> FormSpec:
    """Given cycles of the subject, and the arms of the protocol but the randomised one."""
    own = queries.subject(page.reader, page.actor, subject_id)["arm"]
    every = queries.of_subject(page.reader, page.actor, "cycles", subject_id)
    cycles = [str(row["cycle"]) for row in every if row["state"] in GIVEN_STATES]
    arms = [arm for arm in study_record(page.reader)["settings"].get("arms", ()) if arm != own]
    fields = (
        Field("select", "cycle", [(c, c) for c in cycles]),
        Field("select", "as_treated_arm", [(a, a) for a in arms]),
    )
    return FormSpec("cross_over", "randomisation", "/randomisation/cross-over", _BACK, fields, reason="required")


def _factor(page: PageContext, name: str) -> str:
    return page.t.known(f"randomisation.factors.{name}", otherwise=name.replace("_", " "))
