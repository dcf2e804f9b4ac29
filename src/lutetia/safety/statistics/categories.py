"""Tables of counts by category: cross tables, shift tables, and tests of symmetry within subjects.

Not here: which grade a value has (`grading`), tests of independence (`proportions.freeman_halton`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import chdtrc
from scipy.stats import binom

from lutetia.errors import InputError
from lutetia.safety.statistics.results import IntArray, NotEstimable, Result

MCNEMAR = "McNemar's test (exact)"
BOWKER = "Bowker's test of symmetry"


@dataclass(frozen=True, slots=True)
class CrossTable:
    """Counts by row and column; `missing` subjects had no category in one of the two and are in no cell."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    row_totals: tuple[int, ...]
    column_totals: tuple[int, ...]
    n: int
    missing: int


@dataclass(frozen=True, slots=True)
class ShiftTable:
    """A cross table of baseline (rows) against a later worst value (columns), with how many moved.

    Categories are in order: `worse` moved to a later column, `better` to an earlier one.
    """

    table: CrossTable
    worse: int
    same: int
    better: int
    symmetry: Result | NotEstimable


def cross_table(
    first: Sequence[object], second: Sequence[object], *, rows: Sequence[str], columns: Sequence[str]
) -> CrossTable:
    """Counts of pairs of categories.

    Parameters
    ----------
    first, second
        Category of every subject; None, NaN or "" is missing.
    rows, columns
        The categories in the order shown; all of them appear, also those without subjects.

    Raises
    ------
    InputError
        For unequal lengths or a category that is not listed.
    """
    if len(first) != len(second):
        raise InputError(
            f"cross table: found {len(first)} and {len(second)} categories; expected one of both a subject"
        )
    a, b = _places(first, rows, "rows"), _places(second, columns, "columns")
    known = (a >= 0) & (b >= 0)
    counts = np.zeros((len(rows), len(columns)), dtype=np.int64)
    np.add.at(counts, (a[known], b[known]), 1)
    return CrossTable(
        tuple(rows), tuple(columns), tuple(tuple(int(v) for v in row) for row in counts),
        tuple(int(v) for v in counts.sum(axis=1)), tuple(int(v) for v in counts.sum(axis=0)), int(known.sum()),
        int((~known).sum()),
    )  # fmt: skip


def shift_table(baseline: Sequence[object], later: Sequence[object], *, order: Sequence[str]) -> ShiftTable:
    """Baseline category against a later one of the same subjects, with Bowker's test (McNemar's for two categories).

    Parameters
    ----------
    order
        Categories from best to worst.
    """
    table = cross_table(baseline, later, rows=order, columns=order)
    counts = np.array(table.counts, dtype=np.int64)
    worse, better = int(np.triu(counts, 1).sum()), int(np.tril(counts, -1).sum())
    return ShiftTable(table, worse, table.n - worse - better, better, symmetry_test(counts))


def symmetry_test(counts: ArrayLike) -> Result | NotEstimable:
    """Whether subjects move both ways equally often between two occasions.

    Two categories: McNemar's exact test, the smaller of the two discordant counts under Bin(n, ½). More: Bowker's
    χ² = Σ_{i<j} (nᵢⱼ − nⱼᵢ)²/(nᵢⱼ + nⱼᵢ) with one degree of freedom a pair that has counts.

    Parameters
    ----------
    counts
        Square table, rows the first occasion.

    Raises
    ------
    InputError
        For a table that is not square.

    References
    ----------
    McNemar Q., Psychometrika 1947;12:153–157. Bowker A.H., J Am Stat Assoc 1948;43:572–574.
    """
    table: IntArray = np.asarray(counts, dtype=np.int64)
    if table.ndim != 2 or table.shape[0] != table.shape[1] or len(table) < 2:
        raise InputError(f"test of symmetry: found a table of shape {table.shape}; expected a square of 2 or more")
    n, method = int(table.sum()), MCNEMAR if len(table) == 2 else BOWKER
    i, j = np.triu_indices(len(table), 1)
    up, down = table[i, j], table[j, i]
    moved = int((up + down).sum())
    if not moved:
        return NotEstimable("no subject changed category", n, method)
    if len(table) == 2:
        p = min(1.0, 2.0 * float(binom.cdf(min(up[0], down[0]), moved, 0.5)))
        return Result("symmetry", float(up[0] - down[0]) / n, None, None, p, n, method)
    used = (up + down) > 0
    chi2 = float(((up - down)[used] ** 2 / (up + down)[used]).sum())
    df = int(used.sum())
    few = bool(((up + down)[used] < 10).any())
    warnings = ("pairs with fewer than 10 moves: the χ² p-value is approximate",) if few else ()
    return Result("symmetry", float((up.sum() - down.sum()) / n), None, None, float(chdtrc(df, chi2)), n, method,
                  statistic=chi2, df=df, warnings=warnings)  # fmt: skip


def _places(values: Sequence[object], names: Sequence[str], what: str) -> IntArray:
    place = {name: i for i, name in enumerate(names)}
    found = []
    for value in values:
        if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
            found.append(-1)
        elif str(value) in place:
            found.append(place[str(value)])
        else:
            raise InputError(f"cross table: found category {value!r}; expected one of the {what}: {', '.join(names)}")
    return np.array(found, dtype=np.int64)
