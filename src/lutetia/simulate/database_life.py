"""The life of one virtual subject in a trial's workflow: a generator whose yields name the moment of what is next.

Commands are those of `lutetia.workflow`; laboratory values and doses come from the virtual subject's biology and from
the activities that were really given. Not here: several subjects, the randomisation list (`database`).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lutetia.clinical.analytes import analytes
from lutetia.core.draws import FloatArray, stream
from lutetia.errors import InputError
from lutetia.protocol.records import Protocol
from lutetia.simulate.clinic import (
    AFTER_DAYS,
    BASELINE_DAY,
    EVENTS,
    FOLLOW_UP_DAYS,
    HOLD_DAYS,
    SLOTS,
    VirtualClinic,
)
from lutetia.simulate.courses import KIDNEYS
from lutetia.simulate.database_staff import Team
from lutetia.simulate.effects import limits_of_normal
from lutetia.simulate.mishaps import clinic_table
from lutetia.simulate.population import REGIONS
from lutetia.simulate.trials import Block, arm_columns, kidney_squares
from lutetia.trial import Actor, ManualClock, Trial
from lutetia.trial.signatures import Confirmed, confirm_demonstration
from lutetia.workflow.administration import DEVIATION, NuclideGiven, RecordAdministration, record_administration
from lutetia.workflow.adverse_events import (
    EndEvent,
    JudgeSerious,
    RecordEvent,
    ReportSerious,
    end_event,
    judge_causality,
    record_event,
    report_serious,
)
from lutetia.workflow.batches import ReceiveBatch, receive_batch
from lutetia.workflow.consent import RecordConsent, record_consent
from lutetia.workflow.cycles import (
    AssessCycle,
    EndCycle,
    MoveCycle,
    PlanCycle,
    assess_cycle,
    move_cycle,
    plan_cycle,
    withhold_cycle,
)
from lutetia.workflow.dosimetry import (
    KIND,
    ImportCase,
    MissingDosimetry,
    compute_doses,
    import_case,
    record_missing_dosimetry,
)
from lutetia.workflow.eligibility import AnswerEligibility, SignEligibility, answer_eligibility, sign_eligibility
from lutetia.workflow.follow_up import EndTreatment, Leave, end_treatment, leave
from lutetia.workflow.jobs import run_next
from lutetia.workflow.laboratory import EnterLabs, LabEntry, enter_labs
from lutetia.workflow.prescription import (
    DecideOnPrescription,
    ProposeCycle,
    Proposed,
    approve_override,
    propose_cycle,
    release_prescription,
    request_override,
)
from lutetia.workflow.proposal import preview_proposal
from lutetia.workflow.randomisation import Randomise, randomise
from lutetia.workflow.screening import Enrol, RecordBaseline, enrol, record_baseline
from lutetia.workflow.study_setup import CHECKLIST
from lutetia.workflow.vitals import RecordVitals, record_vitals

# Days before the first infusion.
SCREENED, ALLOCATED = 14.0, 5.0
CASE_DAYS = 8.0
ATTEMPTS = 3
_HOUR = 1.0 / 24.0
RELATED = ("none", "possible", "probable", "definite")
_ANSWERS = {item.item: item.required for item in CHECKLIST}


@dataclass(slots=True, eq=False)
class Filling:
    """A trial that is being filled: clock, block of virtual subjects, the clinics of the arms, teams of the sites.

    `days` and `true_Gy` (by arm) are what was really given: day of each cycle (NaN: none) and dose of each region.
    """

    trial: Trial
    clock: ManualClock
    protocol: Protocol
    block: Block
    staff: Mapping[str, Team]
    clinics: Mapping[str, VirtualClinic]
    days: dict[str, FloatArray]
    true_Gy: dict[str, FloatArray]
    events: bool
    folder: Path


@dataclass(slots=True, eq=False)
class Person:
    """A virtual subject on its way: row `row` of its arm, `index` in the block, `start` planned first infusion."""

    index: int
    row: int
    arm: str
    site: str
    start: datetime
    subject_id: str = ""

    def at(self, day: float) -> datetime:
        """The moment a number of days after the planned first infusion."""
        return self.start + timedelta(days=day)


def life_of(f: Filling, person: Person) -> Iterator[datetime]:
    """What happens to one subject; every yield names the moment of what comes next."""
    team = f.staff[person.site]
    _enrol(f, person, team)
    yield person.at(BASELINE_DAY)
    _sample(f, person, 0, BASELINE_DAY)
    yield person.at(-ALLOCATED)
    sign = SignEligibility(person.subject_id, _sign(f, team.physician))
    sign_eligibility(f.trial, team.physician, sign)
    receipt = randomise(f.trial, team.coordinator, Randomise(person.subject_id))
    if receipt.arm not in (None, person.arm):
        raise InputError(f"subject {person.subject_id}: the list gave arm {receipt.arm}, expected {person.arm}")
    leaves, last = f.clinics[person.arm].leaves[person.row], np.nan
    for cycle in range(1, f.protocol.cycles + 1):
        given = yield from _cycle(f, person, cycle, last, float(leaves.min()))
        if not given:
            break
        last = f.days[person.arm][person.row, cycle - 1]
        yield from _after_cycle(f, person, cycle, last)
    yield from _follow_up(f, person, last)


def _enrol(f: Filling, person: Person, team: Team) -> None:
    values = {name: float(v[person.index]) for name, v in f.block.subjects.values.items()}
    sex = "female" if f.block.subjects.female[person.index] else "male"
    command = Enrol(
        site=person.site, sex=sex, age_years=int(values["age_years"]), height_cm=round(values["height_cm"]),
        weight_kg=round(values["weight_kg"], 1),
    )  # fmt: skip
    person.subject_id = str(enrol(f.trial, team.coordinator, command).result)
    today = f.clock.now().date().isoformat()
    consent = RecordConsent(person.subject_id, "1.0", today, team.coordinator.user_id)
    record_consent(f.trial, team.coordinator, consent)
    answer_eligibility(f.trial, team.coordinator, AnswerEligibility(person.subject_id, _ANSWERS))
    g = stream(f.block.seed, person.subject_id, "baseline form")
    answers = {
        "primary_site": ("pancreas", "small bowel", "lung")[int(g.integers(3))],
        "grade": str(1 + int(g.integers(2))),
        "ki67": str(int(g.integers(1, 15))),
        "hypertension": "yes" if g.random() < 0.4 else "no",
        "diabetes": "yes" if g.random() < 0.2 else "no",
        "ecog": str(int(g.random() < 0.35)),
    }
    record_baseline(f.trial, team.coordinator, RecordBaseline(person.subject_id, answers))


def _cycle(f: Filling, person: Person, cycle: int, last: float, leaves: float) -> Generator[datetime, None, bool]:
    """From planning to infusion; returns whether the cycle was given."""
    team, interval = f.staff[person.site], 7.0 * (f.protocol.interval_weeks or 8.0)
    day = 0.0 if cycle == 1 else last + interval
    for attempt in range(ATTEMPTS):
        if attempt == 0:
            if day - 1.0 >= leaves:
                return False
            yield person.at(day - 1.0)
            planned = person.at(day).date().isoformat()
            plan_cycle(f.trial, team.coordinator, PlanCycle(person.subject_id, planned))
        else:
            yield person.at(day - 1.0)
        _sample(f, person, 1 + SLOTS * (cycle - 2) + 3 + attempt if cycle > 1 else -1, day - 1.0)
        found = assess_cycle(f.trial, team.coordinator, AssessCycle(person.subject_id, cycle))
        if found.state == "ASSESSED":
            break
        if found.action == "stop" or attempt == ATTEMPTS - 1:
            return _withheld(f, person, cycle, "toxicity: " + "; ".join(found.reasons))
        day += HOLD_DAYS
        if day >= leaves:
            return False
        moved = MoveCycle(person.subject_id, cycle, person.at(day).date().isoformat(), "held for toxicity")
        move_cycle(f.trial, team.coordinator, moved)
    if day >= leaves:
        return False
    made = _propose(f, person, cycle)
    if made is None:
        return _withheld(f, person, cycle, "nothing can be proposed under the limits of the protocol")
    yield person.at(day - 2.0 * _HOUR)
    _release(f, person, cycle, made)
    yield person.at(day + 2.0 * _HOUR)
    _give(f, person, cycle, made.version, day)
    return True


def _withheld(f: Filling, person: Person, cycle: int, reason: str) -> bool:
    team = f.staff[person.site]
    withhold_cycle(f.trial, team.physician, EndCycle(person.subject_id, cycle, reason))
    return False


def _propose(f: Filling, person: Person, cycle: int) -> Proposed | None:
    """The physicist's proposal; None where nothing can be proposed."""
    team = f.staff[person.site]
    seen = preview_proposal(f.trial, team.physicist, person.subject_id, cycle).proposal.prescription
    if seen["activities_MBq"] is None:
        return None
    conditions = tuple(c for c in seen["conditions"] if "override" not in c)
    command = ProposeCycle(person.subject_id, cycle, _sign(f, team.physicist), acknowledged=conditions)
    return propose_cycle(f.trial, team.physicist, command)


