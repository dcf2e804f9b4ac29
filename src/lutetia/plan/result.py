"""`result.json`: the records of a plan as plain values, rounded at the edge to six significant digits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from lutetia.core.chain import Doubt, KineticFit, NuclideDose, OrganDose, TimeActivity
from lutetia.core.draws import Estimate
from lutetia.core.numbers import six_digits
from lutetia.plan.ledger import Cumulative

SCHEMA = "lutetia.result/1"
_CURVE_POINTS = 61
_CURVE_DRAWS = 400


def rounded(value: Any) -> Any:
    """Numbers to six significant digits, not-a-number and infinity to None; containers in depth.

    Rounding makes the file independent of the last bits, in which linear-algebra kernels differ.
    """
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, float | np.floating):
        number = float(value)
        return six_digits(number) + 0.0 if math.isfinite(number) else None
    if isinstance(value, np.ndarray):
        return rounded(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [rounded(item) for item in value]
    raise TypeError(f"result: cannot write a {type(value).__name__}")


def doubt_record(doubt: Doubt) -> dict[str, str]:
    """A warning as stored with the result."""
    return {"code": doubt.code, "message": doubt.message, "where": doubt.where, "severity": doubt.severity}


def dose_fields(name: str, estimate: Estimate | None) -> dict[str, Any]:
    """`<name>_Gy`, its sd and its central 95 % interval; None where not evaluable."""
    if estimate is None:
        return {f"{name}_Gy": None, f"{name}_sd_Gy": None, f"{name}_interval_Gy": None}
    return {
        f"{name}_Gy": float(estimate.value),
        f"{name}_sd_Gy": float(estimate.sd),
        f"{name}_interval_Gy": [float(x) for x in estimate.interval],
    }


def region_record(dose: OrganDose, curve: Mapping[str, Any] | None) -> dict[str, Any]:
    """One entry of `cycles[].regions`: a region by one method."""
    nuclides = {
        part.nuclide: nuclide_record(part) | {"curve": (curve or {}).get(part.nuclide)} for part in dose.nuclides
    }
    return {
        "region": dose.region,
        "mass_g": dose.mass_g,
        "volume_mL": dose.volume_mL,
        "method": dose.method,
        "nuclides": nuclides,
        **dose_fields("absorbed_dose", dose.absorbed_dose_Gy),
        "bed_Gy": None if dose.bed_Gy is None else float(dose.bed_Gy.value),
        "bed_interval_Gy": None if dose.bed_Gy is None else [float(x) for x in dose.bed_Gy.interval],
        "warnings": [doubt_record(d) for d in dose.doubts],
    }


def nuclide_record(part: NuclideDose) -> dict[str, Any]:
    """Dose of one nuclide to one region in one cycle."""
    activity, given = part.time_integrated_activity_MBq_h, part.administered_MBq
    dose = float(part.absorbed_dose_Gy.value)
    return {
        "basis": part.basis,
        "model": part.model or None,
        "effective_half_life_h": part.effective_half_life_h,
        "time_integrated_activity_MBq_h": None if activity is None else float(activity.value),
        "time_integrated_activity_sd_MBq_h": None if activity is None else float(activity.sd),
        "extrapolated_fraction": part.extrapolated_fraction,
        "absorbed_dose_Gy": dose,
        "absorbed_dose_sd_Gy": float(part.absorbed_dose_Gy.sd),
        "Gy_per_GBq": 1000.0 * dose / given if given > 0 else None,
        "method": part.method,
    }


def cumulative_record(total: Cumulative) -> dict[str, Any]:
    """One entry of `cumulative`."""
    return {
        "region": total.region,
        **dose_fields("absorbed_dose", total.absorbed_dose_Gy),
        "bed_Gy": None if total.bed_Gy is None else float(total.bed_Gy.value),
        "method": total.method,
    }


def curve_record(curve: TimeActivity, fit: KineticFit) -> dict[str, Any]:
    """Measured points, fitted curve and its 95 % band on a time grid, for the figures of the report."""
    last = float(curve.time_h[-1])
    grid = np.concatenate([np.linspace(0.0, last, _CURVE_POINTS), np.linspace(last, 1.6 * last, 21)[1:]])
    draws = slice(0, _CURVE_DRAWS)
    band = _values(fit.coefficient_MBq.draws[draws], fit.rate_per_h.draws[draws], grid)
    low, high = np.quantile(band, [0.025, 0.975], axis=0)
    return {
        "time_h": curve.time_h,
        "activity_MBq": curve.activity_MBq.value,
        "sd_MBq": curve.activity_MBq.sd,
        "grid_h": grid,
        "fit_MBq": np.maximum(_values(fit.coefficient_MBq.value, fit.rate_per_h.value, grid), 0.0),
        "fit_low_MBq": np.maximum(low, 0.0),
        "fit_high_MBq": np.maximum(high, 0.0),
        "coefficient_MBq": fit.coefficient_MBq.value,
        "rate_per_h": fit.rate_per_h.value,
    }


def _values(coefficient: np.ndarray, rate: np.ndarray, grid_h: np.ndarray) -> np.ndarray:
    """Σ c exp(−λ t) on a grid, shape (..., time)."""
    return np.asarray((coefficient[..., None] * np.exp(-rate[..., None] * grid_h)).sum(axis=-2))
