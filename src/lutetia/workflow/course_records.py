"""One subject's records as the inputs of `plan` and `protocol`: case, laboratory values, events, cycles given.

Here: reading and translating, and the facts whose change makes a prescription void. No rule is stated here; the rules
are in `lutetia.protocol`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from lutetia.clinical.analytes import canonical_analyte
from lutetia.clinical.labs import LabValue, read_row
from lutetia.clinical.transfusions import RED_CELLS
from lutetia.core.clock import time_zone
from lutetia.errors import InputError, LutetiaError, MissingRecordError, TransitionError
from lutetia.plan.case import Case
from lutetia.protocol.findings import FATAL, Patient, read_toxicity_rules
from lutetia.protocol.records import Protocol
from lutetia.protocol.toxicity import recency_conditions
from lutetia.trial.reader import Reader, Record
from lutetia.trial.schema import canonical
from lutetia.trial.store import Trial
from lutetia.workflow.study_setup import study_protocol, study_record

LABS_MAX_AGE_DAYS = 7.0  # state machine of the cycle: ASSESSED needs laboratory values of at most this age
GIVEN_STATES = ("GIVEN", "DOSED", "DOSE_MISSING", "CLOSED")
RELATED = ("possible", "probable", "definite")


@dataclass(frozen=True, slots=True)
class GivenCycle:
    """One administered cycle: `cycle` is its number in the trial, `ordinal` its place among those given."""

    cycle: int
    ordinal: int
    state: str
    administered_MBq: Mapping[str, float]
    prescribed_MBq: Mapping[str, float]
    started_at: Mapping[str, datetime]

    @property
    def start(self) -> datetime:
        """Start of the first infusion."""
        return min(self.started_at.values())


def subject_of(reader: Reader, subject_id: str) -> Record:
    """The record of a subject.

    Raises
    ------
    MissingRecordError
        If there is no such subject.
    """
    found = reader.find("subjects", {"subject_id": subject_id})
    if found is None:
        raise MissingRecordError(f"subject {subject_id}: is not in this trial; check the number")
    return found


def cycle_of(reader: Reader, subject_id: str, cycle: int) -> Record:
    """The record of a cycle.

    Raises
    ------
    MissingRecordError
        If the cycle is not planned.
    """
    found = reader.find("cycles", {"subject_id": subject_id, "cycle": cycle})
    if found is None:
        raise MissingRecordError(f"subject {subject_id}, cycle {cycle}: is not planned; plan it first")
    return found


def site_zone(reader: Reader, site: str) -> ZoneInfo | None:
    """Time zone of a site; None where it states none."""
    found = reader.find("sites", {"site": site})
    return time_zone(found["timezone"]) if found is not None and found["timezone"] else None


def local_day(reader: Reader, site: str, moment: datetime) -> str:
    """The calendar day of an instant at a site."""
    return moment.astimezone(site_zone(reader, site) or UTC).date().isoformat()


def death_day(reader: Reader, subject_id: str) -> str | None:
    """The day on which a subject died; None while none is recorded."""
    return min((str(d["on"]) for d in reader.records("disposition", subject_id=subject_id, event="died")), default=None)


def is_fatal(event: Mapping[str, Any]) -> bool:
    """Whether an adverse event is a death."""
    return event.get("grade") == FATAL or event.get("outcome") == "fatal"


def refuse_unrecorded_death(reader: Reader, subject_id: str, where: str) -> None:
    """Refuse to go on with a subject who has a fatal adverse event, but no recorded death.

    Raises
    ------
    TransitionError
        Naming the event.
    """
    fatal = [e for e in reader.records("adverse_events", subject_id=subject_id) if is_fatal(e)]
    if fatal and death_day(reader, subject_id) is None:
        named = f"adverse event {fatal[0]['ae_id']} ({fatal[0]['term']})"
        raise TransitionError(
            f"{where}: {named} is fatal, and no death is recorded; record the death, or correct the event"
        )


def refuse_after_death(reader: Reader, subject_id: str, day: str, where: str) -> None:
    """Refuse what happened on a day after the subject's death; the day itself and days before it are possible.

    Raises
    ------
    InputError
        Naming both days; a partial date counts from its first day.
    """
    died = death_day(reader, subject_id)
    if died is not None and day > died[: len(day)]:
        raise InputError(f"{where}: found {day}, after the subject died on {died}; correct the date")


def given_cycles(reader: Reader, subject_id: str) -> tuple[GivenCycle, ...]:
    """Cycles in which at least one nuclide was administered, in order."""
    rows = [c for c in reader.records("cycles", subject_id=subject_id) if c["state"] in GIVEN_STATES]
    every = reader.records("administrations", subject_id=subject_id)
    found: list[GivenCycle] = []
    for row in sorted(rows, key=lambda r: int(r["cycle"])):
        parts = [a for a in every if a["cycle"] == row["cycle"]]
        if not (given := [p for p in parts if p["administered_MBq"]]):
            continue
        found.append(
            GivenCycle(
                cycle=int(row["cycle"]),
                ordinal=len(found) + 1,
                state=row["state"],
                administered_MBq={p["nuclide"]: float(p["administered_MBq"]) for p in given},
                prescribed_MBq={p["nuclide"]: float(p["prescribed_MBq"] or 0.0) for p in parts},
                started_at={p["nuclide"]: datetime.fromisoformat(p["started_at"]) for p in given},
            )
        )
    return tuple(found)


def readable_labs(reader: Reader, subject_id: str) -> tuple[list[LabValue], list[tuple[Record, str]]]:
    """Laboratory values in the units used inside, missing ones left out; and the rows that are not understood.

    A row of those says why, such as an analyte or a unit that this version does not know.
    """
    zone = zone_of(reader, subject_id)
    found, strange = [], []
    for row in reader.records("labs", subject_id=subject_id):
        try:
            if row["value"] is None:
                canonical_analyte(row["analyte"])
                continue
            texts = {k: "" if v is None else str(v) for k, v in row.items() if k != "further"}
            found.append(read_row(texts, "", zone=zone))
        except LutetiaError as error:
            strange.append((row, str(error).removeprefix(": ")))
    return found, strange


def lab_values(reader: Reader, subject_id: str) -> list[LabValue]:
    """Laboratory values of a subject in the units used inside; missing ones are left out. For decisions.

    Raises
    ------
    InputError
        If a stored value is not understood: no decision leaves a value out without a word.
    """
    found, strange = readable_labs(reader, subject_id)
    if unread := [(row, why) for row, why in strange if row["value"] is not None]:
        row, why = unread[0]
        raise InputError(
            f"labs of {subject_id}: sample {row['sample_id']}, {row['analyte']}: is not understood ({why}); correct it"
        )
    return found


def lab_conditions(reader: Reader, subject_id: str, as_of: datetime) -> tuple[str, ...]:
    """What laboratory values are lacking or older than 7 days; empty when all required ones are recent."""
    known = [v for v in lab_values(reader, subject_id) if v.value is not None and v.taken_at <= as_of]
    return recency_conditions(read_toxicity_rules(), known, as_of, LABS_MAX_AGE_DAYS)


def weight_of(reader: Reader, subject_id: str, *, until: str = "9999") -> float | None:
    """The last weight measured up to a day, or that of enrolment."""
    rows = [r for r in reader.records("vitals", subject_id=subject_id) if r["weight_kg"] is not None]
    rows = [r for r in rows if r["taken_on"] <= until]
    if rows:
        return float(max(rows, key=lambda r: r["taken_on"])["weight_kg"])
    entered = subject_of(reader, subject_id)["weight_kg"]
    return None if entered is None else float(entered)


def patient_of(reader: Reader, subject_id: str) -> Patient | None:
    """What creatinine clearance needs; None where something is not known."""
    subject, weight = subject_of(reader, subject_id), weight_of(reader, subject_id)
    if subject["sex"] not in ("female", "male") or subject["age_years"] is None or weight is None:
        return None
    return Patient(subject["sex"], float(subject["age_years"]), weight)


def red_cell_days(reader: Reader, subject_id: str) -> list[date]:
    """Days on which red cells were given, in order."""
    rows = reader.records("treatments", subject_id=subject_id, kind=RED_CELLS)
    return sorted(date.fromisoformat(r["started_on"]) for r in rows)


def zone_of(reader: Reader, subject_id: str) -> ZoneInfo:
    """Time zone of a subject's site; UTC where it states none."""
    return site_zone(reader, subject_of(reader, subject_id)["site"]) or ZoneInfo("UTC")