def _release(f: Filling, person: Person, cycle: int, made: Proposed) -> None:
    """The physician's release, or an override by two where the proposal is above a limit."""
    team = f.staff[person.site]

    def decision(actor: Actor, reason: str = "") -> DecideOnPrescription:
        return DecideOnPrescription(
            person.subject_id, cycle, made.version, _sign(f, actor), reason=reason, acknowledged=made.conditions
        )

    if made.override_needed:
        request_override(f.trial, team.physician, decision(team.physician, "expected benefit outweighs the risk"))
        approve_override(f.trial, team.second, decision(team.second, "agreed in the tumour board"))
    else:
        release_prescription(f.trial, team.physician, decision(team.physician))


def _give(f: Filling, person: Person, cycle: int, version: int, day: float) -> None:
    """Record the infusion, and let the biology have it."""
    team, zero = f.staff[person.site], person.at(day)
    with f.trial.read() as reader:
        rows = reader.records("prescriptions", subject_id=person.subject_id, cycle=cycle, version=version)
    ask = {str(r["nuclide"]): float(r["prescribed_MBq"]) for r in rows}
    delivered = float(f.block.delivery[person.index, cycle - 1])
    times = [(zero + timedelta(minutes=m)).isoformat() for m in (0, 60, 0, 30)]
    parts = []
    for name, activity in ask.items():
        batch = f"{name.partition('-')[0].upper()}-{person.subject_id}-{cycle}"
        expires = (zero + timedelta(days=2)).isoformat()
        arrived = ReceiveBatch(batch, name, "DOTA-TATE", person.site, "Simulated maker", 2.0 * activity + 2000.0,
                               times[0], expires, zero.date().isoformat())  # fmt: skip
        receive_batch(f.trial, team.physicist, arrived)
        parts.append(
            NuclideGiven(name, batch, round(delivered * activity, 1), times[0], 0.0, times[1], times[2], times[3])
        )
    apart = "drawn up so, measured twice" if abs(delivered - 1.0) > DEVIATION else ""
    entry = RecordAdministration(person.subject_id, cycle, version, parts, explanation=apart)
    record_administration(f.trial, team.physicist, entry)
    columns = arm_columns(f.block, person.arm)
    given = np.array([delivered * ask.get(f.block.nuclides[c], 0.0) for c in columns])
    f.days[person.arm][person.row, cycle - 1] = day
    true = f.block.true[person.index, cycle - 1][:, columns]
    f.true_Gy[person.arm][person.row, cycle - 1] = true @ given
    if f.events:
        weight = round(float(f.block.subjects.values["weight_kg"][person.index]), 1)
        record_vitals(f.trial, team.coordinator, RecordVitals(person.subject_id, zero.date().isoformat(), weight, 0))


