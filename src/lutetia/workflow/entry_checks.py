"""Checks at entry, as a table: type, range, unit and date of every field; hard stops refuse, soft ones open a query.

Here: checks of one form's own fields. Not here: checks against other records (the use cases make them, with
`dates_in_order` and the subject's record). To add a check: one line of `FIELDS`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lutetia.errors import InputError
from lutetia.trial.clock import day, instant

# form | field | kind | hard range or choices | usual range (outside: a query) | words: required, future, partial
# Usual ranges are assumptions: wide enough for oncology patients, narrow enough to find a wrong unit or digit.
FIELDS = """
subjects         | sex               | choice  | female male                       |            | required
subjects         | age_years         | number  | 18..110                           | 18..90     | required
subjects         | height_cm         | number  | 100..230                          | 140..200   |
subjects         | weight_kg         | number  | 20..350                           | 40..150    |
subjects         | prior_kidney_Gy   | number  | 0..80                             | 0..30      |
subjects         | prior_marrow_Gy   | number  | 0..10                             | 0..2       |
consents         | kind              | choice  | main amendment optional           |            | required
consents         | consent_version   | text    |                                   |            | required
consents         | signed_on         | date    |                                   |            | required
consents         | note              | text    |                                   |            |
eligibility      | answered_on       | date    |                                   |            | required
vitals           | taken_on          | date    |                                   |            | required
vitals           | weight_kg         | number  | 20..350                           | 40..150    |
vitals           | ecog              | integer | 0..5                              | 0..2       |
treatments       | kind              | choice  | transfusion_red transfusion_platelet g_csf epo anticoagulant nephrotoxic |  | required
treatments       | started_on        | date    |                                   |            | required
treatments       | ended_on          | date    |                                   |            |
treatments       | agent             | text    |                                   |            |
cycles           | planned_on        | date    |                                   |            | required future
adverse_events   | started_on        | date    |                                   |            | required partial
adverse_events   | ended_on          | date    |                                   |            | partial
adverse_events   | ongoing           | choice  | yes no                            |            | required
adverse_events   | term              | text    |                                   |            | required
adverse_events   | code              | text    |                                   |            |
adverse_events   | system_organ_class| text    |                                   |            |
adverse_events   | grade             | integer | 1..5                              |            | required
adverse_events   | serious           | choice  | yes no                            |            | required
adverse_events   | seriousness       | choice  | death life_threatening hospitalisation disability congenital_anomaly other |  |
adverse_events   | related           | choice  | none possible probable definite   |            | required
adverse_events   | related_to        | text    |                                   |            |
adverse_events   | aesi              | choice  | yes no                            |            |
adverse_events   | action            | text    |                                   |            |
adverse_events   | outcome           | choice  | recovered recovering not_recovered recovered_with_sequelae fatal unknown |  |
adverse_events   | aware_at          | instant |                                   |            |
adverse_events   | reported_at       | instant |                                   |            |
administrations  | started_at        | instant |                                   |            | required
administrations  | ended_at          | instant |                                   |            | required
administrations  | measured_MBq      | number  | 0..60000                          | 100..15000 | required
administrations  | measured_at       | instant |                                   |            | required
administrations  | residual_MBq      | number  | 0..60000                          | 0..500     | required
administrations  | residual_at       | instant |                                   |            | required
administrations  | batch             | text    |                                   |            | required
product_batches  | batch             | text    |                                   |            | required
product_batches  | activity_MBq      | number  | 0..1000000                        | 500..100000| required
product_batches  | calibrated_at     | instant |                                   |            | required future
product_batches  | expires_at        | instant |                                   |            | required future
product_batches  | received_on       | date    |                                   |            | required
responses        | assessed_on       | date    |                                   |            | required
responses        | method            | choice  | recist_1_1 clinical               |            | required
responses        | response          | choice  | CR PR SD non-CR/non-PD PD NE baseline | | required
responses        | progression       | choice  | yes no                            |            | required
lesions          | assessed_on       | date    |                                   |            | required
lesions          | lesion            | text    |                                   |            | required
lesions          | region            | text    |                                   |            | required
lesions          | kind              | choice  | target target_node non_target non_target_node new |  | required
lesions          | diameter_mm       | number  | 0..500                            | 5..200     |
deviations       | on                | date    |                                   |            | required
deviations       | kind              | choice  | activity window missing_nuclide non_standardised eligibility consent procedure laboratory dosimetry randomisation other |  | required
deviations       | severity          | choice  | minor major critical              |            | required
deviations       | description       | text    |                                   |            | required
disposition      | on                | date    |                                   |            | required
disposition      | reason            | text    |                                   |            |
"""  # noqa: E501

YEARS_AHEAD = 10  # assumption: nothing is planned and nothing expires later than this
_UNITS = ("kg", "cm", "mm", "MBq", "Gy", "years")
_NO_YES = {"true": "yes", "false": "no"}


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One field of one form: `hard` and `usual` are inclusive ranges, `choices` the permitted words."""

    form: str
    field: str
    kind: str
    hard: tuple[float, float] | None
    usual: tuple[float, float] | None
    choices: tuple[str, ...]
    required: bool
    future: bool
    partial: bool


