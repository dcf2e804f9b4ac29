"""Which laboratory samples and events are toxic by the rules, class by class; and the rules as read from their file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from lutetia.clinical.ctcae import grade_value, worst_grade
from lutetia.clinical.labs import LabValue
from lutetia.clinical.renal import Sex, cockcroft_gault
from lutetia.errors import ProtocolError
from lutetia.protocol import checking as check

Baseline = Callable[[str], LabValue | None]


@dataclass(frozen=True, slots=True)
class Patient:
    """What Cockcroft–Gault needs besides creatinine."""

    sex: Sex
    age_years: float
    weight_kg: float


@dataclass(frozen=True, slots=True)
class ToxicityEvent:
    """A related adverse event that is not a laboratory value; `ended_at` None while it lasts."""

    kind: str
    grade: int
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One sample (or event) of one class: toxic by the rule, recovered enough to go on, or an end to treatment."""

    at: datetime
    toxic: bool
    recovered: bool
    text: str
    stops: bool = False


@dataclass(frozen=True, slots=True)
class GradeRule:
    """Hold from `hold_grade`, go on at `resume_grade` or less."""

    name: str
    analyte: str
    hold_grade: int
    resume_grade: int


@dataclass(frozen=True, slots=True)
class ToxicityRules:
    """The rules of one file; see `data/toxicity_177lu_label.toml`."""

    name: str
    check_the_label: bool
    assumptions: tuple[str, ...]
    longest_delay_weeks: float
    required_analytes: tuple[str, ...]
    no_increase_grade: int
    no_increase_analytes: tuple[str, ...]
    grade_rules: tuple[GradeRule, ...]
    clearance_below_mL_per_min: float
    creatinine_rise: float
    clearance_fall: float
    bilirubin_above_uln: Decimal
    albumin_below_g_per_L: Decimal
    inr_above: Decimal
    stop_kind: str
    stop_grade: int
    event_hold_grade: int
    event_resume_grade: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the toxicity classes."""
        return (*(rule.name for rule in self.grade_rules), "renal", "hepatic", "other")


@cache
def read_toxicity_rules(path: Path | None = None) -> ToxicityRules:
    """Toxicity rules from a file; the packaged ones after the 177Lu label by default.

    Raises
    ------
    ProtocolError
        If the file cannot be read or lacks a rule.
    """
    source = path if path is not None else files("lutetia.protocol") / "data" / "toxicity_177lu_label.toml"
    where = "toxicity rules" if path is None else path.name
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProtocolError(f"{where}: cannot be read as TOML ({error})") from error
    return _rules(table, where)


def _rules(table: Mapping[str, Any], where: str) -> ToxicityRules:
    check.known_keys(table, _KEYS, where=where)
    parts = {}
    for key in ("renal", "hepatic", "events"):
        if not isinstance(part := table.get(key), dict):
            raise ProtocolError(f"{where}: the table [{key}] is missing; add it")
        parts[key] = part
    renal, hepatic, events = parts["renal"], parts["hepatic"], parts["events"]
    return ToxicityRules(
        name=check.text(table, "name", where=where),
        check_the_label=check.boolean(table, "check_the_label", where=where, default=True),
        assumptions=check.words(table, "assumptions", where=where),
        longest_delay_weeks=check.number(table, "longest_delay_weeks", where=where, above=0),
        required_analytes=check.words(table, "required_analytes", where=where),
        no_increase_grade=check.count(table, "no_increase_grade", where=where),
        no_increase_analytes=check.words(table, "no_increase_analytes", where=where),
        grade_rules=tuple(_grade_rule(row, where) for row in table.get("grade_rules", [])),
        clearance_below_mL_per_min=check.number(
            renal, "creatinine_clearance_below_mL_per_min", where=where, at_least=0
        ),
        creatinine_rise=check.number(renal, "creatinine_rise", where=where, above=0),
        clearance_fall=check.number(renal, "clearance_fall", where=where, above=0),
        bilirubin_above_uln=Decimal(check.text(hepatic, "bilirubin_above_uln", where=where)),
        albumin_below_g_per_L=Decimal(check.text(hepatic, "albumin_below_g_per_L", where=where)),
        inr_above=Decimal(check.text(hepatic, "inr_above", where=where)),
        stop_kind=check.text(events, "stop_kind", where=where),
        stop_grade=check.count(events, "stop_grade", where=where),
        event_hold_grade=check.count(events, "hold_grade", where=where),
        event_resume_grade=check.count(events, "resume_grade", where=where),
    )


_KEYS = (
    "name",
    "check_the_label",
    "assumptions",
    "longest_delay_weeks",
    "required_analytes",
    "no_increase_grade",
    "no_increase_analytes",
    "grade_rules",
    "renal",
    "hepatic",
    "events",
)


def _grade_rule(row: Mapping[str, Any], where: str) -> GradeRule:
    rule = GradeRule(
        check.text(row, "class", where=where),
        check.text(row, "analyte", where=where),
        check.count(row, "hold_grade", where=where),
        check.count(row, "resume_grade", where=where),
    )
    if rule.resume_grade >= rule.hold_grade:
        raise ProtocolError(f"{where}: {rule.name}: resume_grade {rule.resume_grade} is not below hold_grade")
    return rule


def class_findings(
    rules: ToxicityRules,
    window: Sequence[LabValue],
    events: Sequence[ToxicityEvent],
    *,
    start: datetime,
    end: datetime,
    patient: Patient | None,
    before: Baseline,
) -> dict[str, list[Finding]]:
    """Findings of every class in the samples of one window, in time order.

    Parameters
    ----------
    rules
        Of `read_toxicity_rules`.
    window
        Values with a number, in time order.
    events
        All events; those that lasted into the window count.
    start, end
        Bounds of the window.
    patient
        For creatinine clearance; None leaves it out.
    before
        Baseline of an analyte.
    """
    found = {rule.name: _graded(rule, window) for rule in rules.grade_rules}
    found["renal"] = _renal(rules, window, patient, before)
    found["hepatic"] = _hepatic(rules, window)
    found["other"] = _events(rules, events, start, end)
    return found


def _graded(rule: GradeRule, window: Sequence[LabValue]) -> list[Finding]:
    found = []
    for value in window:
        if value.analyte == rule.analyte and value.value is not None:
            # an ungraded value has passed no fixed cut, so it is below every grade that holds
            grade = worst_grade(grade_value(value.analyte, value.value, lln=value.lln, uln=value.uln)) or 0
            text = f"{value.analyte} {_number(value.value)} {value.unit}, grade {grade}"
            found.append(Finding(value.taken_at, grade >= rule.hold_grade, grade <= rule.resume_grade, text))
    return found


def _renal(
    rules: ToxicityRules, window: Sequence[LabValue], patient: Patient | None, before: Baseline
) -> list[Finding]:
    start = before("creatinine")
    found = []
    for value in window:
        if value.analyte != "creatinine" or not value.value:
            continue
        causes = _renal_causes(rules, value.value, None if start is None else start.value, patient)
        found.append(Finding(value.taken_at, bool(causes), not causes, "; ".join(causes)))
    return found


def _renal_causes(
    rules: ToxicityRules, creatinine: Decimal, start: Decimal | None, patient: Patient | None
) -> list[str]:
    causes = []
    if start and creatinine >= start * (1 + Decimal(str(rules.creatinine_rise))):
        causes.append(f"creatinine {100 * (creatinine / start - 1):.0f} % above baseline")
    if patient is None:
        return causes
    clearance = _clearance(creatinine, patient)
    if clearance < rules.clearance_below_mL_per_min:
        causes.append(f"creatinine clearance {clearance:.0f} mL/min")
    if start and clearance <= _clearance(start, patient) * (1 - rules.clearance_fall):
        causes.append(f"creatinine clearance {100 * (1 - clearance / _clearance(start, patient)):.0f} % below baseline")
    return causes


def _clearance(creatinine_umol_per_L: Decimal, patient: Patient) -> float:
    value = float(creatinine_umol_per_L)
    return float(cockcroft_gault(value, patient.age_years, patient.sex, weight_kg=patient.weight_kg))


def _hepatic(rules: ToxicityRules, window: Sequence[LabValue]) -> list[Finding]:
    """Each liver sample together with the latest others before it in the window."""
    latest: dict[str, LabValue] = {}
    found = []
    for value in window:
        if value.analyte in ("bilirubin", "albumin", "inr"):
            latest[value.analyte] = value
            causes = _hepatic_causes(rules, latest)
            found.append(Finding(value.taken_at, bool(causes), not causes, "; ".join(causes)))
    return found


def _hepatic_causes(rules: ToxicityRules, latest: Mapping[str, LabValue]) -> list[str]:
    causes = []
    bilirubin, albumin, inr = (latest.get(name) for name in ("bilirubin", "albumin", "inr"))
    if bilirubin and bilirubin.value and bilirubin.uln:
        multiple = bilirubin.value / bilirubin.uln
        if bilirubin.value > rules.bilirubin_above_uln * bilirubin.uln:
            causes.append(f"bilirubin {_number(bilirubin.value)} {bilirubin.unit}, {multiple:.1f} × ULN")
    low = albumin is not None and albumin.value is not None and albumin.value < rules.albumin_below_g_per_L
    high = inr is not None and inr.value is not None and inr.value > rules.inr_above
    if low and high:
        causes.append(f"albumin below {rules.albumin_below_g_per_L} g/L with INR above {rules.inr_above}")
    return causes


def _events(rules: ToxicityRules, events: Sequence[ToxicityEvent], start: datetime, end: datetime) -> list[Finding]:
    found = []
    for event in sorted(events, key=lambda e: e.started_at):
        if event.started_at > end or (event.ended_at is not None and event.ended_at <= start):
            continue
        stops = event.kind == rules.stop_kind and event.grade >= rules.stop_grade
        over = event.ended_at is not None and event.ended_at <= end
        recovered = over or event.grade <= rules.event_resume_grade
        text = f"{event.kind}, grade {event.grade}"
        found.append(Finding(event.started_at, event.grade >= rules.event_hold_grade, recovered, text, stops))
    return sorted(found, key=lambda f: not f.recovered) if found else []


def _number(value: Decimal) -> str:
    return f"{value.normalize():f}"
