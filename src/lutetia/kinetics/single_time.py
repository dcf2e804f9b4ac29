"""Time-integrated activity from one measurement: every method gives a mono-exponential or scaled `KineticFit`.

What a single point cannot tell, the half-life, comes from the population or from an earlier cycle of the same
subject; the draws hold that spread, whatever the method says nominally. The draws of the population's half-life come
from a stream of seed and region, so that all cycles of one region share them.

To add a method: one function of the same form and one entry of `POPULATION_METHODS`.

References
----------
Methods of Hänscheid et al. and Madsen et al., as cited and compared in EJNMMI Phys 2023
(doi 10.1186/s40658-023-00530-1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.core.chain import MAX_COMPONENTS, Doubt, KineticFit, TimeActivity
from lutetia.core.draws import Estimate, normals, stream
from lutetia.core.regions import shared_name
from lutetia.errors import FitError, PhysicsError
from lutetia.kinetics.discrepancy import BASE, BEFORE_FIRST, discrepancy_factors
from lutetia.kinetics.fit import check_curve
from lutetia.kinetics.integrate import activity_at, extrapolated_fraction, integral_between, time_integrated_activity
from lutetia.kinetics.population import KineticPrior, LognormalPrior, population_prior
from lutetia.nuclear.nuclides import nuclide

FloatArray = NDArray[np.float64]
LN2 = float(np.log(2.0))
# Hänscheid's form is within 10 % of a mono-exponential truth for these t/T_eff (analytic).
VALID_RATIO = (0.764, 2.437)
# Change of a subject's own half-life between cycles, standard deviation of the logarithm (assumption; PMC6300448 finds
# 2 % mean deviation at 24 h when the half-life of the first cycle is reused).
BETWEEN_CYCLES_LOG_SD = 0.05


def _single_point(curve: TimeActivity) -> tuple[float, float, FloatArray]:
    """Time, value and draws of the only point."""
    if np.size(curve.time_h) != 1:
        raise FitError(
            f"{curve.region}: found {np.size(curve.time_h)} points; expected one; fit curves with two or more points"
        )
    check_curve(curve.time_h, curve.activity_MBq.value, np.ones(1), where=curve.region)
    draws = curve.activity_MBq.draws[:, 0]
    if np.isnan(draws).any():
        raise PhysicsError(f"{curve.region}: found NaN among the draws of the activity; check the measurement's sd")
    time, value = float(curve.time_h[0]), float(curve.activity_MBq.value[0])
    if time <= 0.0:
        raise PhysicsError(f"{curve.region}: found a single measurement at 0 h; expected one after the infusion")
    return time, value, np.maximum(draws, 1e-6 * value)


def _half_life_draws(prior: LognormalPrior, longest_h: float, scores: FloatArray) -> FloatArray:
    """Lognormal half-lives cut off (not piled up) at the physical half-life."""
    from scipy.special import ndtr, ndtri  # heavy, and most curves have more points

    ceiling = ndtr(np.log(longest_h / prior.median_h) / prior.log_sd)
    return np.minimum(prior.quantile_h(ndtri(ndtr(scores) * ceiling)), longest_h)


def _mono(amplitude: ArrayLike, rate: ArrayLike) -> tuple[FloatArray, FloatArray]:
    a, k = np.asarray(amplitude, dtype=np.float64), np.asarray(rate, dtype=np.float64)
    coefficient, rates = np.zeros((*a.shape, MAX_COMPONENTS)), np.zeros((*a.shape, MAX_COMPONENTS))
    coefficient[..., 0], rates[..., 0] = a, k
    return coefficient, rates


def _population_draws(
    curve: TimeActivity, prior: KineticPrior | None, seed: int
) -> tuple[KineticPrior, float, FloatArray, FloatArray]:
    """Prior, nominal half-life, its draws, and the lognormal factors for what is not mono-exponential."""
    known = prior or population_prior(curve.region, curve.nuclide)
    physical = nuclide(curve.nuclide).half_life_h
    count = len(curve.activity_MBq.draws)
    scores = normals(stream(seed, shared_name(curve.region), "effective half-life"), count)
    nominal = float(_half_life_draws(known.effective, physical, np.zeros(1))[0])
    draws = _half_life_draws(known.effective, physical, scores)
    before = 1.0 - 2.0 ** (-float(curve.time_h[0]) / nominal)
    # The extrapolation after the point is in the spread of the half-life already.
    spread = float(np.hypot(BASE, BEFORE_FIRST * before))
    return known, nominal, draws, discrepancy_factors(spread, count, seed=seed, region=curve.region)


def _record(
    curve: TimeActivity, model: str, nominal: tuple[FloatArray, FloatArray], drawn: tuple[FloatArray, FloatArray],
    doubts: tuple[Doubt, ...],
) -> KineticFit:  # fmt: skip
    first = Doubt(
        "single_time_point", f"one measurement ({curve.time_h[0]:g} h); the half-life is not measured", curve.region
    )
    return KineticFit(
        curve.region,
        curve.nuclide,
        model,
        Estimate(nominal[0], drawn[0]),
        Estimate(nominal[1], drawn[1]),
        float(extrapolated_fraction(*nominal, float(curve.time_h[0]))),
        (first, *doubts),
    )


def haenscheid(curve: TimeActivity, *, prior: KineticPrior | None = None, seed: int = 1) -> KineticFit:
    """Ã = 2·A(t)·t/ln 2.

    Exact for a mono-exponential curve at t = T_eff and t = 2 T_eff. The formula names no half-life; the curve returned
    has the population's median half-life and the amplitude that gives this Ã, so it does not pass through the point.
    Its draws have the population's half-lives and do pass through the drawn point: their spread is the error of the
    formula over the population.

    Parameters
    ----------
    curve
        One point.
    prior
        Priors of the region; those of `population_prior` if None.

    Raises
    ------
    FitError
        If there is not exactly one point.

    Notes
    -----
    Within 10 % for 0.764 < t/T_eff < 2.437; outside, at the population's median, a doubt says so.
    """
    time, value, draws = _single_point(curve)
    _, half_life, half_lives, spread = _population_draws(curve, prior, seed)
    nominal = _mono(2.0 * value * time / LN2 * LN2 / half_life, LN2 / half_life)
    drawn = _mono(draws * spread * 2.0 ** (time / half_lives), LN2 / half_lives)
    return _record(curve, "haenscheid", nominal, drawn, _range_doubt(curve, time / half_life))


def _range_doubt(curve: TimeActivity, ratio: float) -> tuple[Doubt, ...]:
    if VALID_RATIO[0] < ratio < VALID_RATIO[1]:
        return ()
    error = 2.0 * ratio * 2.0**-ratio - 1.0
    text = (
        f"the point lies at {ratio:.2f} population half-lives, outside {VALID_RATIO[0]} to {VALID_RATIO[1]}; "
        f"the formula is {error:+.0%} off for a mono-exponential curve there"
    )
    return (Doubt("single_time_out_of_range", text, curve.region, "first-line"),)


def madsen(curve: TimeActivity, *, prior: KineticPrior | None = None, seed: int = 1) -> KineticFit:
    """Ã = A(t)·e^{kt}/k with k the population's median effective rate; draws with the population's spread of k."""
    time, value, draws = _single_point(curve)
    _, half_life, half_lives, spread = _population_draws(curve, prior, seed)
    nominal = _mono(value * 2.0 ** (time / half_life), LN2 / half_life)
    drawn = _mono(draws * spread * 2.0 ** (time / half_lives), LN2 / half_lives)
    return _record(curve, "madsen", nominal, drawn, _early_doubt(curve, time / half_life))


def _early_doubt(curve: TimeActivity, ratio: float) -> tuple[Doubt, ...]:
    if VALID_RATIO[0] < ratio < VALID_RATIO[1]:
        return ()
    text = f"the point lies at {ratio:.2f} population half-lives: the result depends strongly on the assumed half-life"
    return (Doubt("single_time_out_of_range", text, curve.region),)


def bayesian(curve: TimeActivity, *, prior: KineticPrior | None = None, seed: int = 1) -> KineticFit:
    """Posterior of an uptake and washout curve with population priors on both half-lives.

    a(t) = c [2^{−t/T} − 2^{−t/T_u}], T and T_u lognormal, T cut off at the physical half-life, a flat prior on c. With
    one point the posterior of the half-lives is their prior, and c follows from the point: exact draws, no sampling.

    Parameters
    ----------
    curve
        One point.
    prior
        Priors of the region; those of `population_prior` if None.

    Returns
    -------
    KineticFit
        Nominal curve at the medians of the priors.
    """
    time, value, draws = _single_point(curve)
    known, half_life, half_lives, spread = _population_draws(curve, prior, seed)
    uptakes = known.uptake.quantile_h(normals(stream(seed, shared_name(curve.region), "uptake half-life"), len(draws)))
    nominal = _uptake_curve(np.asarray(value), time, np.asarray(half_life), np.asarray(known.uptake.median_h))
    drawn = _uptake_curve(draws * spread, time, half_lives, np.minimum(uptakes, 0.5 * half_lives))
    return _record(curve, "bayesian", nominal, drawn, _early_doubt(curve, time / half_life))


def _uptake_curve(
    activity: FloatArray, time: float, half_life: FloatArray, uptake: FloatArray
) -> tuple[FloatArray, FloatArray]:
    amplitude = activity / (2.0 ** (-time / half_life) - 2.0 ** (-time / uptake))
    coefficient, rate = _mono(amplitude, LN2 / half_life)
    coefficient[..., 1], rate[..., 1] = -amplitude, LN2 / uptake
    return coefficient, rate


POPULATION_METHODS: dict[str, Callable[..., KineticFit]] = {
    "bayesian": bayesian,
    "haenscheid": haenscheid,
    "madsen": madsen,
}


def own_half_life(curve: TimeActivity, earlier: KineticFit, *, seed: int = 1, cycle: int = 0) -> KineticFit:
    """The subject's own curve of an earlier cycle, scaled to pass through the one new point.

    c_i = c_i,earlier · A(t)/a_earlier(t); in the draws the clearance rates change between cycles by a lognormal factor
    (`BETWEEN_CYCLES_LOG_SD`, assumption), never below physical decay.

    Parameters
    ----------
    curve
        One point of the new cycle, same region and nuclide as `earlier`, same number of draws.
    earlier
        Fit of a cycle with enough points.
    cycle
        Number of the new cycle: names the stream of the change between cycles.

    Raises
    ------
    FitError
        If regions, nuclides or draws differ, or there is not exactly one point.
    """
    time, value, draws = _single_point(curve)
    if (curve.region, curve.nuclide) != (earlier.region, earlier.nuclide):
        raise FitError(
            f"{curve.region}, {curve.nuclide}: found an earlier fit of {earlier.region}, {earlier.nuclide}; "
            "expected the same region and nuclide"
        )
    if len(draws) != len(earlier.rate_per_h.draws):
        raise FitError(
            f"{curve.region}: found {len(draws)} draws and {len(earlier.rate_per_h.draws)} in the earlier fit; "
            "expected the same number; fit both with the same --draws"
        )
    physical = nuclide(curve.nuclide).decay_constant_per_h
    scores = normals(stream(seed, shared_name(curve.region), "half-life between cycles", cycle), len(draws))
    change = np.exp(BETWEEN_CYCLES_LOG_SD * scores)[:, None]
    rates = earlier.rate_per_h.draws
    changed = np.where(rates > 0.0, np.maximum(rates * change, np.minimum(rates, physical)), 0.0)
    nominal = scale_to_point(earlier.coefficient_MBq.value, earlier.rate_per_h.value, time, np.asarray(value))
    drawn = scale_to_point(earlier.coefficient_MBq.draws, changed, time, draws)
    fit = _record(curve, f"own half-life ({earlier.model})", nominal, drawn, ())
    early = float(integral_between(*nominal, 0.0, time) / time_integrated_activity(*nominal))
    if early < 0.1:
        text = f"only {early:.0%} of the integral lies before the point: the earlier curve decides the rest"
        fit = replace(fit, doubts=(*fit.doubts, Doubt("single_time_early", text, curve.region)))
    return fit


def scale_to_point(
    coefficient: FloatArray, rate: FloatArray, time: float, activity: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """A curve scaled to pass through one point: c_i · A(t)/a(t), rates unchanged; shapes (..., component) and (...).

    Raises
    ------
    FitError
        If the curve holds no activity at the time.
    """
    earlier = activity_at(coefficient, rate, [time])[..., 0]
    if (earlier <= 0.0).any():
        raise FitError(f"earlier curve: found no activity at {time:g} h; expected a positive value; use another method")
    return coefficient * (activity / earlier)[..., None], np.asarray(rate)