@dataclass(frozen=True, slots=True)
class SoftFinding:
    """A value that is stored and asked about: the text becomes a query."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class Checked:
    """Values in the form that is stored (dates and instants in ISO, instants in UTC), and what to ask about."""

    values: dict[str, Any]
    findings: tuple[SoftFinding, ...]


def check_form(form: str, values: Mapping[str, Any], *, now: datetime, where: str = "") -> Checked:
    """Check the fields of one form.

    Parameters
    ----------
    form
        A form of `FIELDS`.
    values
        As entered: texts or numbers; None or an empty text is a missing value.
    now
        The trial's time in the time zone of the site; later days and times are refused where the table does not permit
        them.

    Raises
    ------
    InputError
        With one line for each field that cannot be stored: found, expected.
    """
    rules = RULES[form]
    problems = [f"{name}: is no field of this form; known: {', '.join(rules)}" for name in values if name not in rules]
    cleaned: dict[str, Any] = {}
    findings: list[SoftFinding] = []
    for name, rule in rules.items():
        if name not in values and not rule.required:
            continue
        try:
            value = _checked(rule, values.get(name), now)
        except InputError as error:
            problems.append(str(error))
            continue
        cleaned[name] = value
        if value is not None and rule.usual and not rule.usual[0] <= value <= rule.usual[1]:
            low, high = rule.usual
            what, unit = in_words(name)
            text = f"{what} {value:g}{unit} is outside {low:g} to {high:g}{unit}; is it right?"
            findings.append(SoftFinding(name, text))
    if problems:
        head = f"{where or form.replace('_', ' ')}: "
        raise InputError(head + ("; ".join(problems)))
    return Checked(cleaned, tuple(findings))


def in_words(name: str) -> tuple[str, str]:
    """A field's name and unit as people read them: ``weight_kg`` is weight in kg."""
    plain, _, unit = name.rpartition("_")
    if plain and unit in _UNITS:
        return plain.replace("_", " "), f" {unit}"
    return name.replace("_", " "), ""


def dates_in_order(values: Mapping[str, Any], *pairs: tuple[str, str], where: str) -> None:
    """Refuse a form whose second date of a pair lies before the first; partial dates count from their first day.

    Raises
    ------
    InputError
        Naming both fields and dates.
    """
    for first, second in pairs:
        a, b = values.get(first), values.get(second)
        if a is None or b is None:
            continue
        length = min(len(a), len(b)) if len(a) != len(b) else len(a)
        if b[:length] < a[:length]:
            raise InputError(f"{where}: found {second} {b} before {first} {a}; correct one of them")


