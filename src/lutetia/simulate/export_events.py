"""Adverse events, treatments and deviations of a virtual trial as rows; rates and words are in `data/clinic.toml`.

Codes stay empty: the dictionary that codes terms (MedDRA) is licensed. Terms are those of CTCAE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lutetia.core.draws import stream
from lutetia.dataset.folder import Row
from lutetia.simulate.clinic import EVENTS
from lutetia.simulate.export import VirtualSubject, VirtualTrial, day_text, each
from lutetia.simulate.export_clinical import end_of_observation, mishap
from lutetia.simulate.mishaps import clinic_table

RELATED = ("none", "possible", "probable", "definite")


@dataclass(frozen=True, slots=True)
class _Episode:
    """One event from `start` to `stop` (days; NaN: still going on), with its grade and description."""

    term: str
    system_organ_class: str
    grade: int
    start: float
    stop: float
    related: str
    expected: bool
    aesi: bool = False
    action: str = "none"
    serious: bool = False
    outcome: str = ""
    change: int = 1


def event_tables(trial: VirtualTrial) -> dict[str, list[Row]]:
    """Tables of what happened besides the plan."""
    return {
        "adverse_events": each(trial, _adverse_events),
        "treatments": each(trial, _treatments),
        "deviations": each(trial, _deviations),
    }


def _adverse_events(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    g = stream(trial.block.seed, person.subject_id, "adverse events")
    _, end = end_of_observation(trial, person)
    found = [[e] for e in _clinical(trial, person, g)] + _findings(trial, person, end) + _fatal(trial, person, g)
    chains = [chain for chain in found if chain[0].start < end]
    chains.sort(key=lambda chain: (chain[0].start, chain[0].term))
    return [
        _event_row(trial, person, g, episode, number=number, end=end)
        for number, chain in enumerate(chains, start=1)
        for episode in chain
        if episode.start < end
    ]


def _clinical(trial: VirtualTrial, person: VirtualSubject, g: np.random.Generator) -> Iterator[_Episode]:
    """Events that are drawn cycle by cycle."""
    courses, shares = trial.courses[person.arm], clinic_table()["shares"]
    for k in np.flatnonzero(courses.given[person.row]):
        for kind in clinic_table()["adverse_events"]:
            happens, delay, longer, serious = g.random(), g.random(), g.lognormal(0.0, 0.4), g.random()
            grade = 1 + int(g.choice(len(kind["grades"]), p=kind["grades"]))
            related = RELATED[int(g.choice(len(kind["related"]), p=kind["related"]))]
            if happens >= kind["probability"]:
                continue
            start = float(courses.day[person.row, k]) + delay * float(kind["delay_days"])
            yield _Episode(
                term=str(kind["term"]),
                system_organ_class=str(kind["system_organ_class"]),
                grade=grade,
                start=start,
                stop=start + longer * float(kind["duration_days"]),
                related=related,
                expected=bool(kind["expected"]),
                aesi=bool(kind.get("aesi", False)),
                serious=grade >= 4 or (grade == 3 and serious < shares["serious_from_grade_3"]),
            )


def _findings(trial: VirtualTrial, person: VirtualSubject, end: float) -> list[list[_Episode]]:
    """Laboratory findings from the reported grade to the first sample without any grade; one row a grade."""
    clinic, chains = trial.clinics[person.arm], []
    order = np.argsort(clinic.day[person.row])
    slots = [int(s) for s in order if np.isfinite(clinic.day[person.row, s]) and s > 0]
    for kind in clinic_table()["findings"]:
        grades = clinic.grade(str(kind["analyte"]), slice(None))[person.row]
        chain: list[_Episode] = []
        for slot in slots:
            day, grade = float(clinic.day[person.row, slot]), grades[slot]
            if np.isnan(grade) or (not chain and grade < kind["from_grade"]):
                continue
            if chain and grade != chain[-1].grade:
                change = "recovered" if grade < 1 else "recovering" if grade < chain[-1].grade else "not recovered"
                chain[-1] = replace(chain[-1], stop=day, outcome=change)
            if chain and grade < 1:
                chains.append(chain)
                chain = []
            elif not chain or grade != chain[-1].grade:
                chain.append(_finding(trial, person, kind, int(grade), day, change=len(chain) + 1))
        if chain:
            chains.append([*chain[:-1], replace(chain[-1], stop=end + 1.0)])
    return chains


def _finding(
    trial: VirtualTrial, person: VirtualSubject, kind: Mapping[str, Any], grade: int, day: float, *, change: int
) -> _Episode:
    courses = trial.courses[person.arm]
    before = courses.given[person.row] & (courses.day[person.row] <= day)
    following = int(before.sum())
    held = following < courses.held.shape[1] and bool(courses.held[person.row, following])
    renal = kind["analyte"] == "creatinine"
    return _Episode(
        term=str(kind["term"]),
        system_organ_class=str(kind["system_organ_class"]),
        grade=grade,
        start=day,
        stop=np.nan,
        related="possible" if renal or not before.any() else "probable",
        expected=not renal,
        aesi=grade >= 3 and not renal,
        action="treatment interrupted" if held and grade >= 2 else "none",
        serious=grade >= 4,
        change=change,
    )


def _fatal(trial: VirtualTrial, person: VirtualSubject, g: np.random.Generator) -> list[list[_Episode]]:
    """An event of grade 5 for some of the deaths without progression."""
    table, event = clinic_table(), end_of_observation(trial, person)
    progressed = trial.clinics[person.arm].leaves[person.row, EVENTS.index("progressed")]
    happens, which = g.random(), int(g.integers(len(table["fatal"]["terms"])))
    if event[0] != "died" or progressed < event[1] or happens >= table["shares"]["fatal_event"]:
        return []
    return [
        [
            _Episode(
                term=str(table["fatal"]["terms"][which]),
                system_organ_class=str(table["fatal"]["classes"][which]),
                grade=5,
                start=event[1] - 0.5,
                stop=event[1],
                related="none",
                expected=False,
                serious=True,
                outcome="fatal",
            )
        ]
    ]


def _event_row(
    trial: VirtualTrial, person: VirtualSubject, g: np.random.Generator, episode: _Episode, *, number: int, end: float
) -> Row:
    shares = clinic_table()["shares"]
    over = episode.stop <= end
    start = day_text(person.at(episode.start))
    partial, late, told = g.random() < shares["partial_date"], g.random() < shares["late_report"], g.random()
    aware = episode.start + 0.3 + 2.0 * told
    row = {
        "subject_id": person.subject_id,
        "ae_id": f"{number}",
        "seq": f"{episode.change}",
        "started_on": start[:7] if partial and not episode.serious else start,
        "ended_on": day_text(person.at(episode.stop)) if over else "",
        "ongoing": "no" if over else "yes",
        "term": episode.term,
        "system_organ_class": episode.system_organ_class,
        "grade": f"{episode.grade}",
        "serious": "yes" if episode.serious else "no",
        "seriousness": _seriousness(episode) if episode.serious else "",
        "related": episode.related,
        "related_to": "" if episode.related == "none" else "study treatment",
        "expected": "yes" if episode.expected else "no",
        "aesi": "yes" if episode.aesi else "no",
        "action": episode.action,
        "outcome": episode.outcome or ("recovered" if over else "not recovered"),
        "aware_at": person.at(aware).isoformat(),
    }
    if episode.serious:
        row["reported_at"] = person.at(aware + (1.5 if late else 0.6)).isoformat()
    return row


def _seriousness(episode: _Episode) -> str:
    return {4: "life_threatening", 5: "death"}.get(episode.grade, "hospitalisation")


def _treatments(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    """Treatments that answer a laboratory value, and others; at most one of a kind a day."""
    rows: dict[tuple[str, str], Row] = {}
    g = stream(trial.block.seed, person.subject_id, "treatments")
    _, end = end_of_observation(trial, person)
    for kind, day in (*_rescues(trial, person, g), *_comedication(g, end)):
        if day >= end:
            continue
        start = day_text(person.at(day))
        last = day + float(kind["days"])
        row = {
            "subject_id": person.subject_id,
            "kind": str(kind["kind"]),
            "started_on": start,
            "ended_on": "" if kind.get("from_the_start") else day_text(person.at(min(last, end))),
            "agent": str(kind["agent"]),
        }
        rows.setdefault((row["kind"], start), row)
    return list(rows.values())


def _rescues(
    trial: VirtualTrial, person: VirtualSubject, g: np.random.Generator
) -> Iterator[tuple[Mapping[str, Any], float]]:
    clinic = trial.clinics[person.arm]
    for kind in clinic_table()["rescues"]:
        values = clinic.value[person.row, :, clinic.analytes.index(str(kind["analyte"]))]
        for slot in np.flatnonzero(values < kind["below"]):
            if g.random() < kind["probability"]:
                yield kind, float(clinic.day[person.row, slot]) + 1.0


def _comedication(g: np.random.Generator, end: float) -> Iterator[tuple[Mapping[str, Any], float]]:
    for kind in clinic_table()["comedication"]:
        has, when = g.random() < kind["share"], g.random()
        if has:
            yield kind, -60.0 * when - 20.0 if kind["from_the_start"] else when * min(max(end, 1.0), 250.0)


def _deviations(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    g = stream(trial.block.seed, person.subject_id, "deviations")
    rows = sorted(_what_deviated(trial, person), key=lambda found: found[0])
    return [
        {
            "subject_id": person.subject_id,
            "deviation_id": f"{number}",
            "on": day_text(person.at(day)),
            "kind": kind,
            "severity": severity,
            "description": text,
            "reviewed_by": "monitor" if g.random() < 0.8 else "",
        }
        for number, (day, kind, severity, text) in enumerate(rows, start=1)
    ]


def _what_deviated(trial: VirtualTrial, person: VirtualSubject) -> Iterator[tuple[float, str, str, str]]:
    """Day, kind, severity and description of every deviation of a subject."""
    courses, clinic, mishaps = trial.courses[person.arm], trial.clinics[person.arm], trial.mishaps[person.arm]
    for name, day, kind, severity, text in (
        ("ineligible", -3.0, "eligibility", "major", "an inclusion criterion was not met"),
        ("old_consent", -20.0, "consent", "minor", "a superseded version of the consent form was signed"),
        ("wrong_stratum", -10.0, "randomisation", "minor", "wrong stratum entered; the allocation is kept"),
    ):
        if mishap(trial, person, name):
            yield day, kind, severity, text
    for k in np.flatnonzero(courses.given[person.row]):
        day = float(courses.day[person.row, k])
        if trial.block.missed[person.index, k]:
            yield day + 7.0, "dosimetry missing", "minor", f"scans of cycle {k + 1} not done"
        for n, share in enumerate(mishaps.delivery[person.row, k]):
            if share == 0.0:
                name = courses.rules.nuclides[n]
                yield day, "nuclide unavailable", "major", f"cycle {k + 1} given without {name}"
            elif share < 0.91:
                yield day, "activity", "major", f"cycle {k + 1}: {100.0 * share:.0f} % of the prescribed activity given"
    if clinic.absent is None or clinic.shift is None:
        return
    taken = np.isfinite(clinic.day[person.row])
    for slot in np.flatnonzero(taken & clinic.absent[person.row].all(axis=-1)):
        yield float(clinic.day[person.row, slot]), "laboratory", "minor", "no sample of a scheduled visit"
    for slot in np.flatnonzero(taken & (clinic.shift[person.row] > 5.0)):
        yield float(clinic.day[person.row, slot]), "visit window", "minor", "sample outside the window of its visit"
