"""What a physicist prescribes: the computed activities or others, how they stand to the limits, and the rows stored.

Here: judging the choice and writing it as records. Not here: signatures and states (`prescription`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lutetia.errors import InputError
from lutetia.protocol.outcomes import LimitOutcome
from lutetia.protocol.what_if import activity_categories, what_if_outcomes
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Edit, Update
from lutetia.trial.signatures import Confirmed
from lutetia.workflow.course_records import facts_hash
from lutetia.workflow.edits import required_text
from lutetia.workflow.proposal import Computed

REASONS = ("kidney", "marrow", "toxicity", "logistics", "patient", "other")
LEAST_MBQ = 100.0  # assumption: nobody prescribes less of a therapeutic nuclide; it is a slip or another unit
_REGION_REASONS = {"kidneys": "kidney", "red marrow": "marrow"}


@dataclass(frozen=True, slots=True)
class ProposeCycle:
    """A physicist's proposal, signed.

    `chosen_MBq` differs from what was computed only with a `note`; `reason` is one of `REASONS`, where empty it follows
    from what bound the activity. `acknowledged` repeats the open conditions that need two people. `inputs` is the hash
    that the person saw in the preview: where it is given and the records have changed, nothing is stored.
    """

    subject_id: str
    cycle: int
    confirmed: Confirmed
    chosen_MBq: Mapping[str, float] | None = None
    reason: str = ""
    note: str = ""
    acknowledged: tuple[str, ...] = ()
    inputs: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """What the physicist prescribes, and how it stands to the limits."""

    activities_MBq: Mapping[str, float]
    category: Mapping[str, str]
    outcomes: tuple[LimitOutcome, ...]
    over: tuple[str, ...]
    reason: str
    conditions: tuple[str, ...] = field(default=())


def over_limits(outcomes: Sequence[LimitOutcome]) -> tuple[str, ...]:
    """Limits that are not advisory and are passed at their risk by the end of what is planned."""
    return tuple(
        o.limit.id
        for o in outcomes
        if o.limit.kind != "advisory"
        and o.end_of_course is not None
        and o.end_of_course.probability_over > o.limit.risk
    )


def make_choice(found: Computed, command: ProposeCycle) -> Choice:
    """The activities that the physicist prescribes, judged against the limits.

    Raises
    ------
    InputError
        If nothing is proposed, a condition is not acknowledged, other activities have no note, or a hard limit would be
        passed.
    """
    decision, computed = found.proposal.decision, found.proposal.prescription
    where = f"subject {command.subject_id}, cycle {command.cycle}"
    if decision.activities_MBq is None or found.proposal.forecast is None:
        raise InputError(f"{where}: nothing is proposed ({decision.state}): {computed['reasons'][0]}")
    if command.reason and command.reason not in REASONS:
        raise InputError(f"{where}: reason: found {command.reason!r}; expected one of {', '.join(REASONS)}")
    conditions = tuple(c for c in computed["conditions"] if "two-person override" not in c)
    check_acknowledged(conditions, command.acknowledged, where)
    chosen = dict(decision.activities_MBq)
    if command.chosen_MBq is not None and dict(command.chosen_MBq) != chosen:
        required_text(command.note, f"{where}: note on the activity that differs from the computed one")
        chosen = {n: float(a) for n, a in command.chosen_MBq.items()}
        _refuse_nothing(chosen, where)
    return _judged(found, command, chosen, conditions, where)


def _judged(
    found: Computed, command: ProposeCycle, chosen: Mapping[str, float], conditions: tuple[str, ...], where: str
) -> Choice:
    """The chosen activities against the limits: a hard one refuses, anything above the computed needs the override."""
    decision, forecast = found.proposal.decision, found.proposal.forecast
    assert forecast is not None
    assert decision.activities_MBq is not None
    outcomes = what_if_outcomes(
        found.protocol, found.arm, forecast, cycle=found.ordinal, activities_MBq=chosen, risk_factors=found.risk_factors
    )
    passed = over_limits(outcomes)
    more = [n for n, a in chosen.items() if a > decision.activities_MBq[n] * (1 + 1e-9)]
    hard = [o.limit.id for o in outcomes if o.limit.id in passed and o.limit.kind == "hard"]
    if more and hard:
        raise InputError(f"{where}: the chosen activity passes the hard limit {hard[0]}; choose a lower one")
    over: tuple[str, ...] = ()
    if more:
        over = passed or (f"more {more[0]} than computed",)
    elif decision.over_limit:
        over = passed or ((decision.bound_by or "limit",) if chosen == decision.activities_MBq else ())
    category = activity_categories(found.protocol, found.arm, chosen, previous_MBq=decision.previous_MBq)
    return Choice(chosen, category, outcomes, over, command.reason or _reason(found), conditions)


def _reason(found: Computed) -> str:
    """The reason in the words of the exchange format, from what bound the activity."""
    decision = found.proposal.decision
    if decision.bound_by == "toxicity":
        return "toxicity"
    regions = {o.limit.id: o.limit.region for o in decision.limits}
    return _REGION_REASONS.get(regions.get(decision.bound_by or "", ""), "")


def prescription_values(
    reader: Reader,
    actor: Actor,
    command: ProposeCycle,
    found: Computed,
    choice: Choice,
    *,
    version: int,
    hashes: Sequence[str],
) -> list[dict[str, Any]]:
    """Values of the rows of a version, one a nuclide, with the inputs and conditions that later checks need."""
    decision, computed = found.proposal.decision, found.proposal.prescription
    assert decision.activities_MBq is not None
    further = {
        "facts": dict(found.facts), "forecast_sha256": hashes[1], "over": list(choice.over),
        "conditions": list(choice.conditions), "note": command.note or None, "ordinal": found.ordinal,
        "controller_state": decision.state, "reasons": computed["reasons"],
    }  # fmt: skip
    return [
        {
            "subject_id": command.subject_id, "cycle": command.cycle, "version": version, "nuclide": nuclide,
            "state": "PROPOSED", "base_MBq": decision.base_MBq[nuclide],
            "proposed_MBq": decision.activities_MBq[nuclide], "prescribed_MBq": choice.activities_MBq[nuclide],
            "category": choice.category[nuclide], "reason": choice.reason, "bound_by": decision.bound_by,
            "proposed_by": actor.user_id, "proposed_at": reader.now,
            "protocol_version": found.protocol.version, "result_sha256": hashes[0],
            "inputs_sha256": facts_hash(found.facts), "further": further,
        }
        for nuclide in decision.activities_MBq
    ]  # fmt: skip


def forecast_values(
    subject_id: str, cycle: int, version: int, *, outcomes: Sequence[LimitOutcome]
) -> list[dict[str, Any]]:
    """One row a region and horizon; a limit of BED fills the BED, one of absorbed dose the dose."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for outcome in outcomes:
        for horizon, dose in (("next", outcome.after_cycle), ("course", outcome.end_of_course)):
            if dose is None:
                continue
            key = {"subject_id": subject_id, "cycle": cycle, "version": version,
                   "region": outcome.limit.region, "horizon": horizon}  # fmt: skip
            row = rows.setdefault((outcome.limit.region, horizon), key)
            row["p_over_limit"] = max(row.get("p_over_limit", 0.0), dose.probability_over)
            if outcome.limit.metric == "bed":
                row["bed_Gy"] = dose.value_Gy
            else:
                row |= {"absorbed_dose_Gy": dose.value_Gy, "absorbed_dose_sd_Gy": dose.sd_Gy}
    return list(rows.values())


