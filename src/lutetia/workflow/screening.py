"""Screening: enrolment, baseline, consent, eligibility checklist and its signature, screen failure.

A subject is ELIGIBLE when a physician signed the answered checklist together with the consent; a later change of an
answer or of the consent voids that signature, and `enrolment_faults` says so before an allocation.
No names: a subject is a number, its age is stored and its birth date nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from lutetia.errors import InputError, TransitionError, TrialError, UnknownNameError
from lutetia.trial import Actor, Change, Create, Edit, Reader, Receipt, Record, Sign, Trial, Update, access
from lutetia.trial.signatures import Confirmed, is_signed
from lutetia.trial.states import SUBJECT_RANDOMISED
from lutetia.workflow.course_records import local_day, subject_of
from lutetia.workflow.documents import version_in_force
from lutetia.workflow.edits import allowed_subject, now_of, query_edits, required_text, subject_step
from lutetia.workflow.entry_checks import SoftFinding, check_form
from lutetia.workflow.sites_users import delegated, open_site
from lutetia.workflow.study_setup import ChecklistItem, checklist_of, study_record

ELIGIBILITY = "eligibility confirmed"
MAIN = "main"
_SUBJECT_ID = re.compile(r"(?=.*\d)[A-Z0-9][A-Z0-9-]{1,19}")

# item | kind | hard range or choices. Further items may be added by a line; others are refused.
BASELINE = """
primary_site   | text    |
grade          | choice  | 1 2 3
ki67           | number  | 0..100
bone_mets      | choice  | yes no
liver_mets     | choice  | yes no
hypertension   | choice  | yes no
diabetes       | choice  | yes no
prior_prrt     | choice  | yes no
prior_chemo    | choice  | yes no
ecog           | choice  | 0 1 2 3 4
kidneys_present| choice  | 1 2
"""
_UNITS = {"ki67": "%"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrol:
    """A screened subject; `subject_id` None takes the next number of the site."""

    site: str
    sex: str
    age_years: float
    height_cm: float | None = None
    weight_kg: float | None = None
    prior_kidney_Gy: float | None = None
    prior_marrow_Gy: float | None = None
    subject_id: str | None = None
    screened_on: str | None = None


@dataclass(frozen=True, slots=True)
class RecordBaseline:
    """Answers of the baseline form by item; `on` is the day they hold for (default: today at the site)."""

    subject_id: str
    answers: Mapping[str, Any]
    on: str | None = None
    reason: str | None = None
    versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordConsent:
    """A consent that the subject signed on paper; `taken_by` is the user who took it."""

    subject_id: str
    consent_version: str
    signed_on: str
    taken_by: str
    kind: str = MAIN
    note: str = ""


@dataclass(frozen=True, slots=True)
class WithdrawConsent:
    """The subject withdrew consent; treatment and data collection end, data so far stay."""

    subject_id: str
    on: str
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerEligibility:
    """Answers yes or no by checklist item; a changed answer needs a reason and voids the signature."""

    subject_id: str
    answers: Mapping[str, str]
    answered_on: str | None = None
    reason: str | None = None
    versions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SignEligibility:
    """A physician's signature over checklist and consent; `confirmed` comes from `trial.signatures.confirm`."""

    subject_id: str
    confirmed: Confirmed


@dataclass(frozen=True, slots=True)
class FailScreening:
    """The subject does not take part."""

    subject_id: str
    on: str
    reason: str


def enrol(trial: Trial, actor: Actor, command: Enrol) -> Receipt:
    """Register a screened subject; the receipt's `result` is the subject's number.

    Raises
    ------
    AccessDeniedError
        Without the right to enter data at the site.
    InputError
        For a value out of range, a future date, or a number that could be a name.
    DuplicateRecordError
        If the number is taken.
    """
    access.require(actor, "enter_data", command.site)

    def change(reader: Reader) -> Change:
        open_site(reader, command.site)
        today = local_day(reader, command.site, now_of(reader))
        named = {"sex": command.sex, "age_years": command.age_years, "height_cm": command.height_cm,
                 "weight_kg": command.weight_kg, "prior_kidney_Gy": command.prior_kidney_Gy,
                 "prior_marrow_Gy": command.prior_marrow_Gy}  # fmt: skip
        checked = check_form("subjects", named, now=now_of(reader), where="enrolment")
        on = _past_day(command.screened_on or today, today, "screened_on")
        subject_id = _subject_id(reader, command)
        state = {"subject_id": subject_id, "site": command.site, "state": "SCREENING", "state_on": on}
        values = {"subject_id": subject_id}
        edits: list[Edit] = [
            Create("subjects", state | checked.values),
            Create("disposition", {"subject_id": subject_id, "event": "screened", "on": on}),
            *query_edits(reader, checked.findings, subject_id=subject_id, site=command.site, table="subjects",
                         values=values),
        ]  # fmt: skip
        return Change("enrol", edits, result=subject_id)

    return trial.commit(change, actor)


