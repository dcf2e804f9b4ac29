"""Bootstrap: seeded resamples, and the intervals made of them.

Resamples depend on the seed and the names only, and callers sort their subjects first, so that no interval depends on
the order of rows. Sums are of integers or by numpy's own loops, never by a linear-algebra kernel.
Not here: the statistics that are resampled; the compiled loops over resamples (`resampling`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from lutetia.core.draws import stream
from lutetia.errors import InputError
from lutetia.safety.statistics.results import LEVEL, FloatArray

RESAMPLES = 10_000
USABLE_SHARE = 0.95
IndexArray = NDArray[np.int32]


def resample_indices(n: int, resamples: int, seed: int, *names: str | int) -> IndexArray:
    """Rows drawn with replacement, shape (resample, n).

    Raises
    ------
    InputError
        For no rows or no resamples.
    """
    if n < 1 or resamples < 1:
        raise InputError(f"bootstrap: found {resamples} resamples of {n} rows; expected 1 or more of both")
    return stream(seed, "bootstrap", *names).integers(0, n, size=(resamples, n), dtype=np.int32)


def stratified_indices(sizes: list[int], resamples: int, seed: int, *names: str | int) -> IndexArray:
    """Rows drawn with replacement within each stratum; strata are consecutive rows, shape (resample, Σ sizes)."""
    parts, first = [], 0
    for i, size in enumerate(sizes):
        parts.append(resample_indices(size, resamples, seed, *names, i) + np.int32(first))
        first += size
    return np.concatenate(parts, axis=1)


def percentile_interval(draws: FloatArray, *, level: float = LEVEL) -> tuple[float, float] | None:
    """Central interval of the finite draws; None where fewer than 95 % of the draws are finite."""
    kept = usable(draws)
    if kept is None:
        return None
    low, high = np.quantile(kept, [0.5 - level / 2.0, 0.5 + level / 2.0])
    return float(low), float(high)


def bca_interval(
    estimate: float, draws: FloatArray, left_out: FloatArray, *, level: float = LEVEL
) -> tuple[float, float] | None:
    """Bias-corrected and accelerated interval; None where it is undefined.

    z₀ = Φ⁻¹(share of draws below the estimate, ties by half), a = Σd³ / (6 (Σd²)^1.5) with d the mean less each
    leave-one-out value; the ends are the draws' quantiles at Φ(z₀ + (z₀ + z)/(1 − a(z₀ + z))).

    Parameters
    ----------
    estimate
        The statistic of the data.
    draws
        The statistic of every resample, shape (resample,).
    left_out
        The statistic without each subject in turn, shape (subject,).

    References
    ----------
    Efron B., J Am Stat Assoc 1987;82:171–185.
    """
    kept = usable(draws)
    if kept is None or not np.isfinite(left_out).all():
        return None
    tolerance = 1e-12 * max(1.0, abs(estimate))
    below = (kept < estimate - tolerance).mean() + 0.5 * (np.abs(kept - estimate) <= tolerance).mean()
    d = left_out.mean() - left_out
    spread = float((d**2).sum())
    if not 0.0 < below < 1.0 or spread <= 0.0:
        return None
    z0, a = float(ndtri(below)), float((d**3).sum()) / (6.0 * spread**1.5)
    z = ndtri(np.array([0.5 - level / 2.0, 0.5 + level / 2.0])) + z0
    if (1.0 - a * z <= 0.0).any():
        return None
    low, high = np.quantile(kept, ndtr(z0 + z / (1.0 - a * z)))
    return float(low), float(high)


def usable(draws: FloatArray) -> FloatArray | None:
    """The finite draws, sorted; None where fewer than 95 % are finite."""
    finite = np.sort(draws[np.isfinite(draws)])
    return finite if finite.size >= USABLE_SHARE * draws.size and finite.size else None


def bootstrap_interval(
    statistic: Callable[[FloatArray], FloatArray],
    values: FloatArray,
    seed: int,
    *names: str | int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> tuple[float, float] | None:
    """Percentile interval of a statistic of one sample.

    Parameters
    ----------
    statistic
        From (resample, n) to (resample,).
    values
        Shape (n,), without missing values; their order does not matter.
    """
    ordered = np.sort(values)
    return percentile_interval(statistic(ordered[resample_indices(len(ordered), resamples, seed, *names)]), level=level)
