"""Fit time–activity curves: one model to many curves, choice or averaging of models, and the fit of a record.

Weights are 1/sd². Models are compared by AICc = χ² + prior misfit + 2k + 2k(k+1)/(n−k−1), k the free parameters of
the model; it exists only for n > k + 1 points. With fewer points than any model needs for that, the models with the
least k are compared, for which the correction is the same number and cancels.

A rate with a prior is not free: its prior was chosen before the data, and a misfit to it is already in the criterion.

Not here: the doubts about a fit (`doubts`), the discrepancy between real curves and models (`discrepancy`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.core.chain import MAX_COMPONENTS, Doubt, KineticFit, TimeActivity
from lutetia.core.draws import Estimate, normals, stream
from lutetia.core.regions import shared_name
from lutetia.errors import FitError, PhysicsError, UnknownNameError
from lutetia.kinetics.discrepancy import discrepancy_factors, discrepancy_sd
from lutetia.kinetics.doubts import fit_doubts
from lutetia.kinetics.integrate import extrapolated_fraction, time_integrated_activity
from lutetia.kinetics.models import MODELS, Box, Model, PriorName, log_rate_box, prior_by_name
from lutetia.kinetics.population import KineticPrior, population_prior
from lutetia.kinetics.varpro import fit_batch

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
PriorScores = Mapping[PriorName, FloatArray]
# Starts of the iteration by number of log-rates.
_STARTS = {1: 1, 2: 3, 3: 3}
# Curves from which a second thread is worth its start; the compiled code runs without the interpreter's lock.
_BATCH_FOR_THREADS = 2000
# A model must beat a simpler one by this much in AICc; less is within the tolerance of what a prior alone decides.
_TIE = 0.5
# Models with less Akaike weight than this do not enter an average.
_LEAST_WEIGHT = 1e-3
# Models within this AICc of the best are compared with it, and a doubt is raised beyond this relative difference.
_NEAR, _DISAGREE = 2.0, 0.1
ASSUMED_RELATIVE_SD = 0.05
# Least sd of a point below detection, in units of the least positive value (assumption).
ZERO_SD = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class CurveFits:
    """Fits of one model, or of the chosen or averaged models, to curves of shape (...).

    `coefficient` and `rate` have shape (..., 4), slowest phase first, padded with zeros; `cost` is χ² plus the prior
    misfit, `chi2` without it; `weights` maps model names to their share per curve.
    """

    coefficient: FloatArray
    rate: FloatArray
    chi2: FloatArray
    cost: FloatArray
    converged: BoolArray
    weights: dict[str, FloatArray]


def check_curve(time_h: ArrayLike, activity: ArrayLike, sd: ArrayLike, *, where: str = "curve") -> None:
    """Refuse curves that no model may see.

    Raises
    ------
    PhysicsError
        Times not finite, before 0, unsorted or repeated; activity not finite or negative; sd not finite or ≤ 0;
        shapes that do not fit; nothing but zeros.
    """
    t, a, s = (np.asarray(x, dtype=np.float64) for x in (time_h, activity, sd))
    if t.ndim != 1 or t.size == 0 or a.shape[-1:] != t.shape or s.shape[-1:] != t.shape:
        raise PhysicsError(
            f"{where}: found times of shape {t.shape}, activities {a.shape}, sd {s.shape}; "
            "expected one activity and sd for each of at least one time"
        )
    if not np.isfinite(t).all() or (t < 0).any():
        raise PhysicsError(
            f"{where}: found times {t.tolist()} h; expected finite hours ≥ 0 after the start of infusion"
        )
    if (np.diff(t) <= 0).any():
        raise PhysicsError(
            f"{where}: found times {t.tolist()} h; expected increasing times without repeats; sort or merge"
        )
    if not np.isfinite(a).all() or (a < 0).any():
        raise PhysicsError(
            f"{where}: found an activity that is negative or not a number; expected values ≥ 0; "
            "leave missing points out and enter 0 for what is below detection"
        )
    if not np.isfinite(s).all() or (s <= 0).any():
        raise PhysicsError(f"{where}: found a standard deviation that is not a number > 0; give each point its sd")
    if not (a.max(axis=-1) > 0).all():
        raise PhysicsError(f"{where}: found zero activity at every time; expected at least one positive value")


def fit_model(
    time_h: ArrayLike,
    activity: ArrayLike,
    sd: ArrayLike,
    *,
    model: Model | str,
    physical_rate_per_h: float,
    prior: KineticPrior | None = None,
    prior_scores: PriorScores | None = None,
) -> CurveFits:
    """Fit one model to every curve by weighted least squares.

    Parameters
    ----------
    time_h
        Shape (time,), hours, increasing.
    activity, sd
        Shapes (..., time), or (time,) for `sd` shared by all; any one unit of activity.
    model
        A `Model` or its name.
    physical_rate_per_h
        Decay constant of the measured nuclide: lower bound of every clearance rate.
    prior
        Priors of the region; the wide row "other" if None.
    prior_scores
        Standard normal scores, shape (...), by name of a prior: the prior of each curve is centred that many sd from
        its median. Fits to draws of the data with draws of the prior's centre spread like the posterior, whereas a
        prior of fixed centre would look like knowledge without error.

    Returns
    -------
    CurveFits
    """
    chosen = _model(model)
    t = np.ascontiguousarray(time_h, dtype=np.float64)
    a = np.asarray(activity, dtype=np.float64)
    s = np.broadcast_to(np.asarray(sd, dtype=np.float64), a.shape)
    check_curve(t, a, s)
    _check_rate(physical_rate_per_h)
    known = prior or population_prior("other")
    box = log_rate_box(chosen, physical_rate_per_h, known, first_h=float(t[0]))
    # The unit is removed so that rounding means the same for kBq and GBq; by the sd, so that curves of one sd, such as
    # the draws of one region, also share their weights to the last bit, which the compiled fit uses.
    scale = s.max(axis=-1, keepdims=True)
    lead = a.shape[:-1]
    centre = np.broadcast_to(box.centre, (*lead, len(box.centre))).copy()
    for index, name in enumerate(chosen.priors):
        if name is not None and prior_scores is not None:
            # A shorter half-life is a larger log-rate; the sign does not matter for symmetric scores.
            centre[..., index] -= prior_by_name(known, name).log_sd * np.asarray(prior_scores[name])
    centre = np.ascontiguousarray(np.clip(centre, box.lower, box.upper).reshape(-1, len(box.centre)))
    flat = np.ascontiguousarray((a / scale).reshape(-1, t.size))
    weight = np.ascontiguousarray((scale / s).reshape(-1, t.size))
    theta, linear, cost, converged = _fit_in_parts(t, flat, weight, chosen, physical_rate_per_h, box, centre)
    coefficient, rate = _components(chosen, theta, linear, physical_rate_per_h)
    chi2 = cost - (box.precision * (theta - centre) ** 2).sum(axis=-1)
    return CurveFits(
        (coefficient * scale.reshape(-1, 1)).reshape(*lead, MAX_COMPONENTS),
        rate.reshape(*lead, MAX_COMPONENTS),
        np.maximum(chi2, 0.0).reshape(lead),
        cost.reshape(lead),
        converged.reshape(lead),
        {chosen.name: np.ones(lead)},
    )


def _fit_in_parts(
    time: FloatArray, flat: FloatArray, weight: FloatArray, model: Model, physical: float, box: Box, centre: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
    """Run the compiled fit, large batches in two threads; each curve is independent, so the parts do not matter."""

    def run(part: slice) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
        return fit_batch(
            time, flat[part], weight[part], model.phases, model.uptake, physical if model.decay_phase else 0.0,
            box.lower, box.upper, centre[part], box.precision, box.grid, _STARTS[len(model.priors)],
        )  # fmt: skip

    if len(flat) < _BATCH_FOR_THREADS:
        return run(slice(None))
    half = len(flat) // 2
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(run, (slice(None, half), slice(half, None)))
    theta, linear, cost, converged = (np.concatenate(pair) for pair in zip(first, second, strict=True))
    return theta, linear, cost, converged


def _model(model: Model | str) -> Model:
    if isinstance(model, Model):
        return model
    if model not in MODELS:
        raise UnknownNameError("kinetic model", model, MODELS)
    return MODELS[model]


def _check_rate(physical_rate_per_h: float) -> None:
    if not (np.isfinite(physical_rate_per_h) and physical_rate_per_h > 0):
        raise PhysicsError(f"physical rate: found {physical_rate_per_h} /h; expected the decay constant of the nuclide")


def _components(model: Model, theta: FloatArray, linear: FloatArray, physical: float) -> tuple[FloatArray, FloatArray]:
    """Coefficients and rates of shape (curve, 4): clearance phases slowest first, then the uptake phase, then zeros."""
    count = model.coefficients
    coefficient, rate = np.zeros((len(theta), MAX_COMPONENTS)), np.zeros((len(theta), MAX_COMPONENTS))
    coefficient[:, :count] = linear[:, :count]
    # exp(log λ) may fall below λ by rounding; the bound is exact.
    rate[:, : model.phases] = np.maximum(np.exp(theta[:, : model.phases]), physical)
    if model.decay_phase:
        rate[:, model.phases] = physical
    order = np.argsort(np.where(coefficient[:, :count] > 0, rate[:, :count], np.inf), axis=1, kind="stable")
    coefficient[:, :count] = np.take_along_axis(coefficient[:, :count], order, axis=1)
    rate[:, :count] = np.take_along_axis(rate[:, :count], order, axis=1)
    if model.uptake:
        coefficient[:, count] = -coefficient[:, :count].sum(axis=1)
        rate[:, count] = np.exp(theta[:, model.phases])
    rate[coefficient == 0.0] = 0.0
    return coefficient, rate


def offered_models(points: int, models: Sequence[str] | None = None) -> tuple[Model, ...]:
    """Models that the automatic choice compares for a number of points.

    Those offered for that number and with a defined AICc (points > k + 1); if there is none, those of least k.
    With two or three points that is the mono-exponential form and its prior-constrained uptake form.
    """
    named = tuple(_model(name) for name in (models if models is not None else MODELS))
    enough = [m for m in named if points >= m.offered]
    defined = [m for m in enough if points > m.free_parameters + 1]
    least = min((m.free_parameters for m in enough), default=0)
    return tuple(defined or [m for m in enough if m.free_parameters == least])


def corrected_criterion(cost: FloatArray, model: Model, points: int) -> FloatArray:
    """AICc of a fit, cost + 2k + 2k(k+1)/(n−k−1); without the correction where it is undefined."""
    k = model.free_parameters
    correction = 2.0 * k * (k + 1) / (points - k - 1) if points > k + 1 else 0.0
    return np.asarray(cost + 2.0 * k + correction)


def fit_curves(
    time_h: ArrayLike,
    activity: ArrayLike,
    sd: ArrayLike,
    *,
    physical_rate_per_h: float,
    choice: str = "aicc",
    models: Sequence[str] | None = None,
    prior: KineticPrior | None = None,
    prior_scores: PriorScores | None = None,
) -> CurveFits:
    """Fit every curve by the model that AICc prefers, by an average over models, or by one named model.

    Parameters
    ----------
    time_h, activity, sd, physical_rate_per_h, prior, prior_scores
        As for `fit_model`; the leading axes of `activity` are free, and each curve chooses for itself.
    choice
        "aicc", "average" (Akaike weights exp(−ΔAICc/2)), or the name of a model.
    models
        Names of the models to compare; all of `MODELS` if None.

    Returns
    -------
    CurveFits
        Averages of more than four components are merged to four, keeping the time-integrated activity.

    Raises
    ------
    FitError
        If there are too few points for every model, or for the named one.
    """
    if choice not in ("aicc", "average"):
        return _fit_named(time_h, activity, sd, _model(choice), physical_rate_per_h, prior, prior_scores)
    fits, offered, criterion = compare_models(
        time_h,
        activity,
        sd,
        physical_rate_per_h=physical_rate_per_h,
        models=models,
        prior=prior,
        prior_scores=prior_scores,
    )
    weights = akaike_weights(criterion) if choice == "average" else _winner(criterion)
    return _combine(fits, offered, weights)


def compare_models(
    time_h: ArrayLike,
    activity: ArrayLike,
    sd: ArrayLike,
    *,
    physical_rate_per_h: float,
    models: Sequence[str] | None = None,
    prior: KineticPrior | None = None,
    prior_scores: PriorScores | None = None,
) -> tuple[list[CurveFits], tuple[Model, ...], FloatArray]:
    """Fits of every model on offer, the models, and their AICc of shape (model, ...)."""
    check_curve(time_h, activity, sd)
    points = np.size(time_h)
    offered = offered_models(points, models)
    if not offered:
        raise FitError(
            f"curve: found {points} point(s); expected at least 2 for a fit; use a single-time-point method instead"
        )
    fits = [
        fit_model(
            time_h,
            activity,
            sd,
            model=m,
            physical_rate_per_h=physical_rate_per_h,
            prior=prior,
            prior_scores=prior_scores,
        )
        for m in offered
    ]
    criterion = np.stack([corrected_criterion(f.cost, m, points) for f, m in zip(fits, offered, strict=True)])
    return fits, offered, criterion


def _fit_named(
    time_h: ArrayLike, activity: ArrayLike, sd: ArrayLike, model: Model, rate: float, prior: KineticPrior | None,
    prior_scores: PriorScores | None = None,
) -> CurveFits:  # fmt: skip
    check_curve(time_h, activity, sd)
    points = np.size(time_h)
    if points < model.points:
        known = (
            ", ".join(m.name for m in MODELS.values() if points >= m.points) or "none; use a single-time-point method"
        )
        raise FitError(
            f"model {model.name}: found {points} points; expected at least {model.points}; models for {points}: {known}"
        )
    return fit_model(
        time_h, activity, sd, model=model, physical_rate_per_h=rate, prior=prior, prior_scores=prior_scores
    )


def _winner(criterion: FloatArray) -> FloatArray:
    """Weight 1 for the least criterion of each curve; of those within the tie margin, the first (simplest)."""
    close = criterion <= criterion.min(axis=0) + _TIE
    first = np.argmax(close, axis=0)
    return np.asarray(np.arange(len(criterion)).reshape(-1, *[1] * first.ndim) == first, dtype=np.float64)


def akaike_weights(criterion: FloatArray) -> FloatArray:
    """exp(−ΔAICc/2) over the first axis, summing to 1; shares below 0.1 % of the best are dropped."""
    raw = np.exp(-0.5 * (criterion - criterion.min(axis=0)))
    raw = np.where(raw >= _LEAST_WEIGHT * raw.max(axis=0), raw, 0.0)
    return np.asarray(raw / raw.sum(axis=0))


def _combine(fits: Sequence[CurveFits], offered: Sequence[Model], weights: FloatArray) -> CurveFits:
    coefficient = np.concatenate([f.coefficient * w[..., None] for f, w in zip(fits, weights, strict=True)], axis=-1)
    rate = np.concatenate([f.rate for f in fits], axis=-1)
    coefficient, rate = merge_components(coefficient, rate)
    stack = {name: np.stack([getattr(f, name) for f in fits]) for name in ("chi2", "cost", "converged")}
    used = np.asarray(np.where(weights > 0, stack["converged"], True).all(axis=0))
    return CurveFits(
        coefficient,
        rate,
        (stack["chi2"] * weights).sum(axis=0),
        (stack["cost"] * weights).sum(axis=0),
        used,
        {m.name: w for m, w in zip(offered, weights, strict=True)},
    )


def merge_components(coefficient: FloatArray, rate: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Reduce sums of exponentials to four components, (..., M) → (..., 4).

    Pairs of the same sign with the closest rates are replaced by one that keeps Σ c/λ and Σ c/λ² (integral and mean
    time); its rate lies between the two, so the physical bound holds.
    """
    lead, c, k = (
        coefficient.shape[:-1],
        coefficient.reshape(-1, coefficient.shape[-1]),
        rate.reshape(-1, rate.shape[-1]),
    )
    c, k = _packed(c.copy(), k.copy())
    for count in range(c.shape[1], MAX_COMPONENTS, -1):
        rows = np.flatnonzero(c[:, count - 1] != 0.0)
        if rows.size:
            c[rows, :count], k[rows, :count] = _merge_closest(c[rows, :count], k[rows, :count])
    return c[:, :MAX_COMPONENTS].reshape(*lead, -1), k[:, :MAX_COMPONENTS].reshape(*lead, -1)


