"""What happens to virtual subjects between the cycles: samples, toxicity, delays, drop-out, progression.

The stages of toxicity are those of `lutetia.protocol.toxicity.TRANSITIONS` and of the rules file, on arrays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.clinical.renal import cockcroft_gault
from lutetia.core.draws import FloatArray, stream
from lutetia.protocol.findings import ToxicityRules, read_toxicity_rules
from lutetia.protocol.rules import ACTIONS
from lutetia.protocol.toxicity import STAGES, TRANSITIONS
from lutetia.simulate.courses import Clinic, Courses
from lutetia.simulate.effects import (
    COUNTS,
    LIVER,
    WATCHED,
    Effects,
    baselines,
    count_values,
    creatinine_of,
    filtration_values,
    grades,
    limits_of_normal,
)
from lutetia.simulate.population import REGIONS
from lutetia.simulate.trials import Block

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
OBSERVATIONS = ("clear", "resolved", "open")
EVENTS = ("withdrew", "lost", "progressed", "died")
# Samples after a cycle: days 14, 28, 42, then before the next cycle, then after each hold; follow-up stands at the end.
AFTER_DAYS = (14.0, 28.0, 42.0)
FOLLOW_UP_DAYS = (84.0, 180.0, 360.0)
SLOTS = len(AFTER_DAYS) + 3
HOLD_DAYS = 28.0
BASELINE_DAY = -7.0
_NONE, _HELD, _HALF, _FULL, _STOPPED = (STAGES.index(s) for s in ("NONE", "HELD", "HALF", "FULL", "STOPPED"))


def transition_table() -> IntArray:
    """`TRANSITIONS` as an array [stage, half given, observation] of stages; combinations that cannot occur stay."""
    table = np.broadcast_to(np.arange(len(STAGES))[:, None, None], (len(STAGES), 2, len(OBSERVATIONS))).copy()
    for (stage, half_given, seen), after in TRANSITIONS.items():
        table[STAGES.index(stage), int(half_given), OBSERVATIONS.index(seen)] = STAGES.index(after)
    return table


@dataclass(slots=True, eq=False)
class VirtualClinic:
    """The clinic of one arm; asked before each cycle in turn (see `lutetia.simulate.courses.ClinicOf`).

    `value` (subject, slot, analyte) as reported and `day` (subject, slot), NaN where no sample was taken; slot 0 is
    the baseline, then six a cycle, then the follow-up. `stage` and `half_given` (subject, class). `leaves`
    (subject, event) days. `absent` (subject, slot, analyte) values that get lost and `shift` (subject, slot) days by
    which a sample is taken otherwise than planned; None for a clinic in which all goes to plan.
    """

    effects: Effects
    rules: ToxicityRules
    analytes: tuple[str, ...]
    interval_days: float
    female: BoolArray
    age: FloatArray
    clearance_at_one: FloatArray
    truth: dict[str, FloatArray]
    sensitivity: FloatArray
    noise: FloatArray
    value: FloatArray
    day: FloatArray
    stage: IntArray
    half_given: BoolArray
    leaves: FloatArray
    absent: BoolArray | None = None
    shift: FloatArray | None = None

    @property
    def observed_until(self) -> FloatArray:
        """Day of withdrawal, loss or death, shape (subject,)."""
        return np.asarray(self.leaves[:, [EVENTS.index(e) for e in ("withdrew", "lost", "died")]].min(axis=1))

    def __call__(self, cycle: int, days: FloatArray, true_Gy: FloatArray) -> Clinic:
        n = len(self.female)
        zeros, never = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=bool)
        if cycle == 1:
            self.take(0, np.full(n, BASELINE_DAY), days, true_Gy)
            # toxic before any treatment: never started (the trial's workflow would hold, and then withhold the cycle)
            toxic = (self._observations(slice(0, 1)) == OBSERVATIONS.index("open")).any(axis=1)
            action = np.where(toxic, ACTIONS.index("stop"), zeros)
            return Clinic(action, never, np.zeros(n), zeros, self.leaves.min(axis=1) > 0.0)
        previous = days[:, cycle - 2]
        first = 1 + SLOTS * (cycle - 2)
        for i, after in enumerate(AFTER_DAYS):
            self.take(first + i, previous + after, days, true_Gy)
        stage, decision, held = self.stage, previous + self.interval_days, zeros
        waiting = open_now = np.isfinite(previous)
        for attempt in range(3):
            if not waiting.any():
                break
            self.take(first + 3 + attempt, np.where(waiting, decision - 1.0, np.nan), days, true_Gy)
            seen = self._observations(slice(first, first + 4 + attempt))
            after_window = _TRANSITION[self.stage, self.half_given.astype(np.int64), seen]
            stage = np.where(waiting[:, None], after_window, stage)
            open_now = waiting & (stage == _HELD).any(axis=1) & ~(stage == _STOPPED).any(axis=1)
            held = held + open_now
            waiting = open_now & (attempt < 2)
            decision = np.where(waiting, decision + HOLD_DAYS, decision)
        # after the last hold the delay is longer than the rules permit
        stage = np.where(open_now[:, None] & (stage == _HELD), _STOPPED, stage)
        action = _actions(stage, self.half_given)
        self._give(stage, given=(action == ACTIONS.index("none")) | (action == ACTIONS.index("half")))
        no_increase = self._worst_since(slice(first, first + SLOTS)) >= self.rules.no_increase_grade
        present = decision < self.leaves.min(axis=1)
        return Clinic(action, no_increase, decision, held, present)

    def take(self, slot: int | IntArray, day: FloatArray, days: FloatArray, true_Gy: FloatArray) -> None:
        """Take a sample of every analyte on a day.

        Parameters
        ----------
        slot
            Place of the sample, one for all or one a subject.
        day
            Shape (subject,); nothing is taken where it is NaN or after the subject left.
        days, true_Gy
            Days of the cycles so far (NaN: not given), and their doses (subject, cycle, region).
        """
        places = np.broadcast_to(np.asarray(slot), day.shape)
        if self.shift is not None:
            day = day + self.shift[np.arange(len(day)), places]
        rows = np.flatnonzero(day < self.observed_until)
        places, taken = places[rows], day[rows]
        since = taken[:, None] - days[rows]
        since[np.isnan(since)] = 0.0
        used = max(1, int(np.isfinite(days).any(axis=0).sum()))
        since, doses = since[:, :used], true_Gy[rows, :used]
        values = np.exp(self.noise[rows, places])
        for i, analyte in enumerate(self.analytes):
            clean = self._clean(analyte, rows, since=since, taken=taken, true_Gy=doses)
            digits = int(self.effects.reporting[analyte]["digits"])
            values[:, i] = np.round(clean * values[:, i], digits)
        if self.absent is not None:
            values[self.absent[rows, places]] = np.nan
        self.value[rows, places] = values
        self.day[rows, places] = taken

    def _clean(
        self, analyte: str, rows: IntArray, *, since: FloatArray, taken: FloatArray, true_Gy: FloatArray
    ) -> FloatArray:
        if analyte in COUNTS:
            return count_values(
                self.effects, analyte, self.truth[analyte][rows], sensitivity=self.sensitivity[rows],
                since_days=since, marrow_Gy=true_Gy[:, :, REGIONS.index("red marrow")],
            )  # fmt: skip
        if analyte == "creatinine":
            rate = filtration_values(
                self.effects, self.truth["egfr"][rows], since_first_days=taken, since_days=since,
                kidney_Gy=true_Gy[:, :, REGIONS.index("kidneys")],
            )  # fmt: skip
            return creatinine_of(rate, self.age[rows], self.female[rows])
        return self.truth[analyte][rows]

    def _observations(self, slots: slice) -> IntArray:
        """Index into `OBSERVATIONS` of every class, shape (subject, class), from the samples of one window."""
        columns = []
        for name, toxic, recovered in self._findings(slots):
            assert name
            last = _last_true(recovered, np.isfinite(self.day[:, slots]))
            columns.append(np.where(toxic.any(axis=1), np.where(last, 1, 2), 0))
        return np.stack(columns, axis=1)

    def _findings(self, slots: slice) -> list[tuple[str, BoolArray, BoolArray]]:
        """Class, toxic and recovered (subject, sample)."""
        found = []
        for rule in self.rules.grade_rules:
            grade = self.grade(rule.analyte, slots)
            found.append((rule.name, grade >= rule.hold_grade, grade <= rule.resume_grade))
        bad = self._renal(slots)
        found.append(("renal", bad, ~bad))
        return found

    def _renal(self, slots: slice) -> BoolArray:
        i, rules = self.analytes.index("creatinine"), self.rules
        now, start = self.value[:, slots, i], self.value[:, :1, i]
        at_one = self.clearance_at_one[:, None]
        clearance, before = at_one / now, at_one / start
        return np.asarray(
            (now >= start * (1.0 + rules.creatinine_rise))
            | (clearance < rules.clearance_below_mL_per_min)
            | (clearance <= before * (1.0 - rules.clearance_fall))
        )

    def grade(self, analyte: str, slots: slice) -> FloatArray:
        """CTCAE grades of the samples, shape (subject, sample)."""
        return self._graded(analyte, self.value[:, slots, self.analytes.index(analyte)])

    def worst_grade(self, analyte: str, slots: slice) -> FloatArray:
        """Worst CTCAE grade of the samples of every subject, 0 without any: that of the lowest or the highest value.

        Every criterion is one-sided, so that no value between them can have a higher grade.
        """
        values = self.value[:, slots, self.analytes.index(analyte)]
        ends = np.stack([np.fmin.reduce(values, axis=1), np.fmax.reduce(values, axis=1)], axis=1)
        return np.asarray(np.nan_to_num(self._graded(analyte, ends)).max(axis=1))

    def _graded(self, analyte: str, values: FloatArray) -> FloatArray:
        lln, uln = limits_of_normal(self.effects, analyte, self.female)
        baseline = self.value[:, :1, self.analytes.index(analyte)]
        return grades(analyte, values, lln=lln[:, None], uln=uln[:, None], baseline=baseline)

    def _worst_since(self, slots: slice) -> FloatArray:
        watched = [a for a in self.rules.no_increase_analytes if a in self.analytes]
        worst = np.stack([self.worst_grade(a, slots) for a in watched])
        return np.asarray(worst.max(axis=0))

    def _give(self, stage: IntArray, *, given: BoolArray) -> None:
        """Stages once the cycle was given: a cycle given at half activity is remembered."""
        half = given[:, None] & np.isin(stage, (_HELD, _HALF))
        self.stage = np.where(half, _HALF, stage)
        self.half_given = self.half_given | half

    def follow_up(self, courses: Courses) -> None:
        """Samples after the last cycle that was given."""
        given, cycles = courses.given, courses.given.shape[1]
        count, days = given.sum(axis=1), np.where(given, courses.day, np.nan)
        last = np.maximum(count - 1, 0)
        start = np.where(count > 0, np.take_along_axis(days, last[:, None], axis=1)[:, 0], np.nan)
        for i, after in enumerate(AFTER_DAYS):
            self.take(1 + SLOTS * last + i, start + after, days, courses.true_Gy)
        for i, after in enumerate(FOLLOW_UP_DAYS):
            self.take(1 + SLOTS * cycles + i, start + after, days, courses.true_Gy)


_TRANSITION = transition_table()


def virtual_clinic(block: Block, arm: str, effects: Effects, *, all_analytes: bool = False) -> VirtualClinic:
    """The clinic of one arm of a block; a study watches blood counts and creatinine, a dataset every analyte.

    Random numbers of the watched analytes do not depend on whether the others are drawn.
    """
    rows = block.arm == block.arms.index(arm)
    values = {name: v[rows] for name, v in block.subjects.values.items()}
    female, n = block.subjects.female[rows], int(rows.sum())
    slots = 1 + SLOTS * block.protocol.cycles + len(FOLLOW_UP_DAYS)
    truth = {name: v[rows] for name, v in baselines(effects, block.subjects).items()} | {
        "egfr": values["egfr_mL_per_min"]
    }
    analytes = (*WATCHED, *LIVER) if all_analytes else WATCHED
    noise = [stream(block.seed, *block.names, arm, "laboratory").standard_normal((n, slots, len(WATCHED)))]
    if all_analytes:
        noise.append(stream(block.seed, *block.names, arm, "liver").standard_normal((n, slots, len(LIVER))))
    spread = np.array([_within(block, effects, name) for name in analytes])
    return VirtualClinic(
        effects=effects,
        rules=read_toxicity_rules(),
        analytes=analytes,
        interval_days=7.0 * (block.protocol.interval_weeks or 8.0),
        female=female,
        age=values["age_years"],
        # age and weight as a site enters them
        clearance_at_one=_clearance_at_one(np.floor(values["age_years"]), np.round(values["weight_kg"], 1), female),
        truth=truth,
        sensitivity=values["marrow_sensitivity"],
        noise=np.concatenate(noise, axis=2) * spread,
        value=np.full((n, slots, len(analytes)), np.nan),
        day=np.full((n, slots), np.nan),
        stage=np.zeros((n, len(read_toxicity_rules().grade_rules) + 1), dtype=np.int64),
        half_given=np.zeros((n, len(read_toxicity_rules().grade_rules) + 1), dtype=bool),
        leaves=_leaving(block, arm, effects, rows),
    )


def _clearance_at_one(age: FloatArray, weight: FloatArray, female: BoolArray) -> FloatArray:
    """Cockcroft–Gault clearance at 1 µmol/L; clearance is inversely proportional to creatinine."""
    one = np.ones(len(age))
    women, men = (cockcroft_gault(one, age, sex, weight_kg=weight) for sex in ("female", "male"))
    return np.where(female, women, men)


def _within(block: Block, effects: Effects, analyte: str) -> float:
    if analyte == "creatinine":
        return float(effects.renal["creatinine_within_cv"])
    return block.analyte_noise[analyte]


def _leaving(block: Block, arm: str, effects: Effects, rows: BoolArray) -> FloatArray:
    """Days at which each event would happen, shape (subject, event)."""
    uniform = stream(block.seed, *block.names, arm, "events").exponential(size=(int(rows.sum()), len(EVENTS)))
    hazard = np.array([effects.events[e] for e in EVENTS]) / 30.0
    days = uniform / hazard
    if effects.mode == "planted":
        first = block.true[rows][:, 0, REGIONS.index("tumour 1"), 0] * 7400.0
        days[:, EVENTS.index("progressed")] *= np.exp(effects.events["progression_dose_effect"] * first)
    return np.asarray(days)


def _actions(stage: IntArray, half_given: BoolArray) -> IntArray:
    stopped, held = (stage == _STOPPED).any(axis=1), (stage == _HELD).any(axis=1)
    half = ((stage == _HALF) & ~half_given).any(axis=1)
    code = np.where(half, ACTIONS.index("half"), ACTIONS.index("none"))
    code = np.where(held, ACTIONS.index("hold"), code)
    return np.where(stopped, ACTIONS.index("stop"), code)


def _last_true(flag: BoolArray, taken: BoolArray) -> BoolArray:
    """The flag of the last sample taken; False where none was."""
    last = taken.shape[1] - 1 - np.argmax(taken[:, ::-1], axis=1)
    return np.asarray(np.take_along_axis(flag & taken, last[:, None], axis=1)[:, 0])
