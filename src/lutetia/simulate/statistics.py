"""The statistics of an interim analysis, trial by trial, with the functions that the interim report uses.

Primary: measured marrow dose of cycle 1 against log(nadir of cycle 1 / baseline), adjusted for arm
(`lutetia.safety.statistics.association.dose_effect`); beside it the same trial without any influence of the dose.
Categories of modification: pooled and within arms (`lutetia.safety.statistics.modification.category_effect`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from lutetia.core.draws import FloatArray
from lutetia.simulate.clinic import AFTER_DAYS, BASELINE_DAY, VirtualClinic
from lutetia.simulate.courses import Courses
from lutetia.simulate.effects import read_effects
from lutetia.simulate.population import REGIONS
from lutetia.simulate.trials import Block

STATISTIC_ANALYTES = ("platelets", "lymphocytes")
# Trials that are analysed: a rate of 5 % is then known to 0.5 and 1.5 points (one standard error).
ANALYSED_TRIALS, CATEGORY_TRIALS = 2000, 200
CATEGORIES_IN_ORDER = ("reduced", "unchanged", "increased")
# Permutations where a category has fewer than five subjects.
PERMUTATIONS = 199
KINDS = ("dose {} effect", "dose {} no effect", "category pooled {}", "category within arm {}")
P_VALUES = tuple(f"p {kind.format(analyte)}" for analyte in STATISTIC_ANALYTES for kind in KINDS)
FIRST_CYCLE = slice(1, 1 + len(AFTER_DAYS) + 1)
Clinics = Mapping[str, VirtualClinic]


def trial_p_values(
    block: Block, courses: Mapping[str, Courses], clinics: Clinics, *, before: int = 0
) -> dict[str, FloatArray]:
    """p-values of every trial of a block by name, shape (trial,); NaN where not estimable or not analysed.

    `before` counts the trials of earlier blocks, since only the first ones of a study are analysed.
    """
    if before >= ANALYSED_TRIALS:
        return {name: np.full(block.trials, np.nan) for name in P_VALUES}
    marrow = REGIONS.index("red marrow")
    dose = flat(block, {arm: c.measured_Gy[:, 0, marrow] for arm, c in courses.items()})
    without = {arm: first_cycle_without_effect(clinics[arm], c) for arm, c in courses.items()}
    score = flat(block, {arm: modification_score(c) for arm, c in courses.items()})
    found: dict[str, FloatArray] = {}
    for analyte in STATISTIC_ANALYTES:
        for label, source in (("effect", clinics), ("no effect", without)):
            change = flat(block, {arm: log_nadir(source[arm], analyte, FIRST_CYCLE) for arm in courses})
            found[f"p dose {analyte} {label}"] = _dose_effect_p(block, dose, change, ANALYSED_TRIALS - before)
        worst = flat(block, {arm: log_nadir(clinics[arm], analyte, slice(1, None)) for arm in courses})
        pooled, within = _category_p(block, score, worst, CATEGORY_TRIALS - before)
        found[f"p category pooled {analyte}"] = pooled
        found[f"p category within arm {analyte}"] = within
    return found


def _dose_effect_p(block: Block, dose_Gy: FloatArray, change: FloatArray, count: int) -> FloatArray:
    from lutetia.safety.statistics.association import dose_effect

    p = np.full(block.trials, np.nan)
    for trial in range(min(block.trials, max(count, 0))):
        rows = slice(trial * block.per_trial, (trial + 1) * block.per_trial)
        p[trial] = _p_of(dose_effect(dose_Gy[rows], change[rows], list(block.arm[rows])))
    return p


def _category_p(block: Block, score: FloatArray, change: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    from lutetia.safety.statistics.modification import category_effect

    pooled, within = np.full(block.trials, np.nan), np.full(block.trials, np.nan)
    names = np.array((*CATEGORIES_IN_ORDER, ""))
    label = names[np.where(np.isnan(score), len(names) - 1, np.nan_to_num(score) + 1).astype(np.int64)]
    for trial in range(min(block.trials, max(count, 0))):
        rows = slice(trial * block.per_trial, (trial + 1) * block.per_trial)
        chosen = np.flatnonzero(label[rows] != "") + rows.start
        if not chosen.size:
            continue
        found = category_effect(
            list(label[chosen]), change[chosen], list(block.arm[chosen]), order=CATEGORIES_IN_ORDER,
            resamples=PERMUTATIONS, seed=block.seed,
        )  # fmt: skip
        pooled[trial], within[trial] = _p_of(found.pooled), _p_of(found.within_arm)
    return pooled, within


def _p_of(result: object) -> float:
    """The p-value of a result; NaN where it is not estimable."""
    p = getattr(result, "p", None)
    return float("nan") if p is None else float(p)


def first_cycle_without_effect(asked: VirtualClinic, courses: Courses) -> VirtualClinic:
    """Samples of the first cycle had the dose no influence; the noise is the same."""
    empty, nowhere = np.full_like(asked.value, np.nan), np.full_like(asked.day, np.nan)
    clinic = replace(asked, effects=read_effects("none"), value=empty, day=nowhere)
    days, n = np.where(courses.given, courses.day, np.nan), len(courses.day)
    days[:, 1:] = np.nan
    clinic.take(0, np.full(n, BASELINE_DAY), days, courses.true_Gy)
    before = np.full(n, asked.interval_days - 1.0)
    if days.shape[1] > 1:
        before = np.where(np.isfinite(courses.day[:, 1]), courses.day[:, 1] - 1.0, before)
    for i, after in enumerate((*AFTER_DAYS, before)):
        clinic.take(1 + i, days[:, 0] + after, days, courses.true_Gy)
    return clinic


def log_nadir(clinic: VirtualClinic, analyte: str, slots: slice) -> FloatArray:
    """log(nadir / baseline); NaN without a later sample."""
    value = clinic.value[:, :, clinic.analytes.index(analyte)]
    lowest = np.fmin.reduce(value[:, slots], axis=1)
    return np.asarray(np.log(np.maximum(lowest, 1e-3) / np.maximum(value[:, 0], 1e-3)))


def modification_score(courses: Courses) -> FloatArray:
    """−1 reduced, 0 unchanged, 1 increased: prescribed over base in the given cycles; NaN if nothing varies."""
    v, given = courses.rules.variable, courses.given
    count = given.sum(axis=1)
    if v is None:
        return np.full(len(courses.day), np.nan)
    total = np.where(given, courses.prescribed_MBq[:, :, v], 0.0).sum(axis=1)
    mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0) / courses.rules.base_MBq[v]
    tolerance = courses.rules.category_tolerance
    return np.asarray(np.where(mean < 1.0 - tolerance, -1.0, np.where(mean > 1.0 + tolerance, 1.0, mean * 0.0)))


def flat(block: Block, by_arm: Mapping[str, FloatArray]) -> FloatArray:
    """Values by arm put back into the order of the subjects; NaN for arms without any."""
    values = np.full(len(block.arm), np.nan)
    for arm, own in by_arm.items():
        values[block.arm == block.arms.index(arm)] = own
    return values
