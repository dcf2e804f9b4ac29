"""Which laboratory samples and events are toxic by the rules, class by class; and the rules as read from their file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
OTHER = "other"  # the class of events that no other class names
FATAL = 5  # CTCAE grade of death


@dataclass(frozen=True, slots=True)
class Patient:
    """What Cockcroft–Gault needs besides creatinine."""

    sex: Sex
    age_years: float
    weight_kg: float


@dataclass(frozen=True, slots=True)
class ToxicityEvent:
    """One grade of a related adverse event; `ended_at` None while it lasts.

    `kind` is one of `lutetia.protocol.event_terms.event_kinds`. Where only the day is known, `started_at` is its first
    and `started_until` its last instant, and `ended_at` the first instant of the last day; for a known time
    `started_until` is None. Periods with the same `episode` are grades of one event; `name` is the event in words.
    """

    kind: str
    grade: int
    started_at: datetime
    ended_at: datetime | None = None
    started_until: datetime | None = None
    episode: str = ""
    name: str = ""

    def over_at(self, moment: datetime) -> bool:
        """Whether it had ended by then, or on the day that begins before then."""
        return self.ended_at is not None and self.ended_at <= moment

    def before_infusion(self, start: datetime) -> bool:
        """Whether it had begun and ended before an infusion: what begins on the day of one belongs to that one."""
        return (self.started_until or self.started_at) < start and self.over_at(start)


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
    event_rules: tuple[GradeRule, ...]
    clearance_below_mL_per_min: float
    creatinine_rise: float
    clearance_fall: float
    bilirubin_above_uln: Decimal
    albumin_below_g_per_L: Decimal
    inr_above: Decimal
    stop_kind: str
    stop_grade: int
    other_events: GradeRule
    no_change_kinds: tuple[str, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the toxicity classes."""
        return (*(rule.name for rule in self.grade_rules), "renal", "hepatic", OTHER)

    def event_rule(self, kind: str) -> GradeRule:
        """The class to which an event of a kind belongs, and its grades."""
        known = (*self.grade_rules, *self.event_rules)
        return next((rule for rule in known if rule.analyte == kind), self.other_events)


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
        event_rules=tuple(_event_rule(row, where) for row in table.get("event_rules", [])),
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
        other_events=_grade_rule({**events, "class": OTHER, "analyte": OTHER}, where),
        no_change_kinds=check.words(events, "no_change", where=where),
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
    "event_rules",
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


def _event_rule(row: Mapping[str, Any], where: str) -> GradeRule:
    check.word(row, "class", known=("renal", "hepatic", OTHER), where=where)
    return _grade_rule(row, where)


def class_findings(
    rules: ToxicityRules,
    window: Sequence[LabValue],
    events: Sequence[ToxicityEvent],
    *,
    end: datetime,
    patient: Patient | None,
    before: Baseline,
) -> dict[str, list[Finding]]:
    """Findings of every class in the samples of one window, in time order, then events; what is not over comes last.

    Parameters
    ----------
    rules
        Of `read_toxicity_rules`.
    window
        Values with a number, in time order.
    events
        Events of the window, as `window_events`.
    end
        End of the window.
    patient
        For creatinine clearance; None leaves it out.
    before
        Baseline of an analyte.
    """
    found = {rule.name: _graded(rule, window) for rule in rules.grade_rules}
    found["renal"] = _renal(rules, window, patient, before)
    found["hepatic"] = _hepatic(rules, window)
    found[OTHER] = []
    seen = _event_findings(rules, events, end)
    return {name: _worse_last(samples, seen.get(name, [])) for name, samples in found.items()}


def window_events(
    events: Sequence[ToxicityEvent], start: datetime | None, end: datetime, *, last: bool
) -> list[ToxicityEvent]:
    """Events, of those known at the decision, that belong to the window between two infusions: each to exactly one.

    That is the first window at whose end it is over, and the last one for what still lasts. What begins on the day of
    an infusion belongs to the window that it opens; what only ends on that day, to the one before.

    Parameters
    ----------
    start, end
        The infusions; None before the first one. For the `last` window the end is the decision.
    """
    own = [e for e in events if start is None or not e.before_infusion(start)]
    return own if last else [e for e in own if e.before_infusion(end)]


def episodes(rules: ToxicityRules, events: Sequence[ToxicityEvent]) -> list[ToxicityEvent]:
    """Grades of one event put together for as long as it did not recover, with the worst of them."""
    found: list[ToxicityEvent] = []
    for event in sorted(events, key=lambda e: (e.episode, e.kind, e.started_at)):
        last = found[-1] if found else None
        resume = rules.event_rule(event.kind).resume_grade
        if last and event.episode and (last.episode, last.kind) == (event.episode, event.kind) and (
            min(last.grade, event.grade) > resume
        ):  # fmt: skip
            found[-1] = replace(last, grade=max(last.grade, event.grade), ended_at=event.ended_at)
        else:
            found.append(event)
    return found


def _graded(rule: GradeRule, window: Sequence[LabValue]) -> list[Finding]:
    found = []
    for value in window:
        if value.analyte == rule.analyte and value.value is not None:
            # an ungraded value has passed no fixed cut, so it is below every grade that holds
            grade = worst_grade(grade_value(value.analyte, value.value, lln=value.lln, uln=value.uln)) or 0
            text = f"{value.analyte} {value.reported}, grade {grade}"
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
            causes.append(f"bilirubin {bilirubin.reported}, {multiple:.1f} × ULN")
    low = albumin is not None and albumin.value is not None and albumin.value < rules.albumin_below_g_per_L
    high = inr is not None and inr.value is not None and inr.value > rules.inr_above
    if low and high:
        causes.append(f"albumin below {rules.albumin_below_g_per_L} g/L with INR above {rules.inr_above}")
    return causes


def _event_findings(rules: ToxicityRules, events: Sequence[ToxicityEvent], end: datetime) -> dict[str, list[Finding]]:
    """Findings by class; death stops whatever its cause, and kinds of `no_change_kinds` have no other effect."""
    found: dict[str, list[Finding]] = {}
    for event in sorted(events, key=lambda e: e.started_at):
        rule = rules.event_rule(event.kind)
        stops = event.grade >= FATAL or (event.kind == rules.stop_kind and event.grade >= rules.stop_grade)
        if event.kind in rules.no_change_kinds and not stops:
            continue
        recovered = event.grade < FATAL and (event.over_at(end) or event.grade <= rule.resume_grade)
        text = f"{event.name or event.kind}, grade {event.grade}"
        one = Finding(event.started_at, event.grade >= rule.hold_grade, recovered, text, stops)
        found.setdefault(rule.name, []).append(one)
    return found


def _worse_last(samples: list[Finding], events: list[Finding]) -> list[Finding]:
    """Samples and events of one class in one row, so that its end is not recovered where either is not."""
    ordered = sorted(events, key=lambda f: not f.recovered)
    return [*ordered, *samples] if samples and not samples[-1].recovered else [*samples, *ordered]


def _number(value: Decimal) -> str:
    return f"{value.normalize():f}"
