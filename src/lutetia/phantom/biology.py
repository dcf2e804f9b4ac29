"""True kinetics of a virtual subject: biological exponentials that every nuclide of one peptide shares.

fraction(t) = Σ coefficient_i · exp(−biological_rate_i · t), a(t) = administered · fraction(t) · exp(−λ t).
The integrals are closed forms written here, independent of `lutetia.kinetics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import nuclide

FloatArray = NDArray[np.float64]
LN2 = math.log(2.0)


@dataclass(frozen=True, slots=True)
class Biology:
    """Fraction of the administered activity over time, corrected for decay: Σ coefficient · exp(−rate · t).

    For blood the coefficients are fractions per mL.
    """

    coefficient: tuple[float, ...]
    biological_rate_per_h: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.coefficient) != len(self.biological_rate_per_h) or min(self.biological_rate_per_h) < 0:
            raise PhysicsError("biology: expected as many rates as coefficients, none negative")

    def activity_MBq(self, time_h: ArrayLike, nuclide_name: str, administered_MBq: float) -> FloatArray:
        """Activity at times (...) after administration, not decay-corrected, shape (...)."""
        time = np.asarray(time_h, dtype=np.float64)[..., None]
        rate = np.asarray(self.biological_rate_per_h) + nuclide(nuclide_name).decay_constant_per_h
        return np.asarray(administered_MBq * (np.asarray(self.coefficient) * np.exp(-rate * time)).sum(axis=-1))

    def time_integrated_activity_MBq_h(self, nuclide_name: str, administered_MBq: float) -> float:
        """Ã = administered · Σ coefficient_i / (biological_rate_i + λ)."""
        decay = nuclide(nuclide_name).decay_constant_per_h
        parts = (c / (r + decay) for c, r in zip(self.coefficient, self.biological_rate_per_h, strict=True))
        return administered_MBq * math.fsum(parts)

    def scaled(self, factor: float) -> Biology:
        """The same course with all coefficients multiplied."""
        return Biology(tuple(factor * c for c in self.coefficient), self.biological_rate_per_h)

    def slower(self, factor: float) -> Biology:
        """The same course with all biological rates divided."""
        return Biology(self.coefficient, tuple(r / factor for r in self.biological_rate_per_h))


def biological_rate_per_h(effective_half_life_h: float, nuclide_name: str = "Lu-177") -> float:
    """λ_bio = ln 2 / T_eff − λ_phys.

    Raises
    ------
    PhysicsError
        If the effective half-life exceeds the physical one.
    """
    rate = LN2 / effective_half_life_h - nuclide(nuclide_name).decay_constant_per_h
    if rate < 0:
        raise PhysicsError(f"effective half-life: found {effective_half_life_h} h, longer than that of {nuclide_name}")
    return rate


def washout(fraction: float, effective_half_life_h: float, *, uptake_half_time_h: float | None = None) -> Biology:
    """Mono-exponential clearance (effective half-life for 177Lu), optionally after an uptake phase.

    fraction · (exp(−λ_bio t) − exp(−ln 2 t / uptake_half_time)).
    """
    rate = biological_rate_per_h(effective_half_life_h)
    if uptake_half_time_h is None:
        return Biology((fraction,), (rate,))
    return Biology((fraction, -fraction), (rate, LN2 / uptake_half_time_h))


def two_phase(fraction: float, effective_half_life_h: float, *, fast_share: float, fast_half_life_h: float) -> Biology:
    """Bi-exponential clearance: a share with a short effective half-life (177Lu), the rest with a long one."""
    rates = biological_rate_per_h(fast_half_life_h), biological_rate_per_h(effective_half_life_h)
    return Biology((fraction * fast_share, fraction * (1.0 - fast_share)), rates)
