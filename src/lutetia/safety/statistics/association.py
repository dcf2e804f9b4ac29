"""Dose and effect: the arm-adjusted slope, its attenuation, and exposure to date.

Primary: marrow dose of cycle 1 against log(nadir of cycle 1 / baseline). The total dose against the worst nadir is
biased, because toxicity shortens treatment; cycles of one subject are never treated as independent, and no value is set
against a later dose.
Not here: which dose and which nadir (derivations), rank correlation (`correlation`), categories of modification
(`modification`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from lutetia.errors import InputError
from lutetia.safety.statistics.results import (
    LEVEL,
    BoolArray,
    FloatArray,
    IntArray,
    NotEstimable,
    Result,
    columns,
    finite_or_none,
)
from lutetia.safety.statistics.rows import Rows, complete_rows

PRIMARY = "least squares with arm intercepts, HC3 standard error, t interval"
SECONDARY = "least squares with arm intercepts, leave-one-subject-out (CR3) standard error, t interval"
CORRECTED = "slope divided by the reliability ratio of the dose (regression calibration)"
ATTENUATION_NOTE = (
    "The dose is measured with error, which draws slopes and correlations towards zero; "
    "the slope per measured Gy is smaller than the slope per true Gy."
)


@dataclass(frozen=True, slots=True)
class Attenuation:
    """How far errors of the dose flatten a slope.

    `reliability` is the share of the dose's variance within arms that is not error; `corrected` the slope per true Gy.
    """

    reliability: float
    corrected: Result
    n: int
    note: str = ATTENUATION_NOTE


def dose_effect(
    dose_Gy: ArrayLike, log_change: ArrayLike, arm: Sequence[object], *, level: float = LEVEL
) -> Result | NotEstimable:
    """Slope of the log change per Gy, adjusted for arm: the primary association.

    yᵢ = α(armᵢ) + β·doseᵢ + εᵢ by least squares, that is β = Σ x̃ᵢ yᵢ / Σ x̃ᵢ² with x̃ the dose less its arm's mean. The
    variance is HC3, Σ x̃ᵢ² eᵢ²/(1 − hᵢ)² / (Σ x̃ᵢ²)², with leverage hᵢ = 1/n(armᵢ) + x̃ᵢ²/Σ x̃ⱼ², because the scatter
    grows with the dose; p and interval are of Student's t with n − arms − 1 degrees of freedom.

    Parameters
    ----------
    dose_Gy
        Measured dose of cycle 1, Gy, one a subject.
    log_change
        log(nadir of cycle 1 / baseline), one a subject.
    arm
        Randomised arm of each subject. An arm with one subject tells nothing about the slope and is left out.

    References
    ----------
    MacKinnon J.G., White H., J Econometrics 1985;29:305–325. Long J.S., Ervin L.H., Am Stat 2000;54:217–224.
    """
    rows = _without_single_arms(complete_rows(dose_Gy, log_change, arm))
    n, arms = len(rows.x), len(rows.names)
    df = n - arms - 1
    if refusal := _no_slope(rows, df, PRIMARY):
        return refusal
    x, y = _centred(rows.x, rows), _centred(rows.y, rows)
    sxx = float((x * x).sum())
    slope = float((x * y).sum()) / sxx
    left = 1.0 - 1.0 / rows.sizes[rows.arm] - x * x / sxx
    if (left < 1e-9).any():
        return NotEstimable("one subject alone determines the slope", n, PRIMARY)
    se = float(np.sqrt((x**2 * ((y - slope * x) / left) ** 2).sum())) / sxx
    return _slope_result(slope, se, df, n=n, method=PRIMARY, level=level, warnings=rows.warnings)


def percent_change(slope: Result, step_Gy: float) -> Result:
    """The slope as percent change for a step of dose: 100 (exp(β·step) − 1)."""

    low, high = (slope.low, slope.high) if step_Gy >= 0.0 else (slope.high, slope.low)
    with np.errstate(over="ignore"):
        estimate, *ends = (None if v is None else 100.0 * np.expm1(v * step_Gy) for v in (slope.estimate, low, high))
    assert estimate is not None
    low, high = (None if v is None else finite_or_none(v) for v in ends)
    return replace(slope, quantity=f"percent change per {step_Gy:g} Gy", estimate=float(estimate), low=low, high=high)


def attenuation(
    slope: Result, dose_Gy: ArrayLike, dose_sd_Gy: ArrayLike, arm: Sequence[object]
) -> Attenuation | NotEstimable:
    """Reliability of the dose within arms, λ = 1 − mean(sd²)/s², and the slope β/λ as a sensitivity analysis.

    Parameters
    ----------
    slope
        Of `dose_effect`.
    dose_Gy, dose_sd_Gy
        Doses and their standard deviations, Gy, of the same subjects.

    Notes
    -----
    Assumes errors independent of the true dose and of the response, with the stated standard deviations; λ is taken as
    known, so that the interval is only rescaled.

    References
    ----------
    Carroll R.J., Ruppert D., Stefanski L.A., Crainiceanu C.M., Measurement Error in Nonlinear Models, 2nd ed., Chapman
    & Hall 2006, chapters 3 and 4.
    """
    rows = _without_single_arms(complete_rows(dose_Gy, dose_sd_Gy, arm))
    n, arms = len(rows.x), len(rows.names)
    if n - arms < 2:
        return NotEstimable("too few subjects with a dose and its standard deviation", n, CORRECTED)
    spread = float((_centred(rows.x, rows) ** 2).sum()) / (n - arms)
    error = float((rows.y**2).mean())
    reliability = 1.0 - error / spread if spread > 0.0 else 0.0
    if reliability < 0.1:
        reason = (
            f"errors explain the spread of the dose (reliability {reliability:.2f}); a correction would be arbitrary"
        )
        return NotEstimable(reason, n, CORRECTED)
    low, high = (None if v is None else v / reliability for v in (slope.low, slope.high))
    corrected = replace(
        slope, quantity="slope per true Gy", estimate=slope.estimate / reliability, low=low, high=high, method=CORRECTED
    )
    return Attenuation(reliability, corrected, n)


def exposure_to_date(
    sample_subject: Sequence[object], sample_time: ArrayLike, *, cycle_subject: Sequence[object],
    cycle_start: ArrayLike, cycle_dose_Gy: ArrayLike,
) -> FloatArray:  # fmt: skip
    """Dose of all cycles that began before each sample, Gy; NaN where one of those doses is missing.

    Parameters
    ----------
    sample_subject, sample_time
        Shape (sample,).
    cycle_subject, cycle_start, cycle_dose_Gy
        Shape (cycle,); doses summed over nuclides. A later dose never enters.
    """
    when = columns({"sample_time": sample_time})["sample_time"]
    cycles = columns({"cycle_start": cycle_start, "cycle_dose_Gy": cycle_dose_Gy})
    sample = [str(s) for s in sample_subject]
    owner = [str(s) for s in cycle_subject]
    if len(sample) != len(when) or len(owner) != len(cycles["cycle_start"]):
        raise InputError("exposure to date: expected one subject for every sample and for every cycle")
    names = {name: i for i, name in enumerate(sorted({*sample, *owner}))}
    own = np.array([names[s] for s in sample])[:, None] == np.array([names[s] for s in owner], dtype=np.int64)[None, :]
    begun = own & (cycles["cycle_start"][None, :] < when[:, None])
    return np.asarray(np.where(begun, cycles["cycle_dose_Gy"][None, :], 0.0).sum(axis=1))


def exposure_effect(
    exposure_Gy: ArrayLike, log_change: ArrayLike, *, arm: Sequence[object], subject: Sequence[object],
    level: float = LEVEL,
) -> Result | NotEstimable:  # fmt: skip
    """Slope of the log change per Gy given before the sample, from several samples a subject (secondary).

    Least squares with arm intercepts; the variance is that of the slopes with each subject left out in turn,
    (m − 1)/m Σ (β₋ᵢ − β)², so that samples of one subject are never taken as independent. Student's t
    has m − arms − 1 degrees of freedom for m subjects.

    References
    ----------
    Bell R.M., McCaffrey D.F., Survey Methodology 2002;28:169–181.
    """
    rows = complete_rows(exposure_Gy, log_change, arm, subject=subject)
    keys = [name.split("\x1f") for name in rows.names]
    arms = sorted({key[0] for key in keys})
    arm_of = np.array([arms.index(key[0]) for key in keys], dtype=np.int64)
    per_arm = np.bincount(arm_of, minlength=len(arms))
    single = [name for name, count in zip(arms, per_arm, strict=True) if count == 1]
    used = per_arm[arm_of] > 1
    m, df = int(used.sum()), int(used.sum()) - int((per_arm > 1).sum()) - 1
    warnings = rows.warnings + tuple(f"arm {name} has one subject and is left out" for name in single)
    if df < 1:
        return NotEstimable(f"{m} subjects; more are needed than arms and slope", m, SECONDARY)
    sums = _subject_sums(rows)[:, used]
    slope, varies = _pooled_slope(sums, arm_of[used], len(arms))
    if not varies:
        return NotEstimable("exposure does not vary within arms", m, SECONDARY)
    left_out = []
    for i in range(m):
        keep = np.arange(m) != i
        value, varies = _pooled_slope(sums[:, keep], arm_of[used][keep], len(arms))
        if not varies:
            return NotEstimable("one subject alone determines the slope", m, SECONDARY)
        left_out.append(value)
    se = float(np.sqrt((m - 1.0) / m * ((np.array(left_out) - slope) ** 2).sum()))
    return _slope_result(slope, se, df, n=m, method=SECONDARY, level=level, warnings=warnings)


def _without_single_arms(rows: Rows) -> Rows:
    sizes = rows.sizes
    single = tuple(
        f"arm {name} has one subject and is left out" for name, s in zip(rows.names, sizes, strict=True) if s == 1
    )
    if not single:
        return rows
    use = sizes[rows.arm] > 1
    kept, place = np.unique(rows.arm[use], return_inverse=True)
    names = tuple(rows.names[i] for i in kept)
    return Rows(rows.x[use], rows.y[use], place.astype(np.int64), names, rows.warnings + single)


def _centred(values: FloatArray, rows: Rows) -> FloatArray:
    mean = np.bincount(rows.arm, weights=values, minlength=len(rows.names)) / rows.sizes
    return np.asarray(values - mean[rows.arm])


def _no_slope(rows: Rows, df: int, method: str) -> NotEstimable | None:
    n = len(rows.x)
    if df < 1:
        return NotEstimable(f"{n} subjects in {len(rows.names)} arms are too few for a slope", n, method)
    for what, values in (("dose", rows.x), ("change", rows.y)):
        scale = float(np.abs(values).max())
        if float(np.abs(_centred(values, rows)).max()) <= 1e-12 * max(scale, 1e-300):
            return NotEstimable(f"the {what} does not vary within arms", n, method)
    return None


def _slope_result(
    slope: float, se: float, df: int, *, n: int, method: str, level: float, warnings: tuple[str, ...]
) -> Result:
    if se <= 0.0:
        return Result("slope per Gy", slope, None, None, None, n, method, df=df, level=level,
                      warnings=(*warnings, "no scatter about the line: no interval"))  # fmt: skip
    width = float(stdtrit(df, 0.5 + level / 2.0)) * se
    p = 2.0 * float(stdtr(df, -abs(slope / se)))
    return Result("slope per Gy", slope, slope - width, slope + width, p, n, method, statistic=slope / se, df=df,
                  level=level, warnings=warnings)  # fmt: skip


def _subject_sums(rows: Rows) -> FloatArray:
    """n, Σx, Σy, Σx², Σxy of every subject, shape (5, subject)."""
    one = np.ones_like(rows.x)
    products = (one, rows.x, rows.y, rows.x**2, rows.x * rows.y)
    return np.array([np.bincount(rows.arm, weights=w, minlength=len(rows.names)) for w in products])


def _pooled_slope(sums: FloatArray, arm: IntArray, arms: int) -> tuple[float, bool]:
    """Slope with arm intercepts from sums by subject, and whether the exposure varies."""
    n, x, y, xx, xy = (np.bincount(arm, weights=row, minlength=arms) for row in sums)
    present: BoolArray = n > 0
    sxx = float((xx[present] - x[present] ** 2 / n[present]).sum())
    sxy = float((xy[present] - x[present] * y[present] / n[present]).sum())
    return (sxy / sxx, True) if sxx > 1e-12 * float(xx.sum()) else (float("nan"), False)
