"""Proportions with exact intervals, differences of two, and the exact test of a table of counts.

Not here: shift tables (`categories`), stopping rules (`boundaries`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import betaincinv, ndtr, ndtri
from scipy.stats import hypergeom

from lutetia.core.draws import stream
from lutetia.errors import InputError
from lutetia.safety.statistics.results import LEVEL, FloatArray, IntArray, NotEstimable, Result, interval_of

CLOPPER = "Clopper–Pearson interval"
FREEMAN = "Fisher–Freeman–Halton exact test"
NEWCOMBE = "Newcombe's hybrid score interval"
MIETTINEN = "Miettinen–Nurminen score interval"
MOST_NODES = 20_000
PERMUTATIONS = 100_000


def clopper_pearson(events: int, n: int, *, level: float = LEVEL) -> Result | NotEstimable:
    """Proportion with its exact interval: quantiles of Beta(x, n − x + 1) and Beta(x + 1, n − x).

    Raises
    ------
    InputError
        For counts that are negative or more events than subjects.

    References
    ----------
    Clopper C.J., Pearson E.S., Biometrika 1934;26:404–413.
    """
    _check(events, n)
    if not n:
        return NotEstimable("no subjects", 0, CLOPPER)
    tail = 0.5 - level / 2.0
    low = 0.0 if events == 0 else float(betaincinv(events, n - events + 1, tail))
    high = 1.0 if events == n else float(betaincinv(events + 1, n - events, 1.0 - tail))
    return Result("proportion", events / n, low, high, None, n, CLOPPER, level=level)


def wilson(events: int, n: int, *, level: float = LEVEL) -> Result | NotEstimable:
    """Proportion with Wilson's score interval, the roots of (p̂ − p)² = z² p(1 − p)/n.

    References
    ----------
    Wilson E.B., J Am Stat Assoc 1927;22:209–212.
    """
    _check(events, n)
    if not n:
        return NotEstimable("no subjects", 0, "Wilson's score interval")
    z, share = float(ndtri(0.5 + level / 2.0)), events / n
    centre = 2.0 * n * share + z * z
    spread = z * math.sqrt(z * z + 4.0 * n * share * (1.0 - share))
    low, high = ((centre + sign * spread) / (2.0 * (n + z * z)) for sign in (-1.0, 1.0))
    low, high = (0.0 if events == 0 else low), (1.0 if events == n else high)
    return Result("proportion", share, low, high, None, n, "Wilson's score interval", level=level)


def difference_newcombe(
    events_1: int, n_1: int, events_2: int, n_2: int, *, level: float = LEVEL
) -> Result | NotEstimable:
    """Difference of two proportions p₁ − p₂ from the two Wilson intervals; p of Fisher's exact test.

    References
    ----------
    Newcombe R.G., Stat Med 1998;17:873–890, method 10.
    """
    first, second = wilson(events_1, n_1, level=level), wilson(events_2, n_2, level=level)
    if isinstance(first, NotEstimable) or isinstance(second, NotEstimable):
        return NotEstimable("a group has no subjects", n_1 + n_2, NEWCOMBE)
    a, b = first.estimate, second.estimate
    (low_1, high_1), (low_2, high_2) = interval_of(first), interval_of(second)
    low = a - b - math.hypot(a - low_1, high_2 - b)
    high = a - b + math.hypot(high_1 - a, b - low_2)
    p = fisher_exact(events_1, n_1, events_2, n_2)
    return Result("difference of proportions", a - b, low, high, p, n_1 + n_2, NEWCOMBE, level=level)


def difference_miettinen_nurminen(
    events_1: int, n_1: int, events_2: int, n_2: int, *, level: float = LEVEL
) -> Result | NotEstimable:
    """Difference p₁ − p₂ with the interval of differences that the score test does not reject; p of that test at 0.

    z(δ) = (p̂₁ − p̂₂ − δ)/√((p̃₁(1 − p̃₁)/n₁ + p̃₂(1 − p̃₂)/n₂)·N/(N − 1)), p̃ the likelihood's maximum under δ.

    References
    ----------
    Miettinen O., Nurminen M., Stat Med 1985;4:213–226.
    """
    _check(events_1, n_1)
    _check(events_2, n_2)
    if not n_1 or not n_2:
        return NotEstimable("a group has no subjects", n_1 + n_2, MIETTINEN)
    z = float(ndtri(0.5 + level / 2.0))
    estimate, edge = events_1 / n_1 - events_2 / n_2, 1.0 - 1e-12

    def score(delta: float) -> float:
        return _score(delta, events_1, n_1, events_2=events_2, n_2=n_2)

    low = -1.0 if score(-edge) < z else float(brentq(lambda d: score(d) - z, -edge, estimate, xtol=1e-14))
    high = 1.0 if score(edge) > -z else float(brentq(lambda d: score(d) + z, estimate, edge, xtol=1e-14))
    p = 2.0 * float(ndtr(-abs(score(0.0)))) if 0 < events_1 + events_2 < n_1 + n_2 else 1.0
    return Result("difference of proportions", estimate, low, high, p, n_1 + n_2, MIETTINEN, level=level)


def fisher_exact(events_1: int, n_1: int, events_2: int, n_2: int) -> float:
    """Two-sided p of Fisher's exact test: the sum of all probabilities not above that of the table."""
    _check(events_1, n_1)
    _check(events_2, n_2)
    total = events_1 + events_2
    values = np.arange(max(0, total - n_2), min(n_1, total) + 1)
    probability = hypergeom.pmf(values, n_1 + n_2, total, n_1)
    return min(1.0, float(probability[probability <= probability[events_1 - values[0]] * (1.0 + 1e-7)].sum()))


