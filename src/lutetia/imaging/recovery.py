"""Recovery of activity in small objects, from a sphere phantom that is separate from the patient.

Two uses of one table (volume_mL, rc, sd): the resolution of the system, with which `lutetia.imaging.measure` computes
the spill between the patient's own regions (default), and a smooth recovery curve for a sphere of equal volume.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import gammainc

from lutetia.core.chain import Doubt
from lutetia.errors import CaseError, InputError, PhysicsError

FloatArray = NDArray[np.float64]
FWHM_PER_SIGMA = float(2 * np.sqrt(2 * np.log(2)))
DEFAULT_SD = 0.03  # assumption: of a measured recovery coefficient, where the table gives none
STATED_RESOLUTION_SD = 0.10  # assumption: relative, for a resolution given as one number
PATIENT_RESOLUTION_SD = 0.05  # assumption: relative, between a phantom and a patient on the same system
COLUMNS = ("volume_mL", "rc", "sd")


@dataclass(frozen=True, slots=True, eq=False)
class RecoveryTable:
    """Recovery coefficients of spheres: arrays of shape (sphere,)."""

    volume_mL: FloatArray
    rc: FloatArray
    sd: FloatArray


@dataclass(frozen=True, slots=True)
class Resolution:
    """Width of the Gaussian that the system blurs with, and its standard uncertainty."""

    fwhm_mm: float
    sd_mm: float
    source: str
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RecoveryCurve:
    """rc(V) = 1/(1 + (β/V)^γ), fitted; covariance of (ln β, γ)."""

    beta_mL: float
    gamma: float
    covariance: FloatArray
    range_mL: tuple[float, float]


def read_recovery(path: Path, *, where: str = "calibration.recovery_csv") -> RecoveryTable:
    """Read a CSV with columns volume_mL, rc and, optionally, sd.

    Raises
    ------
    CaseError
        For missing columns, values that are not numbers, fewer than three spheres, or rc outside (0, 1.3].
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise CaseError(f"{where}: cannot read {path.name!r}; expected a CSV file with volume_mL,rc,sd") from error
    missing = [c for c in COLUMNS[:2] if not rows or c not in rows[0]]
    if missing:
        raise CaseError(f"{where}: found no column {', '.join(missing)}; expected volume_mL,rc,sd")
    table = []
    for number, row in enumerate(rows, start=2):
        try:
            table.append([float(row["volume_mL"]), float(row["rc"]), float(row.get("sd") or DEFAULT_SD)])
        except (TypeError, ValueError):
            raise CaseError(
                f"{where}: row {number}: found a value that is not a number; expected volume_mL,rc,sd"
            ) from None
    volume, rc, sd = np.array(sorted(table)).T
    if len(volume) < 3:
        raise CaseError(f"{where}: found {len(volume)} spheres; expected three or more")
    if (volume <= 0).any() or (rc <= 0).any() or (rc > 1.3).any() or (sd <= 0).any():
        raise CaseError(f"{where}: found values outside volume_mL > 0, 0 < rc ≤ 1.3, sd > 0; correct the table")
    return RecoveryTable(volume, rc, sd)


def sphere_recovery(volume_mL: ArrayLike, fwhm_mm: ArrayLike) -> FloatArray:
    """Mean recovery inside a uniform sphere without background, blurred by an isotropic Gaussian.

    The mean over the sphere of the blurred sphere is the mean of its set covariance 1 − 3r/(4R) + r³/(16R³) over the
    distances r of a three-dimensional Gaussian, in closed form with the regularised gamma function P:
    RC = P(3/2, x) − (3σ/2R)·√(2/π)·P(2, x) + (σ³/2R³)·√(2/π)·P(3, x), x = 2R²/σ².

    Parameters
    ----------
    volume_mL, fwhm_mm
        Broadcast against each other; FWHM = 2.355 σ.
    """
    volume, fwhm = np.asarray(volume_mL, dtype=np.float64), np.asarray(fwhm_mm, dtype=np.float64)
    if (volume <= 0).any() or (fwhm <= 0).any():
        raise PhysicsError("sphere recovery: found a volume or resolution that is not positive")
    ratio = fwhm / FWHM_PER_SIGMA / np.cbrt(3000.0 * volume / (4 * np.pi))
    x = 2 / ratio**2
    root = np.sqrt(2 / np.pi)
    return np.asarray(gammainc(1.5, x) - 1.5 * ratio * root * gammainc(2, x) + 0.5 * ratio**3 * root * gammainc(3, x))