def _after_cycle(f: Filling, person: Person, cycle: int, day: float) -> Iterator[datetime]:
    """Dosimetry after eight days, adverse events, and the samples between the cycles, in the order of time."""
    todo: list[tuple[float, int, Callable[[], None]]] = [(day + CASE_DAYS, 0, lambda: _doses(f, person, cycle))]
    for i, after in enumerate(AFTER_DAYS):
        slot = 1 + SLOTS * (cycle - 1) + i
        todo.append((day + after, 1, lambda slot=slot, at=day + after: _sample(f, person, slot, at)))  # type: ignore[misc]
    if f.events:
        todo += _event_actions(f, person, cycle, day)
    gone = f.clinics[person.arm].observed_until[person.row]
    for at, _, action in sorted(todo, key=lambda entry: entry[:2]):
        if at < gone:
            yield person.at(at)
            action()


def _doses(f: Filling, person: Person, cycle: int) -> None:
    """Import the case of a cycle and let a worker compute it; or record that there is none."""
    team = f.staff[person.site]
    if f.block.missed[person.index, cycle - 1]:
        record_missing_dosimetry(f.trial, team.physicist, MissingDosimetry(person.subject_id, cycle, "scans not done"))
        return
    folder = f.folder / f"{person.subject_id}-{cycle}"
    _write_case(f, person, cycle, folder)
    import_case(f.trial, team.physicist, ImportCase(person.subject_id, cycle, folder))
    job = run_next(f.trial, "simulation", {KIND: compute_doses})
    if job is None or job["state"] != "DONE":
        raise InputError(f"subject {person.subject_id}, cycle {cycle}: dosimetry failed: {job and job['error']}")


