"""The computed proposal for a cycle in a trial: signed records of past cycles with their draws → controller.

Here: computing and previewing; nothing is written and nothing is released by a program. Not here: signatures
(`prescription`), the rules themselves (`lutetia.protocol`) and the chain (`lutetia.plan`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from lutetia.core.chain import Forecast
from lutetia.core.provenance import software
from lutetia.errors import AccessDeniedError, InputError, MissingRecordError, TransitionError
from lutetia.plan.case import Case
from lutetia.plan.course import CourseDoses, doses_of_course
from lutetia.plan.proposal import Proposal, propose
from lutetia.plan.result import rounded
from lutetia.plan.stored import StoredCycle, unpack_cycle, unpack_forecast
from lutetia.plan.uncertainty import Draws
from lutetia.protocol.outcomes import LimitOutcome, limit_record
from lutetia.protocol.records import Protocol
from lutetia.protocol.what_if import what_if_outcomes
from lutetia.trial import access
from lutetia.trial.files import FileStore
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.schema import canonical
from lutetia.trial.states import PRESCRIPTION_OPEN
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import (
    course_case,
    cycle_of,
    cycle_window,
    given_cycles,
    input_facts,
    lab_conditions,
    lab_values,
    latest_result,
    local_day,
    protocol_of,
    refuse_unrecorded_death,
    risk_factors,
    study_of,
    subject_of,
)
from lutetia.workflow.edits import allowed_subject
from lutetia.workflow.toxicity_records import toxicity_events

SEED, DRAWS = 1, 1000  # settings `seed` and `draws` of the study
PROPOSABLE = ("ASSESSED",)


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """A proposal with all it rests on. `facts` are hashes of the inputs by kind; `ordinal` counts given cycles."""

    proposal: Proposal
    protocol: Protocol
    arm: str
    ordinal: int
    as_of: datetime
    facts: Mapping[str, str]
    record: Mapping[str, Any]
    risk_factors: tuple[str, ...] | None

    @property
    def content(self) -> bytes:
        """The proposal as the JSON that is stored and hashed."""
        return canonical(dict(self.record)).encode()


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Activities to try; `version` names a stored proposal, None the newest open one, or else the current records."""

    subject_id: str
    cycle: int
    activities_MBq: Mapping[str, float]
    version: int | None = None


def draws_of(reader: Reader, subject_id: str) -> Draws:
    """Seed, name and number of the draws of a subject in this trial."""
    settings = study_of(reader)["settings"] or {}
    return Draws(int(settings.get("seed", SEED)), subject_id, int(settings.get("draws", DRAWS)))


def compute_proposal(trial: Trial, reader: Reader, subject_id: str, cycle: int, *, as_of: datetime) -> Computed:
    """The controller's proposal for an assessed cycle, from the trial's records alone.

    Raises
    ------
    TransitionError
        If the cycle is not assessed.
    InputError
        If an input is stale or incomplete: laboratory values, doses of an earlier cycle, the window.
    """
    row = cycle_of(reader, subject_id, cycle)
    if row["state"] not in PROPOSABLE:
        raise TransitionError(f"cycle {cycle}: is {row['state']}; expected ASSESSED before a proposal; assess it first")
    check_inputs(reader, subject_id, cycle, as_of=as_of)
    protocol = protocol_of(trial, reader)
    case = course_case(reader, subject_id, protocol, as_of=as_of, before_cycle=cycle)
    draws = draws_of(reader, subject_id)
    course = stored_course(trial, reader, case, protocol, draws=draws, before_cycle=cycle)
    found = propose(
        case, Path(), protocol, course, draws=draws, labs=lab_values(reader, subject_id),
        events=toxicity_events(reader, subject_id),
    )  # fmt: skip
    facts = input_facts(reader, subject_id, protocol, before_cycle=cycle, as_of=as_of)
    return Computed(
        proposal=found,
        protocol=protocol,
        arm=case.protocol.arm,
        ordinal=len(case.cycles) + 1,
        as_of=as_of,
        facts=facts,
        record=_record(case, protocol, course, found, draws, facts),
        risk_factors=case.subject.risk_factors,
    )


def check_inputs(reader: Reader, subject_id: str, cycle: int, *, as_of: datetime) -> None:
    """Refuse to propose from stale or incomplete records.

    Raises
    ------
    InputError
        With what is stale or missing and what to do.
    TransitionError
        If an adverse event is fatal and no death is recorded.
    """
    where = f"subject {subject_id}, cycle {cycle}"
    refuse_unrecorded_death(reader, subject_id, where)
    for given in given_cycles(reader, subject_id):
        if given.cycle < cycle and given.state == "GIVEN":
            raise InputError(
                f"{where}: cycle {given.cycle} was given and has no doses yet; import its case, wait for the worker, "
                "or record why its dosimetry is missing"
            )
    if lacking := lab_conditions(reader, subject_id, as_of):
        raise InputError(f"{where}: expected values of the last 7 days; {lacking[0]}; enter them and assess again")
    row = cycle_of(reader, subject_id, cycle)
    last = cycle_window(reader, row)[1]
    if local_day(reader, subject_of(reader, subject_id)["site"], as_of) > last:
        raise InputError(f"{where}: its window passed on {last}; move the cycle to a new day with a reason")


def stored_course(
    trial: Trial, reader: Reader, case: Case, protocol: Protocol, *, draws: Draws, before_cycle: int
) -> CourseDoses:
    """Doses of the cycles given so far: stored draws where there are doses, carried ones where they are missing."""
    stored = stored_cycles(trial, reader, case.subject.id, before_cycle=before_cycle)
    return doses_of_course(case, Path(), protocol, draws=draws, progress=lambda text: None, stored=stored)


