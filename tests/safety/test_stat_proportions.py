"""Proportions, their differences, exact tables: equal to R, to published examples and to full enumeration."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import xlog1py, xlogy
from scipy.stats import norm
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint
from tests.support.interim_reference import Table, r_numbers

from lutetia.errors import InputError
from lutetia.safety.statistics import proportions as p
from lutetia.safety.statistics.results import NotEstimable, Result


def ends(found: Result | NotEstimable) -> list[float]:
    assert isinstance(found, Result)
    assert found.low is not None
    assert found.high is not None
    return [found.low, found.high]


@pytest.mark.parametrize(("events", "n"), [(0, 14), (3, 14), (14, 14), (7, 92)])
def test_clopper_pearson_is_that_of_r(events: int, n: int) -> None:
    expected = r_numbers()["clopper_pearson"][f"x{events}_of_{n}"]
    assert ends(p.clopper_pearson(events, n)) == pytest.approx(expected, rel=1e-9)


def test_no_event_among_fourteen_still_allows_23_percent() -> None:
    assert ends(p.clopper_pearson(0, 14))[1] == pytest.approx(1.0 - 0.025 ** (1 / 14), rel=1e-12)
    assert f"{ends(p.clopper_pearson(0, 14))[1]:.2f}" == "0.23"


def test_wilson_is_that_of_statsmodels() -> None:
    for events, n in ((0, 9), (4, 9), (9, 9)):
        assert ends(p.wilson(events, n)) == pytest.approx(proportion_confint(events, n, method="wilson"), abs=1e-12)


def test_differences_are_those_of_newcombe_1998() -> None:
    """Stat Med 1998;17:873, table II, example 56/70 − 48/80: methods 10 and 6, to four decimals."""
    assert ends(p.difference_newcombe(56, 70, 48, 80)) == pytest.approx([0.0524, 0.3339], abs=5e-5)
    assert ends(p.difference_miettinen_nurminen(56, 70, 48, 80)) == pytest.approx([0.0528, 0.3382], abs=5e-5)


@pytest.mark.parametrize(("a", "m", "b", "n"), [(9, 10, 3, 10), (6, 7, 2, 7), (5, 56, 1, 29), (10, 10, 1, 20)])
def test_differences_are_those_of_statsmodels(a: int, m: int, b: int, n: int) -> None:
    newcombe = confint_proportions_2indep(a, m, b, n, method="newcomb", compare="diff")
    assert ends(p.difference_newcombe(a, m, b, n)) == pytest.approx(newcombe, abs=1e-9)


@pytest.mark.parametrize(("a", "m", "b", "n"), [(9, 10, 3, 10), (6, 7, 2, 7), (5, 56, 0, 29), (48, 80, 56, 70)])
def test_the_score_statistic_at_the_ends_is_the_normal_quantile(a: int, m: int, b: int, n: int) -> None:
    """With the restricted likelihood maximised by search instead of the cubic."""
    for end in ends(p.difference_miettinen_nurminen(a, m, b, n)):
        low, high = max(0.0, -end), min(1.0, 1.0 - end)

        def minus_log_likelihood(q: float, end: float = end) -> float:
            return -float(xlogy(a, q + end) + xlog1py(m - a, -q - end) + xlogy(b, q) + xlog1py(n - b, -q))

        q = minimize_scalar(minus_log_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
        variance = ((q + end) * (1 - q - end) / m + q * (1 - q) / n) * (m + n) / (m + n - 1)
        assert abs(a / m - b / n - end) / math.sqrt(variance) == pytest.approx(norm.ppf(0.975), rel=1e-4)


def test_difference_changes_sign_with_the_groups() -> None:
    one, other = (
        ends(p.difference_miettinen_nurminen(3, 14, 7, 15)),
        ends(p.difference_miettinen_nurminen(7, 15, 3, 14)),
    )
    assert one == pytest.approx([-other[1], -other[0]], abs=1e-9)


def table_of(first: str, second: str) -> list[list[int]]:
    subjects = Table("subjects")
    a, b = subjects.names(first), subjects.names(second)
    return [[int(((a == i) & (b == j)).sum()) for j in sorted(set(b))] for i in sorted(set(a))]


@pytest.mark.parametrize(("second", "key"), [("category", "arm_category"), ("cause", "arm_cause")])
def test_freeman_halton_is_that_of_r(second: str, key: str) -> None:
    found = p.freeman_halton(table_of("arm", second))
    assert isinstance(found, Result)
    assert found.p == pytest.approx(r_numbers()["fisher"][key], rel=1e-9)
    assert found.n == 48


def test_freeman_halton_is_the_sum_over_all_tables() -> None:
    table = np.array([[4, 1, 0], [1, 2, 3], [0, 2, 2]])
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    weight: dict[tuple[int, ...], float] = {}
    for cells in product(range(6), repeat=4):
        t = np.zeros((3, 3), dtype=int)
        t[:2, :2] = np.reshape(cells, (2, 2))
        t[:2, 2] = rows[:2] - t[:2, :2].sum(axis=1)
        t[2] = columns - t[:2].sum(axis=0)
        if (t >= 0).all():
            weight[cells] = 1.0 / math.prod(math.factorial(int(v)) for v in t.ravel())
    own = 1.0 / math.prod(math.factorial(int(v)) for v in table.ravel())
    expected = sum(w for w in weight.values() if w <= own * (1 + 1e-9)) / sum(weight.values())
    found = p.freeman_halton(table)
    assert isinstance(found, Result)
    assert found.p == pytest.approx(expected, rel=1e-12)


def test_permutations_of_a_large_table_agree_with_its_exact_value() -> None:
    table = [[5, 2, 1], [1, 4, 3], [2, 2, 6]]
    exact, drawn = p.freeman_halton(table), p.freeman_halton(table, most_nodes=1)
    assert isinstance(exact, Result)
    assert isinstance(drawn, Result)
    assert exact.p is not None
    assert drawn.p == pytest.approx(exact.p, abs=4 * math.sqrt(exact.p * (1 - exact.p) / p.PERMUTATIONS))
    assert "permutations" in drawn.method
    assert "standard error" in drawn.warnings[0]


def test_fisher_exact_is_freeman_halton_of_two_by_two() -> None:
    found = p.freeman_halton([[1, 9], [11, 3]])
    assert isinstance(found, Result)
    assert p.fisher_exact(1, 10, 11, 14) == pytest.approx(found.p, rel=1e-9)


@pytest.mark.parametrize("table", [[[0, 0], [3, 4]], [[1], [2]], [[3, 0], [4, 0]], [[0, 0], [0, 0]]])
def test_a_table_with_one_row_or_column_is_not_estimable(table: list[list[int]]) -> None:
    assert isinstance(p.freeman_halton(table), NotEstimable)


def test_no_subjects_are_not_estimable() -> None:
    for found in (p.clopper_pearson(0, 0), p.wilson(0, 0), p.difference_newcombe(0, 0, 1, 2),
                  p.difference_miettinen_nurminen(1, 2, 0, 0)):  # fmt: skip
        assert isinstance(found, NotEstimable)


@pytest.mark.parametrize("table", [[[1.5, 2], [3, 4]], [[-1, 2], [3, 4]], [1, 2], [[float("nan"), 1], [1, 1]]])
def test_anything_but_counts_is_refused(table: list[object]) -> None:
    with pytest.raises(InputError, match="whole numbers"):
        p.freeman_halton(table)  # type: ignore[arg-type]


def test_more_events_than_subjects_are_refused() -> None:
    with pytest.raises(InputError, match="3 events of 2"):
        p.clopper_pearson(3, 2)
