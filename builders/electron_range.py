"""Continuous-slowing-down range of electrons in liquid water: the length by which the kernels are scaled.

Collision stopping power: Bethe formula for electrons (ICRU Report 37, eq. 2.11) with the Sternheimer density effect of
water (I = 75.0 eV; parameters x0 0.2400, x1 2.8004, C 3.5017, a 0.09116, m 3.4773). Radiative stopping power: the
approximation S_rad / S_col = Z T / 800 with Z_eff 7.2 (assumption; it moves the scaling length by < 1 %, which the
kernel shapes absorb because they are computed at each energy). Below 1 keV the range is taken as that of 1 keV scaled
with T^1.75 (assumption).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

ELECTRON_MASS_MeV = 0.51099895
_I_MeV = 75.0e-6
_Z_OVER_A = 0.55508
_K = 0.307075  # MeV cm2 / g


def stopping_power_MeV_cm2_per_g(energy_MeV: ArrayLike) -> NDArray[np.float64]:
    """Total mass stopping power of water."""
    tau = np.asarray(energy_MeV, dtype=float) / ELECTRON_MASS_MeV
    beta2 = tau * (tau + 2) / (tau + 1) ** 2
    x = np.log10(np.sqrt(tau * (tau + 2)))
    c, a, m, x0, x1 = 3.5017, 0.09116, 3.4773, 0.2400, 2.8004
    delta = np.where(x < x0, 0.0, 4.6052 * x - c + np.where(x < x1, a * np.clip(x1 - x, 0, None) ** m, 0.0))
    f = 1 - beta2 + (tau**2 / 8 - (2 * tau + 1) * np.log(2)) / (tau + 1) ** 2
    bracket = np.log(tau**2 * (tau + 2) / (2 * (_I_MeV / ELECTRON_MASS_MeV) ** 2)) + f - delta
    collision = 0.5 * _K * _Z_OVER_A / beta2 * bracket
    return np.asarray(collision * (1 + 7.2 * tau * ELECTRON_MASS_MeV / 800))


def csda_range_g_per_cm2(energy_MeV: ArrayLike) -> NDArray[np.float64]:
    """Range in g/cm² (cm of unit-density water)."""
    grid = np.geomspace(1e-3, 20.0, 4000)
    inverse = 1.0 / stopping_power_MeV_cm2_per_g(grid)
    start = grid[0] * inverse[0] / 1.75
    total = start + np.concatenate([[0.0], np.cumsum(0.5 * (inverse[1:] + inverse[:-1]) * np.diff(grid))])
    return np.exp(np.interp(np.log(energy_MeV), np.log(grid), np.log(total)))