def _packed(c: FloatArray, k: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Positive components slowest first, then negative ones, then padding."""
    if c.shape[1] < MAX_COMPONENTS:
        pad = ((0, 0), (0, MAX_COMPONENTS - c.shape[1]))
        c, k = np.pad(c, pad), np.pad(k, pad)
    order = np.lexsort((k, np.where(c > 0, 0, np.where(c < 0, 1, 2))), axis=1)
    c, k = np.take_along_axis(c, order, axis=1), np.take_along_axis(k, order, axis=1)
    k[c == 0.0] = 0.0
    return c, k


def _merge_closest(c: FloatArray, k: FloatArray) -> tuple[FloatArray, FloatArray]:
    same = np.sign(c[:, 1:]) * np.sign(c[:, :-1]) > 0
    gap = np.where(same, np.log(np.where(same, k[:, 1:], 1.0) / np.where(same, k[:, :-1], 1.0)), np.inf)
    pick, rows = np.argmin(gap, axis=1), np.arange(len(c))
    area = c[rows, pick] / k[rows, pick] + c[rows, pick + 1] / k[rows, pick + 1]
    moment = c[rows, pick] / k[rows, pick] ** 2 + c[rows, pick + 1] / k[rows, pick + 1] ** 2
    k[rows, pick] = area / moment
    c[rows, pick] = area * k[rows, pick]
    c[rows, pick + 1] = 0.0
    return _packed(c, k)


def fit_time_activity(
    curve: TimeActivity,
    *,
    physical_rate_per_h: float,
    choice: str = "aicc",
    models: Sequence[str] | None = None,
    prior: KineticPrior | None = None,
    seed: int = 1,
    discrepancy: bool = True,
) -> KineticFit:
    """Fit a measured curve and every draw of it.

    Parameters
    ----------
    curve
        At least two points; its draws hold the noise of the points and what they share. Draws below 0 count as 0.
    physical_rate_per_h
        Decay constant of `curve.nuclide`.
    choice, models
        As for `fit_curves`. With "aicc" the model is chosen on the nominal values and kept for every draw.
    prior
        Priors of the region; those of `population_prior` if None.
    seed
        Of the named stream for the departure of real curves from the models.
    discrepancy
        Whether the draws include that departure (see `lutetia.kinetics.discrepancy`).

    Returns
    -------
    KineticFit
        With its doubts; `where` of each is the region.

    Raises
    ------
    PhysicsError
        If times, activities or sd cannot be used.
    FitError
        If there are too few points.
    """
    known = prior or population_prior(curve.region, curve.nuclide)
    time, value = curve.time_h, curve.activity_MBq.value
    sd, early = _weights_of(curve)
    check_curve(time, value, sd, where=curve.region)
    if choice in ("aicc", "average"):
        fits, offered, criterion = compare_models(
            time, value, sd, physical_rate_per_h=physical_rate_per_h, models=models, prior=known
        )
        best = int(_winner(criterion).argmax(axis=0))
        early = (*early, *_disagreement(fits, offered, criterion, best, curve.region))
        model, nominal = offered[best], fits[best]
    else:
        model, criterion = _model(choice), np.zeros(1)
        nominal = _fit_named(time, value, sd, model, physical_rate_per_h, known)
    doubts = fit_doubts(
        time, value, sd, nominal.coefficient, nominal.rate, model=model, chi2=float(nominal.chi2),
        converged=bool(nominal.converged), physical=physical_rate_per_h, prior=known, where=curve.region,
    )  # fmt: skip
    name = model.name
    if choice == "average":
        nominal = _combine(fits, offered, akaike_weights(criterion))
        name = "average of " + ", ".join(f"{m} {float(w):.2f}" for m, w in nominal.weights.items() if w > 0)
    drawn = fit_curves(
        time, _usable_draws(curve), sd, physical_rate_per_h=physical_rate_per_h,
        choice=choice if choice == "average" else model.name, models=models, prior=known,
        prior_scores=_drawn_scores(curve, seed),
    )  # fmt: skip
    spread = np.ones(len(drawn.coefficient))
    if discrepancy:
        extra = discrepancy_sd(nominal.coefficient, nominal.rate, first_h=float(time[0]), last_h=float(time[-1]))
        spread = discrepancy_factors(float(extra), len(spread), seed=seed, region=curve.region)
    return KineticFit(
        curve.region,
        curve.nuclide,
        name,
        Estimate(nominal.coefficient, drawn.coefficient * spread[:, None]),
        Estimate(nominal.rate, drawn.rate),
        float(extrapolated_fraction(nominal.coefficient, nominal.rate, float(time[-1]))),
        (*early, *doubts),
    )


def _drawn_scores(curve: TimeActivity, seed: int) -> PriorScores:
    """Scores of the priors' centres for each draw; one stream a region, so that all cycles share them."""
    count = len(curve.activity_MBq.draws)
    names: tuple[PriorName, ...] = ("effective", "uptake", "fast")
    return {
        name: normals(stream(seed, shared_name(curve.region), f"prior of {name} half-life"), count) for name in names
    }


def _weights_of(curve: TimeActivity) -> tuple[FloatArray, tuple[Doubt, ...]]:
    """The sd of the points: of a zero at least half the least positive value; if none is stated, a relative one."""
    sd, value = np.asarray(curve.sd_MBq, dtype=np.float64), curve.activity_MBq.value
    if sd.shape != value.shape or not (np.isfinite(value).all() and (value > 0).any()):
        return sd, ()
    doubts: tuple[Doubt, ...] = ()
    if value.size and (sd == 0.0).all():
        text = f"no sd given; {ASSUMED_RELATIVE_SD:.0%} of each value assumed as weights"
        doubts = (Doubt("assumed_sd", text, curve.region, "note"),)
        sd = ASSUMED_RELATIVE_SD * value
    # Zero says "less than can be seen", not "nothing": what can be seen is at most the least positive value.
    return np.where(value == 0.0, np.maximum(sd, ZERO_SD * value[value > 0].min()), sd), doubts


def _usable_draws(curve: TimeActivity) -> FloatArray:
    """Draws with noise below zero cut off; a draw without any activity left is the nominal curve scaled down."""
    draws = np.maximum(curve.activity_MBq.draws, 0.0)
    if np.isnan(draws).any():
        raise PhysicsError(f"{curve.region}: found NaN among the draws of the activity; check the measurement's sd")
    empty = draws.max(axis=1) <= 0.0
    draws[empty] = 1e-6 * curve.activity_MBq.value
    return draws


def _disagreement(
    fits: Sequence[CurveFits], offered: Sequence[Model], criterion: FloatArray, best: int, where: str
) -> tuple[Doubt, ...]:
    """A doubt if a model that fits about as well gives a clearly different time-integrated activity."""
    own = float(time_integrated_activity(fits[best].coefficient, fits[best].rate))
    gaps = {
        m.name: float(time_integrated_activity(f.coefficient, f.rate)) / own - 1.0
        for f, m, c in zip(fits, offered, criterion, strict=True)
        if c <= criterion.min() + _NEAR
    }
    name, gap = max(gaps.items(), key=lambda item: abs(item[1]))
    if abs(gap) <= _DISAGREE:
        return ()
    text = f"model {name} fits about as well and gives {gap:+.0%} time-integrated activity"
    return (Doubt("models_disagree", text, where),)
