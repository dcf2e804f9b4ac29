"""One virtual trial with names and dates, and its laboratory rows; the other tables are in `export_*`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from lutetia.clinical.analytes import analytes
from lutetia.core.draws import FloatArray, stream
from lutetia.dataset.folder import Row
from lutetia.protocol.records import Protocol
from lutetia.simulate.clinic import FOLLOW_UP_DAYS, SLOTS, VirtualClinic, virtual_clinic
from lutetia.simulate.courses import KIDNEYS, Courses
from lutetia.simulate.effects import Effects, limits_of_normal, read_effects
from lutetia.simulate.mishaps import clinic_table, disturb, draw_mishaps
from lutetia.simulate.population import Population, packaged_measurement, read_population
from lutetia.simulate.trials import Block, Mishaps, draw_block, kidney_squares, run_block
from lutetia.simulate.uncertainty import DrawnCourses, draw_courses

FIRST_DAY = datetime(2025, 1, 6, tzinfo=UTC)
SITES = ("01", "02", "03", "04", "05")
DAYS_BETWEEN_SUBJECTS = 6.0
# Draws behind standard deviations and probabilities; at level fitted every draw is a fit.
DRAWS = {"analytic": 400, "fitted": 100}
NO_ANALYTE = "other_leukocytes"


@dataclass(frozen=True, slots=True, eq=False)
class VirtualSubject:
    """One subject of a virtual trial: row `row` of its arm's arrays, `index` among all; `start` first infusion."""

    subject_id: str
    index: int
    row: int
    arm: str
    site: str
    randomised: datetime
    start: datetime

    def at(self, day: float) -> datetime:
        """The moment `day` days after the first infusion was planned."""
        return self.start + timedelta(days=round(float(day), 4))


@dataclass(frozen=True, slots=True, eq=False)
class VirtualTrial:
    """One trial with everything that its tables need; `kidney_square` (subject, cycle, nuclide, nuclide), Gy/MBq²."""

    block: Block
    effects: Effects
    courses: dict[str, Courses]
    clinics: dict[str, VirtualClinic]
    mishaps: dict[str, Mishaps]
    drawn: dict[str, DrawnCourses]
    kidney_square: FloatArray
    subjects: tuple[VirtualSubject, ...]
    cut: datetime

    @property
    def protocol(self) -> Protocol:
        """The protocol of the trial."""
        return self.block.protocol


def simulate_trial(
    protocol: Protocol,
    *,
    subjects: int,
    seed: int,
    level: str = "analytic",
    effect: str = "planted",
    population: Population | None = None,
) -> VirtualTrial:
    """Run one virtual trial with laboratory values, toxicity, drop-out and follow-up.

    Parameters
    ----------
    protocol
        The rules.
    subjects, seed
        Number of randomised subjects, and the seed of everything.
    level, effect
        How doses are measured, and whether blood counts follow the marrow dose.
    population
        Default: the packaged one.

    Raises
    ------
    InputError, ProtocolError, UnknownNameError
        As `lutetia.simulate.trials.draw_block` and `read_effects`.
    """
    effects = read_effects(effect)
    block = draw_block(
        protocol, population or read_population(), packaged_measurement(),
        trials=1, per_trial=subjects, seed=seed, level=level,
    )  # fmt: skip
    present = [arm for i, arm in enumerate(block.arms) if (block.arm == i).any()]
    clinics = {arm: virtual_clinic(block, arm, effects, all_analytes=True) for arm in present}
    for arm, clinic in clinics.items():
        disturb(block, arm, clinic)
    mishaps = {arm: draw_mishaps(block, arm) for arm in present}
    courses = run_block(block, clinics, mishaps=mishaps)
    for arm, clinic in clinics.items():
        clinic.follow_up(courses[arm])
    drawn = {arm: draw_courses(block, arm, course, draws=DRAWS[level]) for arm, course in courses.items()}
    people = _people(block)
    latest = max(p.at(max(FOLLOW_UP_DAYS) + 112.0 * protocol.cycles) for p in people)
    square = kidney_squares(block.kinetics, block.nuclides, block.measured[:, :, KIDNEYS] / block.true[:, :, KIDNEYS])
    return VirtualTrial(block, effects, courses, clinics, mishaps, drawn, square, people, latest)


