"""What a study keeps of each trial: summaries by arm, and p-values of simple dose–effect statistics.

Arrays have shape (trial, arm) or (trial,); what cannot be told is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from lutetia.core.draws import FloatArray
from lutetia.protocol.arrays import CATEGORIES
from lutetia.simulate.calibration import calibration_counts, no_counts
from lutetia.simulate.clinic import AFTER_DAYS, BASELINE_DAY, VirtualClinic, virtual_clinic
from lutetia.simulate.courses import Courses
from lutetia.simulate.effects import COUNTS, read_effects
from lutetia.simulate.population import REGIONS
from lutetia.simulate.trials import Block, run_block

IntArray = NDArray[np.int64]
SHOWN_CATEGORIES = ("reduced", "unchanged", "increased", "withheld", "stopped")
STATISTIC_ANALYTES = ("platelets", "lymphocytes")
_FIRST = 1 + len(AFTER_DAYS) + 1
_HAEMATOLOGY = ("haemoglobin", "platelets", "neutrophils")


def block_outcomes(block: Block, effect: str, *, calibrated: bool = False) -> dict[str, FloatArray]:
    """Run a block of trials and summarise every trial.

    Parameters
    ----------
    block
        Of `draw_block`.
    effect
        ``planted`` or ``none``, of `read_effects`.
    calibrated
        Whether intervals and probabilities are judged too, which costs more than everything else.

    Returns
    -------
    Arrays (trial, arm) by name; (trial,) for names that begin with ``p `` (p-values of one trial); the counts of
    `lutetia.simulate.calibration`, with more axes.
    """
    effects = read_effects(effect)
    present = [arm for i, arm in enumerate(block.arms) if (block.arm == i).any()]
    clinics = {arm: virtual_clinic(block, arm, effects) for arm in present}
    courses = run_block(block, clinics)
    for arm in present:
        clinics[arm].follow_up(courses[arm])
    parts = {arm: _arm_outcomes(block, arm, courses[arm], clinics[arm]) for arm in present}
    names = next(iter(parts.values()))
    empty = np.full(block.trials, np.nan)
    found = {
        name: np.stack([parts[arm][name] if arm in parts else empty for arm in block.arms], axis=1) for name in names
    }
    counts = calibration_counts(block, courses) if calibrated else no_counts(block.trials)
    return found | _statistics(block, courses, clinics) | counts


def _trial_of(block: Block, arm: str) -> IntArray:
    rows = np.flatnonzero(block.arm == block.arms.index(arm))
    return np.asarray(rows // block.per_trial)


def _arm_outcomes(block: Block, arm: str, courses: Courses, clinic: VirtualClinic) -> dict[str, FloatArray]:
    trial, count = _trial_of(block, arm), block.trials
    given = courses.given
    found = {
        "subjects": np.bincount(trial, minlength=count).astype(np.float64),
        "cycles given": group_mean(trial, given.sum(axis=1), count),
        "holds": group_mean(trial, courses.held.sum(axis=1), count),
    }
    true, measured = courses.cumulative_true_Gy, courses.cumulative_measured_Gy
    for i, region in enumerate(REGIONS):
        found[f"{region} true median Gy"] = group_median(trial, true[:, i], count)
        found[f"{region} measured median Gy"] = group_median(trial, measured[:, i], count)
    for limit in block.protocol.limits_of(arm):
        if limit.metric == "absorbed_dose":
            over = true[:, REGIONS.index(limit.region)] > limit.limit_Gy
            found[f"over {limit.id}"] = group_mean(trial, over, count)
    found |= _categories(courses, trial, count)
    found["override proposals"] = _share(trial, courses.over_limit, courses.state >= 0, count)
    return found | _toxicity(clinic, trial, count)


def _categories(courses: Courses, trial: IntArray, count: int) -> dict[str, FloatArray]:
    """Shares of categories among decisions about cycles 2 and later; NaN without a variable nuclide."""
    v = courses.rules.variable
    if v is None:
        return {f"category {name}": np.full(count, np.nan) for name in SHOWN_CATEGORIES}
    decided, category = courses.state[:, 1:] >= 0, courses.category[:, 1:, v]
    return {
        f"category {name}": _share(trial, category == CATEGORIES.index(name), decided, count)
        for name in SHOWN_CATEGORIES
    }


def _toxicity(clinic: VirtualClinic, trial: IntArray, count: int) -> dict[str, FloatArray]:
    """Shares of subjects with the grade at any time after the first cycle."""
    after = slice(1, None)
    worst = {a: np.nan_to_num(clinic.grade(a, after)).max(axis=1) for a in (*COUNTS, "creatinine")}
    haematology = np.max([worst[a] for a in _HAEMATOLOGY], axis=0)
    return {
        "haematology G3+ (not lymphocytes)": group_mean(trial, haematology >= 3, count),
        "platelets G2+": group_mean(trial, worst["platelets"] >= 2, count),
        "lymphocytes G3+": group_mean(trial, worst["lymphocytes"] >= 3, count),
        "creatinine G2+": group_mean(trial, worst["creatinine"] >= 2, count),
    }


def _share(trial: IntArray, hit: NDArray[np.bool_], counted: NDArray[np.bool_], count: int) -> FloatArray:
    hits = np.bincount(trial, weights=(hit & counted).sum(axis=1), minlength=count)
    return _divide(hits, np.bincount(trial, weights=counted.sum(axis=1), minlength=count))


def group_mean(group: IntArray, values: NDArray[np.generic], count: int) -> FloatArray:
    """Mean of every group; NaN for empty ones."""
    sums = np.bincount(group, weights=values.astype(np.float64), minlength=count)
    return _divide(sums, np.bincount(group, minlength=count).astype(np.float64))


def group_median(group: IntArray, values: FloatArray, count: int) -> FloatArray:
    """Median of every group; NaN for empty ones."""
    ordered = values[np.lexsort((values, group))]
    size = np.bincount(group, minlength=count)
    start = np.concatenate([[0], np.cumsum(size)[:-1]])
    low, high = start + np.maximum(size - 1, 0) // 2, start + size // 2
    padded = np.append(ordered, np.nan)
    last = len(ordered)
    middle = 0.5 * (padded[np.minimum(low, last)] + padded[np.minimum(high, last)])
    return np.asarray(np.where(size > 0, middle, np.nan))


def _divide(a: NDArray[Any], b: NDArray[Any]) -> FloatArray:
    return np.asarray(np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0), dtype=np.float64)


def _statistics(
    block: Block, courses: Mapping[str, Courses], clinics: Mapping[str, VirtualClinic]
) -> dict[str, FloatArray]:
    """p-values: cycle-1 marrow dose against the cycle-1 nadir with the planted effect and without any; categories."""
    group = (np.arange(len(block.arm)) // block.per_trial) * len(block.arms) + block.arm
    marrow = REGIONS.index("red marrow")
    dose = _flat(block, {arm: np.log(c.measured_Gy[:, 0, marrow]) for arm, c in courses.items()})
    found: dict[str, FloatArray] = {}
    without = {arm: _first_cycle_without_effect(clinics[arm], c) for arm, c in courses.items()}
    score = _flat(block, {arm: _score(c) for arm, c in courses.items()})
    for analyte in STATISTIC_ANALYTES:
        for label, source in (("effect", clinics), ("no effect", without)):
            change = _flat(block, {arm: _nadir(source[arm], analyte, slice(1, _FIRST)) for arm in courses})
            found[f"p dose {analyte} {label}"] = correlation_p(dose, change, group, block)
        worst = _flat(block, {arm: _nadir(clinics[arm], analyte, slice(1, None)) for arm in courses})
        found[f"p category pooled {analyte}"] = correlation_p(score, worst, None, block)
        found[f"p category within arm {analyte}"] = correlation_p(score, worst, group, block)
    return found


def _first_cycle_without_effect(asked: VirtualClinic, courses: Courses) -> VirtualClinic:
    """Samples of the first cycle had the dose no influence; the noise is the same."""
    empty, nowhere = np.full_like(asked.value, np.nan), np.full_like(asked.day, np.nan)
    clinic = replace(asked, effects=read_effects("none"), value=empty, day=nowhere)
    days, n = np.where(courses.given, courses.day, np.nan), len(courses.day)
    days[:, 1:] = np.nan
    clinic.take(0, np.full(n, BASELINE_DAY), days, courses.true_Gy)
    planned = np.full(n, asked.interval_days - 1.0)
    before = (
        planned if days.shape[1] == 1 else np.where(np.isfinite(courses.day[:, 1]), courses.day[:, 1] - 1.0, planned)
    )
    for i, after in enumerate((*AFTER_DAYS, before)):
        clinic.take(1 + i, days[:, 0] + after, days, courses.true_Gy)
    return clinic


def _nadir(clinic: VirtualClinic, analyte: str, slots: slice) -> FloatArray:
    """log(nadir / baseline); NaN without a later sample."""
    value = clinic.value[:, :, clinic.analytes.index(analyte)]
    lowest = np.fmin.reduce(value[:, slots], axis=1)
    return np.asarray(np.log(np.maximum(lowest, 1e-3) / np.maximum(value[:, 0], 1e-3)))


def _score(courses: Courses) -> FloatArray:
    """−1 reduced, 0 unchanged, 1 increased: prescribed over base in the decided cycles; NaN if nothing varies."""
    v = courses.rules.variable
    if v is None:
        return np.full(len(courses.day), np.nan)
    prescribed, given = courses.prescribed_MBq[:, :, v], courses.given
    count = given.sum(axis=1)
    mean = _divide(np.where(given, prescribed, 0.0).sum(axis=1), count.astype(np.float64)) / courses.rules.base_MBq[v]
    tolerance = courses.rules.category_tolerance
    return np.asarray(np.where(mean < 1.0 - tolerance, -1.0, np.where(mean > 1.0 + tolerance, 1.0, mean * 0.0)))


def _flat(block: Block, by_arm: Mapping[str, FloatArray]) -> FloatArray:
    """Values by arm put back into the order of the subjects."""
    flat = np.full(len(block.arm), np.nan)
    for arm, values in by_arm.items():
        flat[block.arm == block.arms.index(arm)] = values
    return flat


def correlation_p(x: FloatArray, y: FloatArray, group: IntArray | None, block: Block) -> FloatArray:
    """Two-sided p-value of the correlation in every trial, adjusted for arm where `group` (trial × arm) is given.

    t = r √(df/(1 − r²)) with df = n − 1 − number of means removed; NaN where a variable does not vary.
    """
    trial = np.arange(len(x)) // block.per_trial
    use = np.isfinite(x) & np.isfinite(y)
    by, groups = (trial, block.trials) if group is None else (group, block.trials * len(block.arms))
    a, b = _centred(x, by, use, groups), _centred(y, by, use, groups)
    saa, sbb, sab = (np.bincount(trial, weights=w, minlength=block.trials) for w in (a * a, b * b, a * b))
    present = np.bincount(by, weights=use, minlength=groups) > 0
    means = present.reshape(block.trials, -1).sum(axis=1)
    df = np.bincount(trial, weights=use, minlength=block.trials) - 1.0 - means
    varies = (saa > 1e-12) & (sbb > 1e-12) & (df > 0)
    r2 = np.divide(sab**2, saa * sbb, out=np.zeros(block.trials), where=varies)
    t = np.sqrt(np.maximum(df, 1.0) * r2 / np.maximum(1.0 - r2, 1e-12))
    return np.asarray(np.where(varies, 2.0 * stdtr(np.maximum(df, 1.0), -t), np.nan))


def _centred(values: FloatArray, group: IntArray, use: NDArray[np.bool_], groups: int) -> FloatArray:
    filled = np.where(use, values, 0.0)
    size = np.bincount(group, weights=use, minlength=groups)
    mean = _divide(np.bincount(group, weights=filled, minlength=groups), size)
    return np.where(use, filled - np.nan_to_num(mean)[group], 0.0)
