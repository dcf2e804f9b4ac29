"""Counts to activity: sensitivity, dead time, and 90Y counts in the window of 177Lu."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import lambertw

from lutetia.core.chain import Doubt
from lutetia.core.volume import Volume
from lutetia.errors import InputError, PhysicsError, UnitError
from lutetia.nuclear.nuclides import nuclide

FloatArray = NDArray[np.float64]
LOSS_TO_FLAG = 0.10
MAX_AGE_DAYS = 366  # assumption: a camera's sensitivity is checked at least once a year


@dataclass(frozen=True, slots=True)
class Calibration:
    """Sensitivity of a camera for the measured nuclide.

    `sd_percent` is common to all scans of the camera. `y90_cps_per_MBq`: counts of 90Y bremsstrahlung in the same
    window, None if it was not measured.
    """

    cps_per_MBq: float
    sd_percent: float = 0.0
    date: dt.date | None = None
    dead_time_us: float = 0.0
    y90_cps_per_MBq: float | None = None

    def __post_init__(self) -> None:
        if not (np.isfinite(self.cps_per_MBq) and self.cps_per_MBq > 0):
            raise InputError(f"calibration: found cps_per_MBq = {self.cps_per_MBq}; expected a positive number")
        others = {"sd_percent": self.sd_percent, "dead_time_us": self.dead_time_us}
        for name, value in {**others, "y90_cps_per_MBq": self.y90_cps_per_MBq or 0.0}.items():
            if not (np.isfinite(value) and value >= 0):
                raise InputError(f"calibration: found {name} = {value}; expected a number ≥ 0")


def true_rate(observed_cps: ArrayLike, dead_time_us: float) -> FloatArray:
    """Count rate before dead-time losses of a paralysable camera: n in m = n·exp(−n·τ), on the rising branch.

    n = −W₀(−m·τ)/τ with the principal branch of Lambert's W.

    Parameters
    ----------
    observed_cps
        m of shape (...), counts per second of the whole field of view.
    dead_time_us
        τ in µs; 0 means no losses.

    Raises
    ------
    PhysicsError
        If m is negative, or above the largest rate 1/(e·τ) that the camera can show.
    """
    observed = np.asarray(observed_cps, dtype=np.float64)
    tau = dead_time_us * 1e-6
    if (observed < 0).any() or tau < 0:
        raise PhysicsError("dead time: found a negative count rate or dead time; expected values ≥ 0")
    if tau == 0:
        return observed
    limit = float(1 / (np.e * tau))
    if (observed > limit).any():
        raise PhysicsError(
            f"dead time: found {observed.max():.4g} counts/s; a paralysable camera with {dead_time_us:g} µs shows "
            f"at most {limit:.4g}; check dead_time_us and the duration of the acquisition"
        )
    branch = lambertw(-observed * tau)  # type: ignore[call-overload]
    return np.asarray(-np.real(branch) / tau)


def tandem_factor(calibration: Calibration, ratio: ArrayLike, time_h: ArrayLike) -> FloatArray:
    """Share of counts that 177Lu gives when 90Y of the same kinetics is in the image: c_Lu/(c_Lu + c_Y·A_Y/A_Lu).

    A_Y/A_Lu at time t is the administered ratio × exp(−(λ_Y − λ_Lu)·t), as the biology of both is the same.

    Parameters
    ----------
    ratio
        Administered 90Y/177Lu (MBq/MBq) at time zero, shape (...).
    time_h
        Time of the scan, shape (...).

    Raises
    ------
    PhysicsError
        If the calibration has no `y90_cps_per_MBq`.
    """
    if calibration.y90_cps_per_MBq is None:
        raise PhysicsError(
            "tandem calibration: found no y90_cps_per_MBq; expected a measured value (0 if none is seen)"
        )
    difference = nuclide("Y-90").decay_constant_per_h - nuclide("Lu-177").decay_constant_per_h
    present = np.asarray(ratio, dtype=np.float64) * np.exp(-difference * np.asarray(time_h, dtype=np.float64))
    share = calibration.cps_per_MBq / (calibration.cps_per_MBq + calibration.y90_cps_per_MBq * present)
    return np.asarray(share)


def counts_to_activity(
    counts: Volume,
    calibration: Calibration,
    *,
    duration_s: float | None,
    observed_cps: float | None = None,
    where: str = "scan",
) -> tuple[Volume, tuple[Doubt, ...]]:
    """Activity concentration from a reconstruction in counts.

    MBq/mL = counts/(duration × cps per MBq × voxel volume) × n/m, with n/m the dead-time factor of the whole image.

    Parameters
    ----------
    counts
        Counts per voxel over the acquisition.
    duration_s
        Duration of the acquisition.
    observed_cps
        Rate of the camera for the dead time; the counts of the image over its duration if None (a lower bound,
        because other energies make the camera busy too).

    Returns
    -------
    Volume in MBq/mL, and doubts (losses over 10 %).
    """
    if counts.unit != "counts":
        raise UnitError(f"{where}: found an image in {counts.unit}; expected counts; remove [calibration] cps_per_MBq")
    if duration_s is None or duration_s <= 0:
        raise InputError(f"{where}: found counts without the duration of the acquisition; expected it in the header")
    rate = float(counts.values.sum(dtype=np.float64)) / duration_s if observed_cps is None else observed_cps
    true = float(true_rate(rate, calibration.dead_time_us))
    factor = true / rate if rate > 0 else 1.0
    doubts = []
    if 1 - 1 / factor > LOSS_TO_FLAG:
        text = f"dead time takes {100 * (1 - 1 / factor):.0f} % of the counts; the correction is uncertain"
        doubts.append(Doubt("dead-time", text, where))
    scale = factor / (duration_s * calibration.cps_per_MBq * counts.grid.voxel_mL)
    return Volume((counts.values * scale).astype(np.float32), counts.grid, "MBq_per_mL"), tuple(doubts)


def calibration_doubts(calibration: Calibration, scanned: dt.date, *, tandem: bool) -> tuple[Doubt, ...]:
    """Doubts about a calibration: its age at the scan, and a tandem cycle without the sensitivity for 90Y."""
    doubts = []
    if calibration.date is not None and abs((scanned - calibration.date).days) > MAX_AGE_DAYS:
        days = abs((scanned - calibration.date).days)
        doubts.append(Doubt("calibration-old", f"the calibration is {days} days away from the scan", "calibration"))
    if tandem and calibration.y90_cps_per_MBq is None:
        text = "90Y counts in the window of 177Lu are not known: activities may be too high, never too low"
        doubts.append(Doubt("tandem-cross-sensitivity", text, "calibration"))
    return tuple(doubts)
