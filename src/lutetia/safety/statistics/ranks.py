"""Exact null distributions of rank statistics, ties included, by counting in whole numbers.

Twice a mid-rank is a whole number, so every distribution is an array indexed by twice the rank sum.
Not here: the tests and intervals that use them (`groups`).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import rankdata

from lutetia.safety.statistics.results import FloatArray, IntArray

EXACT_RANK_SUM_N = 60


def twice_ranks(values: FloatArray) -> IntArray:
    """Twice the mid-ranks, whole numbers."""
    return np.rint(2.0 * rankdata(values)).astype(np.int64)


def signed_rank_distribution(twice: IntArray) -> FloatArray:
    """Probabilities of twice the sum of positive ranks when every sign is a fair coin, index = twice the sum."""
    found = np.zeros(int(twice.sum()) + 1)
    found[0] = 1.0
    for rank in twice:
        moved = np.zeros_like(found)
        moved[rank:] = found[: len(found) - rank]
        found = 0.5 * (found + moved)
    return found


def rank_sum_distribution(twice: IntArray, size: int) -> FloatArray:
    """Probabilities of twice the rank sum of `size` of the values drawn at random, index = twice the sum.

    chosen[k] is the distribution given that k of the values so far were drawn, weighted by the number of ways over
    the number of all ways, which stays below 1.
    """
    total = int(twice.sum())
    ways = np.zeros((size + 1, total + 1))
    ways[0, 0] = 1.0
    for used, rank in enumerate(twice, start=1):
        for k in range(min(size, used), 0, -1):
            ways[k, rank:] += ways[k - 1, : total + 1 - rank]
        # Halved at each step so that 2^n ways never overflow; the scale cancels.
        ways *= 0.5
    return np.asarray(ways[size] / ways[size].sum())


def two_sided(distribution: FloatArray, observed: int) -> float:
    """Two-sided p-value: twice the smaller tail with the observed value, at most 1."""
    lower = math.fsum(distribution[: observed + 1])
    upper = math.fsum(distribution[observed:])
    return min(1.0, 2.0 * min(lower, upper))


def lower_count(distribution: FloatArray, tail: float) -> int:
    """Largest k with P(X < k) ≤ tail, X of an index-valued distribution; 0 where none is positive."""
    below = np.cumsum(distribution)
    return int(np.searchsorted(below, tail * (1.0 + 1e-12), side="right"))
