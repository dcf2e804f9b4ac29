"""Prescriptions: proposed by a physicist, released by a physician, lowered, overridden by two physicians, or void.

PROPOSED → RELEASED → ADMINISTERED; PROPOSED → REJECTED or OVERRIDE_PENDING → RELEASED; VOID when an input changes, the
laboratory values are older than 7 days or the window has passed, which is looked at before every release and before the
administration. Here: who signs what. Not here: the computed proposal (`proposal`), the infusion (`administration`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lutetia.errors import InputError, SignatureError, StaleRecordError, TransitionError
from lutetia.plan.stored import pack
from lutetia.protocol.what_if import activity_categories
from lutetia.trial import access
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Change, Create, Edit, Receipt, Sign, Update
from lutetia.trial.signatures import Confirmed, require_different
from lutetia.trial.states import check_transition
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import (
    changed_facts,
    cycle_of,
    cycle_window,
    death_day,
    facts_hash,
    given_cycles,
    input_facts,
    lab_conditions,
    latest_result,
    local_day,
    protocol_of,
    subject_of,
)
from lutetia.workflow.cycles import TREATABLE
from lutetia.workflow.edits import allowed_subject, cycle_step, file_edits, now_of, required_text
from lutetia.workflow.prescription_choice import (
    ProposeCycle,
    above_computed,
    check_acknowledged,
    check_lower,
    forecast_updates,
    forecast_values,
    make_choice,
    over_limits,
    prescription_values,
)
from lutetia.workflow.proposal import (
    Computed,
    WhatIf,
    compute_proposal,
    predicted,
    prescription_rows,
    require_unmasked,
)

__all__ = [
    "DecideOnPrescription",
    "LowerPrescription",
    "ProposeCycle",
    "Proposed",
    "VoidPrescription",
    "approve_override",
    "lower_prescription",
    "over_limits",
    "propose_cycle",
    "read_standing",
    "reject_prescription",
    "release_prescription",
    "request_override",
    "void_change",
    "void_prescription",
    "void_reasons",
]

PROPOSED, RELEASED = "proposes this prescription", "releases this prescription for administration"
REQUESTED, APPROVED = "asks for an override above a limit", "approves the override above a limit"
LOWERED, REJECTED = "lowers and releases this prescription", "rejects this prescription"


@dataclass(frozen=True, slots=True)
class DecideOnPrescription:
    """A physician's decision on one version: release, reject, ask for or approve an override.

    `reason` is needed for all but the release; `acknowledged` repeats the open conditions.
    """

    subject_id: str
    cycle: int
    version: int
    confirmed: Confirmed
    reason: str = ""
    acknowledged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LowerPrescription:
    """Lower activities of a proposed or released version; a physician does it at once, with a reason.

    `acknowledged` repeats the open conditions of a proposed version, as for its release.
    """

    subject_id: str
    cycle: int
    version: int
    activities_MBq: Mapping[str, float]
    reason: str
    confirmed: Confirmed
    acknowledged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VoidPrescription:
    """Take a version back, with a reason."""

    subject_id: str
    cycle: int
    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Proposed:
    """A stored proposal: its version, what is still open before release, and whether it needs the override."""

    version: int
    activities_MBq: Mapping[str, float]
    override_needed: bool
    conditions: tuple[str, ...]
    receipt: Receipt


def propose_cycle(trial: Trial, actor: Actor, command: ProposeCycle) -> Proposed:
    """Compute the proposal, store it with its inputs and draws, and sign it as its physicist.

    Raises
    ------
    TransitionError
        If the cycle is not assessed, or another version is open.
    InputError
        If an input is stale or incomplete, nothing can be proposed, a hard limit would be passed, or a condition is
        not acknowledged.
    StaleRecordError
        If the records changed since the preview, or while the proposal was computed.
    """
    allowed_subject(trial, actor, "propose", command.subject_id)
    with trial.read() as reader:
        found = compute_proposal(trial, reader, command.subject_id, command.cycle, as_of=now_of(reader))
    if command.inputs is not None and command.inputs != facts_hash(found.facts):
        raise StaleRecordError(
            f"subject {command.subject_id}, cycle {command.cycle}: the records changed since the preview; look at the "
            "new one, then propose"
        )
    choice = make_choice(found, command)
    assert found.proposal.forecast is not None
    files = {
        trial.files.put(content): (name, len(content), media)
        for name, content, media in (
            ("proposal.json", found.content, "application/json"),
            ("forecast.npz", pack(found.proposal.forecast), "application/x-npz"),
        )
    }
    hashes, cycle = list(files), (command.subject_id, command.cycle)

    def change(reader: Reader) -> Change:
        _same_inputs(reader, found, command)
        _no_open_version(reader, command.subject_id, command.cycle)
        version = reader.next_number("prescriptions", "version", subject_id=command.subject_id, cycle=command.cycle)
        rows = prescription_values(reader, actor, command, found, choice, version=version, hashes=hashes)
        keys = [{k: r[k] for k in ("subject_id", "cycle", "version", "nuclide")} for r in rows]
        edits: list[Edit] = [
            *file_edits(reader, actor, files),
            *(Create("prescriptions", row) for row in rows),
            *(Create("forecasts", row) for row in forecast_values(*cycle, version, outcomes=choice.outcomes)),
            Sign(_covered(reader, command, keys), PROPOSED, command.confirmed),
        ]
        return Change("propose", edits, result=version)

    receipt = trial.commit(change, actor)
    return Proposed(int(receipt.result), choice.activities_MBq, bool(choice.over), choice.conditions, receipt)


def release_prescription(trial: Trial, actor: Actor, command: DecideOnPrescription) -> Receipt:
    """A physician, another person than the proposer, releases a proposed version for administration.

    A version whose inputs changed, or whose window or laboratory values have run out, becomes VOID instead.

    Raises
    ------
    SignatureError
        If the same person proposed it, or it needs the override.
    TransitionError
        If it is not proposed, or has just become void; a new version is needed then.
    """
    allowed_subject(trial, actor, "release", command.subject_id)

    def decide(reader: Reader, rows: list[Record]) -> Change:
        _other_person(rows, actor)
        if rows[0]["further"]["over"]:
            over = ", ".join(rows[0]["further"]["over"])
            raise SignatureError(
                f"{_place(command)}: is above the limit ({over}); ask for an override with a reason, which a second "
                "physician approves"
            )
        check_acknowledged(rows[0]["further"]["conditions"], command.acknowledged, _place(command))
        return Change("release", _released(reader, actor, rows, command.confirmed, RELEASED))

    return _decide(trial, actor, command, "RELEASED", decide)


def reject_prescription(trial: Trial, actor: Actor, command: DecideOnPrescription) -> Receipt:
    """A physician rejects a proposed version with a reason; the cycle stays assessed for a new proposal."""
    allowed_subject(trial, actor, "release", command.subject_id)
    reason = required_text(command.reason, "reason")

    def decide(reader: Reader, rows: list[Record]) -> Change:
        edits = [*_to(rows, "REJECTED"), _decision_row(reader, actor, rows[0], "rejected", reason),
                 _signature(rows, REJECTED, command.confirmed)]  # fmt: skip
        return Change("reject", edits)

    return _decide(trial, actor, command, "REJECTED", decide, check_validity=False)


def request_override(trial: Trial, actor: Actor, command: DecideOnPrescription) -> Receipt:
    """The first physician signs for an activity above a limit, with a reason; it then waits for a second one.

    Raises
    ------
    SignatureError
        If the same person proposed it, or the version is not above a limit.
    """
    allowed_subject(trial, actor, "release", command.subject_id)
    reason = required_text(command.reason, "reason")

    def decide(reader: Reader, rows: list[Record]) -> Change:
        _other_person(rows, actor)
        if not rows[0]["further"]["over"]:
            raise SignatureError(f"{_place(command)}: is not above a limit; release it without an override")
        check_acknowledged(rows[0]["further"]["conditions"], command.acknowledged, _place(command))
        values = {"override_by": actor.user_id, "override_reason": reason}
        edits = [*_to(rows, "OVERRIDE_PENDING", values), _decision_row(reader, actor, rows[0], "requested", reason),
                 _signature(rows, REQUESTED, command.confirmed)]  # fmt: skip
        return Change("request_override", edits)

    return _decide(trial, actor, command, "OVERRIDE_PENDING", decide)


def approve_override(trial: Trial, actor: Actor, command: DecideOnPrescription) -> Receipt:
    """A second physician, a third person, releases a version above a limit.

    Raises
    ------
    SignatureError
        If the person proposed it or asked for the override.
    """
    allowed_subject(trial, actor, "release", command.subject_id)
    reason = required_text(command.reason, "reason")

    def decide(reader: Reader, rows: list[Record]) -> Change:
        _other_person(rows, actor)
        require_different(rows[0]["override_by"], actor.user_id, what=f"{_place(command)}, override")
        both = f"{rows[0]['override_by']}, {actor.user_id}"
        edits = _released(reader, actor, rows, command.confirmed, APPROVED, {"override_by": both})
        edits.append(_decision_row(reader, actor, rows[0], "approved", reason))
        return Change("approve_override", edits)

    return _decide(trial, actor, command, "RELEASED", decide, old="OVERRIDE_PENDING")


def lower_prescription(trial: Trial, actor: Actor, command: LowerPrescription) -> Receipt:
    """A physician lowers a proposed or released version, which is released by this signature at once.

    A released one may be lowered by any amount, also where two physicians released it above a limit.

    Raises
    ------
    InputError
        If an activity is higher than before, none is lower, a condition is not acknowledged, or a lowered proposal is
        still above a limit.
    SignatureError
        If the same person proposed it.
    """
    allowed_subject(trial, actor, "release", command.subject_id)
    reason = required_text(command.reason, "reason")
    where = f"subject {command.subject_id}, cycle {command.cycle}, version {command.version}"
    question = WhatIf(command.subject_id, command.cycle, command.activities_MBq, command.version)
    outcomes = predicted(trial, question)
    over = over_limits(outcomes)

    def change(reader: Reader) -> Change:
        rows = prescription_rows(reader, command.subject_id, command.cycle, command.version)
        if rows[0]["state"] not in ("PROPOSED", "RELEASED"):
            raise TransitionError(f"{where}: is {rows[0]['state']}; only a proposed or released one can be lowered")
        _other_person(rows, actor)
        if why := void_reasons(trial, reader, rows, as_of=now_of(reader)):
            return void_change(reader, rows, why)
        check_lower(rows, command.activities_MBq, where)
        still = (over or above_computed(rows, command.activities_MBq)) if rows[0]["further"]["over"] else ()
        if rows[0]["state"] == "PROPOSED":
            check_acknowledged(rows[0]["further"]["conditions"], command.acknowledged, where)
            if still:
                raise InputError(f"{where}: is still above the limit ({', '.join(still)}); lower it further")
        steps = _lowered(trial, reader, actor, rows=rows, command=command, still=still)
        place = (command.subject_id, command.cycle, command.version)
        steps += forecast_updates(*place, outcomes=outcomes)
        return Change("lower", [*steps, _decision_row(reader, actor, rows[0], "lowered", reason)])

    return _unless_void(trial.commit(change, actor, reason), where)


def void_prescription(trial: Trial, actor: Actor, command: VoidPrescription) -> Receipt:
    """Take an open version back, with a reason; whoever may propose or release may do it."""
    subject = allowed_subject(trial, actor, "see_subject", command.subject_id)
    if not access.may(actor, "propose", subject["site"]):
        access.require(actor, "release", subject["site"])
    reason = required_text(command.reason, "reason")

    def change(reader: Reader) -> Change:
        rows = prescription_rows(reader, command.subject_id, command.cycle, command.version)
        return Change("void_prescription", _void_steps(reader, rows, reason))

    return trial.commit(change, actor, reason)


def read_standing(
    trial: Trial, actor: Actor, subject_id: str, cycle: int, *, version: int | None = None
) -> tuple[str, ...]:
    """Why a version would become void if it were used now; empty while it stands. Writes nothing.

    Parameters
    ----------
    version
        Default: the newest.

    Raises
    ------
    MissingRecordError
        If there is no such version.
    AccessDeniedError
        If the actor may not see prescriptions.
    """
    require_unmasked(trial, actor, subject_id)
    with trial.read() as reader:
        rows = prescription_rows(reader, subject_id, cycle, version)
        return void_reasons(trial, reader, rows, as_of=now_of(reader))


def void_reasons(trial: Trial, reader: Reader, rows: Sequence[Record], *, as_of: datetime) -> tuple[str, ...]:
    """Why a version may not be used any more at `as_of`; empty while it stands."""
    subject_id, cycle = rows[0]["subject_id"], int(rows[0]["cycle"])
    protocol = protocol_of(trial, reader)
    now = input_facts(reader, subject_id, protocol, before_cycle=cycle, as_of=as_of)
    found = [f"{name} changed" for name in changed_facts(rows[0]["further"]["facts"], now)]
    subject = subject_of(reader, subject_id)
    died = death_day(reader, subject_id)
    before_death = died is not None and local_day(reader, subject["site"], as_of) <= died
    if subject["state"] not in TREATABLE and not before_death:
        found.append(f"the subject is {subject['state']}")
    if lacking := lab_conditions(reader, subject_id, as_of):
        found.append(f"values are lacking ({lacking[0]})")
    last = cycle_window(reader, cycle_of(reader, subject_id, cycle))[1]
    if local_day(reader, subject["site"], as_of) > last:
        found.append(f"the window passed on {last}")
    return tuple(found)


def _same_inputs(reader: Reader, found: Computed, command: ProposeCycle) -> None:
    """Inside the write lock: the inputs are still those of the computation."""
    now = input_facts(reader, command.subject_id, found.protocol, before_cycle=command.cycle, as_of=found.as_of)
    if changed := changed_facts(found.facts, now):
        raise StaleRecordError(
            f"subject {command.subject_id}, cycle {command.cycle}: {changed[0]} changed while the proposal was "
            "computed; propose again"
        )
    row = cycle_of(reader, command.subject_id, command.cycle)
    check_transition("cycle", row["state"], "PRESCRIBED", where=f"subject {command.subject_id}, cycle {command.cycle}")


def _no_open_version(reader: Reader, subject_id: str, cycle: int) -> None:
    rows = reader.records("prescriptions", subject_id=subject_id, cycle=cycle)
    for row in rows:
        if row["state"] in ("DRAFT", "PROPOSED", "OVERRIDE_PENDING", "RELEASED"):
            raise TransitionError(
                f"subject {subject_id}, cycle {cycle}: version {row['version']} is {row['state']}; reject it or make "
                "it void first"
            )


def _covered(reader: Reader, command: ProposeCycle, keys: Sequence[Mapping[str, Any]]) -> tuple[tuple[str, Any], ...]:
    """The proposal's rows, and the dosimetry results of the cycles before, which its signature holds too."""
    past = [g.cycle for g in given_cycles(reader, command.subject_id) if g.cycle < command.cycle]
    results = [r for c in past if (r := latest_result(reader, command.subject_id, c)) is not None]
    return (*(("prescriptions", key) for key in keys), *(("results", int(r["record_id"])) for r in results))


