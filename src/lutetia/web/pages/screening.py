"""Screening of a subject: consent, baseline, eligibility with a physician's signature, failure, corrections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from lutetia.trial import queries
from lutetia.trial.reader import Record
from lutetia.web.context import Page, PageContext
from lutetia.web.forms import Form
from lutetia.web.pages.subject_forms import (
    Field,
    FormSpec,
    read_and_take,
    show_form,
    signed_take,
    take,
    take_lines,
    version_of,
)
from lutetia.web.pages.subject_frame import blank, subject_page
from lutetia.workflow import consent, eligibility, screening, signing
from lutetia.workflow.documents import version_in_force
from lutetia.workflow.entry_checks import RULES

_BACK = "/screening"
_CORRECTED = ("sex", "age_years", "height_cm", "weight_kg", "prior_kidney_Gy", "prior_marrow_Gy")
_UNITS = {"age_years": "years", "height_cm": "cm", "weight_kg": "kg", "prior_kidney_Gy": "Gy", "prior_marrow_Gy": "Gy"}


def show(page: Page, subject_id: str) -> Response:
    """What of the screening is done, and what still forbids an allocation."""
    found = {n: queries.of_subject(page.reader, page.actor, n, subject_id) for n in ("consents", "baseline")}
    checklist = eligibility.read_eligibility(page.trial, page.actor, subject_id)
    answers = {row["item"]: row for row in found["baseline"]}
    people = queries.people(page.reader)
    return subject_page(
        page, subject_id, "screening", "subjects/screening.html", checklist=checklist,
        consents=[{**c, "who": people.get(c["taken_by"], c["taken_by"])} for c in found["consents"]],
        baseline=[(page.t(f"baseline.{n}"), _answer(page, item, answers.get(n)), answers.get(n))
                  for n, item in screening.BASELINE_ITEMS.items()],
        signatures=_signatures(page, subject_id),
        open=checklist.state in ("SCREENING", "ELIGIBLE"),
    )  # fmt: skip


def consent_form(page: Page, subject_id: str) -> Response:
    """The form of a signed consent."""
    spec = _consent(page, subject_id)
    return show_form(page, subject_id, spec, blank(page, "consent", kind=consent.MAIN, signed_on=page.today()))


def record_consent(page: Page, subject_id: str) -> Response:
    """Store a consent."""
    return read_and_take(page, subject_id, _consent(page, subject_id), consent.RecordConsent, consent.record_consent)


def withdraw_form(page: Page, subject_id: str) -> Response:
    """The form of a withdrawal."""
    return show_form(page, subject_id, _WITHDRAW, blank(page, "withdrawal", on=page.today()))


def withdraw(page: Page, subject_id: str) -> Response:
    """End the participation of a subject who withdrew."""
    return read_and_take(page, subject_id, _WITHDRAW, consent.WithdrawConsent, consent.withdraw_consent)


def baseline_form(page: Page, subject_id: str) -> Response:
    """The baseline form with what is stored."""
    spec, stored = _baseline(page, subject_id)
    return show_form(page, subject_id, spec, blank(page, "baseline", **stored))


def record_baseline(page: Page, subject_id: str) -> Response:
    """Store answers of the baseline form."""
    spec, stored = _baseline(page, subject_id)
    form = page.form("baseline")
    answers = {n: form.value(n).strip() for n in screening.BASELINE_ITEMS if form.value(n).strip() or n in stored}
    command = screening.RecordBaseline(
        subject_id, answers, reason=form.value("reason").strip() or None, versions=_versions(form, answers)
    )
    return take_lines(
        page, subject_id, spec, form, screening.record_baseline, command, table="baseline", column="value"
    )


def eligibility_form(page: Page, subject_id: str) -> Response:
    """The checklist with its answers."""
    spec, stored = _eligibility(page, subject_id)
    return show_form(page, subject_id, spec, blank(page, "eligibility", **stored))


def answer_eligibility(page: Page, subject_id: str) -> Response:
    """Store answers of the checklist."""
    spec, _ = _eligibility(page, subject_id)
    form = page.form("eligibility")
    answers = {f.name: form.value(f.name) for f in spec.fields if form.value(f.name)}
    command = eligibility.AnswerEligibility(
        subject_id, answers, reason=form.value("reason").strip() or None, versions=_versions(form, answers)
    )
    return take_lines(
        page,
        subject_id,
        spec,
        form,
        eligibility.answer_eligibility,
        command,
        table="eligibility_items",
        column="answer",
    )


def sign_form(page: Page, subject_id: str) -> Response:
    """The physician's signature over checklist and consent."""
    return show_form(page, subject_id, _sign(page, subject_id), blank(page, "eligibility_sign"))


def sign(page: Page, subject_id: str) -> Response:
    """Sign checklist and consent."""
    seen = _seen(page.form("eligibility_sign").value("seen"))
    return signed_take(
        page, subject_id, _sign(page, subject_id),
        lambda confirmed: eligibility.SignEligibility(subject_id, confirmed, seen), eligibility.sign_eligibility,
    )  # fmt: skip


def fail_form(page: Page, subject_id: str) -> Response:
    """The form of a screening failure."""
    return show_form(page, subject_id, _FAIL, blank(page, "failure", on=page.today()))


def fail(page: Page, subject_id: str) -> Response:
    """The subject does not take part."""
    return read_and_take(page, subject_id, _FAIL, screening.FailScreening, screening.fail_screening)


def correct_form(page: Page, subject_id: str) -> Response:
    """What was entered at enrolment, to be corrected."""
    record = queries.subject(page.reader, page.actor, subject_id)
    return show_form(page, subject_id, _correction(record), page.saved_form("subject_correction", record))


