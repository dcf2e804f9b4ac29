"""What a study keeps of each trial: summaries by arm, and p-values of simple dose–effect statistics.

Arrays have shape (trial, arm) or (trial,); what cannot be told is NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutetia.core.draws import FloatArray
from lutetia.protocol.arrays import CATEGORIES
from lutetia.simulate.calibration import calibration_counts, no_counts
from lutetia.simulate.clinic import VirtualClinic, virtual_clinic
from lutetia.simulate.courses import Courses
from lutetia.simulate.effects import COUNTS, read_effects
from lutetia.simulate.population import REGIONS
from lutetia.simulate.statistics import trial_p_values
from lutetia.simulate.stopping import stopping_counts
from lutetia.simulate.trials import Block, arm_columns, run_block

IntArray = NDArray[np.int64]
SHOWN_CATEGORIES = ("reduced", "unchanged", "increased", "withheld", "stopped")
# Doses of the whole course that published limits name: region, quantity, Gy. BED of 28 Gy with and 40 Gy without risk
# factors: Bodei et al. 2008; 23 Gy and 2 Gy: as in the packaged profile.
THRESHOLDS = (
    ("kidneys", "dose", 23.0),
    ("kidneys", "BED", 28.0),
    ("kidneys", "BED", 40.0),
    ("red marrow", "dose", 2.0),
)
OFF = 0.10
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
    square = block.true_kidney_square
    parts = {arm: _arm_outcomes(block, arm, courses[arm], clinics[arm], square) for arm in present}
    names = next(iter(parts.values()))
    empty = np.full(block.trials, np.nan)
    found = {
        name: np.stack([parts[arm][name] if arm in parts else empty for arm in block.arms], axis=1) for name in names
    }
    counts = calibration_counts(block, courses) if calibrated else no_counts(block.trials)
    p_values = trial_p_values(block, courses, clinics, before=int(block.names[-1]) * block.trials)
    return found | p_values | stopping_counts(block, courses, clinics) | counts


def _trial_of(block: Block, arm: str) -> IntArray:
    rows = np.flatnonzero(block.arm == block.arms.index(arm))
    return np.asarray(rows // block.per_trial)


def _arm_outcomes(
    block: Block, arm: str, courses: Courses, clinic: VirtualClinic, kidney_square: FloatArray
) -> dict[str, FloatArray]:
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
    found |= _over_thresholds(block, arm, courses, trial, kidney_square)
    found |= _measured_kidneys(block, arm, courses, trial)
    found |= _categories(courses, trial, count)
    found["override proposals"] = _share(trial, courses.over_limit, courses.state >= 0, count)
    return found | _toxicity(clinic, trial, count)


def _over_thresholds(
    block: Block, arm: str, courses: Courses, trial: IntArray, kidney_square: FloatArray
) -> dict[str, FloatArray]:
    """Shares of subjects above each of `THRESHOLDS`, whatever the limits of the protocol, by true doses."""
    columns, rows = arm_columns(block, arm), block.arm == block.arms.index(arm)
    square = kidney_square[rows][..., columns, :][..., columns]
    given = np.nan_to_num(courses.administered_MBq)
    above = np.einsum("scn,scnm,scm->sc", given, square, given)
    bed = courses.true_Gy[:, :, REGIONS.index("kidneys")] + above
    found = {"kidneys true median BED Gy": group_median(trial, bed.sum(axis=1), block.trials)}
    for region, quantity, limit in THRESHOLDS:
        dose = bed if quantity == "BED" else courses.true_Gy[:, :, REGIONS.index(region)]
        found[f"{region} {quantity} over {limit:g} Gy"] = group_mean(trial, dose.sum(axis=1) > limit, block.trials)
    return found


def _measured_kidneys(block: Block, arm: str, courses: Courses, trial: IntArray) -> dict[str, FloatArray]:
    """Share of measured cycles whose kidney dose is off by more than 10 %."""
    kidneys = REGIONS.index("kidneys")
    rows = block.arm == block.arms.index(arm)
    known = courses.given & ~block.missed[rows]
    true = np.where(known, courses.true_Gy[..., kidneys], 1.0)
    error = np.where(known, courses.measured_Gy[..., kidneys], 1.0) / true - 1.0
    return {"kidneys off by more than 10 %": _share(trial, np.abs(error) > OFF, known, block.trials)}


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
    worst = {a: clinic.worst_grade(a, after) for a in (*COUNTS, "creatinine")}
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
