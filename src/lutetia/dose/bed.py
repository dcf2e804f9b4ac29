"""Biologically effective dose (BED) of any number of exponential dose-rate components given together.

Here: the closed form, its per-activity coefficients for the activity controller, EQD2, and the table of radiobiological
parameters. Not here: how the dose rates arise (`lutetia.dose.organ_dose`).

To add an organ: one table in `data/radiobiology.toml`. Without one the organ has absorbed dose only.

Components of *all* nuclides of a cycle go into one call. BEDs of co-administered nuclides do not add: the sum of
separate BEDs lacks the cross terms and is 3–10 % low.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.core.regions import canonical_region
from lutetia.errors import PhysicsError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Radiobiology:
    """Linear-quadratic parameters of one region and where they come from."""

    alpha_beta_Gy: float
    repair_half_life_h: float
    status: str
    source: str


@cache
def _table() -> dict[str, Radiobiology]:
    text = (files("lutetia.dose") / "data" / "radiobiology.toml").read_text(encoding="utf-8")
    table: dict[str, Radiobiology] = {}
    for region, row in tomllib.loads(text).items():
        values = Radiobiology(row["alpha_beta_Gy"], row["repair_half_life_h"], row["status"], row["source"])
        table |= dict.fromkeys((region, *row.get("also", ())), values)
    return table


def radiobiology(region: str) -> Radiobiology | None:
    """Linear-quadratic parameters of a region; None where no BED is defined (absorbed dose only)."""
    return _table().get(canonical_region(region))


def biologically_effective_dose(
    dose_rate_Gy_per_h: ArrayLike,
    rate_per_h: ArrayLike,
    *,
    alpha_beta_Gy: float,
    repair_half_life_h: float,
    start_h: ArrayLike = 0.0,
) -> FloatArray:
    """BED of the dose rate R(t) = Σ R_i e^(−λ_i (t − s_i)), t ≥ s_i, with mono-exponential repair μ = ln 2 / T_rep.

    With one start, BED = Σ R_i/λ_i + (β/α) Σ_i Σ_j 2 R_i R_j / [(λ_i + λ_j)(λ_i + μ)].

    Parameters
    ----------
    dose_rate_Gy_per_h, rate_per_h
        Shape (..., component): R_i (negative for uptake) and λ_i > 0; components with R_i = 0 are padding.
    alpha_beta_Gy, repair_half_life_h
        α/β and the half-life of repair, both > 0.
    start_h
        Shape (component,) or broadcastable: s_i, for nuclides started at different times.

    Returns
    -------
    Shape (...): BED in Gy.

    Raises
    ------
    PhysicsError
        For values outside the domain of the formula.

    Notes
    -----
    Equals D + (β/α) G D² with the Lea–Catcheside protraction factor G of the whole course.
    """
    amplitude, rate, start = _components(dose_rate_Gy_per_h, rate_per_h, start_h)
    repair = _repair_rate(alpha_beta_Gy, repair_half_life_h)
    pair = amplitude[..., :, None] * amplitude[..., None, :] * _pair_integral(rate, start, repair)
    dose: FloatArray = np.sum(amplitude / rate, axis=-1)
    effect: FloatArray = np.sum(pair, axis=(-2, -1))
    return np.asarray(dose + effect / alpha_beta_Gy)


def bed_coefficients(
    dose_rate_Gy_per_h_per_MBq: ArrayLike,
    rate_per_h: ArrayLike,
    *,
    alpha_beta_Gy: float,
    repair_half_life_h: float,
    start_h: ArrayLike = 0.0,
) -> FloatArray:
    """Matrix Q of the quadratic part of BED: BED = D + Σ_n Σ_m A_n Q[n, m] A_m, A the administered activities.

    Q[n, m] = (β/α) Σ_{i∈n} Σ_{j∈m} of the pair terms of `biologically_effective_dose`, made symmetric.

    Parameters
    ----------
    dose_rate_Gy_per_h_per_MBq, rate_per_h
        Shape (..., nuclide, component): dose-rate components per MBq administered of that nuclide, and their rates.
    alpha_beta_Gy, repair_half_life_h
        As in `biologically_effective_dose`.
    start_h
        Shape (nuclide,) or scalar: start of each nuclide.

    Returns
    -------
    Shape (..., nuclide, nuclide), Gy/MBq².
    """
    per_MBq, rates = np.broadcast_arrays(
        np.asarray(dose_rate_Gy_per_h_per_MBq, dtype=np.float64), np.asarray(rate_per_h, dtype=np.float64)
    )
    if per_MBq.ndim < 2:
        raise PhysicsError(f"BED coefficients: found shape {per_MBq.shape}; expected (..., nuclide, component)")
    nuclides, count = per_MBq.shape[-2:]
    start = np.repeat(np.broadcast_to(np.asarray(start_h, dtype=np.float64), (nuclides,)), count)
    flat = (*per_MBq.shape[:-2], nuclides * count)
    amplitude, rate, start = _components(per_MBq.reshape(flat), rates.reshape(flat), start)
    repair = _repair_rate(alpha_beta_Gy, repair_half_life_h)
    pair = amplitude[..., :, None] * amplitude[..., None, :] * _pair_integral(rate, start, repair)
    blocks = pair.reshape(*flat[:-1], nuclides, count, nuclides, count).sum(axis=(-3, -1)) / alpha_beta_Gy
    return np.asarray(0.5 * (blocks + np.swapaxes(blocks, -1, -2)))


def quadratic_part(coefficient_Gy_per_MBq2: ArrayLike, administered_MBq: ArrayLike) -> FloatArray:
    """AᵀQA in Gy: what BED adds to the absorbed dose; shapes (..., nuclide, nuclide) and (..., nuclide) → (...)."""
    activity = np.asarray(administered_MBq, dtype=np.float64)
    coefficient = np.asarray(coefficient_Gy_per_MBq2, dtype=np.float64)
    return np.asarray(np.sum(activity[..., :, None] * coefficient * activity[..., None, :], axis=(-2, -1)))


def equivalent_dose_2Gy(bed_Gy: ArrayLike, *, alpha_beta_Gy: float) -> FloatArray:
    """EQD2 = BED / (1 + 2 Gy/(α/β)): total dose in 2 Gy fractions of the same effect."""
    if not alpha_beta_Gy > 0:
        raise PhysicsError(f"α/β: found {alpha_beta_Gy} Gy; expected a value > 0")
    return np.asarray(np.asarray(bed_Gy, dtype=np.float64) / (1.0 + 2.0 / alpha_beta_Gy))


def _repair_rate(alpha_beta_Gy: float, repair_half_life_h: float) -> float:
    for name, value in (("α/β", alpha_beta_Gy), ("half-life of repair", repair_half_life_h)):
        if not (math.isfinite(value) and value > 0):
            raise PhysicsError(f"{name}: found {value}; expected a finite value > 0")
    return math.log(2.0) / repair_half_life_h


def _components(
    amplitude: ArrayLike, rate_per_h: ArrayLike, start_h: ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Broadcast and checked components; the rate of padding becomes 1 so that it divides cleanly."""
    size, rate, start = np.broadcast_arrays(
        *(np.asarray(a, dtype=np.float64) for a in (amplitude, rate_per_h, start_h))
    )
    if size.ndim < 1:
        raise PhysicsError("BED: found a scalar; expected components on the last axis")
    if not all(np.isfinite(a).all() for a in (size, rate, start)):
        raise PhysicsError("BED: found values that are not finite; expected finite dose rates, rates and starts")
    padding = size == 0.0
    if np.any((rate <= 0.0) & ~padding):
        raise PhysicsError("BED: found a dose-rate component that does not decay; expected rates > 0 /h")
    return size, np.where(padding, 1.0, rate), start


