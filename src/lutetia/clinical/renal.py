"""Renal function from serum creatinine: CKD-EPI 2021 and Cockcroft–Gault; arrays in, arrays out."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.errors import PhysicsError

FloatArray = NDArray[np.float64]
Sex = Literal["female", "male"]
UMOL_PER_L_IN_MG_PER_DL = 88.42
_CATEGORIES = (("G1", 90.0), ("G2", 60.0), ("G3a", 45.0), ("G3b", 30.0), ("G4", 15.0), ("G5", 0.0))


def ckd_epi_2021(creatinine_umol_per_L: ArrayLike, age_years: ArrayLike, sex: Sex) -> FloatArray:
    """Estimated glomerular filtration rate, mL/min per 1.73 m², by the CKD-EPI 2021 creatinine equation.

    142 · min(Scr/κ, 1)^α · max(Scr/κ, 1)^−1.200 · 0.9938^age · 1.012 [female], Scr in mg/dL, κ 0.7 (female) or
    0.9 (male), α −0.241 or −0.302.

    Parameters
    ----------
    creatinine_umol_per_L, age_years
        Shape (...).
    sex
        "female" or "male".

    Returns
    -------
    Shape (...).

    Raises
    ------
    PhysicsError
        For creatinine or age that is not positive.

    References
    ----------
    Inker et al., N Engl J Med 2021;385:1737.
    """
    scr, age = _positive(creatinine_umol_per_L, "creatinine") / UMOL_PER_L_IN_MG_PER_DL, _positive(age_years, "age")
    kappa, alpha, factor = (0.7, -0.241, 1.012) if _checked(sex) == "female" else (0.9, -0.302, 1.0)
    ratio = scr / kappa
    return np.asarray(142.0 * np.minimum(ratio, 1.0) ** alpha * np.maximum(ratio, 1.0) ** -1.2 * 0.9938**age * factor)


def cockcroft_gault(
    creatinine_umol_per_L: ArrayLike, age_years: ArrayLike, sex: Sex, *, weight_kg: ArrayLike
) -> FloatArray:
    """Creatinine clearance, mL/min: (140 − age) · weight / (72 · Scr), times 0.85 for women, Scr in mg/dL.

    Parameters
    ----------
    creatinine_umol_per_L, age_years, weight_kg
        Shape (...).
    sex
        "female" or "male".

    Raises
    ------
    PhysicsError
        For values that are not positive.

    References
    ----------
    Cockcroft and Gault, Nephron 1976;16:31.
    """
    scr = _positive(creatinine_umol_per_L, "creatinine") / UMOL_PER_L_IN_MG_PER_DL
    age, weight = _positive(age_years, "age"), _positive(weight_kg, "weight")
    factor = 0.85 if _checked(sex) == "female" else 1.0
    return np.asarray(np.maximum(140.0 - age, 0.0) * weight / (72.0 * scr) * factor)


def gfr_category(egfr: float) -> str:
    """KDIGO category G1 to G5 of an unrounded filtration rate in mL/min per 1.73 m²."""
    if not np.isfinite(egfr) or egfr < 0:
        raise PhysicsError(f"filtration rate: found {egfr}; expected a number ≥ 0")
    return next(name for name, least in _CATEGORIES if egfr >= least)


def _positive(values: ArrayLike, name: str) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if not (np.isfinite(array).all() and (array > 0).all()):
        raise PhysicsError(f"{name}: found {values!r}; expected finite values above 0")
    return array


def _checked(sex: str) -> str:
    if sex not in ("female", "male"):
        raise PhysicsError(f"sex: found {sex!r}; expected 'female' or 'male'")
    return sex