def record_baseline(trial: Trial, actor: Actor, command: RecordBaseline) -> Receipt:
    """Store answers of the baseline form; a changed one needs a reason.

    Raises
    ------
    InputError
        For a value that an item does not take, or a future date.
    ReasonRequiredError, StaleRecordError
        When a saved answer changes without a reason, or was changed by somebody else.
    """
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        today = local_day(reader, subject["site"], now_of(reader))
        on = _past_day(command.on or today, today, "on")
        edits: list[Edit] = []
        for item, answer in command.answers.items():
            key = {"subject_id": command.subject_id, "item": item}
            values = {"value": _baseline_value(item, answer), "unit": _UNITS.get(item), "on": on}
            edits.append(_saved(reader, "baseline", key, values, command.versions.get(item)))
        return Change("record_baseline", edits)

    return trial.commit(change, actor, command.reason)


def record_consent(trial: Trial, actor: Actor, command: RecordConsent) -> Receipt:
    """Store a consent; the version has to be the one in force at the site on that day.

    A version of a site without registered consent documents, and a person without a delegation to take consent, are
    stored and asked about.

    Raises
    ------
    InputError
        For a future date or another version than the one in force.
    DuplicateRecordError
        If this version was signed already.
    """
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        form = {"kind": command.kind, "consent_version": command.consent_version, "signed_on": command.signed_on,
                "note": command.note}  # fmt: skip
        where = f"consent of {command.subject_id}"
        checked = check_form("consents", form, now=now_of(reader), where=where)
        findings = [*checked.findings, *_consent_findings(reader, subject, command)]
        key = {"subject_id": command.subject_id, "kind": command.kind, "consent_version": command.consent_version}
        values = checked.values | key | {"taken_by": command.taken_by}
        values["document_id"] = _consent_document(reader, subject["site"], command)
        edits: list[Edit] = [Create("consents", values)]
        event = {"subject_id": command.subject_id, "event": "consented", "on": command.signed_on}
        if command.kind == MAIN and reader.find("disposition", event) is None:
            edits.append(Create("disposition", event))
        edits += query_edits(reader, findings, subject_id=command.subject_id, site=subject["site"], table="consents",
                             values=values)  # fmt: skip
        return Change("record_consent", edits)

    return trial.commit(change, actor)


def withdraw_consent(trial: Trial, actor: Actor, command: WithdrawConsent) -> Receipt:
    """End the participation of a subject who withdrew; nothing that was collected before goes."""
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)
    reason = required_text(command.reason, "reason of the withdrawal")

    def change(reader: Reader) -> Change:
        current = subject_of(reader, command.subject_id)
        on = _past_day(command.on, local_day(reader, subject["site"], now_of(reader)), "on")
        consents = reader.records("consents", subject_id=command.subject_id, withdrawn_on=None)
        if not consents:
            raise InputError(f"subject {command.subject_id}: found no consent in force; expected one to withdraw")
        if any(on < row["signed_on"] for row in consents):
            raise InputError(f"withdrawal: found {on}, before the consent was signed; correct the date")
        randomised = current["state"] in SUBJECT_RANDOMISED
        event = {"subject_id": command.subject_id, "event": "withdrew" if randomised else "screen_failed", "on": on,
                 "reason": reason}  # fmt: skip
        state = "CONSENT_WITHDRAWN" if randomised else "SCREEN_FAILED"
        edits: list[Edit] = [Update("consents", row["record_id"], {"withdrawn_on": on}) for row in consents]
        edits += [Create("disposition", event), subject_step(reader, current, state)]
        return Change("withdraw_consent", edits)

    return trial.commit(change, actor, reason)


