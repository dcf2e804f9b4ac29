"""True time–activity curves of simulated organs, from families of which half are no model of `lutetia.kinetics`.

A curve is a function of time; its time-integrated activity is a numerical quadrature, independent of the sums of
exponentials that are fitted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lutetia.core.draws import FloatArray
from lutetia.nuclear.nuclides import nuclide

LN2 = float(np.log(2.0))
Biology = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True)
class TrueCurve:
    """Biological retention in a region: fraction of the administered activity without physical decay."""

    family: str
    retention: Biology

    def activity_MBq(self, time_h: FloatArray, name: str, administered_MBq: float) -> FloatArray:
        """Activity of a nuclide at times after the infusion."""
        decay = np.exp(-nuclide(name).decay_constant_per_h * time_h)
        return np.asarray(administered_MBq * self.retention(time_h) * decay)

    def time_integrated_activity_MBq_h(self, name: str, administered_MBq: float) -> float:
        """∫ activity dt from 0 to 20 physical half-lives, Gauss–Legendre on a logarithmic grid of panels."""
        edges = np.concatenate([[0.0], np.geomspace(1e-3, 20.0 * nuclide(name).half_life_h, 400)])
        nodes, weights = np.polynomial.legendre.leggauss(8)
        half = 0.5 * np.diff(edges)[:, None]
        time = 0.5 * (edges[1:] + edges[:-1])[:, None] + half * nodes
        return float((half * weights * self.activity_MBq(time, name, administered_MBq)).sum())


def draw_curve(family: str, generator: np.random.Generator, *, uptake_fraction: float, median_h: float) -> TrueCurve:
    """A random curve of a family, with a biological half-life such that the effective one has a median of `median_h`.

    Families: ``mono``, ``uptake`` and ``bi`` are sums of exponentials; ``gamma`` (t^p e^−kt rise and fall), ``power``
    ((1 + t/τ)^−p) and ``stretched`` (e^−(t/τ)^β) are not.
    """
    physical = nuclide("Lu-177").half_life_h
    effective = min(median_h * np.exp(0.22 * generator.standard_normal()), 0.93 * physical)
    rate = LN2 / effective - LN2 / physical
    scale = uptake_fraction * np.exp(0.25 * generator.standard_normal())
    uptake = LN2 / generator.uniform(0.5, 3.0)
    fast, share = LN2 / generator.uniform(6.0, 20.0), generator.uniform(0.1, 0.35)
    shapes: dict[str, Biology] = {
        "mono": lambda t: np.exp(-rate * t),
        "uptake": lambda t: np.exp(-rate * t) - np.exp(-(rate + uptake) * t),
        "bi": lambda t: (1.0 - share) * np.exp(-rate * t) + share * np.exp(-(rate + fast) * t),
        "gamma": lambda t: (t / (t + 1.0)) ** 0.5 * np.exp(-rate * t),
        "power": lambda t: (1.0 + rate * t / 1.5) ** -1.5,
        "stretched": lambda t: np.exp(-((rate * t) ** 0.85)),
    }
    shape = shapes[family]
    return TrueCurve(family, lambda t: np.asarray(scale * shape(np.asarray(t, dtype=np.float64))))


FAMILIES = ("mono", "uptake", "bi", "gamma", "power", "stretched")
