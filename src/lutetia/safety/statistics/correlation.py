"""Rank correlation of subjects: pooled, in each arm, and within arms; intervals by bootstrap.

Not here: slopes (`association`), the compiled loop over resamples (`resampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, stdtr

from lutetia.safety.statistics.bootstrap import (
    RESAMPLES,
    bca_interval,
    percentile_interval,
    resample_indices,
)
from lutetia.safety.statistics.resampling import dense_ranks, spearman_of_rows
from lutetia.safety.statistics.results import LEVEL, IntArray, NotEstimable, Result, columns, labels_of
from lutetia.safety.statistics.rows import Rows, complete_rows

SPEARMAN = "Spearman's rank correlation of subjects"
WITHIN = "Spearman's rank correlation within arms, weighted by n − 1"
EXACT_PERMUTATION_N = 8
LEAST_N = 4


def spearman(
    x: ArrayLike, y: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Result | NotEstimable:
    """Rank correlation of subjects, with a bootstrap interval (BCa, else percentile) of resampled subjects.

    p from t = ρ√((n − 2)/(1 − ρ²)); up to 8 subjects from all permutations.

    Parameters
    ----------
    x, y
        One value a subject, shape (n,); pairs with a missing value are left out and counted.

    References
    ----------
    Spearman C., Am J Psychol 1904;15:72–101. Efron B., J Am Stat Assoc 1987;82:171–185.
    """
    pair = columns({"x": x, "y": y})
    rows = complete_rows(pair["x"], pair["y"], [""] * len(pair["x"]))
    n = len(rows.x)
    if refusal := _no_ranks(rows, n):
        return refusal
    a, b = dense_ranks(rows.x), dense_ranks(rows.y)
    everyone = np.arange(n, dtype=np.int32)
    rho = float(spearman_of_rows(a, b, everyone[None])[0])
    draws = spearman_of_rows(a, b, resample_indices(n, resamples, seed, "spearman"))
    without = np.array([np.delete(everyone, i) for i in range(n)], dtype=np.int32)
    interval, kind = bca_interval(rho, draws, spearman_of_rows(a, b, without), level=level), "BCa"
    if interval is None:
        interval, kind = percentile_interval(draws, level=level), "percentile"
    warnings = rows.warnings if interval is not None else (*rows.warnings, "no interval: too few resamples vary")
    p = _all_permutations_p(a, b, rho) if n <= EXACT_PERMUTATION_N else _t_p(rho, n)
    low, high = interval if interval is not None else (None, None)
    method = f"{SPEARMAN}, {kind} interval of {resamples} bootstrap resamples"
    return Result("Spearman's ρ", rho, low, high, p, n, method, level=level, warnings=warnings)


def spearman_by_arm(
    x: ArrayLike, y: ArrayLike, arm: Sequence[object], *, resamples: int = RESAMPLES, seed: int = 0,
    level: float = LEVEL,
) -> dict[str, Result | NotEstimable]:  # fmt: skip
    """`spearman` in every arm by itself."""
    pair = columns({"x": x, "y": y})
    names, index = labels_of(arm, "arm", len(pair["x"]))
    return {
        str(name): spearman(pair["x"][index == i], pair["y"][index == i], resamples=resamples, seed=seed, level=level)
        for i, name in enumerate(names)
    }


def spearman_within_arm(
    x: ArrayLike, y: ArrayLike, arm: Sequence[object], *, resamples: int = RESAMPLES, seed: int = 0,
    level: float = LEVEL,
) -> Result | NotEstimable:  # fmt: skip
    """Mean rank correlation within arms, ρ_w = Σ (n_a − 1) ρ_a / Σ (n_a − 1), free of differences between arms.

    When the ranks of an arm are permuted, ρ_a has variance 1/(n_a − 1) whatever the ties, so that
    z = ρ_w √Σ(n_a − 1). The interval resamples subjects within arms (percentile).

    Notes
    -----
    Arms below 3 subjects, or in which a variable does not vary, are left out and named.
    """
    rows = complete_rows(x, y, arm)
    parts = [(str(name), rows.x[rows.arm == i], rows.y[rows.arm == i]) for i, name in enumerate(rows.names)]
    used = [(a, b) for _, a, b in parts if len(a) >= 3 and np.ptp(a) > 0 and np.ptp(b) > 0]
    left_out = [name for name, a, b in parts if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0]
    warnings = rows.warnings + tuple(f"arm {name}: too few subjects or no variation, left out" for name in left_out)
    n = sum(len(a) for a, _ in used)
    if n < LEAST_N:
        return NotEstimable("no arm has enough subjects that vary", n, WITHIN)
    weight = np.array([len(a) - 1.0 for a, _ in used])
    found, draws = np.empty(len(used)), np.empty((len(used), resamples))
    for i, (a, b) in enumerate(used):
        ranks = dense_ranks(a), dense_ranks(b)
        found[i] = spearman_of_rows(*ranks, np.arange(len(a), dtype=np.int32)[None])[0]
        draws[i] = spearman_of_rows(*ranks, resample_indices(len(a), resamples, seed, "within arm", i))
    rho = float((weight * found).sum() / weight.sum())
    interval = percentile_interval((weight[:, None] * draws).sum(axis=0) / weight.sum(), level=level)
    if interval is None:
        warnings += ("no interval: too few resamples vary",)
    low, high = interval if interval is not None else (None, None)
    z = rho * float(np.sqrt(weight.sum()))
    method = f"{WITHIN}, percentile interval of {resamples} bootstrap resamples"
    return Result("Spearman's ρ within arms", rho, low, high, 2.0 * float(ndtr(-abs(z))), n, method, statistic=z,
                  level=level, warnings=warnings)  # fmt: skip


def _no_ranks(rows: Rows, n: int) -> NotEstimable | None:
    if n < LEAST_N:
        return NotEstimable(f"{n} subjects with both values; {LEAST_N} or more are needed", n, SPEARMAN)
    if np.ptp(rows.x) == 0.0 or np.ptp(rows.y) == 0.0:
        return NotEstimable("a variable does not vary", n, SPEARMAN)
    return None


def _t_p(rho: float, n: int) -> float:
    if abs(rho) >= 1.0:
        return 0.0
    return 2.0 * float(stdtr(n - 2, -abs(rho) * np.sqrt((n - 2) / (1.0 - rho * rho))))


def _all_permutations_p(a: NDArray[np.int32], b: NDArray[np.int32], rho: float) -> float:
    """Share of all permutations with |ρ| at least as large."""
    x, y = _doubled_midranks(a), _doubled_midranks(b)
    shuffled = y[np.array(list(permutations(range(len(y)))))]
    products = np.abs((x * shuffled).sum(axis=1))
    return float((products >= abs(int((x * y).sum()))).mean())


def _doubled_midranks(dense: NDArray[np.int32]) -> IntArray:
    count = np.bincount(dense)
    below = np.cumsum(count) - count
    return np.asarray((2 * below + count + 1)[dense] - len(dense) - 1, dtype=np.int64)
