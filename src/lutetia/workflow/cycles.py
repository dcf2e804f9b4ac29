"""Cycles: planned with a window, assessed before each infusion, held, withheld, cancelled, closed.

Here: what happens to a cycle besides prescription, administration and doses, which have files of their own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from lutetia.errors import InputError, TransitionError
from lutetia.protocol.toxicity import Assessment, assess
from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Update
from lutetia.trial.states import CYCLE_BEFORE_GIVEN, PRESCRIPTION_OPEN
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import (
    GIVEN_STATES,
    cycle_of,
    cycle_window,
    given_cycles,
    infusion_day,
    lab_conditions,
    lab_values,
    local_day,
    patient_of,
    protocol_of,
    refuse_unrecorded_death,
    subject_of,
)
from lutetia.workflow.cycle_interval import interval_deviations
from lutetia.workflow.edits import allowed_subject, cycle_step, deviation_edits, now_of, required_text
from lutetia.workflow.entry_checks import check_form
from lutetia.workflow.toxicity_records import toxicity_events

ENDED = ("WITHHELD", "CANCELLED")
TREATABLE = ("RANDOMISED", "ON_TREATMENT")
# Decisions of an assessment: by the rules none, half, and those that hold the cycle; or that of a physician.
HOLDING, PHYSICIANS = ("hold", "stop"), "physician"


@dataclass(frozen=True, slots=True)
class PlanCycle:
    """A day for the next cycle; `reason` where it lies outside of the protocol's interval."""

    subject_id: str
    planned_on: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MoveCycle:
    """Another day for a cycle that is not given yet; `version` is the record version that the person saw."""

    subject_id: str
    cycle: int
    planned_on: str
    reason: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class AssessCycle:
    """Look at laboratory values and events before a cycle."""

    subject_id: str
    cycle: int


@dataclass(frozen=True, slots=True)
class EndCycle:
    """Hold a cycle or lift the hold, withhold, cancel or close it; `reason` in words (not needed for closing)."""

    subject_id: str
    cycle: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Assessed:
    """What an assessment found; `state` is the cycle's state after it."""

    state: str
    action: str
    reasons: tuple[str, ...]
    conditions: tuple[str, ...]
    no_increase: tuple[str, ...]
    receipt: Receipt


def plan_cycle(trial: Trial, actor: Actor, command: PlanCycle) -> int:
    """Plan the subject's next cycle and return its number.

    Raises
    ------
    InputError
        If the day lies before the previous administration or before randomisation.
    TransitionError
        If the subject is not in treatment, an earlier cycle is still open, or all planned cycles are given.
    ReasonRequiredError
        If the day lies outside of the protocol's interval and no reason is given.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        current = subject_of(reader, command.subject_id)
        values = check_form("cycles", {"planned_on": command.planned_on}, now=now_of(reader)).values
        number = following_cycle(trial, reader, current)
        if number is None:
            raise TransitionError(
                f"subject {command.subject_id}: all {protocol_of(trial, reader).cycles} planned cycles are given; "
                "no further one can be planned; record the end of treatment"
            )
        row = {"subject_id": command.subject_id, "cycle": number, "planned_on": values["planned_on"],
               "state": "PLANNED", "state_on": now_of(reader).date().isoformat()}  # fmt: skip
        _check_day(reader, current, values["planned_on"], number)
        edits: list[Edit] = [Create("cycles", row), _visit(reader, row)]
        edits += _early_or_late(trial, reader, command, values["planned_on"])
        return Change("plan_cycle", edits, result=number)

    return int(trial.commit(change, actor, command.reason.strip() or None).result)


def move_cycle(trial: Trial, actor: Actor, command: MoveCycle) -> Receipt:
    """Give a cycle that is not given yet another day, with a reason.

    An open prescription becomes VOID where its window has passed, or the new day lies outside of it.

    Raises
    ------
    TransitionError
        If the cycle was given or has ended.
    StaleRecordError
        If somebody changed it meanwhile.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)
    reason = required_text(command.reason, "reason")

    def change(reader: Reader) -> Change:
        cycle = cycle_of(reader, command.subject_id, command.cycle)
        if cycle["state"] in (*GIVEN_STATES, *ENDED):
            raise TransitionError(f"cycle {command.cycle}: is {cycle['state']}; only a cycle not given can be moved")
        day = check_form("cycles", {"planned_on": command.planned_on}, now=now_of(reader)).values["planned_on"]
        _check_day(reader, subject_of(reader, command.subject_id), day, command.cycle)
        moved = {**cycle, "planned_on": day}
        first, last = cycle_window(reader, moved)
        visit = {"due_on": day, "window_from_on": first, "window_to_on": last}
        key = {"subject_id": command.subject_id, "visit": f"cycle {command.cycle}"}
        void = _void_outside(reader, cycle, day)
        step = cycle_step(reader, cycle, "ASSESSED").values if void and cycle["state"] == "PRESCRIBED" else {}
        edits: list[Edit] = [
            Update("cycles", int(cycle["record_id"]), {**step, "planned_on": day}, command.version),
            *void,
            Update("visits", key, visit),
            *_early_or_late(trial, reader, command, day),
        ]
        return Change("move_cycle", edits)

    return trial.commit(change, actor, reason)


