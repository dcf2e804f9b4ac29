"""From doses and laboratory values to the proposal: forecast, toxicity, controller, reasons, conditions for signing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from lutetia.clinical.ctcae import grade_value, worst_grade
from lutetia.clinical.labs import LabValue, check_values, read_rows
from lutetia.core.chain import Doubt, Forecast
from lutetia.core.clock import localise, time_zone
from lutetia.core.draws import exact
from lutetia.dose.bed import radiobiology
from lutetia.errors import CaseError, ProtocolError
from lutetia.plan.case import Case, start_times
from lutetia.plan.course import CourseDoses
from lutetia.plan.forecast import build_forecast, limit_family
from lutetia.plan.ledger import BED_INCOMPLETE, Coefficients, Cumulative
from lutetia.plan.population import population_coefficients
from lutetia.plan.tables import read_rows as read_table
from lutetia.plan.uncertainty import Draws
from lutetia.protocol.controller import Decision, decide
from lutetia.protocol.explain import explain, signing_conditions, what_would_change, why_not_more
from lutetia.protocol.findings import Patient, ToxicityEvent
from lutetia.protocol.outcomes import limit_record
from lutetia.protocol.records import Limit, Protocol
from lutetia.protocol.toxicity import Assessment, assess

LAB_COLUMNS = ("analyte", "taken_at", "value", "unit")
MORE_LAB_COLUMNS = ("subject_id", "sample_id", "visit", "qualifier", "lln", "uln", "missing_reason")


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """The decision as plain values for `result.json`, what it rests on besides doses, and the numbers behind it.

    `forecast` is None only where nothing is known of any limit's region.
    """

    prescription: dict[str, Any]
    limits: list[dict[str, Any]]
    labs: list[dict[str, Any]]
    doubts: tuple[Doubt, ...]
    files: tuple[Path, ...]
    forecast: Forecast | None
    decision: Decision


def propose(
    case: Case,
    folder: Path,
    protocol: Protocol,
    course: CourseDoses,
    *,
    draws: Draws,
    labs: Sequence[LabValue] | None = None,
    events: Sequence[ToxicityEvent] = (),
) -> Proposal:
    """Decide the activity of the next cycle and say why.

    Parameters
    ----------
    folder
        The case's folder, for its laboratory table.
    labs
        Laboratory values that stand in the place of the case's table.
    events
        Related adverse events that are not laboratory values.
    """
    arm, cycle = case.protocol.arm, len(case.cycles) + 1
    limits = protocol.limits_of(arm, risk_factors=case.subject.risk_factors)
    _check_radiobiology(limits)
    nuclides = protocol.arm(arm).nuclides
    cumulative, last = _known(course, limits, draws) if not case.cycles else (course.cumulative, course.last)
    forecast = build_forecast(limits, nuclides, cumulative, last, protocol=protocol, cycle=cycle, draws=draws)
    if case.cycles and forecast is None:
        raise CaseError(_no_forecast(cycle, limits))
    values, files = _read_labs(case, folder) if labs is None else (list(labs), ())
    as_of = decision_time(case, protocol, values)
    toxicity = _assess(case, protocol, values, as_of, events=events)
    no_increase = [*toxicity.no_increase]
    if case.cycles and course.marrow_incomplete:
        no_increase.append("marrow_not_evaluable")
    if case.cycles and course.single_time_point:
        no_increase.append("single_time_point")
    if course.not_measured:
        no_increase.append("limit_not_measured")
    if any(li.metric == "bed" for li in limits) and any(d.code == BED_INCOMPLETE for d in course.doubts):
        no_increase.append("bed_incomplete")
    decision = decide(
        protocol,
        arm,
        forecast,
        cycle=cycle,
        previous_MBq=_previous(case),
        no_increase=no_increase,
        action=toxicity.action,
        risk_factors=case.subject.risk_factors,
        measured=bool(case.cycles),
    )
    return Proposal(
        prescription=_prescription(decision, toxicity, as_of),
        limits=[limit_record(outcome) for outcome in decision.limits],
        labs=_latest(values, as_of),
        doubts=check_values(values),
        files=files,
        forecast=forecast,
        decision=decision,
    )


def _check_radiobiology(limits: tuple[Limit, ...]) -> None:
    """A limit of BED means the BED that is computed here."""
    for limit in limits:
        used = radiobiology(limit.region)
        if limit.metric != "bed":
            continue
        if used is None:
            raise ProtocolError(f"limit {limit.id}: found BED for the {limit.region}, for which none is defined here")
        stated = (limit.alpha_beta_Gy or used.alpha_beta_Gy, limit.repair_half_life_h or used.repair_half_life_h)
        if stated != (used.alpha_beta_Gy, used.repair_half_life_h):
            raise ProtocolError(
                f"limit {limit.id}: found α/β {stated[0]:g} Gy and repair half-life {stated[1]:g} h; expected "
                f"{used.alpha_beta_Gy:g} Gy and {used.repair_half_life_h:g} h, with which BED is computed here"
            )


def _no_forecast(cycle: int, limits: tuple[Limit, ...]) -> str:
    names = ", ".join(dict.fromkeys(f"{li.region} ({li.metric.replace('_', ' ')})" for li in limits))
    return (
        f"cycle {cycle}: nothing can be proposed, because no limit can be evaluated: {names}; measure the region in at "
        "least one cycle, or enter its doses for each nuclide"
    )


def decision_time(case: Case, protocol: Protocol, labs: list[LabValue]) -> datetime | None:
    """When the decision is taken: `decision_at` of the case, or else the planned start of the next cycle.

    The clock of the computer is not asked, so that a case gives the same result on every day.
    """
    zone = time_zone(case.timezone) if case.timezone else None
    if case.decision_at is not None:
        moment = case.decision_at
        if not isinstance(moment, datetime):
            moment = datetime.combine(moment, time(23, 59))
        decided = localise(moment, zone, where="decision_at")
        if case.cycles and decided < (last := min(start_times(case, case.cycles[-1]).values())):
            raise CaseError(
                f"decision_at: found {decided}, before cycle {len(case.cycles)} was given ({last}); correct it"
            )
        return decided
    known = [v.taken_at for v in labs]
    if case.cycles:
        start = min(start_times(case, case.cycles[-1]).values())
        known.append(start + timedelta(weeks=protocol.interval_weeks or 8.0))
    return max(known, default=None)


def _known(
    course: CourseDoses, limits: tuple[Limit, ...], draws: Draws
) -> tuple[Mapping[tuple[str, str], Cumulative], Mapping[tuple[str, str], Coefficients]]:
    """Before the first cycle: nothing given but prior therapy, coefficients of the population."""
    cumulative, last = dict(course.cumulative), dict(course.last)
    for key in map(limit_family, limits):
        nothing = exact(0.0, draws.count)
        cumulative.setdefault(key, Cumulative(key[0], "nothing given", nothing, nothing))
        known = population_coefficients(key, draws)
        if known is not None:
            last.setdefault(key, known)
    return cumulative, last


def _read_labs(case: Case, folder: Path) -> tuple[list[LabValue], tuple[Path, ...]]:
    if case.subject.labs is None:
        return [], ()
    path = folder / case.subject.labs
    rows = read_table(path, required=LAB_COLUMNS, optional=MORE_LAB_COLUMNS, where="labs", extra=True)
    if other := {row.get("subject_id", "") for row in rows} - {"", case.subject.id}:
        raise CaseError(
            f"labs, {path.name}: {len(other)} other subject(s) than {case.subject.id}; keep this subject's rows only"
        )
    zone: ZoneInfo | None = time_zone(case.timezone) if case.timezone else None
    return read_rows(rows, f"labs, {path.name}", zone=zone), (path,)


def _assess(
    case: Case, protocol: Protocol, labs: list[LabValue], as_of: datetime | None, *, events: Sequence[ToxicityEvent]
) -> Assessment:
    if as_of is None:
        return Assessment("none", (), (), ("laboratory values: none given",), {})
    subject = case.subject
    patient = None
    if subject.age_years is not None and subject.weight_kg is not None:
        patient = Patient(subject.sex, subject.age_years, subject.weight_kg)
    starts = [min(start_times(case, cycle).values()) for cycle in case.cycles]
    return assess(
        labs, starts, as_of=as_of, patient=patient, events=events, labs_max_age_days=protocol.labs_max_age_days
    )


def _previous(case: Case) -> dict[str, float]:
    """Last non-zero prescription of each nuclide; the administered activity where the case states none."""
    previous: dict[str, float] = {}
    for cycle in case.cycles:
        previous |= {n: a for n, a in (cycle.prescribed_MBq or cycle.administered_MBq).items() if a > 0}
    return previous


def _prescription(decision: Decision, toxicity: Assessment, as_of: datetime | None) -> dict[str, Any]:
    conditions = signing_conditions(decision, labs=toxicity.conditions)
    variable = decision.variable
    return {
        "cycle": decision.cycle,
        "state": decision.state,
        "activities_MBq": decision.activities_MBq,
        "category": dict(decision.category or {}),
        "bound_by": decision.bound_by,
        "signable": decision.activities_MBq is not None and not conditions,
        "conditions": list(conditions),
        "reasons": list(explain(decision, toxicity=toxicity.reasons)),
        "over_limit": decision.over_limit,
        "base_MBq": dict(decision.base_MBq),
        "previous_MBq": dict(decision.previous_MBq),
        "change_from_previous": decision.change_from_previous,
        "variable": variable,
        "cap_MBq": None if variable is None else decision.upper_MBq.get("cap"),
        "upper_MBq": dict(decision.upper_MBq),
        "why_not_more": list(why_not_more(decision)),
        "what_would_change": list(what_would_change(decision)),
        "decision_at": None if as_of is None else as_of.isoformat(),
    }


def _latest(labs: list[LabValue], as_of: datetime | None) -> list[dict[str, Any]]:
    """The last value of each analyte, with its worst grade in CTCAE v5."""
    newest: dict[str, LabValue] = {}
    for value in sorted(labs, key=lambda v: v.taken_at):
        if value.value is not None and (as_of is None or value.taken_at <= as_of):
            newest[value.analyte] = value
    return [_lab_record(value) for value in newest.values()]


def _lab_record(value: LabValue) -> dict[str, Any]:
    assert value.value is not None
    return ({"qualifier": value.qualifier} if value.qualifier else {}) | {
        "analyte": value.analyte,
        "value": float(value.value),
        "unit": value.unit,
        "taken_at": value.taken_at.isoformat(),
        "grade": worst_grade(grade_value(value.analyte, value.value, lln=value.lln, uln=value.uln)),
    }