def risk_factors(reader: Reader, subject_id: str, protocol: Protocol) -> tuple[str, ...] | None:
    """Risk factors of the protocol that the subject has; None while one of them is not answered."""
    answers = {r["item"]: (r["value"] or "").lower() for r in reader.records("baseline", subject_id=subject_id)}
    names = [name.lower().replace(" ", "_") for name in protocol.risk_factors]
    if any(answers.get(name) not in ("yes", "no") for name in names):
        return None
    return tuple(name for name in names if answers[name] == "yes")


def kidneys_present(reader: Reader, subject_id: str) -> int:
    """One where the baseline form says so, else two."""
    row = reader.find("baseline", {"subject_id": subject_id, "item": "kidneys_present"})
    return 1 if row is not None and row["value"] == "1" else 2


def course_case(
    reader: Reader, subject_id: str, protocol: Protocol, *, as_of: datetime, before_cycle: int | None = None
) -> Case:
    """The subject's course as a case without measurements: who, which arm, what was given when.

    Parameters
    ----------
    protocol
        Of the trial; its file name is not used again.
    as_of
        When the decision is taken.
    before_cycle
        Number in the trial of the cycle about to be given; later administrations are left out.

    Raises
    ------
    InputError
        If the subject is not randomised or a fact is missing.
    """
    subject = subject_of(reader, subject_id)
    if not subject["arm"]:
        raise InputError(f"subject {subject_id}: is not randomised; randomise it first")
    given = [g for g in given_cycles(reader, subject_id) if before_cycle is None or g.cycle < before_cycle]
    table: dict[str, Any] = {
        "schema": "lutetia.case/1",
        "decision_at": as_of,
        "subject": {
            "id": subject_id,
            "sex": subject["sex"],
            "age_years": subject["age_years"],
            "height_cm": subject["height_cm"],
            "weight_kg": weight_of(reader, subject_id),
            "kidneys_present": kidneys_present(reader, subject_id),
            "risk_factors": risk_factors(reader, subject_id, protocol),
            "prior_therapy": _prior(subject),
        },
        "protocol": {"name": protocol.name, "arm": subject["arm"]},
        "cycles": [_case_cycle(g) for g in given],
    }
    return Case.model_validate(table)