def _decide(
    trial: Trial,
    actor: Actor,
    command: DecideOnPrescription,
    new: str,
    decide: Any,
    *,
    old: str = "PROPOSED",
    check_validity: bool = True,
) -> Receipt:
    """Read the version inside the write lock, make it void where it does not stand any more, else decide."""

    def change(reader: Reader) -> Change:
        rows = prescription_rows(reader, command.subject_id, command.cycle, command.version)
        check_transition("prescription", rows[0]["state"], new, where=_place(command))
        if rows[0]["state"] != old:
            raise TransitionError(f"{_place(command)}: is {rows[0]['state']}; expected {old}")
        if check_validity and (why := void_reasons(trial, reader, rows, as_of=now_of(reader))):
            return void_change(reader, rows, why)
        found: Change = decide(reader, rows)
        return found

    return _unless_void(trial.commit(change, actor), _place(command))


def void_change(reader: Reader, rows: Sequence[Record], why: Sequence[str]) -> Change:
    """Make a version VOID for these reasons; the result says so."""
    return Change("void_prescription", _void_steps(reader, rows, "; ".join(why)), result=("VOID", tuple(why)))


def _void_steps(reader: Reader, rows: Sequence[Record], reason: str) -> list[Edit]:
    edits = _to(rows, "VOID", {"void_reason": reason})
    cycle = cycle_of(reader, rows[0]["subject_id"], int(rows[0]["cycle"]))
    if cycle["state"] == "PRESCRIBED":
        edits.append(cycle_step(reader, cycle, "ASSESSED", reason=f"prescription void: {reason}"))
    return edits