def answer_eligibility(trial: Trial, actor: Actor, command: AnswerEligibility) -> Receipt:
    """Store answers of the eligibility checklist; some or all items.

    Raises
    ------
    UnknownNameError
        For an item that the checklist does not have.
    InputError
        For an answer that is neither yes nor no, or contradicts the subject's record.
    TransitionError
        If the subject is past screening.
    """
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        current = subject_of(reader, command.subject_id)
        if current["state"] not in ("SCREENING", "ELIGIBLE"):
            raise TransitionError(
                f"subject {command.subject_id}: is {current['state']}; the checklist belongs to screening; record a "
                "deviation instead"
            )
        today = local_day(reader, subject["site"], now_of(reader))
        on = _past_day(command.answered_on or today, today, "answered_on")
        items = {item.item: item for item in checklist_of(study_record(reader)["settings"])}
        edits: list[Edit] = []
        for name, answer in command.answers.items():
            _check_answer(current, items, name, answer)
            key = {"subject_id": command.subject_id, "item": name}
            values = {"answer": answer, "answered_by": actor.user_id, "answered_on": on}
            edits.append(_saved(reader, "eligibility_items", key, values, command.versions.get(name)))
        return Change("answer_eligibility", edits)

    return trial.commit(change, actor, command.reason)


def sign_eligibility(trial: Trial, actor: Actor, command: SignEligibility) -> Receipt:
    """Sign checklist and consent; the subject becomes ELIGIBLE. Also renews a signature that a change made void.

    Raises
    ------
    AccessDeniedError
        Without the right to sign at the site.
    TrialError
        If an answer is missing or excludes the subject, or the consent is not in force; all faults are named.
    """
    subject = allowed_subject(trial, actor, "sign_forms", command.subject_id)

    def change(reader: Reader) -> Change:
        current = subject_of(reader, command.subject_id)
        if faults := checklist_faults(reader, command.subject_id):
            raise TrialError(f"subject {command.subject_id}: cannot be signed as eligible: {'; '.join(faults)}")
        edits: list[Edit] = [Sign(_signed_records(reader, command.subject_id), ELIGIBILITY, command.confirmed)]
        if current["state"] != "ELIGIBLE":
            event = {"subject_id": command.subject_id, "event": "eligible",
                     "on": local_day(reader, subject["site"], now_of(reader))}  # fmt: skip
            edits += [Create("disposition", event), subject_step(reader, current, "ELIGIBLE")]
        return Change("sign_eligibility", edits)

    return trial.commit(change, actor)


def fail_screening(trial: Trial, actor: Actor, command: FailScreening) -> Receipt:
    """The subject leaves before randomisation; the reason is kept."""
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)
    reason = required_text(command.reason, "reason of the screen failure")

    def change(reader: Reader) -> Change:
        current = subject_of(reader, command.subject_id)
        on = _past_day(command.on, local_day(reader, subject["site"], now_of(reader)), "on")
        event = {"subject_id": command.subject_id, "event": "screen_failed", "on": on, "reason": reason}
        return Change("fail_screening", [Create("disposition", event), subject_step(reader, current, "SCREEN_FAILED")])

    return trial.commit(change, actor, reason)


def checklist_faults(reader: Reader, subject_id: str) -> list[str]:
    """What keeps the checklist from being signed, in words; empty when nothing does."""
    answers = {row["item"]: row["answer"] for row in reader.records("eligibility_items", subject_id=subject_id)}
    faults = []
    for item in checklist_of(study_record(reader)["settings"]):
        answer = answers.get(item.item)
        if answer is None:
            faults.append(f"{item.item} is not answered")
        elif answer != item.required:
            faults.append(f"{item.item} is answered {answer}, which excludes the subject")
    if not _main_consents(reader, subject_id):
        faults.append("no consent in force is recorded")
    return faults


def enrolment_faults(reader: Reader, subject_id: str) -> list[str]:
    """What forbids an allocation: checklist faults, and answers or a consent that no valid signature covers."""
    faults = checklist_faults(reader, subject_id)
    if faults:
        return faults
    for table, number in _signed_records(reader, subject_id):
        if not is_signed(reader, table, int(number), meaning=ELIGIBILITY):
            what = "consent" if table == "consents" else reader.record(table, number)["item"]
            faults.append(f"{what} has no valid signature; a physician has to sign eligibility and consent")
    return faults


