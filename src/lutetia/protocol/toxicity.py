"""What toxicity does to the next cycle: none, hold, half, stop; per class a small state machine.

Stages of a class: NONE → HELD → HALF → FULL, or STOPPED. They are replayed from the laboratory values and the
administrations, so nothing is stored. Rules and numbers are data (`data/toxicity_177lu_label.toml`, to be checked
against the current label). What counts as toxic in a sample is in `lutetia.protocol.findings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from lutetia.clinical.ctcae import grade_value, worst_grade
from lutetia.clinical.labs import LabValue, baseline
from lutetia.errors import InputError
from lutetia.protocol.findings import (
    FATAL,
    Finding,
    Patient,
    ToxicityEvent,
    ToxicityRules,
    class_findings,
    episodes,
    read_toxicity_rules,
    window_events,
)

Stage = Literal["NONE", "HELD", "HALF", "FULL", "STOPPED"]
Observation = Literal["clear", "resolved", "open"]
STAGES: tuple[Stage, ...] = ("NONE", "HELD", "HALF", "FULL", "STOPPED")

# stage before, half activity already given?, what the samples since the last administration show → stage after
TRANSITIONS: Mapping[tuple[Stage, bool, Observation], Stage] = {
    ("NONE", False, "clear"): "NONE",
    ("NONE", False, "resolved"): "HALF",
    ("NONE", False, "open"): "HELD",
    ("HELD", False, "clear"): "HALF",
    ("HELD", False, "resolved"): "HALF",
    ("HELD", False, "open"): "HELD",
    ("HALF", False, "clear"): "HALF",
    ("HALF", False, "resolved"): "HALF",
    ("HALF", False, "open"): "HELD",
    ("HALF", True, "clear"): "FULL",
    ("HALF", True, "resolved"): "STOPPED",
    ("HALF", True, "open"): "STOPPED",
    ("FULL", True, "clear"): "FULL",
    ("FULL", True, "resolved"): "STOPPED",
    ("FULL", True, "open"): "STOPPED",
}


@dataclass(frozen=True, slots=True)
class ClassState:
    """Where one toxicity class stands; `half_given` after a cycle was given at half activity for it."""

    stage: Stage = "NONE"
    half_given: bool = False
    episodes: int = 0
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Assessment:
    """What toxicity says before the next cycle.

    `action` goes to the controller, `no_increase` holds ``toxicity_grade_2`` where it applies, `reasons` are sentences,
    `conditions` must be met before signing, `states` holds the stage of every class.
    """

    action: str
    no_increase: tuple[str, ...]
    reasons: tuple[str, ...]
    conditions: tuple[str, ...]
    states: Mapping[str, ClassState]


def advance(state: ClassState, observation: Observation, *, cause: str = "", overdue: bool = False) -> ClassState:
    """Stage of a class after the samples since the last administration were looked at.

    Parameters
    ----------
    state
        Before.
    observation
        ``clear``: no toxicity in these samples; ``resolved``: there was, and the last sample has recovered; ``open``.
    cause
        What was found, for the reasons.
    overdue
        The longest permitted delay since the previous administration has passed.
    """
    if state.stage == "STOPPED":
        return state
    stage = TRANSITIONS[state.stage, state.half_given, observation]
    if overdue and stage in ("HELD", "HALF") and not state.half_given:
        return ClassState("STOPPED", state.half_given, state.episodes, f"{cause or state.cause}, delayed too long")
    new_episode = observation != "clear" and (state.stage == "NONE" or state.half_given)
    return ClassState(stage, state.half_given, state.episodes + int(new_episode), cause or state.cause)


def administered(state: ClassState) -> ClassState:
    """Stage of a class once a cycle was given; a cycle given in spite of a hold counts as the half one."""
    return replace(state, stage="HALF", half_given=True) if state.stage in ("HELD", "HALF") else state


def assess(
    values: Sequence[LabValue],
    administrations: Sequence[datetime],
    *,
    as_of: datetime,
    patient: Patient | None = None,
    events: Sequence[ToxicityEvent] = (),
    rules: ToxicityRules | None = None,
    labs_max_age_days: float = 14.0,
) -> Assessment:
    """Toxicity action for the next cycle from the laboratory values so far.

    Parameters
    ----------
    values
        One subject's values of `lutetia.clinical.labs.read_rows`; those after `as_of` are not used.
    administrations
        Start of each cycle given, in order.
    as_of
        When the decision is taken.
    patient
        Sex, age and weight, for creatinine clearance; None leaves it out, and says so.
    events
        Related adverse events; those that name a laboratory finding count in its class, the worse of the two.
    rules
        Default: the packaged label rules.
    labs_max_age_days
        Older values do not serve for signing.

    Raises
    ------
    InputError
        If times are naive, or administrations are not in order or after `as_of`.
    """
    chosen = rules if rules is not None else read_toxicity_rules()
    starts = _checked_times(administrations, as_of)
    toxic = episodes(chosen, [e for e in events if e.started_at <= as_of])
    known = sorted((v for v in values if v.value is not None and v.taken_at <= as_of), key=lambda v: v.taken_at)
    if starts:
        states = _replay(chosen, known, starts, as_of=as_of, patient=patient, events=toxic)
    else:
        states = _before_first(
            chosen, known, as_of=as_of, patient=patient, events=toxic, max_age_days=labs_max_age_days
        )
    recent = [v for v in known if v.taken_at >= (starts[-1] if starts else as_of - timedelta(days=labs_max_age_days))]
    latest = window_events(toxic, starts[-1] if starts else None, as_of, last=True)
    increase, why = _increase(chosen, known, recent, starts, events=latest)
    conditions = (
        *recency_conditions(chosen, known, as_of, labs_max_age_days),
        *_not_checked(chosen, known, starts, patient=patient, as_of=as_of, states=states),
    )
    return Assessment(_action(states), increase, (*_reasons(chosen, states), *why), conditions, states)


def _replay(
    rules: ToxicityRules,
    values: Sequence[LabValue],
    starts: Sequence[datetime],
    *,
    as_of: datetime,
    patient: Patient | None,
    events: Sequence[ToxicityEvent],
) -> dict[str, ClassState]:
    """Stages after every window between administrations, the last one reaching to the decision."""
    states = {name: ClassState() for name in rules.classes}
    bounds = [*starts, as_of]
    for i, (start, end) in enumerate(pairwise(bounds)):
        last = i == len(starts) - 1
        window = [v for v in values if start < v.taken_at and (v.taken_at <= end if last else v.taken_at < end)]
        own = window_events(events, start, end, last=last)
        found = class_findings(rules, window, own, end=end, patient=patient, before=_before(values, starts))
        overdue = last and as_of - start > timedelta(weeks=rules.longest_delay_weeks)
        for name, findings in found.items():
            states[name] = advance(states[name], observe(findings), cause=cause_of(findings), overdue=overdue)
            if any(f.stops for f in findings):
                states[name] = ClassState("STOPPED", states[name].half_given, states[name].episodes, cause_of(findings))
            if not last:
                states[name] = administered(states[name])
    return states


def _before_first(
    rules: ToxicityRules,
    values: Sequence[LabValue],
    *,
    as_of: datetime,
    patient: Patient | None,
    events: Sequence[ToxicityEvent],
    max_age_days: float,
) -> dict[str, ClassState]:
    """Before any administration only what is abnormal now holds the first cycle; nothing is halved.

    Death stops, whenever it was.
    """
    start = as_of - timedelta(days=max_age_days)
    window = [v for v in values if v.taken_at >= start]
    own = window_events(events, None, as_of, last=True)
    lasting = [e for e in own if not e.over_at(as_of) or e.grade >= FATAL]
    found = class_findings(rules, window, lasting, end=as_of, patient=patient, before=lambda analyte: None)
    stage: Stage = "STOPPED" if any(e.grade >= FATAL for e in lasting) else "HELD"
    return {
        name: ClassState(stage, False, 1, cause_of(f)) if observe(f) == "open" else ClassState()
        for name, f in found.items()
    }


def observe(findings: Sequence[Finding]) -> Observation:
    """``clear``, ``resolved`` or ``open``, from the samples of one window in time order."""
    if not any(f.toxic for f in findings):
        return "clear"
    return "resolved" if findings[-1].recovered else "open"


def cause_of(findings: Sequence[Finding]) -> str:
    """The last toxic finding in words; empty when there is none."""
    return next((f.text for f in reversed(findings) if f.toxic), "")


def _before(values: Sequence[LabValue], starts: Sequence[datetime]) -> _Baselines:
    return _Baselines(tuple(values), starts[0])


@dataclass(frozen=True, slots=True)
class _Baselines:
    values: tuple[LabValue, ...]
    first_start: datetime

    def __call__(self, analyte: str) -> LabValue | None:
        return baseline(self.values, analyte, first_start=self.first_start)


def _action(states: Mapping[str, ClassState]) -> str:
    stages = {s.stage for s in states.values()}
    if "STOPPED" in stages:
        return "stop"
    if "HELD" in stages:
        return "hold"
    return "half" if any(s.stage == "HALF" and not s.half_given for s in states.values()) else "none"


_SENTENCE: Mapping[Stage, str] = {
    "HELD": "hold until it has recovered, then half of the last activity",
    "HALF": "recovered: half of the last activity, then full again if it does not come back",
    "STOPPED": "treatment stops",
}


def _reasons(rules: ToxicityRules, states: Mapping[str, ClassState]) -> tuple[str, ...]:
    said = []
    for name, state in states.items():
        if state.stage in _SENTENCE and not (state.stage == "HALF" and state.half_given):
            again = " again" if state.stage == "STOPPED" and state.episodes > 1 else ""
            said.append(f"Toxicity, {name}{again} ({state.cause}): {_SENTENCE[state.stage]}.")
        elif state.stage == "FULL":
            said.append(f"Toxicity, {name}: no recurrence after half activity; full activity again.")
    if said and rules.check_the_label:
        said.append(f"These are the rules {rules.name!r} as configured; check them against the current label.")
    return tuple(said)


def _increase(
    rules: ToxicityRules,
    known: Sequence[LabValue],
    recent: Sequence[LabValue],
    starts: Sequence[datetime],
    *,
    events: Sequence[ToxicityEvent],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The no-increase reason, and its sentence with the worst values and events since the last administration."""
    said = []
    for analyte in rules.no_increase_analytes:
        before = baseline(known, analyte, first_start=starts[0]) if starts else None
        start = None if before is None else before.value
        graded = [
            (worst_grade(grade_value(analyte, v.value, lln=v.lln, uln=v.uln, baseline=start)) or 0, v)
            for v in recent
            if v.analyte == analyte and v.value is not None
        ]
        grade, value = max(graded, key=lambda item: item[0], default=(0, None))
        if value is not None and grade >= rules.no_increase_grade:
            said.append(f"{analyte} {value.reported} (grade {grade})")
        worst = max((e.grade for e in events if e.kind == analyte), default=0)
        if worst >= rules.no_increase_grade:
            said.append(f"{analyte} as an event (grade {worst})")
    if not said:
        return (), ()
    return ("toxicity_grade_2",), (f"No increase: {', '.join(said)} since the last administration.",)


