"""Doubts about a fit that do not stop the work: stable codes and the sentence that people read.

To add one: a check that returns a `Doubt` or None, called in `fit_doubts`. Thresholds for parameter variation (50 %)
and correlation (0.8) are the acceptance criteria of EJNMMI Physics 2021 (10.1186/s40658-021-00427-x as cited in the
project's reference); the others are assumptions, named below.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lutetia.core.chain import Doubt
from lutetia.kinetics.integrate import (
    effective_half_life_h,
    extrapolated_fraction,
    integral_between,
    terminal_rate_per_h,
    time_integrated_activity,
)
from lutetia.kinetics.models import LN2, Model, prior_by_name
from lutetia.kinetics.population import KineticPrior

FloatArray = NDArray[np.float64]
MOST_VARIATION, MOST_CORRELATION = 0.5, 0.8
MUCH_EXTRAPOLATED, MOSTLY_EXTRAPOLATED = 0.2, 0.5
MUCH_UNSEEN_BEFORE = 0.3  # assumption: share of the integral before the first point
LEAST_P = 0.01  # assumption: probability of a larger χ² below which the fit is called bad
UNUSUAL_SCORE = 3.0  # assumption: standard deviations from the population's median half-life
# Assumption: the same for slow washout of organs with a narrow prior, 90 h for kidneys; activities that were corrected
# for decay before they were entered come out this slow.
SLOW_SCORE = 2.2
SLOW_CHECKED = ("kidneys", "left kidney", "right kidney", "liver", "spleen")
AT_BOUND = 1e-3  # relative distance from the physical rate


def relative_covariance(
    time_h: FloatArray, sd: FloatArray, coefficient: FloatArray, rate: FloatArray, *, model: Model, physical: float,
    prior: KineticPrior,
) -> tuple[FloatArray, tuple[bool, ...]]:  # fmt: skip
    """Covariance of the logarithms of the fitted parameters of one curve, and which of them no prior constrains.

    Parameters
    ----------
    time_h, sd
        Shape (time,).
    coefficient, rate
        Shape (component,), slowest phase first, as `fit_model` returns them.
    """
    positive = np.flatnonzero(coefficient > 0)
    rise = np.zeros_like(time_h)
    columns: list[FloatArray] = []
    precision: list[float] = []
    if model.uptake and (coefficient < 0).any():
        fastest = float(rate[coefficient < 0][0])
        rise = np.exp(-fastest * time_h)
        columns.append(float(coefficient[positive].sum()) * fastest * time_h * rise)
        precision.append(_precision(prior, model, model.phases))
    for order, i in enumerate(positive):
        columns.append(coefficient[i] * (np.exp(-rate[i] * time_h) - rise))
        precision.append(0.0)
        if rate[i] > physical * (1.0 + AT_BOUND):
            columns.append(-coefficient[i] * rate[i] * time_h * np.exp(-rate[i] * time_h))
            precision.append(_precision(prior, model, max(model.phases - 1 - order, 0)))
    jacobian = np.stack(columns, axis=1) / sd[:, None]
    information = jacobian.T @ jacobian + np.diag(precision)
    free = tuple(p == 0.0 for p in precision)
    scale = np.sqrt(np.diag(information))
    if (scale <= 0).any() or np.linalg.cond(information / np.outer(scale, scale)) > 1e12:
        return np.full_like(information, np.inf), free
    return np.asarray(np.linalg.inv(information), dtype=np.float64), free


def _precision(prior: KineticPrior, model: Model, index: int) -> float:
    name = model.priors[index]
    return 0.0 if name is None else prior_by_name(prior, name).log_sd ** -2


def fit_doubts(
    time_h: FloatArray, activity: FloatArray, sd: FloatArray, coefficient: FloatArray, rate: FloatArray, *,
    model: Model, chi2: float, converged: bool, physical: float, prior: KineticPrior, where: str,
) -> tuple[Doubt, ...]:  # fmt: skip
    """All doubts about the fit of one curve, at nominal inputs."""
    found = (
        *_data_doubts(time_h, activity, where),
        *_shape_doubts(time_h, coefficient, rate, physical, prior, where),
        *_quality_doubts(len(time_h), model, chi2, converged, where),
        *_parameter_doubts(
            *relative_covariance(time_h, sd, coefficient, rate, model=model, physical=physical, prior=prior), where
        ),
    )
    return found


def _data_doubts(time_h: FloatArray, activity: FloatArray, where: str) -> Iterator[Doubt]:
    zeros = int((activity == 0.0).sum())
    if zeros:
        yield Doubt(
            "below_detection",
            f"{zeros} of {len(activity)} points are zero (below detection); fitted as 0 with a wide sd",
            where,
        )
    if len(activity) > 1 and int(np.argmax(activity)) == len(activity) - 1:
        yield Doubt(
            "increasing_curve",
            f"activity is highest at the last point ({time_h[-1]:g} h): the washout was not measured",
            where,
            "first-line",
        )


def _shape_doubts(
    time_h: FloatArray, coefficient: FloatArray, rate: FloatArray, physical: float, prior: KineticPrior, where: str
) -> Iterator[Doubt]:
    after = float(extrapolated_fraction(coefficient, rate, time_h[-1]))
    before = float(integral_between(coefficient, rate, 0.0, time_h[0]) / time_integrated_activity(coefficient, rate))
    if after > MOSTLY_EXTRAPOLATED:
        text = f"{after:.0%} of the time-integrated activity lies after the last point ({time_h[-1]:g} h)"
        yield Doubt("mostly_extrapolated", text, where, "first-line")
    elif after > MUCH_EXTRAPOLATED:
        text = f"{after:.0%} of the time-integrated activity lies after the last point ({time_h[-1]:g} h)"
        yield Doubt("much_extrapolated", text, where)
    if before > MUCH_UNSEEN_BEFORE:
        text = f"{before:.0%} of the time-integrated activity lies before the first point ({time_h[0]:g} h)"
        yield Doubt("early_phase_unmeasured", text, where)
    if float(terminal_rate_per_h(coefficient, rate)) <= physical * (1.0 + AT_BOUND):
        text = f"terminal phase decays at the physical half-life ({LN2 / physical:.1f} h), its bound: no washout seen"
        yield Doubt("terminal_rate_at_physical_bound", text, where)
        return
    half_life = float(effective_half_life_h(coefficient, rate))
    score = np.log(half_life / prior.effective.median_h) / prior.effective.log_sd
    slow = score > (SLOW_SCORE if where in SLOW_CHECKED else UNUSUAL_SCORE)
    if slow or score < -UNUSUAL_SCORE:
        text = f"effective half-life {half_life:.1f} h is unusual (population median {prior.effective.median_h:.0f} h)"
        hint = "; decay-corrected activities look like this: tables hold activities at the time of measurement"
        yield Doubt("unusual_half_life", text + hint if slow else text, where)


def chance_of_more(chi2: float, freedom: int) -> float:
    """Probability that χ² with whole degrees of freedom exceeds a value: Q(freedom/2, χ²/2) as a finite sum."""
    half = 0.5 * chi2
    order = 0.5 * (freedom % 2)
    chance = math.erfc(math.sqrt(half)) if order else 0.0
    for n in range(freedom // 2):
        chance += math.exp((n + order) * math.log(half) - half - math.lgamma(n + order + 1.0)) if half > 0 else n == 0
    return min(chance, 1.0)


def _quality_doubts(points: int, model: Model, chi2: float, converged: bool, where: str) -> Iterator[Doubt]:
    if not converged:
        yield Doubt("not_converged", f"the fit of model {model.name} did not converge", where, "first-line")
    k = model.free_parameters
    if points < k + 2:
        text = f"{points} points for {k} free parameters of model {model.name}; at least {k + 2} are wanted"
        yield Doubt("few_points", text, where)
    freedom = points - k
    if freedom > 0 and (chance := chance_of_more(chi2, freedom)) < LEAST_P:
        text = f"points lie off the {model.name} curve by more than their sd (χ² {chi2:.1f}, p {chance:.1g})"
        yield Doubt("poor_fit", text, where)


def _parameter_doubts(covariance: FloatArray, free: tuple[bool, ...], where: str) -> Iterator[Doubt]:
    keep = np.flatnonzero(free)
    chosen = covariance[np.ix_(keep, keep)]
    if not np.isfinite(chosen).all():
        yield Doubt("parameter_uncertain", "the points do not determine every parameter of the curve", where)
        return
    # The sd of a logarithm is the coefficient of variation for the small values that matter here.
    variation = np.sqrt(np.diag(chosen))
    if variation.size and variation.max() >= MOST_VARIATION:
        text = (
            f"a parameter of the curve has a coefficient of variation of {min(variation.max(), 9.99):.0%} (limit 50 %)"
        )
        yield Doubt("parameter_uncertain", text, where)
    correlation = np.abs(chosen / np.outer(variation, variation)) - np.eye(len(keep))
    if len(keep) > 1 and correlation.max() >= MOST_CORRELATION:
        text = f"two parameters of the curve are correlated ({correlation.max():.2f}, limit 0.8)"
        yield Doubt("parameters_correlated", text, where)
