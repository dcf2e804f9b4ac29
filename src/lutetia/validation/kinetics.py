"""Accuracy and coverage of the curve fits on simulated kidneys with 5 % noise."""

from __future__ import annotations

import numpy as np

from lutetia.core.chain import TimeActivity
from lutetia.core.draws import Estimate, combine, normals, stream
from lutetia.kinetics.fit import fit_curves, fit_time_activity
from lutetia.kinetics.integrate import time_integrated_activity
from lutetia.kinetics.population import population_prior
from lutetia.validation.checks import Check
from lutetia.validation.truths import FAMILIES, MEASURED, RATE_PER_H, draw_curve

FOUR_POINTS, THREE_LATE = (4.0, 24.0, 96.0, 168.0), (24.0, 96.0, 168.0)
COVERAGE_PERCENT = (92.0, 98.0)


def robustness_study() -> list[Check]:
    """95th percentile of the error of the time-integrated activity, and coverage of its 95 % interval."""
    bounds = {
        "mono-exponential truth, 4/24/96/168 h": ("mono", FOUR_POINTS, 6.0),
        "uptake and washout, 4/24/96/168 h": ("uptake", FOUR_POINTS, 14.0),
        "mono-exponential truth, 24/96/168 h": ("mono", THREE_LATE, 8.0),
    }
    checks = [
        Check("kinetics", f"95th percentile of the error, {name}", 100.0 * accuracy(family, times), "%", high=bound)
        for name, (family, times, bound) in bounds.items()
    ]
    for name, times in (("4/24/96/168 h", FOUR_POINTS), ("24/96/168 h", THREE_LATE)):
        share = 100.0 * coverage(times)["all"]
        checks.append(Check("kinetics", f"truths inside the 95 % interval, {name}", share, "%", *COVERAGE_PERCENT))
    return checks


def accuracy(family: str, time_h: tuple[float, ...], *, cases: int = 300, noise: float = 0.05, seed: int = 1) -> float:
    """95th percentile of |relative error| of the time-integrated activity over noisy cases."""
    generator = stream(seed, family, "accuracy", len(time_h))
    truths = [draw_curve(family, generator) for _ in range(cases)]
    clean = np.stack([truth.activity_MBq(time_h) for truth in truths])
    integral = np.array([truth.time_integrated_activity_MBq_h() for truth in truths])
    value = clean * np.maximum(1.0 + noise * generator.standard_normal(clean.shape), 0.05)
    prior = population_prior("kidneys")
    fits = fit_curves(time_h, value, noise * value, physical_rate_per_h=RATE_PER_H, prior=prior)
    if not (fits.converged.all() and np.isfinite(fits.coefficient).all()):
        return float("nan")
    return float(np.quantile(np.abs(time_integrated_activity(fits.coefficient, fits.rate) / integral - 1.0), 0.95))


def coverage(
    time_h: tuple[float, ...], *, cases: int = 300, noise: float = 0.05, draws: int = 400, choice: str = "aicc"
) -> dict[str, float]:
    """Share of truths inside the central 95 % interval, per family and over all."""
    hits: dict[str, list[bool]] = {family: [] for family in FAMILIES}
    for case in range(cases):
        family = FAMILIES[case % len(FAMILIES)]
        generator = stream(2, "coverage", len(time_h), case)
        truth = draw_curve(family, generator)
        clean = truth.activity_MBq(time_h)
        value = clean * np.maximum(1.0 + noise * generator.standard_normal(clean.shape), 0.05)
        drawn = value + noise * value * normals(generator, (draws, len(value)))
        record = TimeActivity("kidneys", MEASURED, np.asarray(time_h), Estimate(value, drawn), noise * value)
        fit = fit_time_activity(record, physical_rate_per_h=RATE_PER_H, choice=choice, seed=case)
        low, high = combine(time_integrated_activity, fit.coefficient_MBq, fit.rate_per_h).interval
        hits[family].append(bool(low <= truth.time_integrated_activity_MBq_h() <= high))
    shares = {family: float(np.mean(found)) for family, found in hits.items()}
    return {**shares, "all": float(np.mean([h for found in hits.values() for h in found]))}