def freeman_halton(table: ArrayLike, *, seed: int = 0, most_nodes: int = MOST_NODES) -> Result | NotEstimable:
    """Exact test of independence in a table of r × c counts: the sum of P(T) over tables with P(T) ≤ P(observed).

    The probabilities of tables with the same margins are proportional to Π 1/xᵢⱼ!. They are summed exactly, in whole
    numbers, column by column: partial tables that leave the same row sums and have the same weight are one node. Above
    `most_nodes` nodes the p-value comes from 100,000 seeded permutations and the method says so.

    Parameters
    ----------
    table
        Whole counts, shape (r, c). Rows and columns without counts are left out.

    Raises
    ------
    InputError
        For anything but a table of whole, non-negative numbers.

    References
    ----------
    Freeman G.H., Halton J.H., Biometrika 1951;38:141–149. Pagano M., Halvorsen K.T., J Am Stat Assoc 1981;76:931–934.
    """
    counts = _counts(table)
    n = int(counts.sum())
    reduced = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    if reduced.ndim != 2 or min(reduced.shape) < 2:
        return NotEstimable("fewer than two rows or two columns have counts", n, FREEMAN)
    if reduced.shape[0] > reduced.shape[1]:
        reduced = reduced.T
    if (p := _exact_p(reduced, most_nodes)) is not None:
        return Result("independence", p, None, None, p, n, FREEMAN)
    p = _permuted_p(reduced, seed)
    error = math.sqrt(p * (1.0 - p) / PERMUTATIONS)
    return Result(
        "independence", p, None, None, p, n, f"{FREEMAN}, by {PERMUTATIONS} random permutations",
        warnings=(f"the table is too large to enumerate; the p-value has a standard error of {error:.2g}",),
    )  # fmt: skip


def _exact_p(table: IntArray, most_nodes: int) -> float | None:
    """Sum over the tables; None where there are more nodes than allowed. Weights are products of binomials."""
    rows = tuple(int(v) for v in table.sum(axis=1))
    sums = [int(v) for v in table.sum(axis=0)]
    order = sorted(range(len(sums)), key=lambda j: -sums[j])
    observed, remaining = 1, rows
    for j in order[:-1]:
        column = tuple(int(v) for v in table[:, j])
        observed *= _ways(remaining, column)
        remaining = tuple(a - b for a, b in zip(remaining, column, strict=True))
    # A node is (rows left, sorted, and the weight so far); its value is how many ordered paths lead to it.
    nodes: dict[tuple[tuple[int, ...], int], int] = {(tuple(sorted(rows)), 1): 1}
    for j in order[:-1]:
        following: dict[tuple[tuple[int, ...], int], int] = defaultdict(int)
        for (left, weight), paths in nodes.items():
            for column, ways in _columns(left, sums[j]):
                after = tuple(sorted(a - b for a, b in zip(left, column, strict=True)))
                following[after, weight * ways] += paths
            if len(following) > most_nodes:
                return None
        nodes = following
    total = sum(weight * paths for (_, weight), paths in nodes.items())
    extreme = sum(weight * paths for (_, weight), paths in nodes.items() if weight <= observed)
    return extreme / total


