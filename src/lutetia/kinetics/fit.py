"""Fit time–activity curves: one model to many curves, choice or averaging of models, and the fit of a record.

Weights are 1/sd². Models are compared by AICc = χ² + prior misfit + 2k + 2k(k+1)/(n−k−1), k the free parameters of
the model; it exists only for n > k + 1 points. With fewer points than any model needs for that, the models with the
least k are compared, for which the correction is the same number and cancels.

Not here: the doubts about a fit (`doubts`), the discrepancy between real curves and models (`discrepancy`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.core.chain import MAX_COMPONENTS
from lutetia.errors import FitError, PhysicsError, UnknownNameError
from lutetia.kinetics.models import MODELS, Model, log_rate_box
from lutetia.kinetics.population import KineticPrior, population_prior
from lutetia.kinetics.varpro import fit_batch

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
# Starts of the iteration by number of log-rates.
_STARTS = {1: 1, 2: 2, 3: 3}
# A model must beat a simpler one by this much in AICc; less is within the tolerance of what a prior alone decides.
_TIE = 0.5
# Models with less Akaike weight than this do not enter an average.
_LEAST_WEIGHT = 1e-3


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
        raise PhysicsError(f"{where}: found times {t.tolist()} h; expected finite hours ≥ 0 after the start of infusion")
    if (np.diff(t) <= 0).any():
        raise PhysicsError(f"{where}: found times {t.tolist()} h; expected increasing times without repeats; sort or merge")
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
    box = log_rate_box(chosen, physical_rate_per_h, prior or population_prior("other"))
    # The unit is removed so that tolerances mean the same for kBq and GBq.
    scale = a.max(axis=-1, keepdims=True)
    flat = np.ascontiguousarray((a / scale).reshape(-1, t.size))
    weight = np.ascontiguousarray((scale / s).reshape(-1, t.size))
    theta, linear, cost, converged = fit_batch(
        t, flat, weight, chosen.phases, chosen.uptake, physical_rate_per_h if chosen.decay_phase else 0.0,
        box.lower, box.upper, box.centre, box.precision, box.grid, _STARTS[len(chosen.priors)],
    )  # fmt: skip
    coefficient, rate = _components(chosen, theta, linear, physical_rate_per_h)
    chi2 = cost - (box.precision * (theta - box.centre) ** 2).sum(axis=-1)
    lead = a.shape[:-1]
    return CurveFits(
        (coefficient * scale.reshape(-1, 1)).reshape(*lead, MAX_COMPONENTS),
        rate.reshape(*lead, MAX_COMPONENTS),
        np.maximum(chi2, 0.0).reshape(lead),
        cost.reshape(lead),
        converged.reshape(lead),
        {chosen.name: np.ones(lead)},
    )


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

    Those with at least their `points` and a defined AICc (points > k + 1); if there is none, those of least k.
    With two or three points that is the mono-exponential form and its prior-constrained uptake form.
    """
    named = tuple(_model(name) for name in (models if models is not None else MODELS))
    enough = [m for m in named if points >= m.points]
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
) -> CurveFits:
    """Fit every curve by the model that AICc prefers, by an average over models, or by one named model.

    Parameters
    ----------
    time_h, activity, sd, physical_rate_per_h, prior
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
    points = np.size(time_h)
    if choice not in ("aicc", "average"):
        return _fit_named(time_h, activity, sd, _model(choice), physical_rate_per_h, prior)
    offered = offered_models(points, models)
    if not offered:
        raise FitError(
            f"curve: found {points} point(s); expected at least 2 for a fit; use a single-time-point method instead"
        )
    fits = [
        fit_model(time_h, activity, sd, model=m, physical_rate_per_h=physical_rate_per_h, prior=prior) for m in offered
    ]
    criterion = np.stack([corrected_criterion(f.cost, m, points) for f, m in zip(fits, offered, strict=True)])
    weights = _akaike_weights(criterion) if choice == "average" else _winner(criterion)
    return _combine(fits, offered, weights)


def _fit_named(
    time_h: ArrayLike, activity: ArrayLike, sd: ArrayLike, model: Model, rate: float, prior: KineticPrior | None
) -> CurveFits:
    points = np.size(time_h)
    if points < model.points:
        known = ", ".join(m.name for m in MODELS.values() if points >= m.points) or "none; use a single-time-point method"
        raise FitError(
            f"model {model.name}: found {points} points; expected at least {model.points}; models for {points}: {known}"
        )
    return fit_model(time_h, activity, sd, model=model, physical_rate_per_h=rate, prior=prior)


def _winner(criterion: FloatArray) -> FloatArray:
    """Weight 1 for the least criterion of each curve; of those within the tie margin, the first (simplest)."""
    close = criterion <= criterion.min(axis=0) + _TIE
    first = np.argmax(close, axis=0)
    return np.asarray(np.arange(len(criterion)).reshape(-1, *[1] * first.ndim) == first, dtype=np.float64)


def _akaike_weights(criterion: FloatArray) -> FloatArray:
    raw = np.exp(-0.5 * (criterion - criterion.min(axis=0)))
    raw = np.where(raw >= _LEAST_WEIGHT * raw.max(axis=0), raw, 0.0)
    return np.asarray(raw / raw.sum(axis=0))


def _combine(fits: Sequence[CurveFits], offered: Sequence[Model], weights: FloatArray) -> CurveFits:
    coefficient = np.concatenate([f.coefficient * w[..., None] for f, w in zip(fits, weights, strict=True)], axis=-1)
    rate = np.concatenate([f.rate for f in fits], axis=-1)
    coefficient, rate = merge_components(coefficient, rate)
    stack = {name: np.stack([getattr(f, name) for f in fits]) for name in ("chi2", "cost", "converged")}
    used = np.where(weights > 0, stack["converged"], True).all(axis=0)
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
    lead, c, k = coefficient.shape[:-1], coefficient.reshape(-1, coefficient.shape[-1]), rate.reshape(-1, rate.shape[-1])
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