def _prior(subject: Mapping[str, Any]) -> list[dict[str, Any]]:
    doses = (("kidneys", subject["prior_kidney_Gy"]), ("red marrow", subject["prior_marrow_Gy"]))
    return [{"region": region, "absorbed_dose_Gy": dose} for region, dose in doses if dose]


def _case_cycle(given: GivenCycle) -> dict[str, Any]:
    return {
        "number": given.ordinal,
        "administered_at": dict(given.started_at),
        "administered_MBq": dict(given.administered_MBq),
        "prescribed_MBq": dict(given.prescribed_MBq),
    }


def study_of(reader: Reader) -> Record:
    """The record of the study, with those of its settings that are sound."""
    return study_record(reader)


def protocol_of(trial: Trial, reader: Reader) -> Protocol:
    """The protocol in force as the trial applies it: laboratory values of at most 7 days, or fewer if the file says."""
    found = study_protocol(trial, reader)
    return replace(found, labs_max_age_days=min(found.labs_max_age_days, LABS_MAX_AGE_DAYS))


def input_facts(
    reader: Reader, subject_id: str, protocol: Protocol, *, before_cycle: int, as_of: datetime
) -> dict[str, str]:
    """Hash of everything a prescription rests on, by kind, so that a change can be named.

    Parameters
    ----------
    before_cycle
        Number in the trial of the cycle about to be given.
    as_of
        Samples, weights and events after this instant are left out.
    """
    subject = subject_of(reader, subject_id)
    until, day = as_of.astimezone(UTC).isoformat(), local_day(reader, subject["site"], as_of)
    given = [g for g in given_cycles(reader, subject_id) if g.cycle < before_cycle]
    person = {k: subject[k] for k in ("arm", "sex", "age_years", "height_cm", "prior_kidney_Gy", "prior_marrow_Gy")}
    baseline = sorted((r["item"], r["value"]) for r in reader.records("baseline", subject_id=subject_id))
    labs = [
        [r[k] for k in ("sample_id", "analyte", "taken_at", "qualifier", "value", "unit", "lln", "uln")]
        for r in reader.records("labs", subject_id=subject_id)
        if r["taken_at"][:10] < day or r["taken_at"] <= until
    ]
    events = [[r["ae_id"], r["seq"], r["grade"], r["related"], r["started_on"], r["ended_on"], r["term"]]
              for r in reader.records("adverse_events", subject_id=subject_id)
              if r["started_on"] <= day]  # fmt: skip
    facts: dict[str, Any] = {
        "the subject's data": [person, baseline],
        "the number of kidneys": kidneys_present(reader, subject_id),
        "the arm's protocol": protocol.sha256,
        "the weight": weight_of(reader, subject_id, until=day),
        "the laboratory values": labs,
        "the adverse events": events,
        "the red-cell transfusions": [d for d in map(str, red_cell_days(reader, subject_id)) if d <= day],
        "the administrations": [[g.cycle, dict(g.administered_MBq), g.start.isoformat()] for g in given],
        "the doses": [[g.cycle, (latest_result(reader, subject_id, g.cycle) or {}).get("draws_sha256")] for g in given],
    }
    return {name: hashlib.sha256(canonical(value).encode()).hexdigest() for name, value in facts.items()}