def _void_outside(reader: Reader, cycle: Record, day: str) -> list[Edit]:
    """Open prescriptions of a cycle that moves out of their window, or after it, become VOID."""
    first, last = cycle_window(reader, cycle)
    today = local_day(reader, subject_of(reader, cycle["subject_id"])["site"], now_of(reader))
    if first <= day <= last and today <= last:
        return []
    return void_edits(
        reader, cycle["subject_id"], int(cycle["cycle"]), f"moved to {day}; the window was {first} to {last}"
    )


def assess_cycle(trial: Trial, actor: Actor, command: AssessCycle) -> Assessed:
    """Assess a planned or held cycle: laboratory values of at most 7 days, toxicity by the protocol's rules.

    A toxicity that holds or stops puts the cycle on HELD with the rule's reasons; a physician then withholds it, or
    it is assessed again when new values have come.

    Raises
    ------
    InputError
        If a required laboratory value is missing or older than 7 days.
    TransitionError
        If the cycle's state does not permit an assessment, a physician holds it, or a death is not recorded.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        cycle = cycle_of(reader, command.subject_id, command.cycle)
        if (hold := physicians_hold(reader, cycle)) is not None:
            raise TransitionError(
                f"cycle {command.cycle}: {hold.by} has held it since {hold.on}: {hold.reason}; a physician lifts the "
                "hold, with a reason"
            )
        return _assessment(trial, reader, actor, cycle, "assess_cycle")

    return _assessed(trial.commit(change, actor))


def lift_hold(trial: Trial, actor: Actor, command: EndCycle) -> Assessed:
    """A physician lifts a physician's hold, with a reason; the cycle is assessed at once, and the rules may hold it.

    Raises
    ------
    InputError
        Without a reason, or if a required laboratory value is missing or older than 7 days.
    TransitionError
        If no physician holds the cycle, or a death is not recorded.
    """
    access.require(actor, "release", _site(trial, command.subject_id))
    reason = required_text(command.reason, "reason")

    def change(reader: Reader) -> Change:
        cycle = cycle_of(reader, command.subject_id, command.cycle)
        if physicians_hold(reader, cycle) is None:
            raise TransitionError(f"cycle {command.cycle}: no physician holds it; assess it instead")
        return _assessment(trial, reader, actor, cycle, "lift_hold")

    return _assessed(trial.commit(change, actor, reason))


def _assessed(receipt: Receipt) -> Assessed:
    state, found = receipt.result
    return Assessed(state, found.action, found.reasons, found.conditions, found.no_increase, receipt)


def _assessment(trial: Trial, reader: Reader, actor: Actor, cycle: Record, action: str) -> Change:
    """What an assessment changes; its result is the cycle's state and what was found."""
    subject_id, number = cycle["subject_id"], int(cycle["cycle"])
    refuse_unrecorded_death(reader, subject_id, f"cycle {number}")
    if lacking := lab_conditions(reader, subject_id, now_of(reader)):
        raise InputError(f"cycle {number}: expected values of the last 7 days; {lacking[0]}; enter them, then assess")
    found = toxicity_of(trial, reader, subject_id, as_of=now_of(reader))
    held = found.action in HOLDING
    reason = " ".join(found.reasons) if held else None
    steps = _steps(reader, cycle, held=held, reason=reason)
    if held:
        steps += void_edits(reader, subject_id, number, reason or "held")
    findings = {
        "reasons": list(found.reasons), "conditions": list(found.conditions), "no_increase": list(found.no_increase),
        "states": {name: asdict(state) for name, state in found.states.items()},
    }  # fmt: skip
    row = _assessment_row(reader, actor, cycle, found.action, findings=findings, reason=reason)
    return Change(action, [*steps, row], result=("HELD" if held else "ASSESSED", found))


