"""Named streams, stratified draws and quantities with draws."""

from __future__ import annotations

import numpy as np
import pytest

from lutetia.core.draws import Estimate, combine, exact, lognormal_factors, normals, stream
from lutetia.errors import PhysicsError


def test_a_stream_depends_on_seed_and_names_and_not_on_other_streams() -> None:
    first = stream(1, "subject", "calibration").standard_normal(5)
    stream(1, "subject", "mass").standard_normal(100)
    np.testing.assert_array_equal(stream(1, "subject", "calibration").standard_normal(5), first)
    for other in (stream(2, "subject", "calibration"), stream(1, "calibration", "subject"), stream(1, "subject")):
        assert not np.array_equal(other.standard_normal(5), first)


def test_names_are_not_run_together() -> None:
    assert stream(1, "ab", "c").random() != stream(1, "a", "bc").random()
    assert stream(1, "cycle", 2).random() == stream(1, "cycle", "2").random()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_stratified_normals_have_the_median_and_spread_of_the_distribution_whatever_the_seed(seed: int) -> None:
    draws = normals(stream(seed, "x"), (1000, 3))
    assert draws.shape == (1000, 3)
    np.testing.assert_allclose(np.median(draws, axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(draws.std(axis=0), 1.0, atol=2e-3)
    np.testing.assert_allclose(np.mean(draws > 1.644854, axis=0), 0.05, atol=1e-12)


def test_the_columns_of_stratified_normals_are_the_same_values_in_unrelated_orders() -> None:
    draws = normals(stream(1, "x"), (1000, 2))
    np.testing.assert_array_equal(*np.sort(draws, axis=0).T)
    assert abs(np.corrcoef(draws.T)[0, 1]) < 0.1


def test_stratified_normals_are_the_mid_quantiles() -> None:
    from scipy.special import ndtri

    np.testing.assert_allclose(np.sort(normals(stream(1, "x"), 40)), ndtri((np.arange(40) + 0.5) / 40), atol=1e-14)


def test_lognormal_factors_have_median_one_and_the_asked_relative_spread() -> None:
    factors = lognormal_factors(stream(1, "mass"), 0.2, 20_000)
    assert np.median(factors) == pytest.approx(1.0, rel=1e-9)
    assert factors.std() / factors.mean() == pytest.approx(0.2, rel=5e-3)
    np.testing.assert_array_equal(lognormal_factors(stream(1, "mass"), 0.0, 4), np.ones(4))


@pytest.mark.parametrize("spread", [-0.1, np.nan, np.inf])
def test_an_impossible_relative_spread_is_refused(spread: float) -> None:
    with pytest.raises(PhysicsError, match="expected finite values ≥ 0"):
        lognormal_factors(stream(1, "mass"), spread, 4)


def test_an_estimate_is_read_only_and_leaves_the_arrays_it_was_made_of_alone() -> None:
    value, draws = np.array([1.0, 2.0]), np.ones((5, 2))
    estimate = Estimate(value, draws)
    for array in (estimate.value, estimate.draws):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0.0
    value[0] = 3.0


@pytest.mark.parametrize("shape", [(5,), (5, 3), (2, 5)])
def test_draws_of_another_shape_than_the_value_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(PhysicsError, match="found draws of shape"):
        Estimate(np.zeros(2), np.zeros(shape))


def test_spread_and_interval_are_those_of_the_draws() -> None:
    estimate = Estimate(np.array(0.0), normals(stream(1, "x"), 4000))
    assert float(estimate.sd) == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(estimate.interval, [-1.96, 1.96], atol=5e-3)
    assert float(Estimate(np.array(2.0), np.array([2.0])).sd) == 0.0


def test_combining_keeps_what_is_shared() -> None:
    shared = Estimate(np.array(2.0), lognormal_factors(stream(1, "calibration"), 0.1, 500) * 2.0)
    ratio = combine(lambda a, b: a / b, shared, combine(lambda a: 3.0 * a, shared))
    assert float(ratio.value) == pytest.approx(1 / 3)
    np.testing.assert_allclose(ratio.draws, 1 / 3, rtol=1e-12)


def test_an_exact_estimate_has_no_spread() -> None:
    estimate = exact([1.0, 2.0], 7)
    assert estimate.draws.shape == (7, 2)
    np.testing.assert_array_equal(estimate.sd, 0.0)
