"""A decision in sentences: what set the activity, why not more, what would change it, what is open before signing."""

from __future__ import annotations

from collections.abc import Sequence

from lutetia.protocol.controller import Decision
from lutetia.protocol.outcomes import DoseForecast, LimitOutcome
from lutetia.protocol.records import Limit

REASON_TEXT = {
    "marrow_not_evaluable": "the marrow dose is not evaluable",
    "single_time_point": "the dosimetry rests on a single time point",
    "toxicity_grade_2": "a haematological or renal laboratory value is of grade 2 or more",
    "limit_not_evaluable": "the dose under a limit is not evaluable",
    "limit_not_measured": "the dose under a limit was not measured in the last cycle but carried or of the population",
    "bed_incomplete": "the BED of some earlier dose is not known and is counted as its absorbed dose, a lower bound",
    "entered": "it was entered that no increase is permitted",
}
_METRIC = {"absorbed_dose": "absorbed dose", "bed": "BED"}


def explain(decision: Decision, *, toxicity: Sequence[str] = ()) -> tuple[str, ...]:
    """Reasons for a decision, one plain sentence each with its numbers and units.

    Parameters
    ----------
    decision
        Of `lutetia.protocol.controller.decide`.
    toxicity
        Reasons of `lutetia.protocol.toxicity.assess`, repeated where toxicity acted.

    Returns
    -------
    At least one sentence; the first says what set the activity.
    """
    sentences = [_headline(decision), *(toxicity if decision.action != "none" else ())]
    if decision.state != "COMPLETE":
        sentences += why_not_more(decision)
        sentences += what_would_change(decision)
    sentences += [describe_limit(o, activity=decision.activities_MBq is not None) for o in decision.limits]
    return tuple(sentences)


def signing_conditions(decision: Decision, *, labs: Sequence[str] = ()) -> tuple[str, ...]:
    """Conditions that are open before anybody may sign; empty when there is none.

    Parameters
    ----------
    decision
        The proposal.
    labs
        Open laboratory conditions, from `lutetia.protocol.toxicity.assess`.
    """
    if decision.activities_MBq is None:
        return (f"nothing is proposed (state {decision.state})", *labs)
    found = list(labs)
    if decision.over_limit:
        names = ", ".join(o.limit.id for o in decision.limits if _over(o))
        found.append(
            f"the proposal is above a soft limit ({names or decision.bound_by}): two-person override with a reason"
        )
    for name in decision.not_evaluable:
        found.append(f"{name} is not evaluable: acknowledgement by two people")
    if "marrow_not_evaluable" in decision.no_increase and not _names_marrow(decision):
        found.append("the marrow dose is incomplete: acknowledgement by two people")
    if "limit_not_measured" in decision.no_increase:
        found.append("the dose under a limit was not measured in the last cycle: acknowledgement by two people")
    if "bed_incomplete" in decision.no_increase:
        found.append("the cumulative BED is a lower bound: acknowledgement by two people")
    if decision.action == "half":
        found.append("half activity for toxicity: confirm the toxicity assessment")
    return tuple(found)


def activities_text(activities_MBq: dict[str, float]) -> str:
    """``3700 MBq Lu-177 and 2250 MBq Y-90``."""
    return " and ".join(f"{_MBq(a)} {n}" for n, a in activities_MBq.items())


def describe_limit(outcome: LimitOutcome, *, activity: bool = True) -> str:
    """State of one limit in one sentence."""
    limit = outcome.limit
    head = f"{limit.id} ({_limit_text(limit)}): "
    if not outcome.evaluable:
        return head + "not evaluable."
    given = f"{_Gy(outcome.given_Gy)} given"
    if outcome.passed:
        given += ", above the limit"
    after, end = outcome.after_cycle, outcome.end_of_course
    if not activity or after is None or end is None:
        return head + given + "."
    text = f"{given}, {_Gy(after.value_Gy)} after the next cycle (P over {_percent(after.probability_over)})"
    if outcome.planned_cycles > 1:
        text += (
            f", {_Gy(end.value_Gy)} at the end of the course if the {outcome.planned_cycles} remaining cycles get the "
            f"same activity ({_interval_text(end)}P over {_percent(end.probability_over)})"
        )
    if outcome.controllable_fraction is not None and outcome.controllable_fraction > 0:
        text += f"; {_percent(outcome.controllable_fraction)} of the next dose can be adjusted"
    return head + text + "."


def _headline(decision: Decision) -> str:
    if decision.state == "COMPLETE":
        return f"All {decision.protocol.cycles} planned cycles are given; nothing is proposed."
    if decision.action in ("hold", "stop") and decision.bound_by == "toxicity":
        verb = "held" if decision.action == "hold" else "stopped"
        return f"Treatment is {verb} because of toxicity; nothing is proposed for cycle {decision.cycle}."
    limit = _binding(decision)
    if decision.state in ("STOP", "INFEASIBLE") and limit is not None:
        return _blocked(decision, limit)
    assert decision.activities_MBq is not None
    proposal = f"Cycle {decision.cycle}: {activities_text(dict(decision.activities_MBq))} proposed"
    return f"{proposal}, {_cause(decision, limit)}."