def _signed_records(reader: Reader, subject_id: str) -> tuple[tuple[str, int], ...]:
    items = [item.item for item in checklist_of(study_record(reader)["settings"])]
    rows = [row for row in reader.records("eligibility_items", subject_id=subject_id) if row["item"] in items]
    consents = _main_consents(reader, subject_id)
    pairs = [("eligibility_items", row) for row in rows] + [("consents", row) for row in consents]
    return tuple((table, int(row["record_id"])) for table, row in pairs)


def _main_consents(reader: Reader, subject_id: str) -> list[Record]:
    rows = reader.records("consents", subject_id=subject_id, kind=MAIN, withdrawn_on=None)
    return [row for row in rows if row["signed_on"]]


def _subject_id(reader: Reader, command: Enrol) -> str:
    if command.subject_id is None:
        number = reader.count("subjects", site=command.site) + 1
        while reader.find("subjects", {"subject_id": f"{command.site}-{number:03d}"}):
            number += 1
        return f"{command.site}-{number:03d}"
    if not _SUBJECT_ID.fullmatch(command.subject_id):
        # The text is not repeated: it could be a name.
        raise InputError("subject_id: found another form; expected capitals, digits and hyphens, such as DUO-014")
    return command.subject_id


def _baseline_value(item: str, answer: Any) -> str | None:
    rules = {parts[0]: parts[1:] for parts in ([p.strip() for p in ln.split("|")] for ln in BASELINE.split("\n") if ln)}
    if item not in rules:
        raise UnknownNameError("baseline item", item, rules)
    kind, limits = rules[item]
    text = "" if answer is None else str(answer).strip()
    if not text:
        return None
    if kind == "choice" and text not in limits.split():
        raise InputError(f"baseline {item}: found {text!r}; expected one of {', '.join(limits.split())}")
    if kind == "number":
        low, high = (float(part) for part in limits.split(".."))
        if not re.fullmatch(r"\d+(\.\d+)?", text) or not low <= float(text) <= high:
            raise InputError(f"baseline {item}: found {text!r}; expected a number from {low:g} to {high:g}")
    return text


def _check_answer(subject: Record, items: Mapping[str, ChecklistItem], name: str, answer: str) -> None:
    if name not in items:
        raise UnknownNameError("checklist item", name, items)
    if answer not in ("yes", "no"):
        raise InputError(f"{name}: found {answer!r}; expected yes or no")
    if name == "adult" and (subject["age_years"] >= 18) != (answer == "yes"):
        raise InputError(f"adult: found {answer!r} for an age of {subject['age_years']:g} years; correct one of them")


def _consent_findings(reader: Reader, subject: Record, command: RecordConsent) -> Sequence[SoftFinding]:
    found = []
    if version_in_force(reader, "consent", subject["site"], command.signed_on) is None:
        text = f"no consent form is registered as in force at site {subject['site']} on {command.signed_on}"
        found.append(SoftFinding("consent_version", f"{text}; which version was signed?"))
    if not delegated(reader, command.taken_by, subject["site"], "consent", command.signed_on):
        text = f"{command.taken_by} was not delegated to take consent at site {subject['site']} on {command.signed_on}"
        found.append(SoftFinding("taken_by", f"{text}; is the delegation log complete?"))
    return found


def _consent_document(reader: Reader, site: str, command: RecordConsent) -> str | None:
    document = version_in_force(reader, "consent", site, command.signed_on)
    if document is None:
        return None
    if command.consent_version != document["version"]:
        found = f"found version {command.consent_version}; expected {document['version']}, in force at site {site}"
        raise InputError(f"consent of {command.subject_id}: {found} on {command.signed_on}; consent again on that form")
    return str(document["document_id"])


def _saved(reader: Reader, table: str, key: Mapping[str, Any], values: Mapping[str, Any], version: int | None) -> Edit:
    """First entry or change of one line of a form; an unchanged answer keeps its old day and author."""
    found = reader.find(table, key)
    if found is None:
        return Create(table, {**key, **values})
    main = "value" if table == "baseline" else "answer"
    return Update(table, key, values if found[main] != values[main] else {}, version)


def _past_day(text: str, today: str, where: str) -> str:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{where}: found {text!r}; expected a date such as 2026-05-31") from error
    if day > date.fromisoformat(today):
        raise InputError(f"{where}: found {text}, which is in the future; today is {today}")
    if day < date.fromisoformat(today) - timedelta(days=20 * 366):
        raise InputError(f"{where}: found {text}; expected a date of this trial; check the year")
    return day.isoformat()
