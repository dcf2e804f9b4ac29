"""The activity controller for one subject: a forecast and an arm in, the decision with all names and figures out.

The rules themselves are in `lutetia.protocol.arrays`, sentences about a decision in `lutetia.protocol.explain`, and
what makes a toxicity action in `lutetia.protocol.toxicity`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lutetia.core.chain import Forecast
from lutetia.core.draws import Estimate
from lutetia.errors import ProtocolError, UnknownNameError
from lutetia.protocol.allocation import CourseDose, FloatArray
from lutetia.protocol.arrays import CATEGORIES, STATES, ArrayDecision, decide_arrays
from lutetia.protocol.outcomes import LimitOutcome, limit_outcomes
from lutetia.protocol.records import ALWAYS_AGAINST_INCREASE, NO_INCREASE_REASONS, Limit, Protocol
from lutetia.protocol.rules import ACTIONS, Rules, arm_rules

__all__ = ["Decision", "LimitOutcome", "decide", "decide_arrays"]


@dataclass(frozen=True, slots=True)
class Decision:
    """The proposal for one cycle of one subject, before anybody signs.

    `activities_MBq` is None when nothing is proposed. `over_limit` marks a proposal above a soft limit that only the
    two-person override can release. `bound_by` is a limit id, cap, step, no increase, minimum, base, fixed or
    toxicity; None when the course is complete. `no_increase` holds the reasons that acted, `not_evaluable` the ids of
    the limits without a dose. `upper_MBq` holds every bound of the variable nuclide by name, for "why not more".
    """

    protocol: Protocol
    arm: str
    cycle: int
    state: str
    activities_MBq: Mapping[str, float] | None
    category: Mapping[str, str] | None
    change_from_previous: Mapping[str, float | None] | None
    bound_by: str | None
    over_limit: bool
    measured: bool
    action: str
    no_increase: tuple[str, ...]
    not_evaluable: tuple[str, ...]
    base_MBq: Mapping[str, float]
    previous_MBq: Mapping[str, float]
    variable: str | None
    upper_MBq: Mapping[str, float]
    limits: tuple[LimitOutcome, ...]


def decide(
    protocol: Protocol,
    arm: str,
    forecast: Forecast | None,
    *,
    cycle: int,
    previous_MBq: Mapping[str, float] | None = None,
    no_increase: bool | Sequence[str] = (),
    action: str = "none",
    risk_factors: Sequence[str] | None = None,
    measured: bool | None = None,
) -> Decision:
    """Decide the activity of one subject's next cycle.

    Parameters
    ----------
    protocol, arm
        The rules.
    forecast
        Dose so far and per MBq of the next cycle; one region entry per limit's region (by the limit's method). A
        limit whose region it lacks is not evaluable. None is allowed for cycle 1.
    cycle
        Number of the cycle about to be given, from 1; a withheld cycle counts as not given.
    previous_MBq
        Last non-zero prescription per nuclide.
    no_increase
        True, or reasons of `NO_INCREASE_REASONS`; reasons act when the protocol names them.
    action
        Toxicity action: none, hold, half, stop.
    risk_factors
        As in `Protocol.limits_of`.
    measured
        Whether the coefficients come from measurements of this subject; default: from cycle 2 on. An unmeasured
        first cycle gets the base activity.

    Returns
    -------
    Decision

    Raises
    ------
    ProtocolError
        If a forecast is missing after cycle 1, lacks a nuclide of the arm, or carries more than one subject.
    UnknownNameError
        For an arm, action or reason that is not known.
    """
    _check_words(no_increase, action)
    limits = protocol.limits_of(arm, risk_factors=risk_factors)
    rules = arm_rules(protocol, arm, risk_factors=risk_factors)
    if forecast is None and 1 < cycle <= protocol.cycles:
        raise ProtocolError(f"cycle {cycle}: found no dose forecast; expected doses and coefficients from cycle 2 on")
    nominal, draws, evaluable = course_dose(rules, limits, forecast)
    missing = tuple(li.id for i, li in enumerate(limits) if forecast is not None and not evaluable[i])
    reasons = _acting_reasons(protocol, limits, missing, no_increase)
    last = np.array([(previous_MBq or {}).get(n, 0.0) for n in rules.nuclides])
    known_measured = cycle > 1 if measured is None else measured
    result = decide_arrays(
        rules,
        draws,
        cycle=cycle,
        previous_MBq=last,
        no_increase=bool(reasons),
        action=ACTIONS.index(action),
        evaluable=evaluable,
        measured=known_measured,
    )
    activity = None if np.isnan(result.activity_MBq).any() else result.activity_MBq
    index = int(result.bound_by)
    bound_by = None if index < 0 else rules.binding_names[index]
    outcomes = limit_outcomes(
        rules,
        limits,
        nominal=nominal,
        draws=draws,
        cycle=cycle,
        activity_MBq=activity,
        evaluable=evaluable,
        allowed_MBq=result.allowed_MBq,
        passed=result.passed,
        bound_by=bound_by,
    )
    return Decision(
        protocol=protocol,
        arm=arm,
        cycle=cycle,
        state=STATES[int(result.state)],
        activities_MBq=_named(rules, activity),
        category=_category_names(rules, result),
        change_from_previous=_change(rules, activity, last),
        bound_by=bound_by,
        over_limit=bool(result.over_limit),
        measured=known_measured,
        action=action,
        no_increase=reasons,
        not_evaluable=missing,
        base_MBq=dict(protocol.arm(arm).base_MBq),
        previous_MBq={n: float(a) for n, a in zip(rules.nuclides, last, strict=True) if a > 0},
        variable=protocol.arm(arm).variable,
        upper_MBq=_upper_bounds(rules, result, last, cycle=cycle, no_increase=bool(reasons)),
        limits=outcomes,
    )


def _check_words(no_increase: bool | Sequence[str], action: str) -> None:
    if action not in ACTIONS:
        raise UnknownNameError("toxicity action", action, ACTIONS)
    for reason in () if isinstance(no_increase, bool) else no_increase:
        if reason not in NO_INCREASE_REASONS:
            raise UnknownNameError("reason against an increase", reason, NO_INCREASE_REASONS)


def _acting_reasons(
    protocol: Protocol, limits: Sequence[Limit], missing: Sequence[str], no_increase: bool | Sequence[str]
) -> tuple[str, ...]:
    """Reasons that forbid an increase: those the protocol names, an entered one, and limits without a dose."""
    if isinstance(no_increase, bool):
        found = ["entered"] if no_increase else []
    else:
        acting = (*protocol.no_increase_when, *ALWAYS_AGAINST_INCREASE)
        found = [r for r in NO_INCREASE_REASONS if r in no_increase and r in acting]
    for limit in limits:
        if limit.id in missing and limit.kind != "advisory":
            reason = "marrow_not_evaluable" if limit.region == "red marrow" else "limit_not_evaluable"
            if reason not in found and (reason in protocol.no_increase_when or reason == "limit_not_evaluable"):
                found.append(reason)
    return tuple(found)


def course_dose(
    rules: Rules, limits: Sequence[Limit], forecast: Forecast | None
) -> tuple[CourseDose, CourseDose, np.ndarray[tuple[int, ...], np.dtype[np.bool_]]]:
    """Dose arrays by limit and nuclide of the arm, nominal and drawn; and which limits are evaluable.

    Raises
    ------
    ProtocolError
        If the forecast lacks a nuclide of the arm, or carries more than one subject.
    """
    count, width = len(limits), len(rules.nuclides)
    if forecast is None or not any(li.region in forecast.regions for li in limits):
        empty = CourseDose(np.zeros((1, count)), np.zeros((1, count, width)), np.zeros((1, count, width, width)))
        return empty, empty, np.zeros(count, dtype=bool)
    if forecast.given_Gy.value.ndim != 1:
        raise ProtocolError("forecast: found several subjects; use decide_arrays for them")
    if lacking := [n for n in rules.nuclides if n not in forecast.nuclides]:
        raise ProtocolError(
            f"forecast: no coefficients for {', '.join(lacking)}; it holds {', '.join(forecast.nuclides)}"
        )
    order = np.array([forecast.nuclides.index(n) for n in rules.nuclides])
    evaluable = np.array([li.region in forecast.regions for li in limits], dtype=bool)
    rows = np.array([forecast.regions.index(li.region) if li.region in forecast.regions else 0 for li in limits])

    def gather(pick: str) -> CourseDose:
        def array(estimate: Estimate) -> FloatArray:
            return estimate.value[None] if pick == "value" else estimate.draws

        given = np.where(rules.bed, array(forecast.given_bed_Gy)[..., rows], array(forecast.given_Gy)[..., rows])
        linear = array(forecast.linear_Gy_per_MBq)[:, rows][:, :, order]
        quadratic = array(forecast.quadratic_Gy_per_MBq2)[:, rows][:, :, order][:, :, :, order]
        return CourseDose(given, linear, np.where(rules.bed[:, None, None], quadratic, 0.0))

    return gather("value"), gather("draws"), evaluable


def _named(rules: Rules, activity: FloatArray | None) -> dict[str, float] | None:
    return None if activity is None else {n: float(a) for n, a in zip(rules.nuclides, activity, strict=True)}


def _category_names(rules: Rules, result: ArrayDecision) -> dict[str, str] | None:
    names = [CATEGORIES[int(c)] for c in result.category]
    return None if "none" in names else dict(zip(rules.nuclides, names, strict=True))


def _change(rules: Rules, activity: FloatArray | None, last: FloatArray) -> dict[str, float | None] | None:
    if activity is None:
        return None
    pairs = zip(rules.nuclides, activity, last, strict=True)
    return {n: float(a / before - 1.0) if before > 0 else None for n, a, before in pairs}


def _upper_bounds(
    rules: Rules, result: ArrayDecision, last: FloatArray, *, cycle: int, no_increase: bool
) -> dict[str, float]:
    """Every finite bound of the variable nuclide by name; limits that are only advisory are left out."""
    if rules.variable is None or cycle > rules.cycles:
        return {}
    before = float(last[rules.variable])
    bounds = {
        name: max(0.0, float(allowed))
        for i, (name, allowed) in enumerate(zip(rules.limit_ids, result.allowed_MBq, strict=True))
        if not rules.advisory[i] and allowed < np.inf
    }
    bounds["cap"] = float(rules.cap_MBq[cycle - 1])
    if no_increase:
        bounds["no increase"] = before if before > 0 else float(rules.base_MBq[rules.variable])
    if before > 0:
        bounds["step"] = before * (1.0 + rules.step_up)
    return {name: value for name, value in bounds.items() if np.isfinite(value)}