def facts_hash(facts: Mapping[str, str]) -> str:
    """One hash of all facts."""
    return hashlib.sha256(canonical(dict(facts)).encode()).hexdigest()


def latest_result(reader: Reader, subject_id: str, cycle: int) -> Record | None:
    """The dosimetry result of a cycle that holds now; None where there is none."""
    rows = [r for r in reader.records("results", subject_id=subject_id, cycle=cycle) if r["state"] == "CURRENT"]
    return max(rows, key=lambda r: int(r["revision"]), default=None)


def window_of(cycle: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[str, str]:
    """First and last day on which a cycle may be given."""
    days = float(settings.get("cycle_window_days", CYCLE_WINDOW_DAYS))
    planned = datetime.fromisoformat(cycle["planned_on"])
    first, last = (planned + timedelta(days=sign * days) for sign in (-1, 1))
    return first.date().isoformat(), last.date().isoformat()


def cycle_window(reader: Reader, cycle: Mapping[str, Any]) -> tuple[str, str]:
    """`window_of` a cycle by the study's settings; it begins on the day after the previous infusion at the earliest."""
    first, last = window_of(cycle, study_of(reader)["settings"] or {})
    subject_id, number = str(cycle["subject_id"]), int(cycle["cycle"])
    before = [given for given in given_cycles(reader, subject_id) if given.cycle < number]
    if before:
        previous = date.fromisoformat(infusion_day(reader, subject_id, before[-1]))
        first = max(first, (previous + timedelta(days=1)).isoformat())
    return first, last


def infusion_day(reader: Reader, subject_id: str, given: GivenCycle) -> str:
    """The calendar day at the subject's site on which the infusion of a cycle began."""
    return local_day(reader, subject_of(reader, subject_id)["site"], given.start)


CYCLE_WINDOW_DAYS = 7  # assumption: setting `cycle_window_days` of the study


def changed_facts(stored: Mapping[str, str], now: Mapping[str, str]) -> Sequence[str]:
    """Names of the facts that differ."""
    return [name for name in now if stored.get(name) != now[name]]
