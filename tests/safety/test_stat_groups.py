"""Comparisons of groups and occasions: equal to R, to hand-worked tables, and honest about what they cannot tell."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from scipy import stats
from tests.support.interim_reference import Table, r_numbers

from lutetia.errors import InputError
from lutetia.safety.statistics import groups, ranks
from lutetia.safety.statistics.results import NotEstimable, Result, holm

SUBJECTS = Table("subjects")
ARM = SUBJECTS.names("arm")
CHANGE = {arm: SUBJECTS.numbers("change")[arm == ARM] for arm in "ABCD"}


def test_kruskal_wallis_is_that_of_r() -> None:
    found, expected = groups.kruskal_wallis(CHANGE), r_numbers()["kruskal"]
    assert isinstance(found, groups.GroupComparison)
    assert found.h == pytest.approx(expected["h"], rel=1e-9)
    assert found.p == pytest.approx(expected["p"], rel=1e-9)
    assert (found.n, found.df, dict(found.sizes)) == (48, 3, dict.fromkeys("ABCD", 12))


def test_epsilon_squared_is_h_over_n_minus_one_and_its_interval_holds_it() -> None:
    found = groups.kruskal_wallis(CHANGE)
    assert isinstance(found, groups.GroupComparison)
    assert found.epsilon2 == pytest.approx(found.h * 49 / (48**2 - 1), rel=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert 0.0 <= found.low < found.epsilon2 < found.high <= 1.0


def test_epsilon_squared_of_groups_that_do_not_overlap_is_nearly_one() -> None:
    found = groups.kruskal_wallis({"a": np.zeros(10), "b": np.ones(10)})
    assert isinstance(found, groups.GroupComparison)
    assert found.epsilon2 == pytest.approx(1.0)


def test_resampled_epsilon_squared_is_that_of_scipy_on_the_same_rows() -> None:
    from lutetia.safety.statistics.bootstrap import stratified_indices
    from lutetia.safety.statistics.resampling import dense_ranks, kruskal_of_rows

    values = np.concatenate([np.sort(np.round(v, 2)) for v in CHANGE.values()])
    rows = stratified_indices([12] * 4, 50, 3, "test")
    place = np.repeat(np.arange(4, dtype=np.int32), 12)
    expected = [stats.kruskal(*np.split(values[r], 4)).statistic for r in rows]
    assert kruskal_of_rows(dense_ranks(values), place, rows) == pytest.approx(expected, rel=1e-12)


def test_a_small_group_takes_its_p_value_from_permutations() -> None:
    """Two groups of 2 and 3 without overlap: 2 of the 10 arrangements are as extreme."""
    found = groups.kruskal_wallis({"a": [1.0, 2.0], "b": [3.0, 4.0, 5.0]})
    assert isinstance(found, groups.GroupComparison)
    assert "permutations" in found.method
    assert found.p == pytest.approx(0.2, abs=0.015)


def test_dunn_with_holm_is_that_of_r() -> None:
    found, expected = groups.dunn_holm(CHANGE), r_numbers()["dunn"]
    assert not isinstance(found, NotEstimable)
    assert [pair.z for pair in found] == pytest.approx(expected["z"], rel=1e-9)
    assert [pair.p_adjusted for pair in found] == pytest.approx(expected["p_holm"], rel=1e-9)
    assert [(pair.first, pair.second) for pair in found] == list(combinations("ABCD", 2))


def test_rank_sum_is_that_of_r() -> None:
    dose = SUBJECTS.numbers("dose") + 1e-6 * SUBJECTS.numbers("subject")
    found, expected = groups.rank_sum(dose[ARM == "A"], dose[ARM == "B"]), r_numbers()["rank_sum"]
    assert isinstance(found, Result)
    assert (found.p, found.estimate) == pytest.approx((expected["p"], expected["shift"]), rel=1e-9)
    assert [found.low, found.high] == pytest.approx(expected["interval"], rel=1e-9)


def test_rank_sum_of_many_is_that_of_scipy_with_ties() -> None:
    g = np.random.default_rng(1)
    a, b = g.integers(0, 6, 45).astype(float), g.integers(1, 7, 40).astype(float)
    found = groups.rank_sum(a, b)
    assert isinstance(found, Result)
    assert "normal approximation" in found.method
    assert found.p == pytest.approx(stats.mannwhitneyu(a, b, method="asymptotic").pvalue, rel=1e-12)


def test_paired_wilcoxon_is_that_of_r() -> None:
    change = SUBJECTS.numbers("after") - SUBJECTS.numbers("before") + 1e-6 * SUBJECTS.numbers("subject")
    own = change[ARM == "A"]
    found, expected = groups.paired_wilcoxon(np.zeros(len(own)), own), r_numbers()["signed_rank"]
    assert isinstance(found, Result)
    assert (found.p, found.estimate) == pytest.approx((expected["p"], expected["estimate"]), rel=1e-9)
    assert [found.low, found.high] == pytest.approx(expected["interval"], rel=1e-9)


def test_signed_rank_with_ties_is_exact_over_all_signs() -> None:
    change = np.array([1.0, -1.0, 2.0, 2.0, 3.0, -0.5, 2.0])
    found = groups.paired_wilcoxon(np.zeros(7), change)
    rank = stats.rankdata(np.abs(change))
    every = np.array([np.dot(signs, rank) for signs in product((0, 1), repeat=7)])
    observed = rank[change > 0].sum()
    expected = min(1.0, 2 * min((every <= observed).mean(), (every >= observed).mean()))
    assert isinstance(found, Result)
    assert found.p == pytest.approx(expected, rel=1e-12)


def test_rank_sum_with_ties_is_exact_over_all_splits() -> None:
    values = np.array([1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 5.0])
    found = groups.rank_sum(values[:3], values[3:])
    rank = stats.rankdata(values)
    every = np.array([rank[list(chosen)].sum() for chosen in combinations(range(7), 3)])
    expected = min(1.0, 2 * min((every <= rank[:3].sum()).mean(), (every >= rank[:3].sum()).mean()))
    assert isinstance(found, Result)
    assert found.p == pytest.approx(expected, rel=1e-12)


def test_rank_sum_distribution_counts_the_splits_of_untied_ranks() -> None:
    """Mann–Whitney counts for 2 and 2: 1, 1, 2, 1, 1 of 6."""
    found = ranks.rank_sum_distribution(2 * np.arange(1, 5), 2)[6::2]
    assert found[:5] * 6 == pytest.approx([1, 1, 2, 1, 1])


def test_within_arm_changes_are_adjusted_over_the_arms_that_can_be_tested() -> None:
    pairs = {a: (SUBJECTS.numbers("before")[a == ARM], SUBJECTS.numbers("after")[a == ARM]) for a in "ABC"}
    found = groups.paired_wilcoxon_by_group({**pairs, "E": ([], [])})
    assert isinstance(found["E"], NotEstimable)
    tested = [found[a] for a in "ABC"]
    assert [r.p_adjusted for r in tested if isinstance(r, Result)] == pytest.approx(
        holm([r.p for r in tested if isinstance(r, Result) and r.p is not None])
    )


def test_holm_is_that_of_r() -> None:
    expected = r_numbers()["holm"]
    assert holm(expected["p"]) == pytest.approx(expected["adjusted"])


@pytest.mark.parametrize(("n", "first", "last"), [(6, 1, 6), (8, 1, 8), (9, 2, 8), (14, 3, 12), (20, 6, 15)])
def test_interval_of_the_median_lies_between_the_tabulated_order_statistics(n: int, first: int, last: int) -> None:
    """Ranks of the exact 95 % interval of the median as printed in textbooks (for example Conover 1999, table A3)."""
    found = groups.median_exact(np.arange(1.0, n + 1.0))
    assert isinstance(found, Result)
    assert (found.low, found.high) == (first, last)


def test_five_values_have_a_median_and_no_interval() -> None:
    found = groups.median_exact([3.0, 1.0, 2.0, 5.0, 4.0])
    assert isinstance(found, Result)
    assert (found.estimate, found.low, found.high) == (3.0, None, None)
    assert "too few" in found.warnings[0]


def test_bootstrap_interval_of_the_median_covers_it() -> None:
    g = np.random.default_rng(5)
    held = 0
    for seed in range(200):
        found = groups.median_bootstrap(g.normal(size=40), resamples=500, seed=seed)
        assert isinstance(found, Result)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 0.0 <= found.high
    assert 0.90 <= held / 200 <= 0.99


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"A": [], "B": []}, "fewer than two groups"),
        ({"A": [1.0, 2.0], "B": []}, "fewer than two groups"),
        ({"A": [2.0, 2.0], "B": [2.0]}, "all values are equal"),
        ({"A": [1.0], "B": [2.0]}, "2 values in all"),
        ({"A": [float("nan")], "B": [2.0, 3.0]}, "fewer than two groups"),
    ],
)
def test_groups_without_information_are_not_estimable(data: dict[str, list[float]], reason: str) -> None:
    for found in (groups.kruskal_wallis(data), groups.dunn_holm(data)):
        assert isinstance(found, NotEstimable)
        assert reason in found.reason


def test_missing_values_and_single_subjects_are_said() -> None:
    found = groups.kruskal_wallis({"A": [1.0, 2.0, float("nan"), 5.0], "B": [3.0], "C": []}, resamples=200)
    assert isinstance(found, groups.GroupComparison)
    assert found.n == 4
    words = " | ".join(found.warnings)
    assert "group A: 1 missing value left out" in words
    assert "group C has no values" in words
    assert "one subject" in words


def test_results_do_not_depend_on_the_order_of_rows() -> None:
    mixed = {a: v[::-1] for a, v in CHANGE.items()}
    assert groups.kruskal_wallis(mixed) == groups.kruskal_wallis(CHANGE)


@pytest.mark.parametrize(("before", "after", "reason"), [([], [], "0 pairs"), ([1.0], [2.0], "1 pair "),
                                                         ([1.0, 2.0], [1.0, 2.0], "no pair changed")])  # fmt: skip
def test_pairs_without_information_are_not_estimable(before: list[float], after: list[float], reason: str) -> None:
    found = groups.paired_wilcoxon(before, after)
    assert isinstance(found, NotEstimable)
    assert reason in found.reason


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="different lengths"):
        groups.paired_wilcoxon([1.0], [1.0, 2.0])


def test_one_group_is_refused() -> None:
    with pytest.raises(InputError, match="expected 2 or more"):
        groups.kruskal_wallis({"A": [1.0, 2.0]})