def _unless_void(receipt: Receipt, where: str) -> Receipt:
    if isinstance(receipt.result, tuple) and receipt.result[0] == "VOID":
        why = "; ".join(receipt.result[1])
        raise TransitionError(f"{where}: is void now, because {why}; assess the cycle and propose a new version")
    return receipt


def _to(rows: Sequence[Record], state: str, values: Mapping[str, Any] | None = None) -> list[Edit]:
    for row in rows:
        check_transition("prescription", row["state"], state)
    return [Update("prescriptions", int(r["record_id"]), {"state": state, **(values or {})}) for r in rows]


def _released(
    reader: Reader,
    actor: Actor,
    rows: Sequence[Record],
    confirmed: Confirmed,
    meaning: str,
    values: Mapping[str, Any] | None = None,
) -> list[Edit]:
    signed = {"signed_by": actor.user_id, "signed_at": reader.now, **(values or {})}
    cycle = cycle_of(reader, rows[0]["subject_id"], int(rows[0]["cycle"]))
    return [
        *_to(rows, "RELEASED", signed),
        cycle_step(reader, cycle, "PRESCRIBED"),
        _signature(rows, meaning, confirmed),
    ]


def _lowered(
    trial: Trial,
    reader: Reader,
    actor: Actor,
    *,
    rows: Sequence[Record],
    command: LowerPrescription,
    still: Sequence[str],
) -> list[Edit]:
    """Edits of a lowered version, released at once; `still` names what it stays above by the override before."""
    protocol = protocol_of(trial, reader)
    arm = reader.record("subjects", {"subject_id": command.subject_id})["arm"]
    category = activity_categories(protocol, arm, command.activities_MBq, previous_MBq={})
    signed = {"signed_by": actor.user_id, "signed_at": reader.now, "state": "RELEASED"}
    edits: list[Edit] = [
        Update("prescriptions", int(r["record_id"]),
               {**signed, "prescribed_MBq": float(command.activities_MBq[r["nuclide"]]),
                "category": category[r["nuclide"]], "further": {**r["further"], "over": list(still)}})
        for r in rows
    ]  # fmt: skip
    cycle = cycle_of(reader, command.subject_id, command.cycle)
    if cycle["state"] != "PRESCRIBED":
        edits.append(cycle_step(reader, cycle, "PRESCRIBED"))
    return [*edits, _signature(rows, LOWERED, command.confirmed)]