def _checked(rule: FieldRule, value: Any, now: datetime) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        if rule.required:
            raise InputError(f"{rule.field}: is missing; enter it, or record why it is missing")
        return None
    if rule.kind in ("number", "integer"):
        return _number(rule, value)
    text = _NO_YES.get(str(value).strip().lower(), str(value).strip())
    if rule.kind == "choice":
        if text not in rule.choices:
            raise InputError(f"{rule.field}: found {text!r}; expected one of {', '.join(rule.choices)}")
        return text
    if rule.kind == "date":
        return _date(rule, text, now)
    if rule.kind == "instant":
        return _instant(rule, text, now)
    return text


def _number(rule: FieldRule, value: Any) -> float | int:
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        hint = " with a decimal point" if isinstance(value, str) and "," in value else ""
        raise InputError(f"{rule.field}: found {value!r}; expected a number{hint}") from error
    if not math.isfinite(number) or isinstance(value, bool):
        raise InputError(f"{rule.field}: found {value!r}; expected a finite number")
    if rule.hard and not rule.hard[0] <= number <= rule.hard[1]:
        low, high = rule.hard
        raise InputError(f"{rule.field}: found {number:g}; expected {low:g} to {high:g}; check the unit")
    if rule.kind == "integer":
        if number != int(number):
            raise InputError(f"{rule.field}: found {number:g}; expected a whole number")
        return int(number)
    return number


def _date(rule: FieldRule, text: str, now: datetime) -> str:
    wanted = "a date such as 2026-05-31 (or 2026-05)" if rule.partial else "a whole date such as 2026-05-31"
    try:
        found = day(text, where=rule.field)
    except InputError as error:
        hint = "; check the year" if "check the year" in str(error) else ""
        raise InputError(f"{rule.field}: found {text!r}; expected {wanted}{hint}") from error
    if len(found) < 10 and not rule.partial:
        raise InputError(f"{rule.field}: found {text!r}; expected {wanted}")
    today = now.date().isoformat()
    if not rule.future and found > today[: len(found)]:
        raise InputError(f"{rule.field}: found {found}, which is in the future; today is {today}")
    if found < "1920" or found[:4] > str(now.year + YEARS_AHEAD):
        raise InputError(f"{rule.field}: found {found}; expected a date of this trial; check the year")
    return found


def _instant(rule: FieldRule, text: str, now: datetime) -> str:
    found = instant(text, where=rule.field)
    if len(found) == 10:
        raise InputError(f"{rule.field}: found a date without time of day; expected 2026-01-12T09:30:00+01:00")
    if not rule.future and datetime.fromisoformat(found) > now:
        entered = datetime.fromisoformat(text)
        then, present = (m.strftime("%Y-%m-%d %H:%M") for m in (entered, now.astimezone(entered.tzinfo)))
        raise InputError(f"{rule.field}: found {then}, which is in the future; it is now {present}")
    if found < "1990" or found[:4] > str(now.year + YEARS_AHEAD):
        raise InputError(f"{rule.field}: found {found}; expected a time of this trial; check the year")
    return found


def _range(text: str) -> tuple[float, float] | None:
    low, _, high = text.partition("..")
    return (float(low), float(high)) if high else None


def _rule(line: str) -> FieldRule:
    form, field, kind, hard, usual, words = (part.strip() for part in line.split("|"))
    flags: Sequence[str] = words.split()
    return FieldRule(
        form, field, kind,
        hard=_range(hard) if kind in ("number", "integer") else None,
        usual=_range(usual),
        choices=tuple(hard.split()) if kind == "choice" else (),
        required="required" in flags, future="future" in flags, partial="partial" in flags,
    )  # fmt: skip


def _rules() -> dict[str, dict[str, FieldRule]]:
    table: dict[str, dict[str, FieldRule]] = {}
    for line in FIELDS.strip().splitlines():
        rule = _rule(line)
        table.setdefault(rule.form, {})[rule.field] = rule
    return table


RULES: dict[str, dict[str, FieldRule]] = _rules()
