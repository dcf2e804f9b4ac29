"""Parameters of the effects of treatment, and the laboratory values that follow from doses.

Not here: what toxicity does to the next cycle (`clinic`). Everything in `data/effects.toml` is an assumption.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from lutetia.clinical.ctcae import criteria
from lutetia.clinical.renal import UMOL_PER_L_IN_MG_PER_DL
from lutetia.core.draws import FloatArray
from lutetia.errors import UnknownNameError
from lutetia.simulate.subjects import Subjects

Mode = Literal["planted", "none"]
# "strong": planted, with steeper slopes of the blood counts (`strong_factor`), to see stopping rules at work.
MODES = ("planted", "none", "strong")
COUNTS = ("haemoglobin", "platelets", "neutrophils", "lymphocytes")
WATCHED = (*COUNTS, "creatinine")
LIVER = ("alt", "ast", "alp", "ggt", "bilirubin", "albumin", "inr")
_TINY = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """What treatment does; `mode` "planted": blood counts follow the marrow dose, "none": the same for every dose."""

    mode: Mode
    typical_dose_Gy: float
    counts: Mapping[str, Mapping[str, float]]
    renal: Mapping[str, float]
    events: Mapping[str, float]
    reporting: Mapping[str, Mapping[str, Any]]


@cache
def read_effects(mode: str = "planted") -> Effects:
    """The packaged effects in one of the `MODES`.

    Raises
    ------
    UnknownNameError
        For another mode.
    """
    if mode not in MODES:
        raise UnknownNameError("dose effect", mode, MODES)
    table = tomllib.loads((files("lutetia.simulate") / "data" / "effects.toml").read_text(encoding="utf-8"))
    factor = float(table["strong_factor"]) if mode == "strong" else 1.0
    return Effects(
        "none" if mode == "none" else "planted",
        float(table["typical_dose_Gy"]),
        {name: {**row, "slope_per_Gy": factor * row["slope_per_Gy"]} for name, row in table["counts"].items()},
        table["renal"],
        table["events"],
        table["reporting"],
    )


def limits_of_normal(effects: Effects, analyte: str, female: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Lower and upper limit of normal of every subject."""
    row = effects.reporting[analyte]
    chosen = np.asarray(female, dtype=np.int64)
    return np.array(row["lln"], dtype=np.float64)[chosen], np.array(row["uln"], dtype=np.float64)[chosen]


def decline(s_days: FloatArray, nadir_days: float, persistent: float) -> FloatArray:
    """Course of the change after one cycle: 1 at the nadir, and a share that stays; 0 before the cycle.

    (1 − p)·(s/τ)·exp(1 − s/τ) + p·(1 − exp(−s/τ)), with s days since the infusion and τ the day of the nadir.
    """
    x = np.maximum(s_days, 0.0) / nadir_days
    fall = np.exp(-x)
    return np.asarray((1.0 - persistent) * np.e * x * fall + persistent * (1.0 - fall))


def count_values(
    effects: Effects, analyte: str, baseline: FloatArray, *, sensitivity: FloatArray, since_days: FloatArray,
    marrow_Gy: FloatArray,
) -> FloatArray:  # fmt: skip
    """A blood count without noise.

    Parameters
    ----------
    effects, analyte
        Which count.
    baseline, sensitivity
        Shape (subject,).
    since_days
        Days since each cycle, shape (subject, cycle); 0 where it was not given.
    marrow_Gy
        Shape (subject, cycle).
    """
    row = effects.counts[analyte]
    dose = marrow_Gy if effects.mode == "planted" else np.where(marrow_Gy > 0, effects.typical_dose_Gy, 0.0)
    course = decline(since_days, row["nadir_days"], row["persistent"])
    change = row["slope_per_Gy"] * sensitivity * (dose * course).sum(axis=-1)
    return np.asarray(baseline * np.exp(-change))


def filtration_values(
    effects: Effects,
    baseline: FloatArray,
    *,
    since_first_days: FloatArray,
    since_days: FloatArray,
    kidney_Gy: FloatArray,
) -> FloatArray:
    """eGFR without noise: a slow decline, and a late one with the kidney dose."""
    row = effects.renal
    late = 1.0 - np.exp2(-np.maximum(since_days, 0.0) / row["half_time_days"])
    slope = row["slope_per_Gy"] if effects.mode == "planted" else 0.0
    change = row["decline_per_year"] * np.maximum(since_first_days, 0.0) / 365.25 + slope * (late * kidney_Gy).sum(-1)
    return np.asarray(baseline * np.exp(-change))


def creatinine_of(egfr_mL_per_min: FloatArray, age_years: FloatArray, female: np.ndarray) -> FloatArray:
    """Creatinine in µmol/L that gives an eGFR: the CKD-EPI 2021 equation solved for creatinine."""
    kappa, alpha = np.where(female, 0.7, 0.9), np.where(female, -0.241, -0.302)
    share = egfr_mL_per_min / (142.0 * 0.9938**age_years * np.where(female, 1.012, 1.0))
    ratio = share ** np.where(share > 1.0, 1.0 / alpha, -1.0 / 1.2)
    return np.asarray(kappa * ratio * UMOL_PER_L_IN_MG_PER_DL)


def baselines(effects: Effects, subjects: Subjects) -> dict[str, FloatArray]:
    """True values before treatment of the drawn analytes and of creatinine."""
    v = subjects.values
    found = {name: v[name] for name in (*COUNTS, *LIVER)}
    found["creatinine"] = creatinine_of(v["egfr_mL_per_min"], v["age_years"], subjects.female)
    return found


def grades(analyte: str, values: FloatArray, *, lln: ArrayLike, uln: ArrayLike, baseline: ArrayLike) -> FloatArray:
    """Worst CTCAE grade of reported values, from the criteria of `lutetia.clinical.ctcae`; NaN stays NaN.

    Parameters
    ----------
    analyte
        Canonical name.
    values, lln, uln, baseline
        Shapes that broadcast; rounded as reported, so that comparisons of floats equal those of decimals.
    """
    worst = np.zeros(np.broadcast_shapes(np.shape(values), np.shape(lln), np.shape(uln), np.shape(baseline)))
    low, high, start = (np.asarray(x, dtype=np.float64) for x in (lln, uln, baseline))
    for c in criteria():
        if c.analyte != analyte:
            continue
        for grade, cut in c.below.items():
            reached = values < ((low if cut is None else float(cut)) * (1.0 - _TINY))
            worst = np.where(reached, np.maximum(worst, grade), worst)
        for grade, cut in c.above.items():
            worst = np.where(values > float(cut) * (1.0 + _TINY), np.maximum(worst, grade), worst)
        worst = np.maximum(worst, _relative(c, values, high, start))
    return np.where(np.isnan(values), np.nan, worst)


def _relative(c: Any, values: FloatArray, uln: FloatArray, baseline: FloatArray) -> FloatArray:
    worst = np.zeros(np.broadcast_shapes(values.shape, uln.shape, baseline.shape))
    abnormal = (baseline > uln) if c.abnormal_baseline else np.zeros((), dtype=bool)
    for cuts, reference, where in (
        (c.above_uln, uln, ~abnormal),
        (c.above_baseline, baseline, ~abnormal),
        (c.abnormal_baseline, baseline, abnormal),
    ):
        for grade, multiple in cuts.items():
            at_least = cuts is c.abnormal_baseline and grade == 1 and c.first_inclusive
            cut = float(multiple) * reference * (1.0 - _TINY if at_least else 1.0 + _TINY)
            worst = np.where(where & (values > cut), np.maximum(worst, grade), worst)
    return worst
