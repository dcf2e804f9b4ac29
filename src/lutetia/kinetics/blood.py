"""Blood concentration and whole-body retention: the two curves of marrow dosimetry, and their integrals.

Not here: the marrow dose (`lutetia.dose.marrow`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lutetia.core.chain import Doubt, KineticFit, TimeActivity
from lutetia.core.draws import Estimate, combine
from lutetia.errors import FitError, PhysicsError
from lutetia.kinetics.discrepancy import discrepancy_factors, discrepancy_sd
from lutetia.kinetics.fit import fit_time_activity
from lutetia.kinetics.integrate import time_integrated_activity
from lutetia.kinetics.population import KineticPrior
from lutetia.nuclear.nuclides import nuclide

FloatArray = NDArray[np.float64]
# Washout only: activity is in the blood, and in the body, from the start.
BLOOD_MODELS = ("mono", "bi", "tri")
WHOLE_BODY_MODELS = ("mono", "bi_prior", "bi_decay", "bi", "tri")
# sd of the constraint a(0) = administered, relative; small against any measurement, removed exactly afterwards.
_CONSTRAINT_SD = 1e-3


def fit_blood(
    curve: TimeActivity, *, choice: str | None = None, prior: KineticPrior | None = None, seed: int = 1
) -> tuple[KineticFit, Estimate]:
    """Fit the concentration in blood and integrate it: C̃ = Σ c_i/λ_i.

    Parameters
    ----------
    curve
        Region "blood"; its activities and sd are concentrations in MBq/mL of the measured nuclide at sample time.
    choice
        A model name, "aicc" or "average" (of washout models). If None: "aicc" from six samples, which is
        bi-exponential unless the samples show a third phase; with fewer, bi-exponential with half-lives under a prior.

    Returns
    -------
    fit
        With coefficients in MBq/mL.
    time_integrated_concentration
        MBq·h/mL.

    Raises
    ------
    PhysicsError, FitError
        As `fit_time_activity`.
    """
    points = np.size(curve.time_h)
    default = "aicc" if points >= 6 else "bi_prior"
    rate = nuclide(curve.nuclide).decay_constant_per_h
    fit = fit_time_activity(
        curve, physical_rate_per_h=rate, choice=choice or default, models=BLOOD_MODELS, prior=prior, seed=seed
    )
    return fit, combine(time_integrated_activity, fit.coefficient_MBq, fit.rate_per_h)


def fit_whole_body(
    curve: TimeActivity,
    administered_MBq: Estimate,
    *,
    choice: str | None = None,
    prior: KineticPrior | None = None,
    seed: int = 1,
) -> tuple[KineticFit, Estimate]:
    """Fit whole-body retention with a(0) = administered activity, and integrate it.

    Parameters
    ----------
    curve
        Region "whole body", at least one point; a point at 0 h is replaced by the constraint.
    administered_MBq
        Shape (), same number of draws as the curve.
    choice
        A model name, "aicc" or "average". If None, AICc from three measured points, below that the bi-exponential form
        with both half-lives under a prior, because excretion always has a fast phase.

    Returns
    -------
    fit
        Σ c_i equals the administered activity.
    time_integrated_activity
        MBq·h; no draw exceeds the bound administered/λ_physical.

    Raises
    ------
    PhysicsError
        If the administered activity is not positive.
    FitError
        If the number of draws differs, or no point lies after 0 h.
    """
    rate = nuclide(curve.nuclide).decay_constant_per_h
    started = _with_start(curve, administered_MBq)
    default = "aicc" if started.time_h.size >= 4 else "bi_prior"
    fit = fit_time_activity(
        started, physical_rate_per_h=rate, choice=choice or default, models=WHOLE_BODY_MODELS,
        prior=prior, seed=seed, discrepancy=False,
    )  # fmt: skip
    coefficient = combine(_with_sum, fit.coefficient_MBq, administered_MBq)
    last = float(curve.time_h[-1])
    spread = float(discrepancy_sd(coefficient.value, fit.rate_per_h.value, first_h=0.0, last_h=last))
    factors = discrepancy_factors(spread, len(coefficient.draws), seed=seed, region=curve.region)
    bound = administered_MBq.draws / rate / time_integrated_activity(coefficient.draws, fit.rate_per_h.draws)
    widened = Estimate(coefficient.value, coefficient.draws * np.minimum(factors, bound)[:, None])
    fit = replace(fit, coefficient_MBq=widened, doubts=(*fit.doubts, *_excess(curve, administered_MBq)))
    return fit, combine(time_integrated_activity, fit.coefficient_MBq, fit.rate_per_h)


def _with_start(curve: TimeActivity, administered: Estimate) -> TimeActivity:
    """The curve with the administered activity as a nearly exact first point at 0 h."""
    given = float(administered.value)
    if not (np.isfinite(given) and given > 0 and np.isfinite(administered.draws).all()):
        raise PhysicsError(f"{curve.region}: found an administered activity of {given} MBq; expected a value > 0")
    time = np.asarray(curve.time_h, dtype=np.float64)
    keep = time != 0.0
    if not keep.any():
        raise FitError(f"{curve.region}: found no measurement after 0 h; expected at least one")
    if len(administered.draws) != len(curve.activity_MBq.draws):
        raise FitError(
            f"{curve.region}: found {len(curve.activity_MBq.draws)} draws of the curve and "
            f"{len(administered.draws)} of the administered activity; expected the same number"
        )
    measured = curve.activity_MBq
    sd = np.asarray(curve.sd_MBq, dtype=np.float64)[keep]
    if (sd == 0.0).all():
        # Weights must exist beside the constraint; the relative sd that stands for "none given" elsewhere too.
        sd = 0.05 * np.maximum(measured.value[keep], measured.value[keep].max() * 1e-3)
    return TimeActivity(
        curve.region,
        curve.nuclide,
        np.concatenate([[0.0], time[keep]]),
        Estimate(
            np.concatenate([[given], measured.value[keep]]),
            np.concatenate([administered.draws[:, None], measured.draws[:, keep]], axis=1),
        ),
        np.concatenate([[_CONSTRAINT_SD * given], sd]),
    )


def _with_sum(coefficient: FloatArray, total: FloatArray) -> FloatArray:
    return np.asarray(coefficient * (total / coefficient.sum(axis=-1))[..., None])


def _excess(curve: TimeActivity, administered: Estimate) -> tuple[Doubt, ...]:
    value, sd = curve.activity_MBq.value, curve.sd_MBq
    over = value > float(administered.value) + 3.0 * np.asarray(sd)
    if not over.any():
        return ()
    text = f"whole-body activity above the administered {float(administered.value):g} MBq: check the calibration"
    return (Doubt("more_than_administered", text, curve.region, "first-line"),)