def _blocked(decision: Decision, outcome: LimitOutcome) -> str:
    limit = outcome.limit
    if outcome.passed:
        why = f"the dose given to the {limit.region} ({_Gy(outcome.given_Gy)}) is above the {_limit_text(limit)}"
    elif decision.protocol.allocation == "cycle_count":
        why = f"another cycle at base activity would pass the {_limit_text(limit)} for the {limit.region}"
    elif not decision.measured:
        why = f"one cycle at base activity would pass the {_limit_text(limit)} for the {limit.region}"
    else:
        least = decision.protocol.arm(decision.arm).minimum_MBq or 0.0
        room = f"allows {_MBq(outcome.allowed_MBq)} of" if outcome.allowed_MBq else "leaves no room for"
        why = (
            f"the {_limit_text(limit)} for the {limit.region} {room} {decision.variable}{_share_text(outcome)}, "
            f"and the minimum is {_MBq(least)}"
        )
    if decision.activities_MBq is None:
        return f"{decision.state}: {why}; nothing is proposed for cycle {decision.cycle}."
    shown = activities_text(dict(decision.activities_MBq))
    return f"{decision.state}: {why}; shown is {shown}, over the limit, which only a two-person override can release."


def _cause(decision: Decision, outcome: LimitOutcome | None) -> str:
    name, variable = decision.bound_by, decision.variable
    if outcome is not None:
        return f"set by the {_limit_text(outcome.limit)} for the {outcome.limit.region}{_share_text(outcome)}"
    if name == "base":
        return (
            "the base activity, as no dose of this subject is measured yet"
            if not decision.measured
            else "the base activity"
        )
    upper = decision.upper_MBq.get(name or "")
    amount = "" if upper is None else f" of {_MBq(upper)}"
    before = _MBq(decision.previous_MBq.get(variable or "", 0.0))
    return {
        "fixed": "the fixed activity of this arm",
        "cap": f"set by the protocol's cap{amount} for {variable}",
        "step": f"set by the largest permitted step over the previous {before} of {variable}",
        "no increase": f"not above the previous activity because {_no_increase_text(decision)}",
        "minimum": f"the protocol's minimum for {variable}",
        "toxicity": "half of the last prescription because of toxicity",
    }.get(name or "", "as the protocol says")


def _share_text(outcome: LimitOutcome) -> str:
    if outcome.planned_cycles > 1:
        return f", shared evenly by the {outcome.planned_cycles} remaining cycles"
    return ""


def why_not_more(decision: Decision) -> list[str]:
    """One sentence with every upper bound, lowest first; none where nothing is proposed or the activity is fixed."""
    if decision.variable is None or decision.activities_MBq is None or not decision.upper_MBq:
        return []
    if decision.bound_by == "base" and not decision.measured:
        return ["Why not more: the first cycle gets the base activity until a dose of this subject is measured."]
    ordered = sorted(decision.upper_MBq.items(), key=lambda item: item[1])
    listed = ", ".join(f"{name} {_MBq(value)}" for name, value in ordered)
    grid = f"activities are floored to {decision.protocol.grid_MBq:g} MBq"
    return [f"Why not more {decision.variable}: the bounds are {listed}; {grid}."]


def what_would_change(decision: Decision) -> list[str]:
    if decision.action != "none":
        return ["What would change it: recovery of the laboratory values that caused the toxicity action."]
    if (outcome := _binding(decision)) is not None:
        return [_what_would_move(decision, outcome)]
    texts = {
        "cap": "only another cap in the protocol; all limits leave room.",
        "step": "a later cycle may rise by the same step again; all limits leave room.",
        "no increase": f"removing its cause ({_no_increase_text(decision)}).",
        "base": "a measured dose of this subject, from the next cycle on.",
        "fixed": "nothing in dosimetry; the activity of this arm is fixed.",
    }
    text = texts.get(decision.bound_by or "")
    return [f"What would change it: {text}"] if text else []


def _what_would_move(decision: Decision, outcome: LimitOutcome) -> str:
    region = outcome.limit.region
    if outcome.passed:
        return f"What would change it: nothing in dosimetry, because the dose given to the {region} stays."
    others = {k: v for k, v in decision.upper_MBq.items() if k != decision.bound_by}
    follows = ""
    if others and decision.state == "OK":
        name = min(others, key=lambda k: others[k])
        follows = f"; the next bound is then {name} at {_MBq(others[name])}"
    return f"What would change it: a lower measured dose per MBq to the {region}{follows}."


def _no_increase_text(decision: Decision) -> str:
    return " and ".join(REASON_TEXT[r] for r in decision.no_increase) or REASON_TEXT["entered"]


def _binding(decision: Decision) -> LimitOutcome | None:
    return next((o for o in decision.limits if o.binding), None)


def _names_marrow(decision: Decision) -> bool:
    return any(o.limit.region == "red marrow" and not o.evaluable for o in decision.limits)


def _over(outcome: LimitOutcome) -> bool:
    end = outcome.end_of_course
    return outcome.limit.kind == "soft" and end is not None and end.probability_over > outcome.limit.risk


def _limit_text(limit: Limit) -> str:
    over = "" if limit.risk == 0.5 else f" at a risk of {_percent(limit.risk)}"
    tolerance = f" ± {limit.tolerance_Gy:g}" if limit.tolerance_Gy else ""
    return f"{limit.kind} limit of {limit.limit_Gy:g}{tolerance} Gy {_METRIC[limit.metric]}{over}"


def _MBq(value: float) -> str:
    return f"{value:.0f} MBq"


def _Gy(value: float | None) -> str:
    return "no dose" if value is None else f"{_digits(value)} Gy"


def _digits(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _interval_text(forecast: DoseForecast) -> str:
    low, high = forecast.interval_Gy
    return f"95 % interval {_digits(low)} to {_digits(high)} Gy, " if high > low * (1 + 1e-9) else ""


def _percent(fraction: float) -> str:
    if 0 < fraction < 0.01:
        return "below 1 %"
    return "above 99 %" if 0.99 < fraction < 1 else f"{100 * fraction:.0f} %"