def fit_resolution(table: RecoveryTable) -> Resolution:
    """Resolution that explains the recovery of all spheres, by weighted least squares.

    The standard uncertainty is scaled by the square root of reduced χ² where that is above 1; a misfit (reduced
    χ² > 4) is a doubt: recovery coefficients above 1 (edge overshoot of the reconstruction) are not Gaussian.
    """

    def residual(log_fwhm: FloatArray) -> FloatArray:
        return np.asarray((sphere_recovery(table.volume_mL, np.exp(log_fwhm)) - table.rc) / table.sd)

    fit = least_squares(residual, [np.log(10.0)], bounds=([np.log(1.0)], [np.log(60.0)]))
    chi2 = 2 * float(fit.cost) / (len(table.rc) - 1)
    fwhm = float(np.exp(fit.x[0]))
    sd = fwhm * float(1 / np.linalg.norm(np.asarray(fit.jac, dtype=np.float64))) * max(1.0, float(np.sqrt(chi2)))
    doubts = []
    if chi2 > 4:
        text = f"the sphere phantom is not described by one resolution (reduced chi-squared {chi2:.1f})"
        doubts.append(Doubt("recovery-misfit", text, "calibration.recovery_csv"))
    return Resolution(fwhm, sd, "sphere phantom", tuple(doubts))


def choose_resolution(table: RecoveryTable | None, fwhm_mm: float | None) -> Resolution:
    """Resolution from the sphere phantom where there is one, else the stated number with 10 % uncertainty.

    The phantom's has at least 5 % uncertainty: its orbit, activity and background are not the patient's.

    Raises
    ------
    InputError
        If there is neither.
    """
    if fwhm_mm is not None and not 1.0 <= fwhm_mm <= 60.0:
        raise InputError(f"calibration: found resolution_fwhm_mm = {fwhm_mm}; expected 1 to 60 mm")
    if table is None:
        if fwhm_mm is None:
            raise InputError(
                "calibration: found neither recovery_csv nor resolution_fwhm_mm; expected one of them, or "
                "recovery_applied = true"
            )
        return Resolution(fwhm_mm, STATED_RESOLUTION_SD * fwhm_mm, "stated")
    fitted = fit_resolution(table)
    found = replace(fitted, sd_mm=max(fitted.sd_mm, PATIENT_RESOLUTION_SD * fitted.fwhm_mm))
    if fwhm_mm is None or abs(found.fwhm_mm / fwhm_mm - 1) <= 0.15:
        return found
    text = f"the sphere phantom gives a resolution of {found.fwhm_mm:.1f} mm, the case states {fwhm_mm:.1f} mm"
    doubt = Doubt("resolution-differs", text, "calibration")
    return replace(found, doubts=(*found.doubts, doubt))


def fit_recovery_curve(table: RecoveryTable) -> RecoveryCurve:
    """Fit rc(V) = 1/(1 + (β/V)^γ), monotone by construction, to a sphere phantom."""

    def residual(p: FloatArray) -> FloatArray:
        return np.asarray((_curve(table.volume_mL, p[0], p[1]) - table.rc) / table.sd)

    fit = least_squares(residual, [0.0, 0.7], bounds=([-12.0, 0.05], [8.0, 5.0]))
    chi2 = 2 * float(fit.cost) / max(len(table.rc) - 2, 1)
    jacobian = np.asarray(fit.jac, dtype=np.float64)
    covariance = np.asarray(np.linalg.pinv(jacobian.T @ jacobian), dtype=np.float64) * max(1.0, chi2)
    bounds = float(table.volume_mL.min()), float(table.volume_mL.max())
    return RecoveryCurve(float(np.exp(fit.x[0])), float(fit.x[1]), covariance, bounds)


def recovery_at(curve: RecoveryCurve, volume_mL: ArrayLike) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Recovery of a sphere of equal volume, its standard uncertainty, and whether the volume is outside the phantom's.

    Shapes (...) as `volume_mL`.
    """
    volume = np.asarray(volume_mL, dtype=np.float64)
    p = np.array([np.log(curve.beta_mL), curve.gamma])
    value = _curve(volume, p[0], p[1])
    step = 1e-4
    slope = [(_curve(volume, *(p + step * e)) - _curve(volume, *(p - step * e))) / (2 * step) for e in np.eye(2)]
    gradient = np.stack(slope, axis=-1)
    sd = np.sqrt(np.einsum("...a,ab,...b->...", gradient, curve.covariance, gradient))
    outside = (volume < curve.range_mL[0]) | (volume > curve.range_mL[1])
    return value, np.asarray(sd), np.asarray(outside)


def _curve(volume_mL: FloatArray, log_beta: float, gamma: float) -> FloatArray:
    return np.asarray(1 / (1 + np.exp(gamma * (log_beta - np.log(volume_mL)))))