def recency_conditions(
    rules: ToxicityRules, known: Sequence[LabValue], as_of: datetime, days: float
) -> tuple[str, ...]:
    """What laboratory values are too old, or lacking, for a decision: one condition, or none.

    Parameters
    ----------
    rules
        Name the analytes that are required.
    known
        Values that are not missing.
    as_of, days
        When the decision is taken, and how old a value may be then.
    """
    if not known:
        return ("laboratory values: none given",)
    oldest = as_of - timedelta(days=days)
    lacking = []
    for analyte in rules.required_analytes:
        moments = [v.taken_at for v in known if v.analyte == analyte]
        if not moments:
            lacking.append(f"{analyte} (none)")
        elif max(moments) < oldest:
            lacking.append(f"{analyte} ({max(moments).date().isoformat()})")
    return (f"laboratory values not older than {days:g} days: {', '.join(lacking)}",) if lacking else ()


def _not_checked(
    rules: ToxicityRules,
    known: Sequence[LabValue],
    starts: Sequence[datetime],
    *,
    patient: Patient | None,
    as_of: datetime,
    states: Mapping[str, ClassState],
) -> tuple[str, ...]:
    """What the rules ask for and the data cannot answer."""
    said = []
    if patient is None and any(v.analyte == "creatinine" for v in known):
        said.append("creatinine clearance needs sex, age and weight: check it by hand")
    if starts and known and baseline(known, "creatinine", first_start=starts[0]) is None:
        said.append("no creatinine within 28 days before the first administration: its change cannot be judged")
    ungraded = sorted({v.analyte for v in known if v.analyte in rules.required_analytes and _ungraded(v)})
    if ungraded:
        said.append(f"limits of normal are missing for {', '.join(ungraded)}: grade 1 cannot be told from normal")
    late = starts and as_of - starts[-1] > timedelta(weeks=rules.longest_delay_weeks)
    if late and all(s.stage != "STOPPED" for s in states.values()):
        said.append(f"the last administration is more than {rules.longest_delay_weeks:g} weeks ago: confirm to go on")
    return tuple(said)


def _ungraded(value: LabValue) -> bool:
    if value.value is None:
        return False
    return worst_grade(grade_value(value.analyte, value.value, lln=value.lln, uln=value.uln)) is None


def _checked_times(administrations: Sequence[datetime], as_of: datetime) -> list[datetime]:
    if any(t.tzinfo is None for t in (*administrations, as_of)):
        raise InputError("toxicity: found a time without offset; give times with offset or zone")
    starts = list(administrations)
    if starts != sorted(starts) or (starts and starts[-1] > as_of):
        raise InputError("toxicity: administrations must be in order and not after the decision")
    return starts