def correct(page: Page, subject_id: str) -> Response:
    """Correct what was entered at enrolment, with a reason."""
    record = queries.subject(page.reader, page.actor, subject_id)
    form = page.form("subject_correction")
    values = {
        name: form.value(name).strip() for name in _CORRECTED if form.value(name).strip() or record[name] is not None
    }
    command = screening.CorrectSubject(subject_id, values, form.value("reason"), version_of(form))
    return take(page, subject_id, _correction(record), form, screening.correct_subject, command)


def _correction(record: Record) -> FormSpec:
    fields = [Field("radios", "sex", RULES["subjects"]["sex"].choices)]
    fields += [Field("number", n, unit=_UNITS[n], required=n == "age_years") for n in _CORRECTED[1:]]
    return FormSpec(
        "subject_correction", "screening", "/correct", _BACK, tuple(fields), reason="required",
        saved=("subjects", record),
    )  # fmt: skip


def _consent(page: PageContext, subject_id: str) -> FormSpec:
    site = queries.subject_site(page.reader, subject_id)
    valid = version_in_force(page.reader, "consent", site, page.today())
    people = sorted(consent.consent_takers(page.reader, site).items(), key=lambda p: p[1])
    hint = page.t("consent.in_force", version=valid["version"]) if valid else page.t("consent.none_in_force")
    fields = (
        Field("select", "kind", RULES["consents"]["kind"].choices),
        Field("text", "consent_version", hint=hint),
        Field("date", "signed_on"),
        Field("select", "taken_by", people),
        Field("textarea", "note", required=False),
    )
    return FormSpec("consent", "screening", "/screening/consent", _BACK, fields)


_WITHDRAW = FormSpec("withdrawal", "screening", "/screening/withdrawal", _BACK,
                     (Field("date", "on"), Field("textarea", "reason")), tone="danger")  # fmt: skip
_FAIL = FormSpec("failure", "screening", "/screening/failure", _BACK,
                 (Field("date", "on"), Field("textarea", "reason")), tone="danger")  # fmt: skip


def _baseline(page: PageContext, subject_id: str) -> tuple[FormSpec, dict[str, str]]:
    rows = {r["item"]: r for r in queries.of_subject(page.reader, page.actor, "baseline", subject_id)}
    fields = []
    for name, item in screening.BASELINE_ITEMS.items():
        kind = "radios" if item.choices else ("number" if item.limits else "text")
        hint = page.t("baseline.range", low=f"{item.limits[0]:g}", high=f"{item.limits[1]:g}") if item.limits else ""
        fields.append(Field(kind, name, item.choices, unit=item.unit or "", required=False, hint=hint))  # type: ignore[arg-type]
    spec = FormSpec(
        "baseline", "screening", "/screening/baseline", _BACK, tuple(fields), reason="optional" if rows else "",
        hidden={f"version_{n}": str(r["record_version"]) for n, r in rows.items()},
    )  # fmt: skip
    return spec, {name: row["value"] or "" for name, row in rows.items()}


def _eligibility(page: PageContext, subject_id: str) -> tuple[FormSpec, dict[str, str]]:
    found = eligibility.read_eligibility(page.trial, page.actor, subject_id)
    fields = tuple(
        Field("radios", line.item, ("yes", "no"), label=line.text, required=False, wide=True) for line in found.lines
    )
    answered = [line for line in found.lines if line.version is not None]
    spec = FormSpec(
        "eligibility", "screening", "/screening/eligibility", _BACK, fields, reason="optional" if answered else "",
        hidden={f"version_{line.item}": str(line.version) for line in answered},
    )  # fmt: skip
    return spec, {line.item: line.answer or "" for line in found.lines}


def _sign(page: PageContext, subject_id: str) -> FormSpec:
    """The signature, with the answers and consents that it covers to be read, and their versions."""
    found = eligibility.read_eligibility(page.trial, page.actor, subject_id)
    seen = " ".join(f"{number}:{version}" for number, version in found.to_sign.items())
    answers = [
        f"{line.text}: {page.t.known(f'subject_forms.words.{line.answer}', otherwise='–')}" for line in found.lines
    ]
    return FormSpec(
        "eligibility_sign", "screening", "/screening/sign", _BACK, meaning=eligibility.ELIGIBILITY,
        hidden={"seen": seen}, notes=tuple(answers),
    )  # fmt: skip


def _seen(text: str) -> dict[int, int]:
    """Record numbers and versions, ``12:1 13:2``, that the page of a signature showed."""
    pairs = (part.partition(":") for part in text.split())
    return {int(n): int(v) for n, _, v in pairs if n.isdecimal() and v.isdecimal() and len(n + v) < 18}


def _versions(form: Form, answers: Mapping[str, Any]) -> dict[str, int]:
    """Versions that the person saw; 0 where there was no answer yet."""
    texts = {name: form.value(f"version_{name}") for name in answers}
    return {name: int(text) if text.isdecimal() and len(text) < 10 else 0 for name, text in texts.items()}


def _answer(page: PageContext, item: screening.BaselineItem, row: Record | None) -> str:
    value = row["value"] if row else None
    return "" if value is None else f"{value} {item.unit}" if item.unit else str(value)


def _signatures(page: PageContext, subject_id: str) -> list[str]:
    rows = queries.of_subject(page.reader, page.actor, "eligibility_items", subject_id)
    found = [signing.read_signatures(page.trial, page.actor, "eligibility_items", row["record_id"]) for row in rows]
    return list(dict.fromkeys(line for lines in found for line in lines))