def _pair_integral(rate: FloatArray, start: FloatArray, repair: float) -> FloatArray:
    """2 ∫ e^(−λ_i(t−s_i)) ∫_{t'<t} e^(−λ_j(t'−s_j)) e^(−μ(t−t')) dt' dt, shape (..., i, j).

    With t' before t; d = s_i − s_j. For d > 0 a part of j's exposure precedes the start of i:
    its unrepaired remainder at s_i is (e^(−λ_j d) − e^(−μ d)) / (μ − λ_j), written without cancellation. With one start
    for all, exponentials and remainder are 1 and 0.
    """
    late, early = rate[..., :, None], rate[..., None, :]
    if (start == start[..., :1]).all():
        return np.asarray(2.0 / ((late + early) * (late + repair)))
    shift = start[..., :, None] - start[..., None, :]
    after, before = np.maximum(shift, 0.0), np.maximum(-shift, 0.0)
    together = np.exp(-early * after - late * before) / (late + early)
    gap = np.abs(repair - early)
    small = gap * after < 1e-12
    unrepaired = np.where(small, after, -np.expm1(-gap * after) / np.where(small, 1.0, gap))
    carried = np.exp(-np.minimum(repair, early) * after) * unrepaired
    return np.asarray(2.0 * (together + carried) / (late + repair))