def _people(block: Block) -> tuple[VirtualSubject, ...]:
    g = stream(block.seed, *block.names, "enrolment")
    days = np.cumsum(g.exponential(DAYS_BETWEEN_SUBJECTS, size=block.subjects.count))
    sites = g.integers(0, len(SITES), size=block.subjects.count)
    counter = dict.fromkeys(block.arms, 0)
    people = []
    for i in range(block.subjects.count):
        arm = block.arms[int(block.arm[i])]
        day = FIRST_DAY + timedelta(days=int(days[i]))
        start = day + timedelta(days=10, hours=8, minutes=30 + 15 * (i % 5))
        people.append(VirtualSubject(f"SIM-{i + 1:03d}", i, counter[arm], arm, SITES[int(sites[i])], day, start))
        counter[arm] += 1
    return tuple(people)


def number(value: float, digits: int = 6) -> str:
    """A number with a given number of significant digits; empty for a missing one."""
    return "" if not np.isfinite(value) else f"{float(value):.{digits}g}"


def day_text(moment: datetime) -> str:
    """ISO date."""
    return moment.date().isoformat()


def lab_rows(trial: VirtualTrial, person: VirtualSubject) -> list[Row]:
    """Laboratory rows of one subject, leukocytes added up from the others."""
    clinic, rows = trial.clinics[person.arm], []
    g = stream(trial.block.seed, person.subject_id, "missing values")
    for slot in range(clinic.day.shape[1]):
        day = clinic.day[person.row, slot]
        if not np.isfinite(day):
            continue
        sample = {
            "subject_id": person.subject_id,
            "sample_id": f"{person.subject_id}-{slot:02d}",
            "taken_at": person.at(day).isoformat(),
            "visit": _visit(slot, trial.protocol.cycles),
        }
        values = dict(zip(clinic.analytes, clinic.value[person.row, slot], strict=True))
        rest = clinic.effects.reporting[NO_ANALYTE]["lln"][0]
        values["leukocytes"] = round(values["neutrophils"] + values["lymphocytes"] + rest, 1)
        why = one_of(g, "missing_reasons", "value" if np.isfinite(list(values.values())).any() else "sample")
        rows += [_lab_row(trial, person, sample, name, value, why=why) for name, value in values.items()]
    return rows


def one_of(generator: np.random.Generator, *path: str) -> str:
    """A name from a table of shares in `data/clinic.toml`."""
    shares = clinic_table()
    for key in path:
        shares = shares[key]
    return str(generator.choice(list(shares), p=list(shares.values())))


def _lab_row(trial: VirtualTrial, person: VirtualSubject, sample: Row, analyte: str, value: float, *, why: str) -> Row:
    female = bool(trial.block.subjects.female[person.index])
    lln, uln = limits_of_normal(trial.effects, analyte, female)
    digits = int(trial.effects.reporting[analyte]["digits"])
    least = float(clinic_table()["lloq"].get(analyte, 0.0))
    found = {"value": f"{max(value, least):.{digits}f}"} if np.isfinite(value) else {"value": "", "missing_reason": why}
    return {
        **sample,
        **found,
        "qualifier": "<" if value < least else "",
        "analyte": analyte,
        "unit": analytes()[analyte].unit,
        "lln": number(float(lln)),
        "uln": number(float(uln)),
    }


def _visit(slot: int, cycles: int) -> str:
    if slot == 0:
        return "baseline"
    if slot > SLOTS * cycles:
        return ("follow-up week 12", "follow-up month 6", "follow-up month 12")[slot - 1 - SLOTS * cycles]
    cycle, place = divmod(slot - 1, SLOTS)
    return f"cycle {cycle + 1} {('week 2', 'week 4', 'week 6', 'week 8', 'hold 1', 'hold 2')[place]}"


def each(trial: VirtualTrial, rows_of: Callable[[VirtualTrial, VirtualSubject], list[Row]]) -> list[Row]:
    """Rows of every subject in order."""
    return [row for person in trial.subjects for row in rows_of(trial, person)]


def quantity(trial: VirtualTrial, person: VirtualSubject, name: str) -> float:
    """A drawn quantity of one subject."""
    values: FloatArray = trial.block.subjects.values[name]
    return float(values[person.index])