def _signature(rows: Sequence[Record], meaning: str, confirmed: Confirmed) -> Sign:
    return Sign(tuple(("prescriptions", int(r["record_id"])) for r in rows), meaning, confirmed)


def _decision_row(reader: Reader, actor: Actor, row: Record, decision: str, reason: str) -> Edit:
    """One row a person and version; a lowering after an override is told beside it, everything else is in the trail."""
    role = "physician" if "physician" in actor.roles else ", ".join(sorted(actor.roles))
    key = {"subject_id": row["subject_id"], "cycle": row["cycle"], "version": row["version"], "user_id": actor.user_id}
    values = {"role": role, "decision": decision, "reason": reason, "decided_at": reader.now}
    if (stored := reader.find("overrides", key)) is not None:
        if stored["decision"] in ("requested", "approved"):
            return Update("overrides", key, {"reason": f"{stored['reason']}; {decision}: {reason}"})
        return Update("overrides", key, values)
    return Create("overrides", {**key, **values})


def _other_person(rows: Sequence[Record], actor: Actor) -> None:
    where = f"subject {rows[0]['subject_id']}, cycle {rows[0]['cycle']}, version {rows[0]['version']}"
    require_different(rows[0]["proposed_by"], actor.user_id, what=where)


def _place(command: DecideOnPrescription) -> str:
    return f"subject {command.subject_id}, cycle {command.cycle}, version {command.version}"