@dataclass(frozen=True, slots=True)
class PhysiciansHold:
    """Who holds a cycle, since which day, and why."""

    by: str
    on: str
    reason: str


def physicians_hold(reader: Reader, cycle: Record) -> PhysiciansHold | None:
    """The hold of a physician that is in force; None where nobody holds the cycle, or the rules do."""
    rows = reader.records("assessments", subject_id=cycle["subject_id"], cycle=cycle["cycle"])
    last = max(rows, key=lambda r: int(r["assessment"]), default=None)
    if cycle["state"] != "HELD" or (last is not None and last["decision"] in HOLDING):
        return None
    by = "a physician"  # who, is not known of holds from before these records
    if last is not None and last["decision"] == PHYSICIANS:
        user = reader.find("users", {"user_id": last["decided_by"]})
        by = user["name"] if user is not None else last["decided_by"]
    return PhysiciansHold(by, cycle["state_on"], cycle["reason"] or "")


def toxicity_of(trial: Trial, reader: Reader, subject_id: str, *, as_of: datetime) -> Assessment:
    """What the toxicity rules say of a subject's records."""
    return assess(
        lab_values(reader, subject_id),
        [g.start for g in given_cycles(reader, subject_id)],
        as_of=as_of,
        patient=patient_of(reader, subject_id),
        events=toxicity_events(reader, subject_id),
        labs_max_age_days=protocol_of(trial, reader).labs_max_age_days,
    )


def hold_cycle(trial: Trial, actor: Actor, command: EndCycle) -> Receipt:
    """A physician holds an assessed cycle, with a reason; `lift_hold` ends it."""
    return _end(trial, actor, command, "HELD", "hold_cycle")


def withhold_cycle(trial: Trial, actor: Actor, command: EndCycle) -> Receipt:
    """A physician withholds a cycle that was not given, with a reason; it uses up no planned cycle."""
    return _end(trial, actor, command, "WITHHELD", "withhold_cycle")


def cancel_cycle(trial: Trial, actor: Actor, command: EndCycle) -> Receipt:
    """A physician cancels a cycle that was planned in error or will not be given, with a reason."""
    return _end(trial, actor, command, "CANCELLED", "cancel_cycle")


def close_cycle(trial: Trial, actor: Actor, command: EndCycle) -> Receipt:
    """Close a cycle whose doses are known, or are recorded as missing."""
    allowed_subject(trial, actor, "enter_data", command.subject_id)

    def change(reader: Reader) -> Change:
        cycle = cycle_of(reader, command.subject_id, command.cycle)
        return Change("close_cycle", [cycle_step(reader, cycle, "CLOSED", reason=cycle["reason"])])

    return trial.commit(change, actor)


def _end(trial: Trial, actor: Actor, command: EndCycle, state: str, action: str) -> Receipt:
    access.require(actor, "release", _site(trial, command.subject_id))
    reason = required_text(command.reason, "reason")

    def change(reader: Reader) -> Change:
        cycle = cycle_of(reader, command.subject_id, command.cycle)
        edits: list[Edit] = [cycle_step(reader, cycle, state, reason=reason)]
        if state == "HELD":
            edits.append(_assessment_row(reader, actor, cycle, PHYSICIANS, findings={}, reason=reason))
        return Change(action, [*edits, *void_edits(reader, command.subject_id, command.cycle, reason)])

    return trial.commit(change, actor, reason)


def void_edits(reader: Reader, subject_id: str, cycle: int, reason: str) -> list[Edit]:
    """Open prescriptions of a cycle become VOID."""
    rows = reader.records("prescriptions", subject_id=subject_id, cycle=cycle)
    return [
        Update("prescriptions", int(r["record_id"]), {"state": "VOID", "void_reason": reason})
        for r in rows
        if r["state"] in PRESCRIPTION_OPEN
    ]


