"""Subjects, disposition, laboratory values, vital signs and responses of a virtual trial as rows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np

from lutetia.core.draws import stream
from lutetia.dataset.folder import Row
from lutetia.simulate.clinic import EVENTS, FOLLOW_UP_DAYS
from lutetia.simulate.export import VirtualSubject, VirtualTrial, day_text, each, lab_rows, quantity
from lutetia.simulate.mishaps import clinic_table

_SITES = ("pancreas", "small bowel", "lung", "other")
STRATA = ("eGFR below 60", "eGFR 60 or more")
_SCREEN_FAILURES = 0.10
_WITHDRAWN = ("withdrew consent", "travel", "other treatment")


def clinical_tables(trial: VirtualTrial) -> dict[str, list[Row]]:
    """Tables of people and of what happened to them."""
    failed = _screen_failures(trial)
    return {
        "subjects": [*each(trial, _subject), *(row for row, _ in failed)],
        "baseline": each(trial, _baseline),
        "disposition": [*each(trial, _disposition), *(row for _, rows in failed for row in rows)],
        "labs": each(trial, lab_rows),
        "vitals": each(trial, _vitals),
        "responses": each(trial, _responses),
    }


def mishap(trial: VirtualTrial, person: VirtualSubject, name: str) -> bool:
    """Whether something went wrong with a subject, with the share of `data/clinic.toml`."""
    generator = stream(trial.block.seed, person.subject_id, "mishap", name)
    return bool(generator.random() < clinic_table()["shares"][name])


def _stratum(trial: VirtualTrial, person: VirtualSubject) -> str:
    return STRATA[int(quantity(trial, person, "egfr_mL_per_min") >= 60.0)]


def _subject(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    female = bool(trial.block.subjects.female[person.index])
    stratum = _stratum(trial, person)
    wrong = mishap(trial, person, "wrong_stratum")
    return [
        {
            "subject_id": person.subject_id,
            "site": person.site,
            "arm": person.arm,
            "stratum_entered": next(s for s in STRATA if s != stratum) if wrong else stratum,
            "stratum_true": stratum,
            "sex": "female" if female else "male",
            "age_years": f"{int(quantity(trial, person, 'age_years'))}",
            "height_cm": f"{quantity(trial, person, 'height_cm'):.0f}",
            "weight_kg": f"{quantity(trial, person, 'weight_kg'):.1f}",
            "randomised_on": day_text(person.randomised),
            "protocol_version": trial.protocol.version,
            "prior_kidney_Gy": "0",
            "prior_marrow_Gy": "0",
        }
    ]


def _screen_failures(trial: VirtualTrial) -> list[tuple[Row, list[Row]]]:
    """Subjects that were screened and not randomised; arm empty."""
    g = stream(trial.block.seed, "screen failures")
    count, found = int(g.binomial(len(trial.subjects), _SCREEN_FAILURES)), []
    for i in range(count):
        near = trial.subjects[int(g.integers(len(trial.subjects)))]
        name = f"SIM-S{i + 1:02d}"
        sex = "female" if g.random() < 0.5 else "male"
        row = {"subject_id": name, "site": near.site, "sex": sex, "age_years": str(int(g.integers(35, 82)))}
        on = {"subject_id": name, "on": day_text(near.randomised)}
        events: list[Row] = [
            {**on, "event": "screened"},
            {**on, "event": "consented"},
            {**on, "event": "screen_failed", "reason": "eligibility"},
        ]
        found.append(({**row, "protocol_version": trial.protocol.version}, events))
    return found


def _yes(generator: np.random.Generator, share: float) -> str:
    return "yes" if generator.random() < share else "no"


def _baseline(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    g = stream(trial.block.seed, person.subject_id, "baseline")
    items = {
        "primary_site": _SITES[int(g.choice(len(_SITES), p=(0.35, 0.40, 0.10, 0.15)))],
        "grade": str(int(g.choice(3, p=(0.30, 0.60, 0.10))) + 1),
        "ki67": f"{min(float(g.lognormal(1.5, 0.7)), 40.0):.0f}",
        "bone_mets": _yes(g, 0.35),
        "liver_mets": _yes(g, 0.80),
        "hypertension": _yes(g, 0.40),
        "diabetes": _yes(g, 0.20),
        "prior_prrt": "no",
        "prior_chemo": _yes(g, 0.20),
        "ecog": str(int(g.choice(3, p=(0.60, 0.35, 0.05)))),
    }
    on = day_text(person.randomised - timedelta(days=3))
    units = {"ki67": "%"}
    share = clinic_table()["shares"]["baseline_item_missing"]
    items = {name: value for name, value in items.items() if g.random() >= share}
    return [
        {"subject_id": person.subject_id, "item": k, "value": v, "unit": units.get(k, ""), "on": on}
        for k, v in items.items()
    ]


def end_of_observation(trial: VirtualTrial, person: VirtualSubject) -> tuple[str, float]:
    """The event that ended observation and its day, or the end of follow-up."""
    courses, leaves = trial.courses[person.arm], trial.clinics[person.arm].leaves[person.row]
    given = courses.given[person.row]
    final = float(np.nanmax(np.where(given, courses.day[person.row], np.nan))) if given.any() else 0.0
    last = final + max(FOLLOW_UP_DAYS)
    ends = {e: float(leaves[EVENTS.index(e)]) for e in ("withdrew", "lost", "died")}
    event = min(ends, key=lambda e: ends[e])
    return (event, ends[event]) if ends[event] < last else ("completed", last)


def _disposition(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    courses = trial.courses[person.arm]
    days = courses.day[person.row][courses.given[person.row]]
    event, end = end_of_observation(trial, person)
    day = person.randomised - timedelta(days=14)
    events = [("screened", day, ""), ("consented", day, "")]
    events += [("eligible", person.randomised - timedelta(days=1), ""), ("randomised", person.randomised, "")]
    progressed = float(trial.clinics[person.arm].leaves[person.row, EVENTS.index("progressed")])
    if len(days):
        complete = len(days) == trial.protocol.cycles
        reason = "" if complete else _why_ended(trial, person, progressed, end)
        ended = min(float(days[-1]) + (56.0 if complete else 1.0), end)
        events.append(("treatment_ended", person.at(ended), reason))
    if progressed < end:
        events.append(("progressed", person.at(progressed), ""))
    events += [(event, person.at(end), _why_left(trial, person, event, progressed < end))]
    events += [("last_contact", person.at(end), "")]
    return [
        {"subject_id": person.subject_id, "event": name, "on": day_text(on), "reason": reason}
        for name, on, reason in events
    ]


def _why_left(trial: VirtualTrial, person: VirtualSubject, event: str, progressed: bool) -> str:
    if event == "withdrew":
        return str(stream(trial.block.seed, person.subject_id, "withdrawal").choice(_WITHDRAWN))
    if event == "died":
        return "disease progression" if progressed else "other"
    return "could not be reached" if event == "lost" else ""


def _why_ended(trial: VirtualTrial, person: VirtualSubject, progressed: float, end: float) -> str:
    courses = trial.courses[person.arm]
    k = int(courses.given[person.row].sum())
    if courses.state[person.row, k] >= 0:
        name = courses.rules.binding_names[int(courses.bound_by[person.row, k])]
        return "toxicity" if name == "toxicity" else f"dose limit {name}"
    return "progression" if progressed < end else "left the trial"


def _vitals(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    g = stream(trial.block.seed, person.subject_id, "vitals")
    courses, weight = trial.courses[person.arm], quantity(trial, person, "weight_kg")
    days = courses.day[person.row][courses.given[person.row]]
    return [
        {
            "subject_id": person.subject_id,
            "taken_on": day_text(person.at(day)),
            "weight_kg": f"{weight * (1.0 + 0.015 * g.standard_normal()):.1f}",
            "ecog": str(int(g.choice(3, p=(0.60, 0.33, 0.07)))),
        }
        for day in days
    ]


def _responses(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    """One assessment every 12 weeks until progression or the end; the best response does not depend on dose."""
    progressed = float(trial.clinics[person.arm].leaves[person.row, EVENTS.index("progressed")])
    _, end = end_of_observation(trial, person)
    g = stream(trial.block.seed, person.subject_id, "response")
    best, since = str(g.choice(("SD", "PR", "CR"), p=(0.62, 0.34, 0.04))), float(g.uniform(100.0, 400.0))
    rows: list[Row] = []
    for day in np.arange(84.0, min(end, progressed + 84.0), 84.0):
        worse = day >= progressed
        rows.append(
            {
                "subject_id": person.subject_id,
                "assessed_on": day_text(person.at(float(day))),
                "method": "RECIST 1.1",
                "response": "PD" if worse else (best if day >= since else "SD"),
                "progression": "yes" if worse else "no",
            }
        )
        if worse:
            break
    return rows
