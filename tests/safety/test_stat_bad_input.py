"""Whatever arrays arrive, a statistic answers with a result or a reason; warnings and crashes would fail here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lutetia.errors import InputError
from lutetia.safety.statistics import association, categories, correlation, gray, groups, mixed, modification, survival
from lutetia.safety.statistics.results import NotEstimable

ORDER = ("reduced", "unchanged", "increased")


def values(g: np.random.Generator, n: int) -> np.ndarray:  # type: ignore[type-arg]
    """Columns as bad data have them."""
    kinds: list[Callable[[], Any]] = [
        lambda: g.normal(size=n), lambda: np.zeros(n), lambda: g.integers(0, 2, n).astype(float),
        lambda: np.where(g.uniform(size=n) < 0.5, np.nan, g.normal(size=n)), lambda: np.full(n, np.nan),
        lambda: 1e12 + g.normal(size=n), lambda: np.where(g.uniform(size=n) < 0.2, np.inf, g.normal(size=n)),
        lambda: g.lognormal(5, 0.3, n), lambda: g.lognormal(0, 1, n) * 1e-9,
    ]  # fmt: skip
    return np.asarray(kinds[g.integers(len(kinds))]())


@pytest.mark.parametrize("seed", range(12))
def test_no_array_breaks_a_statistic(seed: int) -> None:
    g = np.random.default_rng(seed)
    for _ in range(12):
        n = int(g.choice([0, 1, 2, 4, 8, 14, 25, 40]))
        x, y, z = (values(g, n) for _ in range(3))
        subject = [str(v) for v in g.integers(0, 7, n)]
        arm = [str(int(s) % 3) for s in subject]
        baseline = np.array([y[subject.index(s)] for s in subject])
        occasion = [str(v) for v in g.integers(0, 3, n)]
        category = [(*ORDER, "held")[v] for v in g.integers(0, 4, n)]
        by_arm = {name: x[np.array(arm) == name] for name in "0123"} if n else {"0": [], "1": []}
        event = g.integers(0, 3, n)
        slope = association.dose_effect(x, y, arm)
        found: list[object] = [
            slope, correlation.spearman(x, y, resamples=40),
            correlation.spearman_within_arm(x, y, arm, resamples=40),
            association.exposure_effect(x, y, arm=arm, subject=subject), groups.kruskal_wallis(by_arm, resamples=40),
            groups.dunn_holm(by_arm), groups.paired_wilcoxon(x, y), groups.rank_sum(x, y), groups.median_exact(x),
            groups.median_bootstrap(x, resamples=40),
            mixed.longitudinal(x, baseline, arm=arm, occasion=occasion, subject=subject, centre=occasion),
            mixed.slopes(x, np.abs(y), arm=arm, subject=subject),
            modification.category_effect(category, x, arm, order=ORDER, resamples=40),
            survival.kaplan_meier(np.abs(x), event), survival.aalen_johansen(np.abs(x), event),
            survival.log_rank(np.abs(x), event, arm), gray.gray_test(np.abs(x), event, arm),
            categories.symmetry_test(g.integers(0, 3, (3, 3))),
        ]  # fmt: skip
        if not isinstance(slope, NotEstimable):
            found += [association.attenuation(slope, x, np.abs(z), arm), association.percent_change(slope, 0.1)]
        for result in found:
            assert result is not None
            if isinstance(result, NotEstimable):
                assert result.reason
                assert result.method


def test_a_subject_in_two_arms_is_refused() -> None:
    with pytest.raises(InputError, match="arm: found 1 subject with more than one"):
        mixed.longitudinal(
            [1.0, 2, 3, 4], [1.0, 1, 1, 1], arm=list("ABAB"), occasion=list("1212"), subject=list("ssss")
        )
    with pytest.raises(InputError, match="arm: found 1 subject"):
        mixed.slopes([1.0, 2, 3], [0.0, 0.5, 1.0], arm=list("ABA"), subject=list("sss"))


def test_text_instead_of_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="not numbers"):
        groups.median_exact(["many"])  # type: ignore[list-item]


def test_a_table_instead_of_a_column_is_refused() -> None:
    with pytest.raises(InputError, match="expected one dimension"):
        groups.median_exact([[1.0, 2.0]])