def _write_case(f: Filling, person: Person, cycle: int, folder: Path) -> None:
    """A case whose cycle is known by its doses: measured dose per activity times what was recorded as given."""
    with f.trial.read() as reader:
        rows = reader.records("administrations", subject_id=person.subject_id)
    sex = "female" if f.block.subjects.female[person.index] else "male"
    lines = ['schema = "lutetia.case/1"', 'timezone = "UTC"', "[subject]", f'id = "{person.subject_id}"',
             f'sex = "{sex}"', "[protocol]", f'name = "{f.protocol.name}"', f'arm = "{person.arm}"']  # fmt: skip
    for number in range(1, cycle + 1):
        own = [r for r in rows if int(r["cycle"]) == number and r["administered_MBq"]]
        amounts = ", ".join(f'"{r["nuclide"]}" = {float(r["administered_MBq"])}' for r in own)
        lines += ["[[cycles]]", f"number = {number}", f"administered_at = {min(str(r['started_at']) for r in own)}",
                  f"administered_MBq = {{ {amounts} }}"]  # fmt: skip
    lines += ["[cycles.doses]", 'file = "doses.csv"', ""]
    folder.mkdir()
    (folder / "case.toml").write_text("\n".join(lines), encoding="utf-8")
    given = {str(r["nuclide"]): float(r["administered_MBq"]) for r in rows if int(r["cycle"]) == cycle}
    (folder / "doses.csv").write_text(_dose_table(f, person, cycle, given), encoding="utf-8")


