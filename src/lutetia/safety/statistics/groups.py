"""Comparisons of groups and of two occasions by ranks, medians with intervals, and Hodges–Lehmann estimates.

Not here: models (`mixed`, `association`), counts (`proportions`). To add a comparison: a function that takes plain
arrays and returns a `Result` or `NotEstimable`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import chdtrc, ndtr, ndtri
from scipy.stats import binom, rankdata

from lutetia.core.draws import stream
from lutetia.errors import InputError
from lutetia.safety.statistics import ranks
from lutetia.safety.statistics.bootstrap import RESAMPLES, bootstrap_interval, percentile_interval, stratified_indices
from lutetia.safety.statistics.resampling import dense_ranks, kruskal_of_rows
from lutetia.safety.statistics.results import (
    LEVEL,
    FloatArray,
    NotEstimable,
    Result,
    columns,
    holm,
    missing_warning,
    values_of,
)

KRUSKAL = "Kruskal–Wallis test (tie-corrected), ε² with bootstrap interval"
DUNN = "Dunn's test (tie-corrected), Holm-adjusted"
SIGNED_RANK = "Wilcoxon signed-rank test (exact), Hodges–Lehmann estimate"
RANK_SUM = "Wilcoxon rank-sum test, Hodges–Lehmann shift"
SMALL_GROUP = 5


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Kruskal–Wallis test of several groups.

    `epsilon2` = H/(n − 1) lies between 0 and 1; `low` and `high` are its bootstrap interval. `sizes` are the groups' n.
    """

    h: float
    df: int
    p: float
    epsilon2: float
    low: float | None
    high: float | None
    n: int
    sizes: tuple[tuple[str, int], ...]
    method: str
    level: float = LEVEL
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PairComparison:
    """One pair of Dunn's test: z and p, adjusted p, and the shift first − second with its interval."""

    first: str
    second: str
    z: float
    p: float
    p_adjusted: float
    shift: Result | NotEstimable
    n: int
    method: str = DUNN
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Groups:
    names: tuple[str, ...]
    values: tuple[FloatArray, ...]
    empty: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def n(self) -> int:
        return sum(len(v) for v in self.values)


