"""Compiled loops over resamples for statistics of ranks, in whole numbers.

Subjects are sorted once; a resample is how often each of them was drawn, and its mid-ranks follow from running sums of
those counts, so that nothing is sorted again. Twice a mid-rank is a whole number: sums are exact, whatever their order.
Not here: drawing (`bootstrap`), intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from lutetia.safety.statistics.results import FloatArray

Function = TypeVar("Function", bound=Callable[..., Any])


def _compiled(function: Function) -> Function:
    """Compile with numba, keeping the static type; the machine code is cached beside the module."""
    return cast(Function, njit(cache=True, nogil=True, error_model="numpy")(function))


def dense_ranks(values: FloatArray) -> NDArray[np.int32]:
    """0, 1, 2, … in the order of the values; equal values share a number."""
    return np.unique(values, return_inverse=True)[1].astype(np.int32)


@_compiled
def _twice_midranks(counts: NDArray[np.int64], twice: NDArray[np.int64]) -> None:
    """Twice the mid-rank of every distinct value from how often it occurs, into `twice`."""
    below = 0
    for k in range(len(counts)):
        twice[k] = 2 * below + counts[k] + 1
        below += counts[k]


@_compiled
def spearman_of_rows(x: NDArray[np.int32], y: NDArray[np.int32], rows: NDArray[np.int32]) -> FloatArray:
    """Spearman's ρ of every set of rows.

    Parameters
    ----------
    x, y
        Dense ranks of the subjects, shape (n,).
    rows
        Subjects of each set, shape (set, m).

    Returns
    -------
    Shape (set,); NaN where a variable does not vary.
    """
    sets, m = rows.shape
    n_x, n_y = x.max() + 1, y.max() + 1
    count_x, count_y = np.zeros(n_x, dtype=np.int64), np.zeros(n_y, dtype=np.int64)
    twice_x, twice_y = np.empty(n_x, dtype=np.int64), np.empty(n_y, dtype=np.int64)
    drawn = np.zeros(len(x), dtype=np.int64)
    found = np.empty(sets, dtype=np.float64)
    for b in range(sets):
        drawn[:] = 0
        for j in range(m):
            drawn[rows[b, j]] += 1
        count_x[:] = 0
        count_y[:] = 0
        for i in range(len(x)):
            count_x[x[i]] += drawn[i]
            count_y[y[i]] += drawn[i]
        _twice_midranks(count_x, twice_x)
        _twice_midranks(count_y, twice_y)
        xx, yy, xy = 0, 0, 0
        for i in range(len(x)):
            if drawn[i]:
                dx, dy = twice_x[x[i]] - m - 1, twice_y[y[i]] - m - 1
                xx += drawn[i] * dx * dx
                yy += drawn[i] * dy * dy
                xy += drawn[i] * dx * dy
        found[b] = xy / np.sqrt(float(xx) * float(yy)) if xx > 0 and yy > 0 else np.nan
    return found


@_compiled
def kruskal_of_rows(value: NDArray[np.int32], group: NDArray[np.int32], rows: NDArray[np.int32]) -> FloatArray:
    """Kruskal–Wallis H, corrected for ties, of every set of rows; each row keeps the group of its place.

    Parameters
    ----------
    value
        Dense ranks, shape (n,).
    group
        Group of each place of a set, shape (m,).
    rows
        Shape (set, m): resampled or permuted subjects.
    """
    sets, m = rows.shape
    groups = group.max() + 1
    distinct = value.max() + 1
    count, twice = np.zeros(distinct, dtype=np.int64), np.empty(distinct, dtype=np.int64)
    size, total = np.zeros(groups, dtype=np.int64), np.zeros(groups, dtype=np.int64)
    for j in range(m):
        size[group[j]] += 1
    found = np.empty(sets, dtype=np.float64)
    for b in range(sets):
        count[:] = 0
        total[:] = 0
        for j in range(m):
            count[value[rows[b, j]]] += 1
        _twice_midranks(count, twice)
        for j in range(m):
            total[group[j]] += twice[value[rows[b, j]]] - m - 1
        ties = 0
        for k in range(distinct):
            ties += count[k] ** 3 - count[k]
        between = 0.0
        for g in range(groups):
            between += float(total[g]) * float(total[g]) / float(size[g])
        shrink = 1.0 - ties / (float(m) ** 3 - m)
        found[b] = 3.0 * between / (m * (m + 1.0)) / shrink if shrink > 1e-12 else np.nan
    return found
