"""Curve fits: analytic truths, invariances, choice of model, doubts and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import gammaincc

from lutetia.core.chain import TimeActivity
from lutetia.core.draws import Estimate, combine, normals, stream
from lutetia.errors import FitError, PhysicsError, UnknownNameError
from lutetia.kinetics.doubts import chance_of_more
from lutetia.kinetics.fit import (
    corrected_criterion,
    fit_curves,
    fit_model,
    fit_time_activity,
    merge_components,
    offered_models,
)
from lutetia.kinetics.integrate import activity_at, effective_half_life_h, time_integrated_activity
from lutetia.kinetics.models import MODELS
from lutetia.kinetics.population import population_prior
from lutetia.nuclear.nuclides import nuclide

FloatArray = NDArray[np.float64]
RATE = nuclide("Lu-177").decay_constant_per_h
PRIOR = population_prior("kidneys")
FOUR = np.array([4.0, 24.0, 96.0, 168.0])
LATE = np.array([24.0, 96.0, 168.0])
DENSE = np.array([0.5, 1, 2, 4, 8, 16, 24, 48, 72, 96, 120, 168])


def mono(time: FloatArray, half_life: float = 52.0, amplitude: float = 100.0) -> FloatArray:
    return amplitude * np.exp(-np.log(2) / half_life * time)


def record(
    time: FloatArray, value: FloatArray, sd: FloatArray, *, draws: int = 200, region: str = "kidneys"
) -> TimeActivity:
    drawn = value + sd * normals(stream(3, region), (draws, len(value)))
    return TimeActivity(region, "Lu-177", time, Estimate(value, drawn), sd)


def codes(curve: TimeActivity, **options: object) -> set[str]:
    fit = fit_time_activity(curve, physical_rate_per_h=RATE, **options)  # type: ignore[arg-type]
    return {d.code for d in fit.doubts}


@pytest.mark.parametrize("half_life", [8.0, 30.0, 52.0, 75.0, 120.0])
@pytest.mark.parametrize("time", [FOUR, LATE], ids=["four", "three late"])
def test_a_noise_free_mono_exponential_curve_is_recovered(half_life: float, time: FloatArray) -> None:
    value = mono(time, half_life)
    fit = fit_curves(time, value, 0.05 * value, physical_rate_per_h=RATE, prior=PRIOR)
    assert time_integrated_activity(fit.coefficient, fit.rate) == pytest.approx(100 * half_life / np.log(2), rel=1e-5)


def test_late_points_do_not_send_the_fit_astray() -> None:
    """Failure mode 2: a start of 1 /h on 24, 96, 168 h silently gave 99 % error elsewhere."""
    value = mono(LATE)
    for name in ("mono", "uptake_mono"):
        fit = fit_model(LATE, value, 0.05 * value, model=name, physical_rate_per_h=RATE, prior=PRIOR)
        assert fit.converged
        assert effective_half_life_h(fit.coefficient, fit.rate) == pytest.approx(52.0, rel=0.02)


def test_four_points_never_choose_four_free_parameters() -> None:
    """Failure mode 1: uncorrected AIC picks a free bi-exponential on four points."""
    assert {m.name for m in offered_models(4)} == {"mono", "uptake_mono", "bi_prior"}
    assert "bi" not in {m.name for m in offered_models(5)}
    assert "bi" in {m.name for m in offered_models(6)}
    with pytest.raises(FitError, match=r"found 4 points; expected at least 6; models for 4: mono"):
        fit_curves(FOUR, mono(FOUR), np.ones(4), physical_rate_per_h=RATE, choice="bi")


@pytest.mark.parametrize("points", range(2, 13))
def test_every_offered_model_has_a_defined_aicc_or_the_least_parameters(points: int) -> None:
    for model in offered_models(points):
        assert points >= model.points
        assert points > model.free_parameters + 1 or model.free_parameters == 2


def test_aicc_is_the_textbook_formula() -> None:
    assert corrected_criterion(np.array(3.0), MODELS["bi"], 8) == pytest.approx(3 + 8 + 2 * 4 * 5 / 3)


@pytest.mark.parametrize(
    ("name", "coefficient", "rate"),
    [
        ("uptake_mono", (100, -100), (np.log(2) / 52, np.log(2) / 1.2)),
        ("bi_prior", (70, 30), (np.log(2) / 52, np.log(2) / 10)),
        ("bi_decay", (40, 60), (RATE, np.log(2) / 20)),
        ("bi", (60, 40), (np.log(2) / 60, np.log(2) / 3)),
        ("uptake_bi", (60, 40, -100), (np.log(2) / 60, np.log(2) / 12, np.log(2) / 1.2)),
        ("tri", (50, 30, 20), (np.log(2) / 90, np.log(2) / 12, np.log(2) / 1.0)),
    ],
)
def test_each_model_recovers_its_own_noise_free_curve(
    name: str, coefficient: tuple[float, ...], rate: tuple[float, ...]
) -> None:
    value = activity_at(coefficient, rate, DENSE)
    fit = fit_model(DENSE, value, 0.03 * value, model=name, physical_rate_per_h=RATE, prior=PRIOR)
    assert fit.converged
    assert fit.chi2 < 1e-3
    truth = time_integrated_activity(coefficient, rate)
    assert time_integrated_activity(fit.coefficient, fit.rate) == pytest.approx(truth, rel=2e-3)


def test_chi_square_is_no_worse_than_an_independent_optimiser() -> None:
    generator = np.random.default_rng(4)
    truth = activity_at([60, 40], [np.log(2) / 60, np.log(2) / 6], DENSE)
    value = truth * (1 + 0.05 * generator.standard_normal((8, len(DENSE))))
    sd = 0.05 * truth
    ours = fit_model(DENSE, value, sd, model="bi", physical_rate_per_h=RATE).chi2
    low, high = [0, 0, np.log(RATE), np.log(RATE)], [np.inf, np.inf, 2.5, 2.5]
    for row, found in zip(value, ours, strict=True):
        peer = min(
            2 * least_squares(
                lambda x, y=row: (x[:2] @ np.exp(-np.exp(x[2:, None]) * DENSE) - y) / sd,
                [60, 40, np.log(np.log(2) / slow), np.log(np.log(2) / fast)],
                bounds=(low, high),
            ).cost
            for slow, fast in ((50, 8), (80, 4))
        )  # fmt: skip
        assert found <= peer + 1e-5


@settings(max_examples=25, deadline=None)
@given(st.integers(-20, 20), st.sampled_from(sorted(MODELS)), st.integers(0, 50))
def test_a_change_of_unit_scales_the_coefficients_only(power: int, name: str, seed: int) -> None:
    """Powers of two, so that no rounding can choose another of several equally good optima."""
    generator, factor = np.random.default_rng(seed), 2.0**power
    value = mono(DENSE) * (1 + 0.05 * generator.standard_normal(len(DENSE)))
    one = fit_model(DENSE, value, 0.05 * value, model=name, physical_rate_per_h=RATE, prior=PRIOR)
    other = fit_model(DENSE, factor * value, factor * 0.05 * value, model=name, physical_rate_per_h=RATE, prior=PRIOR)
    np.testing.assert_allclose(other.coefficient, factor * one.coefficient, rtol=1e-12)
    np.testing.assert_allclose(other.rate, one.rate, rtol=1e-12)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0.1, 1e3), min_size=8, max_size=8),
    st.sampled_from([*sorted(MODELS), "aicc", "average"]),
)
@example([3.0, 9.0, 3.0, 0.25, 2.0, 2.0, 2.0, 11.0], "average")
def test_no_curve_however_odd_decays_slower_than_the_nuclide(values: list[float], choice: str) -> None:
    time, value = np.array([1.0, 4, 12, 24, 48, 72, 120, 168]), np.array(values)
    fit = fit_curves(time, value, 0.1 * value, physical_rate_per_h=RATE, choice=choice, prior=PRIOR)
    assert (fit.rate[fit.coefficient != 0] >= RATE * (1 - 1e-12)).all()
    assert np.isfinite(fit.coefficient).all()
    assert time_integrated_activity(fit.coefficient, fit.rate) > 0
    # An average of models with and without uptake is merged to four components, which keeps its integral but not a(0).
    margin = 0.02 if choice == "average" else 1e-9
    assert fit.coefficient.sum() >= -margin * np.abs(fit.coefficient).max()


def test_merging_components_keeps_integral_and_mean_time() -> None:
    generator = np.random.default_rng(2)
    c = generator.uniform(1, 50, (20, 9)) * np.where(np.arange(9) % 3 == 2, -0.2, 1.0)
    k = np.exp(generator.uniform(np.log(0.005), np.log(2.0), (20, 9)))
    merged_c, merged_k = merge_components(c, k)
    assert merged_c.shape == (20, 4)
    np.testing.assert_allclose((merged_c / merged_k).sum(-1), (c / k).sum(-1), rtol=1e-10)
    np.testing.assert_allclose((merged_c / merged_k**2).sum(-1), (c / k**2).sum(-1), rtol=1e-10)
    assert (merged_k >= k.min(-1, keepdims=True) * (1 - 1e-12)).all()


def test_an_average_lies_between_its_models() -> None:
    value = mono(FOUR) * np.array([0.85, 1.02, 1.0, 1.03])
    single = [
        float(time_integrated_activity(f.coefficient, f.rate))
        for name in ("mono", "uptake_mono", "bi_prior")
        for f in [fit_curves(FOUR, value, 0.05 * value, physical_rate_per_h=RATE, choice=name, prior=PRIOR)]
    ]
    mean = fit_curves(FOUR, value, 0.05 * value, physical_rate_per_h=RATE, choice="average", prior=PRIOR)
    assert min(single) <= time_integrated_activity(mean.coefficient, mean.rate) <= max(single)
    assert sum(mean.weights.values()) == pytest.approx(1.0)


def test_one_call_fits_draws_times_regions_like_one_by_one() -> None:
    value = mono(FOUR) * (1 + 0.05 * np.random.default_rng(1).standard_normal((3, 2, 4)))
    together = fit_curves(FOUR, value, 0.05 * value, physical_rate_per_h=RATE, prior=PRIOR)
    alone = fit_curves(FOUR, value[2, 1], 0.05 * value[2, 1], physical_rate_per_h=RATE, prior=PRIOR)
    assert together.coefficient.shape == (3, 2, 4)
    np.testing.assert_allclose(together.coefficient[2, 1], alone.coefficient, rtol=1e-12)


def test_a_good_curve_carries_no_doubt_and_its_draws_spread_like_the_noise() -> None:
    value = mono(FOUR)
    fit = fit_time_activity(record(FOUR, value, 0.03 * value, draws=500), physical_rate_per_h=RATE)
    assert fit.model == "mono"
    assert fit.doubts == ()
    total = combine(time_integrated_activity, fit.coefficient_MBq, fit.rate_per_h)
    assert total.value == pytest.approx(100 * 52 / np.log(2), rel=1e-5)
    # 3 % points give about 1.6 % from the fit; the departure from the model adds about 2.5 %.
    assert 0.02 < total.sd / total.value < 0.05
    assert fit.extrapolated_fraction == pytest.approx(2.0 ** (-168 / 52), rel=1e-4)


def test_the_model_discrepancy_can_be_left_out_and_depends_on_the_region_only() -> None:
    value = mono(LATE)
    curve = record(LATE, value, 0.001 * value)
    bare = fit_time_activity(curve, physical_rate_per_h=RATE, discrepancy=False)
    full = fit_time_activity(curve, physical_rate_per_h=RATE)
    again = fit_time_activity(record(LATE, 3 * value, 0.003 * value), physical_rate_per_h=RATE)
    ratio = full.coefficient_MBq.draws[:, 0] / bare.coefficient_MBq.draws[:, 0]
    assert 0.02 < ratio.std() < 0.12
    second = again.coefficient_MBq.draws[:, 0] / bare.coefficient_MBq.draws[:, 0] / 3
    np.testing.assert_allclose(ratio, second, rtol=1e-3)


@pytest.mark.parametrize(
    ("time", "value", "code"),
    [
        (LATE, mono(LATE), "few_points"),
        (FOUR[:3], mono(FOUR[:3]), "much_extrapolated"),
        (FOUR[:2], mono(FOUR[:2]), "mostly_extrapolated"),
        (FOUR, mono(FOUR, 159.528), "terminal_rate_at_physical_bound"),
        (FOUR, np.array([10.0, 20, 30, 40]), "increasing_curve"),
        (FOUR, np.array([100.0, 20, 90, 10]), "poor_fit"),
        (FOUR, mono(FOUR, 12.0), "unusual_half_life"),
        (np.array([72.0, 120, 168]), mono(np.array([72.0, 120, 168])), "early_phase_unmeasured"),
        (FOUR, mono(FOUR) * np.array([1, 1, 1, 0]), "below_detection"),
    ],
)
def test_doubts_have_stable_codes(time: FloatArray, value: FloatArray, code: str) -> None:
    assert code in codes(record(time, value, np.maximum(0.05 * value, 0.05)))


@pytest.mark.parametrize(("region", "limit_h"), [("left kidney", 90.1), ("kidneys", 90.1), ("spleen", 129.6)])
def test_organs_that_wash_out_slowly_look_like_decay_corrected_input(region: str, limit_h: float) -> None:
    # limit: median · exp(2.2 · log-sd) of the priors, 52 h and 0.25, 67 h and 0.30
    def slow(half_life_h: float) -> list[str]:
        value = mono(FOUR, half_life_h)
        curve = TimeActivity(region, "Lu-177", FOUR, Estimate(value, value[None]), 0.02 * value)
        doubts = fit_time_activity(curve, physical_rate_per_h=RATE, choice="mono").doubts
        return [d.message for d in doubts if d.code == "unusual_half_life"]

    assert slow(0.97 * limit_h) == []
    (message,) = slow(1.03 * limit_h)
    assert "decay-corrected activities look like this" in message
    assert "decay-corrected" not in slow(12.0)[0]


def test_parameters_that_the_points_do_not_determine_are_named() -> None:
    value = activity_at([60, 40], [np.log(2) / 60, np.log(2) / 40], DENSE)
    found = codes(record(DENSE, value, 0.1 * value), choice="bi")
    assert {"parameter_uncertain", "parameters_correlated"} <= found


def test_a_zero_at_the_end_does_not_bend_the_curve() -> None:
    value = mono(FOUR) * np.array([1, 1, 1, 0])
    fit = fit_time_activity(record(FOUR, value, 0.05 * value + 1e-3), physical_rate_per_h=RATE)
    total = time_integrated_activity(fit.coefficient_MBq.value, fit.rate_per_h.value)
    assert total == pytest.approx(100 * 52 / np.log(2), rel=0.03)


def test_without_sd_a_common_relative_one_is_assumed_and_said() -> None:
    curve = record(FOUR, mono(FOUR), np.zeros(4))
    assert "assumed_sd" in codes(curve)


def test_draws_below_zero_are_noise_not_an_error() -> None:
    value = mono(FOUR)
    drawn = np.concatenate([np.repeat(value[None], 9, axis=0), -value[None]])
    fit = fit_time_activity(
        TimeActivity("liver", "Lu-177", FOUR, Estimate(value, drawn), 0.05 * value), physical_rate_per_h=RATE
    )
    assert np.isfinite(fit.coefficient_MBq.draws).all()


@pytest.mark.parametrize(
    ("time", "value", "sd", "text"),
    [
        ([4, 24, 24, 96], [4, 3, 2, 1], [1, 1, 1, 1], "without repeats"),
        ([24, 4, 96], [3, 4, 1], [1, 1, 1], "increasing times"),
        ([-1, 4, 96], [3, 4, 1], [1, 1, 1], "hours ≥ 0"),
        ([1, np.nan, 96], [3, 4, 1], [1, 1, 1], "finite hours"),
        ([1, 4, 96], [3, -4, 1], [1, 1, 1], "negative or not a number"),
        ([1, 4, 96], [3, np.nan, 1], [1, 1, 1], "negative or not a number"),
        ([1, 4, 96], [0, 0, 0], [1, 1, 1], "zero activity at every time"),
        ([1, 4, 96], [3, 4, 1], [1, 0, 1], "standard deviation"),
        ([1, 4], [3, 4, 1], [1, 1, 1], "one activity and sd"),
        ([], [], [], "at least one time"),
    ],
)
def test_curves_that_cannot_be_used_are_refused(
    time: list[float], value: list[float], sd: list[float], text: str
) -> None:
    with pytest.raises(PhysicsError, match=text):
        fit_curves(time, value, sd, physical_rate_per_h=RATE)


def test_one_point_points_to_the_single_time_methods() -> None:
    with pytest.raises(FitError, match="single-time-point"):
        fit_curves([24.0], [5.0], [1.0], physical_rate_per_h=RATE)


def test_an_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="bi_prior"):
        fit_curves(FOUR, mono(FOUR), np.ones(4), physical_rate_per_h=RATE, choice="bi_priors")


@pytest.mark.parametrize("rate", [0.0, float("nan")])
def test_a_missing_physical_rate_is_refused(rate: float) -> None:
    with pytest.raises(PhysicsError, match="decay constant"):
        fit_curves(FOUR, mono(FOUR), np.ones(4), physical_rate_per_h=rate)


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 8])
def test_the_chance_of_a_larger_chi_square_is_that_of_the_gamma_function(freedom: int) -> None:
    for chi2 in (0.0, 1e-9, 0.3, 4.0, 60.0):
        assert chance_of_more(chi2, freedom) == pytest.approx(float(gammaincc(freedom / 2, chi2 / 2)), rel=1e-12)


def test_curves_of_one_sd_are_fitted_like_curves_that_share_nothing() -> None:
    generator = np.random.default_rng(3)
    value = mono(DENSE) * (1 + 0.05 * generator.standard_normal((6, len(DENSE))))
    sd = np.array([0.05, 0.05, 0.1, 0.05, 0.05, 0.1])[:, None] * mono(DENSE)
    for name in MODELS:
        together = fit_model(DENSE, value, sd, model=name, physical_rate_per_h=RATE, prior=PRIOR)
        for row in range(len(value)):
            alone = fit_model(DENSE, value[row], sd[row], model=name, physical_rate_per_h=RATE, prior=PRIOR)
            np.testing.assert_array_equal(alone.coefficient, together.coefficient[row])