def forecast_updates(subject_id: str, cycle: int, version: int, *, outcomes: Sequence[LimitOutcome]) -> list[Edit]:
    """The prediction kept with a version is that of the activities which it prescribes."""
    keys = ("subject_id", "cycle", "version", "region", "horizon")
    rows = forecast_values(subject_id, cycle, version, outcomes=outcomes)
    return [Update("forecasts", {k: row[k] for k in keys}, row) for row in rows]


def check_lower(rows: Sequence[Record], activities_MBq: Mapping[str, float], where: str) -> None:
    """Refuse activities that raise a stored version's, or change none of them.

    Raises
    ------
    InputError
        Naming the nuclide.
    """
    _refuse_nothing(activities_MBq, where)
    before = {r["nuclide"]: float(r["prescribed_MBq"]) for r in rows}
    higher = [n for n, a in activities_MBq.items() if a > before[n] * (1 + 1e-9)]
    if higher:
        raise InputError(f"{where}: {higher[0]}: found {activities_MBq[higher[0]]:g} MBq above {before[higher[0]]:g} "
                         "MBq; only a new proposal can raise an activity")  # fmt: skip
    if all(abs(a - before[n]) <= 1e-9 * before[n] for n, a in activities_MBq.items()):
        raise InputError(f"{where}: found the same activities; lower at least one")


def _refuse_nothing(activities_MBq: Mapping[str, float], where: str) -> None:
    """Refuse to prescribe none of a nuclide: what is then given would be judged against nothing."""
    for nuclide, activity in activities_MBq.items():
        if not activity >= LEAST_MBQ:
            raise InputError(
                f"{where}: {nuclide}: found {activity:g} MBq; expected at least {LEAST_MBQ:g} MBq; to give none, "
                "withhold the cycle, or say at the administration why the nuclide was not given"
            )


def above_computed(rows: Sequence[Record], activities_MBq: Mapping[str, float]) -> tuple[str, ...]:
    """Nuclides of which more stays than was computed: that too takes the override, whatever limit it stays under."""
    return tuple(
        f"more {r['nuclide']} than computed"
        for r in rows
        if activities_MBq[r["nuclide"]] > float(r["proposed_MBq"]) * (1 + 1e-9)
    )


def check_acknowledged(conditions: Sequence[str], given: Sequence[str], where: str) -> None:
    """Refuse while open conditions are not repeated by the person who signs; raises `InputError` naming them."""
    if open_ones := [c for c in conditions if c not in given]:
        raise InputError(f"{where}: open before signing: {'; '.join(open_ones)}; acknowledge each of them")