def stored_cycles(trial: Trial, reader: Reader, subject_id: str, *, before_cycle: int) -> dict[int, StoredCycle]:
    """Stored doses by place among the given cycles."""
    found = {}
    for given in given_cycles(reader, subject_id):
        row = latest_result(reader, subject_id, given.cycle) if given.cycle < before_cycle else None
        if row is not None:
            found[given.ordinal] = _cycle_file(trial.files, row["draws_sha256"])
    return found


def preview_proposal(trial: Trial, actor: Actor, subject_id: str, cycle: int) -> Computed:
    """What would be proposed now; writes nothing.

    Raises
    ------
    AccessDeniedError
        If the actor may not see doses and activities.
    """
    require_unmasked(trial, actor, subject_id)
    with trial.read() as reader:
        return compute_proposal(trial, reader, subject_id, cycle, as_of=datetime.fromisoformat(reader.now))


def what_if(trial: Trial, actor: Actor, command: WhatIf) -> list[dict[str, Any]]:
    """Doses after the cycle and at the end of the course for other activities; writes nothing.

    Returns
    -------
    One row a limit, with the keys of `limits` in result.json: predicted doses with 95 % intervals, P(over).

    Raises
    ------
    AccessDeniedError
        If the actor may not see doses and activities.
    InputError
        For activities that cannot be, or a subject of whom no dose can be predicted.
    """
    require_unmasked(trial, actor, command.subject_id)
    outcomes = predicted(trial, command)
    return [dict(rounded(limit_record(outcome))) for outcome in outcomes]


def predicted(trial: Trial, command: WhatIf) -> tuple[LimitOutcome, ...]:
    """The outcomes of `what_if` as records."""
    with trial.read() as reader:
        protocol = protocol_of(trial, reader)
        ordinal = sum(g.cycle < command.cycle for g in given_cycles(reader, command.subject_id)) + 1
        forecast = _forecast(trial, reader, command, protocol)
        arm = reader.record("subjects", {"subject_id": command.subject_id})["arm"]
        risks = risk_factors(reader, command.subject_id, protocol)
    return what_if_outcomes(
        protocol, arm, forecast, cycle=ordinal, activities_MBq=command.activities_MBq, risk_factors=risks
    )


def require_unmasked(trial: Trial, actor: Actor, subject_id: str) -> None:
    """Refuse actors who may not see the subject, or may see it only without what reveals the arm."""
    subject = allowed_subject(trial, actor, "see_subject", subject_id)
    if access.masked(actor):
        raise AccessDeniedError(f"see_subject at site {subject['site']}: doses and activities are hidden for this role")


def prescription_rows(reader: Reader, subject_id: str, cycle: int, version: int | None = None) -> list[Record]:
    """Rows of one version, one a nuclide; the newest version where none is named.

    Raises
    ------
    MissingRecordError
        If there is none.
    """
    rows = reader.records("prescriptions", subject_id=subject_id, cycle=cycle)
    wanted = max((int(r["version"]) for r in rows), default=0) if version is None else version
    if not (found := [r for r in rows if int(r["version"]) == wanted]):
        raise MissingRecordError(f"subject {subject_id}, cycle {cycle}: has no prescription {wanted or ''}".rstrip())
    return found


def _forecast(trial: Trial, reader: Reader, command: WhatIf, protocol: Protocol) -> Forecast:
    rows = reader.records("prescriptions", subject_id=command.subject_id, cycle=command.cycle)
    stored = [r for r in rows if (r["further"] or {}).get("forecast_sha256")]
    if command.version is None:
        stored = [r for r in stored if r["state"] in PRESCRIPTION_OPEN]
    else:
        stored = [r for r in stored if int(r["version"]) == command.version]
    if stored:
        newest = max(stored, key=lambda r: int(r["version"]))
        return _forecast_file(trial.files, newest["further"]["forecast_sha256"])
    as_of = datetime.fromisoformat(reader.now)
    case = course_case(reader, command.subject_id, protocol, as_of=as_of, before_cycle=command.cycle)
    draws = draws_of(reader, command.subject_id)
    course = stored_course(trial, reader, case, protocol, draws=draws, before_cycle=command.cycle)
    found = propose(case, Path(), protocol, course, draws=draws, labs=lab_values(reader, command.subject_id)).forecast
    if found is None:
        raise InputError(f"subject {command.subject_id}: no dose under a limit can be predicted; measure a cycle first")
    return found


@lru_cache(maxsize=64)
def _cycle_file(files: FileStore, digest: str) -> StoredCycle:
    return unpack_cycle(files.get(digest))


@lru_cache(maxsize=64)
def _forecast_file(files: FileStore, digest: str) -> Forecast:
    return unpack_forecast(files.get(digest))


def _record(
    case: Case, protocol: Protocol, course: CourseDoses, found: Proposal, draws: Draws, facts: Mapping[str, str]
) -> dict[str, Any]:
    """The proposal as plain values: what was proposed, from which inputs, by which rules and program."""
    plain = {
        "schema": "lutetia.proposal/1",
        "software": software(),
        "seed": draws.seed,
        "draws": draws.count,
        "subject": case.subject.id,
        "protocol": {"name": protocol.name, "version": protocol.version, "sha256": protocol.sha256,
                     "arm": case.protocol.arm, "illustrative": protocol.illustrative},
        "inputs": dict(facts),
        "prescription": found.prescription,
        "limits": found.limits,
        "labs": found.labs,
        "warnings": [d.message for d in dict.fromkeys((*course.doubts, *found.doubts))],
    }  # fmt: skip
    return dict(json.loads(json.dumps(rounded(plain), allow_nan=False)))
