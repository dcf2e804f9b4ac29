"""Screening: enrolment, its correction, the baseline form, and screen failure.

No names: a subject is a number, its age is stored and its birth date nowhere. Consent is in `consent`, the checklist
and its signature in `eligibility`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from lutetia.errors import DuplicateRecordError, InputError, UnknownNameError
from lutetia.trial import Actor, Change, Create, Edit, Reader, Receipt, Trial, Update, access
from lutetia.workflow.course_records import local_day, subject_of
from lutetia.workflow.edits import allowed_subject, now_of, query_edits, required_text, subject_step
from lutetia.workflow.entry_checks import RULES, check_form
from lutetia.workflow.sites_users import open_site

_SUBJECT_ID = re.compile(r"(?=.*\d)[A-Z0-9][A-Z0-9-]{1,19}")

# item | choices or range | unit. To add an item: one line; others are refused.
_BASELINE = """
primary_site    |           |
grade           | 1 2 3     |
ki67            | 0..100    | %
bone_mets       | yes no    |
liver_mets      | yes no    |
hypertension    | yes no    |
diabetes        | yes no    |
prior_prrt      | yes no    |
prior_chemo     | yes no    |
ecog            | 0 1 2 3 4 |
kidneys_present | 1 2       |
"""


@dataclass(frozen=True, slots=True)
class BaselineItem:
    """One line of the baseline form: permitted words, or inclusive limits of a number, or free text."""

    item: str
    choices: tuple[str, ...]
    limits: tuple[float, float] | None
    unit: str | None


def _baseline_item(line: str) -> BaselineItem:
    item, rule, unit = (part.strip() for part in line.split("|"))
    low, is_range, high = rule.partition("..")
    limits = (float(low), float(high)) if is_range else None
    return BaselineItem(item, () if is_range else tuple(rule.split()), limits, unit or None)


BASELINE_ITEMS: dict[str, BaselineItem] = {
    found.item: found for found in map(_baseline_item, _BASELINE.strip().splitlines())
}


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
class CorrectSubject:
    """New values of sex, age_years, height_cm, weight_kg or prior doses; `version` is the one the person saw."""

    subject_id: str
    values: Mapping[str, Any]
    reason: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class RecordBaseline:
    """Answers of the baseline form by item; `on` is the day they hold for (default: today at the site)."""

    subject_id: str
    answers: Mapping[str, Any]
    on: str | None = None
    reason: str | None = None
    versions: Mapping[str, int] = field(default_factory=dict)


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
        For a value out of range, a day in the future or before the site was opened, or a number that could be a name.
    DuplicateRecordError
        If the number is taken.
    """
    access.require(actor, "enter_data", command.site)

    def change(reader: Reader) -> Change:
        site = open_site(reader, command.site)
        today = local_day(reader, command.site, now_of(reader))
        named = {"sex": command.sex, "age_years": command.age_years, "height_cm": command.height_cm,
                 "weight_kg": command.weight_kg, "prior_kidney_Gy": command.prior_kidney_Gy,
                 "prior_marrow_Gy": command.prior_marrow_Gy}  # fmt: skip
        checked = check_form("subjects", named, now=now_of(reader), where="enrolment")
        on = past_day(command.screened_on or today, today, "screened_on")
        if on < (site["opened_on"] or ""):
            text = f"screened_on: found {on}, before site {command.site} was opened on {site['opened_on']}"
            raise InputError(f"{text}; correct the day, or let the administrator correct the site's opening (Sites)")
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


def correct_subject(trial: Trial, actor: Actor, command: CorrectSubject) -> Receipt:
    """Correct what was entered at enrolment; the reason is kept.

    Raises
    ------
    InputError
        For another column, or a value out of range.
    StaleRecordError
        If somebody else changed the record meanwhile.
    """
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)
    reason = required_text(command.reason, "reason of the correction")

    def change(reader: Reader) -> Change:
        current = subject_of(reader, command.subject_id)
        entered = {name: current[name] for name in RULES["subjects"]} | dict(command.values)
        where = f"subject {command.subject_id}"
        checked = check_form("subjects", entered, now=now_of(reader), where=where)
        values = {name: checked.values[name] for name in command.values}
        findings = [finding for finding in checked.findings if finding.field in command.values]
        edits: list[Edit] = [
            Update("subjects", current["record_id"], values, command.version),
            *query_edits(reader, findings, subject_id=command.subject_id, site=subject["site"], table="subjects",
                         values={"subject_id": command.subject_id}),
        ]  # fmt: skip
        return Change("correct_subject", edits)

    return trial.commit(change, actor, reason)


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
        on = past_day(command.on or today, today, "on")
        edits: list[Edit] = []
        for item, answer in command.answers.items():
            key = {"subject_id": command.subject_id, "item": item}
            values = {"value": _baseline_value(item, answer), "unit": BASELINE_ITEMS[item].unit, "on": on}
            edits.append(saved_line(reader, "baseline", key, values=values, version=command.versions.get(item)))
        return Change("record_baseline", edits)

    return trial.commit(change, actor, command.reason)