def _dose_table(f: Filling, person: Person, cycle: int, given_MBq: Mapping[str, float]) -> str:
    columns = [c for c in arm_columns(f.block, person.arm) if given_MBq.get(f.block.nuclides[c])]
    amount = np.array([given_MBq[f.block.nuclides[c]] for c in columns])
    measured = f.block.measured[person.index, cycle - 1][:, columns] * amount
    lines = ["region,nuclide,absorbed_dose_Gy,absorbed_dose_sd_Gy,bed_Gy,method"]
    for r, region in enumerate(REGIONS):
        method = "blood" if region == "red marrow" else "own mass"
        for n, column in enumerate(columns):
            dose = float(measured[r, n])
            lines.append(f"{region},{f.block.nuclides[column]},{dose!r},{f.block.relative_sd * dose!r},,{method}")
        if r == KIDNEYS:
            total = float(measured[r].sum())
            bed = total + _extra_bed(f.block, person.index, cycle - 1, columns, amount)
            lines.append(f"{region},total,{total!r},{f.block.relative_sd * total!r},{bed!r},{method}")
    return "\n".join(lines) + "\n"


def _extra_bed(block: Block, index: int, cycle: int, columns: list[int], amount_MBq: FloatArray) -> float:
    error = block.measured[:, :, KIDNEYS] / block.true[:, :, KIDNEYS]
    square = kidney_squares(block.kinetics, block.nuclides, error)[index, cycle][np.ix_(columns, columns)]
    return float(amount_MBq @ square @ amount_MBq)


def _sample(f: Filling, person: Person, slot: int, day: float) -> None:
    """A blood sample of every analyte, entered an hour after it was taken; slot −1 repeats the baseline's noise."""
    clinic, team = f.clinics[person.arm], f.staff[person.site]
    days = np.full(len(clinic.female), np.nan)
    days[person.row] = day
    place = max(slot, 0)
    kept = clinic.value[person.row, place].copy(), clinic.day[person.row, place]
    clinic.take(place, days, f.days[person.arm], f.true_Gy[person.arm])
    values = clinic.value[person.row, place].copy()
    if slot < 0:
        clinic.value[person.row, place], clinic.day[person.row, place] = kept
    entries = [_entry(f, person, name, value) for name, value in zip(clinic.analytes, values, strict=True)]
    seen = dict(zip(clinic.analytes, values, strict=True))
    rest = clinic.effects.reporting["other_leukocytes"]["lln"][0]
    entries.append(_entry(f, person, "leukocytes", round(seen["neutrophils"] + seen["lymphocytes"] + rest, 1)))
    taken = (f.clock.now() - timedelta(hours=1)).isoformat()
    enter_labs(f.trial, team.coordinator, EnterLabs(person.subject_id, taken, entries))


def _entry(f: Filling, person: Person, analyte: str, value: float) -> LabEntry:
    clinic = f.clinics[person.arm]
    female = bool(f.block.subjects.female[person.index])
    lln, uln = limits_of_normal(clinic.effects, analyte, female)
    digits = int(clinic.effects.reporting[analyte]["digits"])
    return LabEntry(analyte, f"{value:.{digits}f}", analytes()[analyte].unit, f"{float(lln):g}", f"{float(uln):g}")


def _event_actions(f: Filling, person: Person, cycle: int, day: float) -> list[tuple[float, int, Callable[[], None]]]:
    """Adverse events of one cycle, as drawn for datasets (`data/clinic.toml`): their records, reports and ends."""
    g = stream(f.block.seed, person.subject_id, "adverse events", cycle)
    found: list[tuple[float, int, Callable[[], None]]] = []
    for kind in clinic_table()["adverse_events"]:
        happens, delay, longer, hospital = g.random(), g.random(), g.lognormal(0.0, 0.4), g.random()
        grade = 1 + int(g.choice(len(kind["grades"]), p=kind["grades"]))
        related = RELATED[int(g.choice(len(kind["related"]), p=kind["related"]))]
        if happens >= kind["probability"]:
            continue
        start = day + delay * min(float(kind["delay_days"]), AFTER_DAYS[-1])
        stop = start + longer * float(kind["duration_days"]) + 1.0
        serious = grade >= 4 or (grade == 3 and hospital < clinic_table()["shares"]["serious_from_grade_3"])
        values: dict[str, Any] = {
            "started_on": person.at(start).date().isoformat(), "ongoing": "yes", "term": str(kind["term"]),
            "system_organ_class": kind["system_organ_class"], "grade": grade, "related": related,
            "serious": "yes" if serious else "no",
        }  # fmt: skip
        if serious:
            values["seriousness"] = "life_threatening" if grade >= 4 else "hospitalisation"
        found += _event_chain(f, person, values, start=start + 4.0 * _HOUR, stop=stop, last=day + AFTER_DAYS[-1])
    return found