def _ways(left: Sequence[int], column: Sequence[int]) -> int:
    return math.prod(math.comb(a, b) for a, b in zip(left, column, strict=True))


@cache
def _columns(left: tuple[int, ...], total: int) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Every column with the given sum that fits into what is left of the rows, and its weight Π C(left, x)."""
    return tuple((column, _ways(left, column)) for column in _fitting(left, total))


def _fitting(left: Sequence[int], total: int) -> Iterator[tuple[int, ...]]:
    if len(left) == 1:
        if total <= left[0]:
            yield (total,)
        return
    rest = sum(left[1:])
    for first in range(max(0, total - rest), min(left[0], total) + 1):
        for others in _fitting(left[1:], total - first):
            yield (first, *others)


def _permuted_p(table: IntArray, seed: int) -> float:
    """Share of permutations at most as probable as the table, the data counted as one of them."""
    r, c = table.shape
    row = np.repeat(np.arange(r), table.sum(axis=1))
    column = np.repeat(np.tile(np.arange(c), r), table.ravel())
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, table.sum() + 1)))])
    observed = log_factorial[table].sum()
    generator, below, step = stream(seed, "freeman-halton"), 0, 10_000
    for _ in range(PERMUTATIONS // step):
        shuffled = generator.permuted(np.broadcast_to(column, (step, len(column))), axis=1)
        place = np.arange(step)[:, None] * (r * c) + row * c + shuffled
        cells = np.bincount(place.ravel(), minlength=step * r * c).reshape(step, -1)
        below += int((log_factorial[cells].sum(axis=1) >= observed - 1e-7).sum())
    return (below + 1) / (PERMUTATIONS + 1)


def _score(delta: float, events_1: int, n_1: int, *, events_2: int, n_2: int) -> float:
    """Score statistic of a difference δ; the restricted maximum solves a cubic (their appendix)."""
    total, events = n_1 + n_2, events_1 + events_2
    c3, c2 = float(total), (n_1 + 2 * n_2) * delta - total - events
    c1 = (n_2 * delta - total - 2 * events_2) * delta + events
    c0 = events_2 * delta * (1.0 - delta)
    q = c2**3 / (3.0 * c3) ** 3 - c1 * c2 / (6.0 * c3**2) + c0 / (2.0 * c3)
    s = math.copysign(math.sqrt(max(0.0, c2**2 / (3.0 * c3) ** 2 - c1 / (3.0 * c3))), q)
    angle = (math.pi + math.acos(max(-1.0, min(1.0, q / s**3 if s else 0.0)))) / 3.0
    p2 = min(1.0, max(0.0, 2.0 * s * math.cos(angle) - c2 / (3.0 * c3)))
    p1 = min(1.0, max(0.0, p2 + delta))
    variance = (p1 * (1.0 - p1) / n_1 + p2 * (1.0 - p2) / n_2) * total / (total - 1.0)
    distance = events_1 / n_1 - events_2 / n_2 - delta
    if variance <= 0.0:
        return 0.0 if abs(distance) < 1e-12 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def _check(events: int, n: int) -> None:
    if not 0 <= events <= n:
        raise InputError(f"proportion: found {events} events of {n} subjects; expected 0 ≤ events ≤ subjects")


def _counts(table: ArrayLike) -> IntArray:
    values: FloatArray = np.asarray(table, dtype=np.float64)
    if values.ndim != 2 or not np.isfinite(values).all() or (values < 0).any() or (values != np.rint(values)).any():
        raise InputError(f"table of counts: found {np.asarray(table).tolist()}; expected whole numbers ≥ 0 in rows")
    return values.astype(np.int64)
