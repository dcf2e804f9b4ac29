"""Integrals of sums of exponentials: a(t) = Σ coefficient_i · exp(−rate_i · t), padded with zeros.

Every function broadcasts over leading axes; the component axis is the last one. A component with coefficient 0 is
padding, whatever its rate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.errors import PhysicsError

FloatArray = NDArray[np.float64]
LN2 = float(np.log(2.0))


def _components(coefficient: ArrayLike, rate: ArrayLike) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Coefficients, rates with padding replaced by 1 /h, and the mask of real components."""
    c, k = np.broadcast_arrays(np.asarray(coefficient, dtype=np.float64), np.asarray(rate, dtype=np.float64))
    real = c != 0.0
    if not (np.isfinite(c).all() and np.isfinite(k).all()):
        raise PhysicsError("sum of exponentials: found NaN or infinite values; expected finite ones; check the fit")
    if (k[real] <= 0.0).any():
        lowest = float(k[real].min())
        raise PhysicsError(
            f"sum of exponentials: found an effective rate of {lowest:g} /h; expected > 0 (physical decay)"
        )
    return c, np.where(real, k, 1.0), real


def activity_at(coefficient_MBq: ArrayLike, rate_per_h: ArrayLike, time_h: ArrayLike) -> FloatArray:
    """Activity at given times, Σ c_i exp(−λ_i t).

    Parameters
    ----------
    coefficient_MBq, rate_per_h
        Shape (..., component); MBq and 1/h.
    time_h
        Shape (time,), hours.

    Returns
    -------
    ndarray
        Shape (..., time), MBq.
    """
    c, k, _ = _components(coefficient_MBq, rate_per_h)
    t = np.asarray(time_h, dtype=np.float64)
    return np.asarray((c[..., None] * np.exp(-k[..., None] * t)).sum(axis=-2))


def time_integrated_activity(coefficient_MBq: ArrayLike, rate_per_h: ArrayLike) -> FloatArray:
    """Time-integrated activity from t = 0 to infinity, Ã = Σ c_i/λ_i.

    Parameters
    ----------
    coefficient_MBq, rate_per_h
        Shape (..., component); MBq and 1/h.

    Returns
    -------
    ndarray
        Shape (...), MBq·h.

    Raises
    ------
    PhysicsError
        If a value is not finite, or a component decays with a rate ≤ 0.
    """
    c, k, _ = _components(coefficient_MBq, rate_per_h)
    return np.asarray((c / k).sum(axis=-1))


def integral_between(
    coefficient_MBq: ArrayLike, rate_per_h: ArrayLike, start_h: ArrayLike, end_h: ArrayLike
) -> FloatArray:
    """Integral of the activity between two times, Σ c_i/λ_i (e^{−λ_i a} − e^{−λ_i b}); `end_h` may be infinite.

    Parameters
    ----------
    coefficient_MBq, rate_per_h
        Shape (..., component).
    start_h, end_h
        Shape broadcastable to (...), hours.

    Returns
    -------
    ndarray
        Shape (...), MBq·h.

    Raises
    ------
    PhysicsError
        If an interval ends before it starts, or starts before 0.
    """
    c, k, _ = _components(coefficient_MBq, rate_per_h)
    a, b = np.asarray(start_h, dtype=np.float64)[..., None], np.asarray(end_h, dtype=np.float64)[..., None]
    if np.isnan(a).any() or np.isnan(b).any() or (a < 0).any() or (b < a).any():
        raise PhysicsError(f"integral: found the interval {start_h!s} to {end_h!s} h; expected 0 ≤ start ≤ end")
    return np.asarray((c / k * (np.exp(-k * a) - np.exp(-k * b))).sum(axis=-1))


def terminal_rate_per_h(coefficient_MBq: ArrayLike, rate_per_h: ArrayLike) -> FloatArray:
    """Slowest effective rate among the components, shape (...); NaN where a curve has none."""
    _, k, real = _components(coefficient_MBq, rate_per_h)
    slowest = np.where(real, k, np.inf).min(axis=-1)
    return np.asarray(np.where(np.isfinite(slowest), slowest, np.nan))


def effective_half_life_h(coefficient_MBq: ArrayLike, rate_per_h: ArrayLike) -> FloatArray:
    """Effective half-life of the terminal phase, ln 2 / smallest λ_i, shape (...) in hours."""
    return np.asarray(LN2 / terminal_rate_per_h(coefficient_MBq, rate_per_h))


def extrapolated_fraction(coefficient_MBq: ArrayLike, rate_per_h: ArrayLike, last_h: ArrayLike) -> FloatArray:
    """Share of the time-integrated activity after the last measurement, ∫_last^∞ / ∫_0^∞, shape (...)."""
    total = time_integrated_activity(coefficient_MBq, rate_per_h)
    if (total <= 0.0).any():
        raise PhysicsError(
            "extrapolated fraction: found a time-integrated activity ≤ 0; expected a curve with activity"
        )
    return np.asarray(integral_between(coefficient_MBq, rate_per_h, last_h, np.inf) / total)