def _event_chain(
    f: Filling, person: Person, values: dict[str, Any], *, start: float, stop: float, last: float
) -> list[tuple[float, int, Callable[[], None]]]:
    """Records of one event: its beginning, report and judgement if it is serious, its end if before `last`."""
    team, number = f.staff[person.site], list[str]()

    def begin() -> None:
        aware = {"aware_at": f.clock.now().isoformat()} if values["serious"] == "yes" else {}
        number.append(record_event(f.trial, team.coordinator, RecordEvent(person.subject_id, values | aware)))

    def report() -> None:
        told = ReportSerious(person.subject_id, number[0], f.clock.now().isoformat(), "simulated event, no narrative")
        report_serious(f.trial, team.coordinator, told)

    def judge() -> None:
        found = JudgeSerious(person.subject_id, number[0], values["related"])
        judge_causality(f.trial, team.physician, found)

    def finish() -> None:
        on = person.at(stop).date().isoformat()
        end_event(f.trial, team.coordinator, EndEvent(person.subject_id, number[0], on, "recovered"))

    chain: list[tuple[float, int, Callable[[], None]]] = [(start, 2, begin)]
    if values["serious"] == "yes":
        chain += [(start + 18.0 * _HOUR, 3, report), (start + 2.0, 4, judge)]
    if stop < last:
        chain.append((stop + 2.5, 5, finish))
    return chain


def _follow_up(f: Filling, person: Person, last: float) -> Iterator[datetime]:
    """End of treatment, samples of the follow-up, and how observation ends."""
    clinic, team = f.clinics[person.arm], f.staff[person.site]
    leaves = clinic.leaves[person.row]
    gone, progressed = float(clinic.observed_until[person.row]), float(leaves[EVENTS.index("progressed")])
    now = (f.clock.now() - person.start) / timedelta(days=1)
    if np.isnan(last):
        never = EndTreatment(person.subject_id, f.clock.now().date().isoformat(), "never treated")
        end_treatment(f.trial, team.physician, never)
    else:
        ended = min(max(now, last + 1.0), gone)
        if np.isfinite(ended) and ended < gone:
            yield person.at(ended)
            complete = np.isfinite(f.days[person.arm][person.row]).all()
            why = "completed" if complete else "progression" if progressed <= ended + 56.0 else "not continued"
            end_treatment(
                f.trial, team.physician, EndTreatment(person.subject_id, f.clock.now().date().isoformat(), why)
            )
        for i, after in enumerate(FOLLOW_UP_DAYS):
            if (f.clock.now() - person.start) / timedelta(days=1) < last + after < gone:
                yield person.at(last + after)
                _sample(f, person, 1 + SLOTS * f.protocol.cycles + i, last + after)
    final = (0.0 if np.isnan(last) else last) + max(FOLLOW_UP_DAYS)
    event = min(("withdrew", "lost", "died"), key=lambda e: leaves[EVENTS.index(e)])
    end, name = (gone, event) if gone < final else (final, "completed")
    yield person.at(max(end, (f.clock.now() - person.start) / timedelta(days=1)))
    on = f.clock.now().date().isoformat()
    leave(f.trial, team.coordinator, Leave(person.subject_id, name, on, "" if name == "completed" else name))


def _sign(f: Filling, actor: Actor) -> Confirmed:
    return confirm_demonstration(f.trial, actor, role=next(iter(actor.roles)))
