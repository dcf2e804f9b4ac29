"""Eligibility: the checklist, its physician's signature, and what still forbids an allocation.

A subject is ELIGIBLE when a physician signed the answered checklist together with the consent; a later change of an
answer or of the consent voids that signature, and `enrolment_faults` says so before an allocation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lutetia.errors import InputError, StaleRecordError, TransitionError, TrialError, UnknownNameError
from lutetia.trial import Actor, Change, Create, Edit, Reader, Receipt, Record, Sign, Trial
from lutetia.trial.seals import covering_signatures
from lutetia.trial.signatures import VALID, Confirmed, status
from lutetia.workflow.consent import main_consents
from lutetia.workflow.course_records import local_day, subject_of
from lutetia.workflow.edits import allowed_subject, now_of, subject_step
from lutetia.workflow.screening import past_day, saved_line
from lutetia.workflow.study_setup import ChecklistItem, checklist_of, study_record

ELIGIBILITY = "eligibility confirmed"
#: What keeps everybody from being signed as eligible where a study has no checklist.
NO_CHECKLIST = (
    "the study has no eligibility checklist; the administrator adds [[checklist]] lines to study.toml and puts it in "
    "force on Documents"
)


@dataclass(frozen=True, slots=True)
class EligibilityLine:
    """One question of the checklist with its answer and the version of that record (None: not answered)."""

    item: str
    text: str
    required: str
    answer: str | None
    version: int | None


@dataclass(frozen=True, slots=True)
class EligibilityForm:
    """The checklist as a page shows it; `faults` says what still forbids an allocation.

    `missing` is what has to be completed before a physician can sign; `to_sign` is number and version of each record
    that a signature covers, for `SignEligibility.seen`.
    """

    subject_id: str
    state: str
    lines: tuple[EligibilityLine, ...]
    faults: tuple[str, ...]
    missing: tuple[str, ...]
    to_sign: Mapping[int, int]


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
    """A physician's signature over checklist and consent; `confirmed` comes from `trial.signatures.confirm`.

    `seen` are number and version of the records that the physician was shown (`EligibilityForm.to_sign`); None compares
    nothing.
    """

    subject_id: str
    confirmed: Confirmed
    seen: Mapping[int, int] | None = None


def read_eligibility(trial: Trial, actor: Actor, subject_id: str) -> EligibilityForm:
    """The checklist of a subject with its answers, and what still forbids an allocation."""
    allowed_subject(trial, actor, "see_subject", subject_id)
    with trial.read() as reader:
        rows = {row["item"]: row for row in reader.records("eligibility_items", subject_id=subject_id)}
        lines = tuple(
            EligibilityLine(
                item.item, item.text, item.required, rows.get(item.item, {}).get("answer"),
                rows.get(item.item, {}).get("record_version"),
            )
            for item in checklist_of(study_record(reader)["settings"])
        )  # fmt: skip
        state = str(subject_of(reader, subject_id)["state"])
        faults, missing = (tuple(f(reader, subject_id)) for f in (enrolment_faults, checklist_faults))
        return EligibilityForm(subject_id, state, lines, faults, missing, records_to_sign(reader, subject_id))


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
        on = past_day(command.answered_on or today, today, "answered_on")
        items = {item.item: item for item in checklist_of(study_record(reader)["settings"])}
        edits: list[Edit] = []
        for name, answer in command.answers.items():
            _check_answer(current, items, name, answer)
            key = {"subject_id": command.subject_id, "item": name}
            values = {"answer": answer, "answered_by": actor.user_id, "answered_on": on}
            edits.append(
                saved_line(reader, "eligibility_items", key, values=values, version=command.versions.get(name))
            )
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
    StaleRecordError
        If an answer or the consent is another one than the physician was shown.
    """
    subject = allowed_subject(trial, actor, "sign_forms", command.subject_id)

    def change(reader: Reader) -> Change:
        current = subject_of(reader, command.subject_id)
        if faults := checklist_faults(reader, command.subject_id):
            raise TrialError(f"subject {command.subject_id}: cannot be signed as eligible: {'; '.join(faults)}")
        if command.seen is not None and command.seen != records_to_sign(reader, command.subject_id):
            raise StaleRecordError(
                f"subject {command.subject_id}: an answer or the consent changed since you opened the page; read them "
                "again, then sign"
            )
        edits: list[Edit] = [Sign(_signed_records(reader, command.subject_id), ELIGIBILITY, command.confirmed)]
        if current["state"] != "ELIGIBLE":
            event = {"subject_id": command.subject_id, "event": "eligible",
                     "on": local_day(reader, subject["site"], now_of(reader))}  # fmt: skip
            edits += [Create("disposition", event), subject_step(reader, current, "ELIGIBLE")]
        return Change("sign_eligibility", edits)

    return trial.commit(change, actor)


