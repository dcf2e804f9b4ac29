"""Accuracy and coverage of the curve fits on simulated kidneys: prints one JSON line.

Truths: mono-exponential and uptake + washout (the robustness requirement), and for coverage also bi-exponential with
uptake, gamma-variate, power law and stretched washout, which are in no model. `accuracy` gives the 95th percentile of
the relative error of the time-integrated activity; `coverage` the share of truths inside the 95 % interval.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.core.chain import TimeActivity
from lutetia.core.draws import Estimate, combine, normals, stream
from lutetia.kinetics.fit import fit_curves, fit_time_activity
from lutetia.kinetics.integrate import time_integrated_activity
from lutetia.kinetics.population import population_prior
from lutetia.nuclear.nuclides import nuclide

FloatArray = NDArray[np.float64]
Curve = Callable[[ArrayLike], FloatArray]
RATE = nuclide("Lu-177").decay_constant_per_h
FOUR_POINTS, THREE_LATE = (4.0, 24.0, 96.0, 168.0), (24.0, 96.0, 168.0)
FAMILIES = ("mono", "uptake", "bi", "uptake_bi", "gamma", "power", "stretched")
# Requirement: 95th percentile of the relative error; coverage of the mixture of all families.
LIMITS = {"mono_4": 0.06, "uptake_4": 0.14, "mono_3_late": 0.08}
COVERAGE = (0.92, 0.98)
_GRID_H = np.concatenate([np.linspace(0.0, 24.0, 481), np.linspace(24.0, 2400.0, 4801)[1:]])


def true_curve(family: str, generator: np.random.Generator) -> Curve:
    """One random curve with effective half-life lognormal around 52 h (log-sd 0.22), amplitude about 100 MBq."""
    half_life = min(52.0 * np.exp(0.22 * generator.standard_normal()), 150.0)
    k, ku = np.log(2) / half_life, np.log(2) / generator.uniform(0.5, 3.0)
    share, kf = generator.uniform(0.1, 0.4), np.log(2) / generator.uniform(5.0, 20.0)
    power, shape, start = generator.uniform(0.6, 1.4), generator.uniform(0.75, 0.95), generator.uniform(20.0, 60.0)
    rise, biological = generator.uniform(0.05, 0.25), max(k - RATE, 1e-4)

    def two(t: FloatArray) -> FloatArray:
        return np.asarray((1 - share) * np.exp(-k * t) + share * np.exp(-kf * t))

    forms: dict[str, Callable[[FloatArray], FloatArray]] = {
        "mono": lambda t: np.exp(-k * t),
        "uptake": lambda t: np.exp(-k * t) - np.exp(-ku * t),
        "bi": two,
        "uptake_bi": lambda t: two(t) - np.exp(-ku * t),
        "gamma": lambda t: (t / 24.0) ** rise * np.exp(-(k + rise / 60.0) * t),
        "power": lambda t: (1.0 + t / start) ** -power * np.exp(-RATE * t),
        "stretched": lambda t: np.exp(-((biological * t) ** shape) - RATE * t),
    }
    return lambda t: 100.0 * forms[family](np.asarray(t, dtype=np.float64))


def true_integral(curve: Curve) -> float:
    """Time-integrated activity by the trapezium rule on a fine grid."""
    return float(np.trapezoid(curve(_GRID_H), _GRID_H))


def accuracy(family: str, time_h: tuple[float, ...], *, cases: int = 300, noise: float = 0.05, seed: int = 1) -> float:
    """95th percentile of |relative error| of the time-integrated activity over noisy cases."""
    generator = stream(seed, family, "accuracy", len(time_h))
    truths = [true_curve(family, generator) for _ in range(cases)]
    clean, integral = np.stack([c(time_h) for c in truths]), np.array([true_integral(c) for c in truths])
    value = clean * np.maximum(1.0 + noise * generator.standard_normal(clean.shape), 0.05)
    prior = population_prior("kidneys")
    fits = fit_curves(time_h, value, noise * value, physical_rate_per_h=RATE, prior=prior)
    if not (fits.converged.all() and np.isfinite(fits.coefficient).all()):
        raise RuntimeError("a fit failed silently")
    return float(np.quantile(np.abs(time_integrated_activity(fits.coefficient, fits.rate) / integral - 1.0), 0.95))


def coverage(
    time_h: tuple[float, ...], *, cases: int = 300, noise: float = 0.05, draws: int = 400, choice: str = "aicc"
) -> dict[str, float]:
    """Share of truths inside the central 95 % interval, per family and over all."""
    hits: dict[str, list[bool]] = {family: [] for family in FAMILIES}
    for case in range(cases):
        family = FAMILIES[case % len(FAMILIES)]
        generator = stream(2, "coverage", len(time_h), case)
        curve = true_curve(family, generator)
        clean = curve(time_h)
        value = clean * np.maximum(1.0 + noise * generator.standard_normal(clean.shape), 0.05)
        drawn = value + noise * value * normals(generator, (draws, len(value)))
        record = TimeActivity("kidneys", "Lu-177", np.asarray(time_h), Estimate(value, drawn), noise * value)
        fit = fit_time_activity(record, physical_rate_per_h=RATE, choice=choice, seed=case)
        low, high = combine(time_integrated_activity, fit.coefficient_MBq, fit.rate_per_h).interval
        hits[family].append(bool(low <= true_integral(curve) <= high))
    shares = {family: float(np.mean(found)) for family, found in hits.items()}
    return {**shares, "all": float(np.mean([h for found in hits.values() for h in found]))}


def study() -> dict[str, object]:
    """All figures, with their limits."""
    return {
        "validation": "kinetics",
        "p95_error": {
            "mono_4": accuracy("mono", FOUR_POINTS),
            "uptake_4": accuracy("uptake", FOUR_POINTS),
            "mono_3_late": accuracy("mono", THREE_LATE),
        },
        "p95_limits": LIMITS,
        "coverage_4": coverage(FOUR_POINTS),
        "coverage_3_late": coverage(THREE_LATE),
        "coverage_limits": COVERAGE,
    }


def main() -> int:
    """Print the study; 1 if a figure misses its limit."""
    result = study()
    print(json.dumps(result))
    errors, cover = result["p95_error"], [result["coverage_4"], result["coverage_3_late"]]
    assert isinstance(errors, dict)
    good = all(errors[name] <= limit for name, limit in LIMITS.items())
    return 0 if good and all(isinstance(c, dict) and COVERAGE[0] <= c["all"] <= COVERAGE[1] for c in cover) else 1


if __name__ == "__main__":
    sys.exit(main())