def kruskal_wallis(
    groups: Mapping[str, ArrayLike], *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> GroupComparison | NotEstimable:
    """Whether several groups differ: H by ranks, and the effect size ε² = H/(n − 1).

    H = 12/(n(n + 1)) Σ nᵢ (R̄ᵢ − (n + 1)/2)², divided by 1 − Σ(t³ − t)/(n³ − n) for ties of t values. p from χ² with
    k − 1 degrees of freedom; with a group below 5, from random permutations of the group labels. The interval resamples
    subjects within their groups; ε² is ≥ 0 by construction, so that its lower end does not show absence of an effect.

    Parameters
    ----------
    groups
        Values by name of group; missing values are left out and counted, groups without values are named.

    References
    ----------
    Kruskal W.H., Wallis W.A., J Am Stat Assoc 1952;47:583–621. Tomczak M., Tomczak E., Trends Sport Sci 2014;1:19–25.
    """
    found = _groups(groups)
    if refusal := _refusal(found, KRUSKAL):
        return refusal
    value, group = dense_ranks(np.concatenate(found.values)), _places(found)
    sizes = [len(v) for v in found.values]
    h = float(kruskal_of_rows(value, group, np.arange(found.n, dtype=np.int32)[None])[0])
    df, n = len(sizes) - 1, found.n
    draws = kruskal_of_rows(value, group, stratified_indices(sizes, resamples, seed, "kruskal")) / (n - 1.0)
    interval = percentile_interval(draws, level=level)
    warnings = list(found.warnings)
    method, p = KRUSKAL, float(chdtrc(df, h))
    if min(sizes) < SMALL_GROUP:
        method = f"{KRUSKAL}; p by {resamples} permutations (a group has fewer than {SMALL_GROUP} subjects)"
        p = _permuted_p(value, group, h, resamples, seed)
    if min(sizes) == 1:
        warnings.append("a group has one subject: its spread is unknown")
    if interval is None:
        warnings.append("ε²: no interval (too many resamples without variation)")
    low, high = interval if interval is not None else (None, None)
    return GroupComparison(
        h, df, p, h / (n - 1.0), low, high, n, tuple(zip(found.names, sizes, strict=True)), method, level,
        tuple(warnings),
    )  # fmt: skip


def dunn_holm(groups: Mapping[str, ArrayLike], *, level: float = LEVEL) -> tuple[PairComparison, ...] | NotEstimable:
    """Every pair of groups on the ranks of all of them, with Holm's adjustment.

    z = (R̄ᵢ − R̄ⱼ)/√(σ²(1/nᵢ + 1/nⱼ)), σ² = n(n + 1)/12 − Σ(t³ − t)/(12(n − 1)).

    References
    ----------
    Dunn O.J., Technometrics 1964;6:241–252.
    """
    found = _groups(groups)
    if refusal := _refusal(found, DUNN):
        return refusal
    pooled, n = np.concatenate(found.values), found.n
    rank = np.split(rankdata(pooled), np.cumsum([len(v) for v in found.values])[:-1])
    variance = n * (n + 1.0) / 12.0 - _ties(pooled) / (12.0 * (n - 1.0))
    pairs = list(combinations(range(len(rank)), 2))
    z = [
        float((rank[i].mean() - rank[j].mean()) / np.sqrt(variance * (1.0 / len(rank[i]) + 1.0 / len(rank[j]))))
        for i, j in pairs
    ]
    p = [2.0 * float(ndtr(-abs(value))) for value in z]
    return tuple(
        PairComparison(
            found.names[i], found.names[j], z[k], p[k], adjusted,
            rank_sum(found.values[i], found.values[j], level=level), len(rank[i]) + len(rank[j]),
            warnings=found.warnings,
        )
        for k, ((i, j), adjusted) in enumerate(zip(pairs, holm(p), strict=True))
    )  # fmt: skip


def rank_sum(first: ArrayLike, second: ArrayLike, *, level: float = LEVEL) -> Result | NotEstimable:
    """Two groups: rank-sum test, and the Hodges–Lehmann shift (median of all differences first − second).

    p is exact given the ties up to 60 subjects, else normal with tie and continuity correction. The interval is made of
    order statistics of the differences at the exact quantile of the rank sum (conservative with ties).

    References
    ----------
    Hodges J.L., Lehmann E.L., Ann Math Statist 1963;34:598–611. Hollander M., Wolfe D.A., Chicken E., Nonparametric
    Statistical Methods, 3rd ed., Wiley 2014, chapter 4.
    """
    a, missing_a = values_of(first, "first group")
    b, missing_b = values_of(second, "second group")
    m, n = len(a), len(b)
    if not m or not n:
        return NotEstimable("a group has no values", m + n, RANK_SUM)
    differences = np.sort(np.subtract.outer(a, b), axis=None)
    twice = ranks.twice_ranks(np.concatenate([a, b]))
    exact = m + n <= ranks.EXACT_RANK_SUM_N
    p = _exact_rank_sum(twice, m) if exact else _normal_rank_sum(twice, m)
    warnings = missing_a + missing_b
    low = high = None
    if count := _rank_sum_count(m, n, 0.5 - level / 2.0):
        low, high = float(differences[count - 1]), float(differences[m * n - count])
    else:
        warnings += (f"shift: {m} and {n} values are too few for a {100 * level:g} % interval",)
    method = f"{RANK_SUM} ({'exact' if exact else 'normal approximation'})"
    statistic = float(twice[:m].sum()) / 2.0
    return Result(
        "shift", float(np.median(differences)), low, high, p, m + n, method, statistic=statistic, level=level,
        warnings=warnings,
    )  # fmt: skip


def paired_wilcoxon(before: ArrayLike, after: ArrayLike, *, level: float = LEVEL) -> Result | NotEstimable:
    """Change within subjects: signed-rank test of after − before, and the Hodges–Lehmann estimate (pseudo-median).

    The estimate is the median of the Walsh averages (dᵢ + dⱼ)/2; the interval their order statistics at the exact
    quantile of the signed-rank sum. p is exact given the ties; pairs without a change are left out of the test.

    References
    ----------
    Wilcoxon F., Biometrics Bull 1945;1:80–83. Hollander M., Wolfe D.A., Chicken E., 2014, chapter 3.
    """
    pair = columns({"before": before, "after": after})
    use = np.isfinite(pair["after"]) & np.isfinite(pair["before"])
    warnings = missing_warning(int((~use).sum()), "pairs")
    change = pair["after"][use] - pair["before"][use]
    n = len(change)
    if n < 2:
        return NotEstimable(f"{n} pair{'' if n == 1 else 's'} with both values; 2 or more are needed", n, SIGNED_RANK)
    moved = change[change != 0.0]
    if len(moved) < n:
        warnings += (f"{n - len(moved)} pairs without a change left out of the test",)
    if not len(moved):
        return NotEstimable("no pair changed", n, SIGNED_RANK)
    twice = ranks.twice_ranks(np.abs(moved))
    observed = int(twice[moved > 0].sum())
    p = ranks.two_sided(ranks.signed_rank_distribution(twice), observed)
    i, j = np.triu_indices(n)
    walsh = np.sort(0.5 * (change[i] + change[j]))
    count = ranks.lower_count(ranks.signed_rank_distribution(2 * np.arange(1, n + 1))[::2], 0.5 - level / 2.0)
    low = high = None
    if count:
        low, high = float(walsh[count - 1]), float(walsh[len(walsh) - count])
    else:
        warnings += (f"{n} pairs are too few for a {100 * level:g} % interval",)
    return Result(
        "change", float(np.median(walsh)), low, high, p, n, SIGNED_RANK, statistic=observed / 2.0, level=level,
        warnings=warnings,
    )  # fmt: skip


def paired_wilcoxon_by_group(
    pairs: Mapping[str, tuple[ArrayLike, ArrayLike]], *, level: float = LEVEL
) -> dict[str, Result | NotEstimable]:
    """`paired_wilcoxon` within every group, adjusted by Holm over the groups that can be tested.

    Parameters
    ----------
    pairs
        (before, after) by name of group.
    """
    found = {name: paired_wilcoxon(before, after, level=level) for name, (before, after) in pairs.items()}
    return adjust_holm(found)


def adjust_holm(results: Mapping[str, Result | NotEstimable]) -> dict[str, Result | NotEstimable]:
    """The results of one family with `p_adjusted`; what cannot be estimated does not count."""
    tested = {name: r.p for name, r in results.items() if isinstance(r, Result) and r.p is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {
        name: replace(r, p_adjusted=adjusted[name]) if isinstance(r, Result) and name in adjusted else r
        for name, r in results.items()
    }


def median_exact(values: ArrayLike, *, level: float = LEVEL) -> Result | NotEstimable:
    """Median with the exact interval between order statistics k and n + 1 − k, P(Bin(n, ½) < k) ≤ (1 − level)/2.

    The interval exists from 6 values at 95 %; below, there is none and a warning says so.

    References
    ----------
    David H.A., Nagaraja H.N., Order Statistics, 3rd ed., Wiley 2003, section 7.1.
    """
    found, warnings = values_of(values, "values")
    n, method = len(found), "median with exact interval of order statistics"
    if not n:
        return NotEstimable("no values", 0, method)
    ordered = np.sort(found)
    k = int((binom.cdf(np.arange(n), n, 0.5) <= (0.5 - level / 2.0) * (1.0 + 1e-12)).sum())
    low = high = None
    if k:
        low, high = float(ordered[k - 1]), float(ordered[n - k])
    else:
        warnings += (f"{n} value{'s are' if n > 1 else ' is'} too few for a {100 * level:g} % interval of the median",)
    return Result("median", float(np.median(ordered)), low, high, None, n, method, level=level, warnings=warnings)


def median_bootstrap(
    values: ArrayLike, *, resamples: int = RESAMPLES, seed: int = 0, level: float = LEVEL
) -> Result | NotEstimable:
    """Median with a percentile bootstrap interval; below 6 values the interval is too short and a warning says so."""
    found, warnings = values_of(values, "values")
    n, method = len(found), f"median with percentile interval of {resamples} bootstrap resamples"
    if not n:
        return NotEstimable("no values", 0, method)
    if n == 1:
        low = high = None
        warnings += ("1 value has no interval",)
    else:
        interval = bootstrap_interval(
            lambda rows: np.asarray(np.median(rows, axis=1)), found, seed, "median", resamples=resamples, level=level
        )
        low, high = interval if interval is not None else (None, None)
        if n < 6:
            warnings += (f"{n} values: a bootstrap interval of so few is too short",)
    return Result("median", float(np.median(found)), low, high, None, n, method, level=level, warnings=warnings)


def _groups(groups: Mapping[str, ArrayLike]) -> _Groups:
    if len(groups) < 2:
        raise InputError(f"comparison of groups: found {len(groups)} group; expected 2 or more")
    names: list[str] = []
    values: list[FloatArray] = []
    empty: list[str] = []
    warnings: list[str] = []
    for name, given in groups.items():
        finite, missing = values_of(given, f"group {name}")
        warnings += missing
        if len(finite):
            names.append(name)
            values.append(np.sort(finite))
        else:
            empty.append(name)
            warnings.append(f"group {name} has no values")
    return _Groups(tuple(names), tuple(values), tuple(empty), tuple(warnings))


def _refusal(found: _Groups, method: str) -> NotEstimable | None:
    if len(found.values) < 2:
        return NotEstimable(f"fewer than two groups have values (without: {', '.join(found.empty)})", found.n, method)
    if found.n < 3:
        return NotEstimable(f"{found.n} values in all; 3 or more are needed", found.n, method)
    if np.ptp(np.concatenate(found.values)) == 0.0:
        return NotEstimable("all values are equal", found.n, method)
    return None


def _places(found: _Groups) -> NDArray[np.int32]:
    return np.repeat(np.arange(len(found.values), dtype=np.int32), [len(v) for v in found.values])


def _permuted_p(value: NDArray[np.int32], group: NDArray[np.int32], h: float, permutations: int, seed: int) -> float:
    """Share of permutations with H at least as large, the data counted as one of them."""
    rows = np.broadcast_to(np.arange(len(value), dtype=np.int32), (permutations, len(value)))
    drawn = kruskal_of_rows(value, group, stream(seed, "kruskal permutations").permuted(rows, axis=1))
    return float((1 + (drawn >= h * (1.0 - 1e-9)).sum()) / (permutations + 1))


def _ties(values: FloatArray) -> float:
    count = np.unique(values, return_counts=True)[1].astype(np.float64)
    return float((count**3 - count).sum())


def _exact_rank_sum(twice: NDArray[np.int64], m: int) -> float:
    return ranks.two_sided(ranks.rank_sum_distribution(twice, m), int(twice[:m].sum()))


def _normal_rank_sum(twice: NDArray[np.int64], m: int) -> float:
    total = len(twice)
    n = total - m
    u = twice[:m].sum() / 2.0 - m * (m + 1) / 2.0
    ties = _ties(twice.astype(np.float64))
    variance = m * n / 12.0 * ((total + 1.0) - ties / (total * (total - 1.0)))
    if variance <= 0.0:
        return 1.0
    distance = max(0.0, abs(u - m * n / 2.0) - 0.5)
    return 2.0 * float(ndtr(-distance / np.sqrt(variance)))


def _rank_sum_count(m: int, n: int, tail: float) -> int:
    """Largest k with P(U < k) ≤ tail, U the Mann–Whitney count without ties."""
    if m + n <= ranks.EXACT_RANK_SUM_N:
        distribution = ranks.rank_sum_distribution(2 * np.arange(1, m + n + 1), m)[m * (m + 1) :: 2]
        return ranks.lower_count(distribution, tail)
    spread = np.sqrt(m * n * (m + n + 1.0) / 12.0)
    return max(0, int(np.floor(m * n / 2.0 + ndtri(tail) * spread)))