def records_to_sign(reader: Reader, subject_id: str) -> dict[int, int]:
    """Number and version of each record that the signature of eligibility covers."""
    return {number: int(reader.record(table, number)["record_version"])
            for table, number in _signed_records(reader, subject_id)}  # fmt: skip


def checklist_faults(reader: Reader, subject_id: str) -> list[str]:
    """What keeps the checklist from being signed, in words; empty when nothing does."""
    answers = {row["item"]: row["answer"] for row in reader.records("eligibility_items", subject_id=subject_id)}
    items = checklist_of(study_record(reader)["settings"])
    faults = [] if items else [NO_CHECKLIST]
    for item in items:
        answer = answers.get(item.item)
        if answer is None:
            faults.append(f"{_words(item.item)} is not answered")
        elif answer != item.required:
            faults.append(f"{_words(item.item)} is answered {answer}, which excludes the subject")
    if not main_consents(reader, subject_id):
        faults.append("no consent in force is recorded; whoever took it records it under Consent")
    return faults


def _words(item: str) -> str:
    """The name of a checklist item as people read it."""
    return item.replace("_", " ")


def enrolment_faults(reader: Reader, subject_id: str) -> list[str]:
    """What forbids an allocation: checklist faults, and answers or a consent that no valid signature covers."""
    faults = checklist_faults(reader, subject_id)
    if faults:
        return faults
    proven: dict[int, bool] = {}
    for table, number in _signed_records(reader, subject_id):
        covering = covering_signatures(reader, table, number)
        proven |= {n: _is_eligibility(reader, n) for n in covering if n not in proven}
        if not any(proven[n] for n in covering):
            what = "consent" if table == "consents" else reader.record(table, number)["item"]
            faults.append(f"{what} has no valid signature; a physician of the site signs eligibility and consent")
    return faults


def _is_eligibility(reader: Reader, signature_id: int) -> bool:
    meaning = reader.record("signatures", {"signature_id": signature_id})["meaning"]
    return bool(meaning == ELIGIBILITY) and status(reader, signature_id) == VALID


def _signed_records(reader: Reader, subject_id: str) -> tuple[tuple[str, int], ...]:
    items = [item.item for item in checklist_of(study_record(reader)["settings"])]
    rows = [row for row in reader.records("eligibility_items", subject_id=subject_id) if row["item"] in items]
    consents = main_consents(reader, subject_id)
    pairs = [("eligibility_items", row) for row in rows] + [("consents", row) for row in consents]
    return tuple((table, int(row["record_id"])) for table, row in pairs)


def _check_answer(subject: Record, items: Mapping[str, ChecklistItem], name: str, answer: str) -> None:
    if name not in items:
        raise UnknownNameError("checklist item", name, items)
    if answer not in ("yes", "no"):
        raise InputError(f"{name}: found {answer!r}; expected yes or no")
    if name == "pregnancy" and answer == "yes" and subject["sex"] == "male":
        raise InputError("pregnancy: found 'yes' for a man; correct the answer or the subject's sex")
    if name == "adult" and (subject["age_years"] >= 18) != (answer == "yes"):
        raise InputError(f"adult: found {answer!r} for an age of {subject['age_years']:g} years; correct one of them")