def cancelled_cycles(reader: Reader, subject_id: str, reason: str, *, but: Collection[int] = ()) -> list[Edit]:
    """Every cycle that was not given is cancelled and its open prescriptions become VOID, as when a subject leaves.

    Cycles whose numbers are in `but` stay as they are.
    """
    edits: list[Edit] = []
    for cycle in reader.records("cycles", subject_id=subject_id):
        if cycle["state"] in CYCLE_BEFORE_GIVEN and int(cycle["cycle"]) not in but:
            edits.append(cycle_step(reader, cycle, "CANCELLED", reason=reason))
            edits += void_edits(reader, subject_id, int(cycle["cycle"]), reason)
    return edits


def _site(trial: Trial, subject_id: str) -> str:
    with trial.read() as reader:
        return str(subject_of(reader, subject_id)["site"])


def following_cycle(trial: Trial, reader: Reader, subject: Record) -> int | None:
    """Number of the cycle that can be planned next; None where all cycles of the protocol are given.

    Raises
    ------
    TransitionError
        If the subject is not in treatment, or an earlier cycle is still open.
    """
    where = f"subject {subject['subject_id']}"
    if subject["state"] not in TREATABLE:
        raise TransitionError(f"{where}: is {subject['state']}; a cycle needs a randomised subject in treatment")
    rows = reader.records("cycles", subject_id=subject["subject_id"])
    still = [r for r in rows if r["state"] not in (*GIVEN_STATES, *ENDED)]
    if still:
        raise TransitionError(f"{where}: cycle {still[0]['cycle']} is {still[0]['state']}; give or end it first")
    if sum(r["state"] in GIVEN_STATES for r in rows) >= protocol_of(trial, reader).cycles:
        return None
    return max((int(r["cycle"]) for r in rows), default=0) + 1


def _check_day(reader: Reader, subject: Record, day: str, number: int) -> None:
    where = f"subject {subject['subject_id']}, cycle {number}"
    given = [g for g in given_cycles(reader, subject["subject_id"]) if g.cycle < number]
    if subject["randomised_on"] and day < subject["randomised_on"]:
        raise InputError(f"{where}: found {day}, before randomisation on {subject['randomised_on']}; correct the day")
    if given and day <= (last := infusion_day(reader, subject["subject_id"], given[-1])):
        raise InputError(f"{where}: found {day}, but cycle {given[-1].cycle} was given on {last}; choose a later day")


def _visit(reader: Reader, row: dict[str, Any]) -> Create:
    first, last = cycle_window(reader, row)
    return Create("visits", {"subject_id": row["subject_id"], "visit": f"cycle {row['cycle']}", "cycle": row["cycle"],
                             "due_on": row["planned_on"], "window_from_on": first, "window_to_on": last,
                             "state": "PLANNED"})  # fmt: skip


def _early_or_late(trial: Trial, reader: Reader, command: PlanCycle | MoveCycle, day: str) -> list[Edit]:
    """A deviation where the interval to the previous cycle is outside of the protocol's window."""
    found = interval_deviations(trial, reader, command.subject_id, day=day, reason=command.reason)
    return deviation_edits(reader, command.subject_id, found, on=now_of(reader).date().isoformat())


def _steps(reader: Reader, cycle: Record, *, held: bool, reason: str | None) -> list[Edit]:
    """PLANNED and HELD go to ASSESSED, and on to HELD where toxicity says so; an ASSESSED cycle is assessed again."""
    state = cycle["state"]
    if state not in ("PLANNED", "HELD", "ASSESSED"):
        where = f"subject {cycle['subject_id']}, cycle {cycle['cycle']}"
        raise TransitionError(f"{where}: is {state}; only a cycle without a released prescription can be assessed")
    if state == "HELD" and held:
        return [Update("cycles", int(cycle["record_id"]), {"reason": reason})]
    steps: list[Edit] = [] if state == "ASSESSED" else [cycle_step(reader, cycle, "ASSESSED")]
    if held:
        steps.append(cycle_step(reader, {**cycle, "state": "ASSESSED"}, "HELD", reason=reason))
    return steps


def _assessment_row(
    reader: Reader, actor: Actor, cycle: Record, decision: str, *, findings: dict[str, Any], reason: str | None
) -> Create:
    count = reader.count("assessments", subject_id=cycle["subject_id"], cycle=cycle["cycle"])
    return Create("assessments", {
        "subject_id": cycle["subject_id"], "cycle": cycle["cycle"], "assessment": f"{count + 1:02d}",
        "assessed_on": now_of(reader).date().isoformat(), "decision": decision, "findings": findings,
        "reason": reason, "decided_by": actor.user_id, "decided_at": reader.now,
    })  # fmt: skip
