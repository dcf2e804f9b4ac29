"""True time–activity curves of simulated organs, from families of which half are no model of `lutetia.kinetics`.

A curve is a function of time; its time-integrated activity is a numerical quadrature, independent of the sums of
exponentials that are fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lutetia.core.draws import FloatArray
from lutetia.nuclear.nuclides import nuclide

MEASURED = "Lu-177"
RATE_PER_H = nuclide(MEASURED).decay_constant_per_h
# Sums of exponentials, then forms that are in no model: t^p e^−kt, (1 + t/τ)^−p and e^−(kt)^β, all times decay.
FAMILIES = ("mono", "uptake", "bi", "uptake_bi", "gamma", "power", "stretched")
_LONGEST_H = 150.0


@dataclass(frozen=True, slots=True)
class TrueCurve:
    """Biological retention of a region: activity without physical decay, per unit of administered activity."""

    family: str
    retention: Callable[[FloatArray], FloatArray]

    def activity_MBq(self, time_h: ArrayLike, name: str = MEASURED, administered_MBq: float = 1.0) -> FloatArray:
        """Activity of a nuclide at times after the infusion."""
        t = np.asarray(time_h, dtype=np.float64)
        return np.asarray(administered_MBq * self.retention(t) * np.exp(-nuclide(name).decay_constant_per_h * t))

    def time_integrated_activity_MBq_h(self, name: str = MEASURED, administered_MBq: float = 1.0) -> float:
        """∫ activity dt from 0 to 20 physical half-lives, Gauss–Legendre on panels of growing width."""
        edges = np.concatenate([[0.0], np.geomspace(1e-3, 20.0 * nuclide(name).half_life_h, 400)])
        nodes, weights = np.polynomial.legendre.leggauss(8)
        half = 0.5 * np.diff(edges)[:, None]
        time = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes
        return float((half * weights * self.activity_MBq(time, name, administered_MBq)).sum())


def draw_curve(family: str, generator: np.random.Generator, *, scale: float = 1.0, median_h: float = 52.0) -> TrueCurve:
    """A random curve of a family; the effective half-life of 177Lu is lognormal around `median_h` (log-sd 0.22)."""
    half_life = min(median_h * np.exp(0.22 * generator.standard_normal()), _LONGEST_H)
    k, ku = np.log(2) / half_life - RATE_PER_H, np.log(2) / generator.uniform(0.5, 3.0) - RATE_PER_H
    share, kf = generator.uniform(0.1, 0.4), np.log(2) / generator.uniform(5.0, 20.0) - RATE_PER_H
    power, shape, start = generator.uniform(0.6, 1.4), generator.uniform(0.75, 0.95), generator.uniform(20.0, 60.0)
    rise = generator.uniform(0.05, 0.25)

    def two(t: FloatArray) -> FloatArray:
        return np.asarray((1 - share) * np.exp(-k * t) + share * np.exp(-kf * t))

    forms: dict[str, Callable[[FloatArray], FloatArray]] = {
        "mono": lambda t: np.exp(-k * t),
        "uptake": lambda t: np.exp(-k * t) - np.exp(-ku * t),
        "bi": two,
        "uptake_bi": lambda t: two(t) - np.exp(-ku * t),
        "gamma": lambda t: (t / 24.0) ** rise * np.exp(-(k + rise / 60.0) * t),
        "power": lambda t: (1.0 + t / start) ** -power,
        "stretched": lambda t: np.exp(-((k * t) ** shape)),
    }
    return TrueCurve(family, lambda t: scale * forms[family](t))
