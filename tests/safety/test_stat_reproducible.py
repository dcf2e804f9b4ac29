"""The same numbers whatever linear-algebra kernel runs, and the bootstrap's own rules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from lutetia.errors import InputError
from lutetia.safety.statistics import bootstrap as b

SCRIPT = """
import json, numpy as np
from dataclasses import asdict
from lutetia.core.numbers import six_digits
from lutetia.safety.statistics import association, correlation, groups, mixed, survival
g = np.random.default_rng(7)
n = 56
arm = list("ABCD") * 14
dose = g.lognormal(-2, 0.4, n)
change = -dose + g.normal(0, 0.1, n)
subject = np.repeat(np.arange(n), 5)
baseline = g.lognormal(5, 0.3, n)[subject]
occasion = list("12345") * n
value = baseline * np.exp(-0.05 * np.tile(np.arange(5), n) + g.normal(0, 0.1, n)[subject] + g.normal(0, 0.1, 5 * n))
long_arm = [arm[i] for i in subject]
exact = [correlation.spearman(dose, change), correlation.spearman_within_arm(dose, change, arm),
         association.dose_effect(dose, change, arm),
         groups.kruskal_wallis({a: change[np.array(arm) == a] for a in "ABCD"}), groups.median_bootstrap(change)]
rounded = [mixed.longitudinal(value, baseline, arm=long_arm, occasion=occasion, subject=subject.tolist()),
           mixed.slopes(value, np.tile([0.1, 0.4, 0.7, 1.0, 1.3], n), arm=long_arm, subject=subject.tolist()),
           survival.log_rank(np.ceil(g.exponential(9, n)), g.integers(0, 2, n), arm)]
def shown(x):
    if isinstance(x, float): return six_digits(x)
    if isinstance(x, dict): return {k: shown(v) for k, v in x.items()}
    return [shown(v) for v in x] if isinstance(x, (list, tuple)) else x
print(json.dumps([asdict(r) for r in exact]))
print(json.dumps([shown(asdict(r)) for r in rounded]))
"""


def printed(kernel: str) -> bytes:
    environment = {**os.environ, "OPENBLAS_CORETYPE": kernel}
    return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, capture_output=True).stdout


def test_results_are_the_same_bytes_under_two_kernels() -> None:
    one, other = printed("Haswell"), printed("Nehalem")
    assert len(one) > 5_000
    assert one == other


def test_resamples_depend_on_the_seed_and_the_names_only() -> None:
    first = b.resample_indices(20, 30, 1, "a")
    b.resample_indices(50, 10, 1, "b")
    assert (b.resample_indices(20, 30, 1, "a") == first).all()
    assert (b.resample_indices(20, 30, 2, "a") != first).any()
    assert (b.resample_indices(20, 30, 1, "c") != first).any()


def test_resamples_within_strata_stay_there() -> None:
    rows = b.stratified_indices([3, 5], 200, 1, "x")
    assert set(np.unique(rows[:, :3])) == {0, 1, 2}
    assert set(np.unique(rows[:, 3:])) == {3, 4, 5, 6, 7}


def test_bca_interval_of_a_mean_is_that_of_scipy() -> None:
    values = np.random.default_rng(1).lognormal(0, 0.8, 30)
    draws = values[b.resample_indices(30, 20_000, 1, "mean")].mean(axis=1)
    without = (values.sum() - values) / 29
    peer = stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=np.random.default_rng(2)).confidence_interval
    assert b.bca_interval(values.mean(), draws, without) == pytest.approx((peer.low, peer.high), rel=0.02)


def test_an_interval_needs_most_of_its_resamples() -> None:
    draws = np.arange(100.0)
    draws[:6] = np.nan
    assert b.percentile_interval(draws) is None
    draws[:3] = 0.0
    assert b.percentile_interval(draws) is not None


def test_a_statistic_that_never_varies_has_no_bca_interval() -> None:
    assert b.bca_interval(1.0, np.ones(100), np.ones(10)) is None


def test_no_rows_are_refused() -> None:
    with pytest.raises(InputError, match="expected 1 or more"):
        b.resample_indices(0, 10, 1)


def test_the_statistics_do_not_load_heavy_libraries() -> None:
    code = (
        "import sys; from lutetia.safety.statistics import association, boundaries, categories, correlation, groups, "
        "mixed, modification, proportions, survival; print([m for m in ('pandas', 'statsmodels') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path.cwd())
    assert found.stdout.strip() == "[]"