def fail_screening(trial: Trial, actor: Actor, command: FailScreening) -> Receipt:
    """The subject leaves before randomisation; the reason is kept."""
    subject = allowed_subject(trial, actor, "enter_data", command.subject_id)
    reason = required_text(command.reason, "reason of the screen failure")

    def change(reader: Reader) -> Change:
        current = subject_of(reader, command.subject_id)
        on = past_day(command.on, local_day(reader, subject["site"], now_of(reader)), "on")
        screened = reader.records("disposition", subject_id=command.subject_id, event="screened")
        if screened and on < (first := min(str(row["on"]) for row in screened)):
            raise InputError(f"on: found {on}, before the subject was screened on {first}; correct the date")
        event = {"subject_id": command.subject_id, "event": "screen_failed", "on": on, "reason": reason}
        return Change("fail_screening", [Create("disposition", event), subject_step(reader, current, "SCREEN_FAILED")])

    return trial.commit(change, actor, reason)


def saved_line(
    reader: Reader, table: str, key: Mapping[str, Any], values: Mapping[str, Any], version: int | None
) -> Edit:
    """First entry or change of one line of a form; an unchanged answer keeps its old day and author.

    `version` is that of the line that the person saw, 0 where there was none; None compares nothing.
    """
    found = reader.find(table, key)
    if found is None:
        return Create(table, {**key, **values})
    main = "value" if table == "baseline" else "answer"
    return Update(table, key, {}) if found[main] == values[main] else Update(table, key, values, version)


def past_day(text: str, today: str, where: str) -> str:
    """A whole date up to today and not absurdly old.

    Raises
    ------
    InputError
        For anything else.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"{where}: found {text!r}; expected a date such as 2026-05-31") from error
    if day > date.fromisoformat(today):
        raise InputError(f"{where}: found {text}, which is in the future; today is {today}")
    if day < date.fromisoformat(today) - timedelta(days=20 * 366):
        raise InputError(f"{where}: found {text}; expected a date of this trial; check the year")
    return day.isoformat()


def _subject_id(reader: Reader, command: Enrol) -> str:
    if command.subject_id is None:
        number = reader.count("subjects", site=command.site) + 1
        while reader.find("subjects", {"subject_id": f"{command.site}-{number:03d}"}):
            number += 1
        return f"{command.site}-{number:03d}"
    if not _SUBJECT_ID.fullmatch(command.subject_id):
        # The text is not repeated: it could be a name.
        raise InputError("subject_id: found another form; expected capitals, digits and hyphens, such as DUO-014")
    if reader.find("subjects", {"subject_id": command.subject_id}) is not None:
        raise DuplicateRecordError(
            f"subject_id: {command.subject_id} is enrolled already; check the number, or leave it blank to take the "
            "site's next one"
        )
    return command.subject_id


def _baseline_value(item: str, answer: Any) -> str | None:
    if item not in BASELINE_ITEMS:
        raise UnknownNameError("baseline item", item, BASELINE_ITEMS)
    rule, text = BASELINE_ITEMS[item], "" if answer is None else str(answer).strip()
    if not text:
        return None
    if rule.choices and text not in rule.choices:
        raise InputError(f"baseline {item}: found {text!r}; expected one of {', '.join(rule.choices)}")
    if rule.limits:
        low, high = rule.limits
        if not re.fullmatch(r"\d+(\.\d+)?", text) or not low <= float(text) <= high:
            raise InputError(f"baseline {item}: found {text!r}; expected a number from {low:g} to {high:g}")
    return text
