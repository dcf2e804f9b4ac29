"""The primary dose–effect association on simulated trials: does its interval cover the slope, and how often it errs.

The estimand is the slope on *measured* dose: what least squares with arm intercepts gives in 10⁶ subjects of the same
population, measurement and arms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import FloatArray
from lutetia.protocol.profile import read_protocol
from lutetia.safety.statistics.association import dose_effect
from lutetia.safety.statistics.results import Result
from lutetia.simulate.clinic import AFTER_DAYS, BASELINE_DAY, VirtualClinic, virtual_clinic
from lutetia.simulate.courses import Courses
from lutetia.simulate.effects import read_effects
from lutetia.simulate.population import REGIONS, packaged_measurement, read_population
from lutetia.simulate.trials import Block, draw_block, run_block
from lutetia.validation.checks import Check

STUDY = "Dose–effect association"
ANALYTES = ("platelets", "lymphocytes")
SUBJECTS, TRIALS, POPULATION = 56, 5_000, 1_000_000
TRIAL_SEED, POPULATION_SEED = 20_260_630, 20_260_701
COVERAGE_PERCENT = (93.0, 97.0)
FALSE_ALARM_PERCENT = 5.0
_TRIALS_PER_BLOCK = 500


@dataclass(frozen=True, slots=True, eq=False)
class FirstCycles:
    """Measured marrow dose of cycle 1 (subject,), log(nadir / baseline) by analyte, arm; NaN where not measured."""

    dose_Gy: FloatArray
    change: dict[str, FloatArray]
    arm: NDArray[np.int64]


def dose_effect_study(trials: int = TRIALS, population: int = POPULATION) -> list[Check]:
    """Coverage of the 95 % interval with a planted effect, and rejections at 5 % without one, for two blood counts."""
    checks = []
    true = estimand(population)
    with_effect, without = (trial_results(effect, trials) for effect in ("planted", "none"))
    for analyte in ANALYTES:
        covered, _ = rates(with_effect[analyte], true[analyte])
        _, detected = rates(with_effect[analyte], 0.0)
        _, false = rates(without[analyte], 0.0)
        words = f"{analyte}, {trials} trials of {SUBJECTS} subjects"
        low, high = (FALSE_ALARM_PERCENT + sign * 100.0 * monte_carlo_error(trials) for sign in (-1.0, 1.0))
        checks += [
            Check(STUDY, f"95 % interval covers the slope on measured dose, {words}", covered, "%",
                  low=COVERAGE_PERCENT[0], high=COVERAGE_PERCENT[1],
                  note=f"slope {true[analyte]:.3f} per Gy from {population} subjects"),
            Check(STUDY, f"false alarms at 5 % without an effect, {words}", false, "%", low=low, high=high,
                  note="bounds: 5 % and its Monte Carlo interval of 99 %"),
            Check(STUDY, f"association found with the planted effect, {words}", detected, "%", low=50.0),
        ]  # fmt: skip
    return checks


def monte_carlo_error(trials: int) -> float:
    """2.576 standard errors (99 %) of a share of 5 % that is counted in so many trials."""
    return 2.576 * float(np.sqrt(0.05 * 0.95 / trials))


def estimand(population: int = POPULATION) -> dict[str, float]:
    """Slope per Gy of the measured dose in a large population, by analyte."""
    trials = -(-population // SUBJECTS)
    sums = {analyte: np.zeros((5, 8)) for analyte in ANALYTES}
    for number, count in _blocks(trials):
        found = first_cycles("planted", count, seed=POPULATION_SEED, block=number)
        for analyte in ANALYTES:
            sums[analyte] += _sums(found, analyte)
    return {analyte: _slope(total) for analyte, total in sums.items()}


def trial_results(effect: str, trials: int) -> dict[str, list[Result]]:
    """The primary association of every simulated trial, by analyte."""
    results: dict[str, list[Result]] = {analyte: [] for analyte in ANALYTES}
    for number, count in _blocks(trials):
        found = first_cycles(effect, count, seed=TRIAL_SEED, block=number)
        for analyte in ANALYTES:
            for trial in range(count):
                rows = slice(trial * SUBJECTS, (trial + 1) * SUBJECTS)
                one = dose_effect(found.dose_Gy[rows], found.change[analyte][rows], found.arm[rows].tolist())
                if isinstance(one, Result):
                    results[analyte].append(one)
    return results


def rates(results: list[Result], true: float) -> tuple[float, float]:
    """Percent of intervals that hold a value, and percent with p below 0.05."""
    held = [r.low is not None and r.high is not None and r.low <= true <= r.high for r in results]
    return 100.0 * float(np.mean(held)), 100.0 * float(np.mean([r.p is not None and r.p < 0.05 for r in results]))


def first_cycles(effect: str, trials: int, *, seed: int, block: int) -> FirstCycles:
    """Cycle 1 of a block of virtual trials under the profile `duonen`: doses as measured, nadirs as sampled.

    Samples are taken at baseline, on days 14, 28 and 42 and on the day before the planned second cycle.
    """
    protocol, effects = replace(read_protocol("duonen"), cycles=1), read_effects(effect)
    drawn = draw_block(
        protocol, read_population(), packaged_measurement(), trials=trials, per_trial=SUBJECTS, seed=seed, block=block
    )
    courses = run_block(drawn)
    dose, n = np.full(len(drawn.arm), np.nan), len(drawn.arm)
    change = {analyte: np.full(n, np.nan) for analyte in ANALYTES}
    for i, arm in enumerate(drawn.arms):
        rows = np.flatnonzero(drawn.arm == i)
        own = courses[arm]
        measured = own.measured_Gy[:, 0, REGIONS.index("red marrow")]
        dose[rows] = np.where(drawn.missed[rows, 0], np.nan, measured)
        clinic = _sampled(virtual_clinic(drawn, arm, effects), own, drawn)
        for analyte in ANALYTES:
            change[analyte][rows] = _nadir(clinic, analyte)
    return FirstCycles(dose, change, drawn.arm)


def _sampled(clinic: VirtualClinic, courses: Courses, block: Block) -> VirtualClinic:
    n = len(courses.day)
    days = np.zeros((n, 1))
    clinic.take(0, np.full(n, BASELINE_DAY), days, courses.true_Gy)
    for slot, after in enumerate((*AFTER_DAYS, clinic.interval_days - 1.0), start=1):
        clinic.take(slot, np.full(n, after), days, courses.true_Gy)
    return clinic


def _nadir(clinic: VirtualClinic, analyte: str) -> FloatArray:
    value = clinic.value[:, : 2 + len(AFTER_DAYS), clinic.analytes.index(analyte)]
    lowest = np.fmin.reduce(value[:, 1:], axis=1)
    return np.asarray(np.log(np.maximum(lowest, 1e-3) / np.maximum(value[:, 0], 1e-3)))


def _blocks(trials: int) -> list[tuple[int, int]]:
    starts = range(0, trials, _TRIALS_PER_BLOCK)
    return [(i, min(_TRIALS_PER_BLOCK, trials - start)) for i, start in enumerate(starts)]


def _sums(found: FirstCycles, analyte: str) -> FloatArray:
    """n, Σx, Σy, Σx², Σxy by arm."""
    x, y = found.dose_Gy, found.change[analyte]
    use = np.isfinite(x) & np.isfinite(y)
    x, y, arm = x[use], y[use], found.arm[use]
    return np.array([np.bincount(arm, weights=w, minlength=8) for w in (np.ones_like(x), x, y, x * x, x * y)])


def _slope(sums: FloatArray) -> float:
    n, x, y, xx, xy = sums[:, sums[0] > 0]
    return float((xy - x * y / n).sum() / (xx - x * x / n).sum())
