"""Time integration voxel by voxel: exact on exact curves, never worse than a fit per voxel, decay swap, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import FitError, PhysicsError, UnknownNameError
from lutetia.kinetics.integrate import LN2, time_integrated_activity
from lutetia.kinetics.transfer import transfer_nuclide
from lutetia.kinetics.voxelwise import (
    GuidedMap,
    fit_amplitudes,
    fit_voxels,
    fit_voxels_bi,
    integrate_scans,
    predict_voxels,
)
from lutetia.kinetics.voxelwise_fit import decay
from lutetia.nuclear.nuclides import nuclide

LAMBDA = nuclide("Lu-177").decay_constant_per_h
TIME = np.array([4.0, 24.0, 72.0, 168.0])
SIX = np.array([2.0, 6.0, 24.0, 48.0, 96.0, 168.0])


def noisy(count: int, sd: float, seed: int = 3) -> np.ndarray:
    random = np.random.default_rng(seed)
    rate = LN2 / random.uniform(15.0, 150.0, count)
    curve = random.uniform(0.1, 2.0, count) * np.exp(-rate * TIME[:, None])
    return (curve * (1 + sd * random.standard_normal(curve.shape))).astype(np.float32)


def misfit(activity: np.ndarray, amplitude: np.ndarray, rate: np.ndarray) -> np.ndarray:
    return ((amplitude * np.exp(-rate * TIME[:, None]) - activity) ** 2).sum(axis=0)


def test_the_polynomial_exponential_is_the_exponential() -> None:
    x = np.concatenate([[0.0], np.geomspace(1e-9, 700.0, 5000)])
    np.testing.assert_allclose([decay(v) for v in x], np.exp(-x), rtol=2e-14)


def test_exact_exponentials_are_found_again() -> None:
    half_life = np.array([3.0, 12.0, 51.0, 80.0, 159.0])
    curve = 0.7 * np.exp(-LN2 / half_life * TIME[:, None])
    fit = fit_voxels(TIME, curve, physical_rate_per_h=LAMBDA)
    np.testing.assert_allclose(fit.rate_per_h[0], LN2 / half_life, rtol=1e-6)
    np.testing.assert_allclose(fit.time_integrated(), 0.7 * half_life / LN2, rtol=2e-6)


@pytest.mark.parametrize("sd", [0.02, 0.15, 0.6])
def test_no_voxel_fits_worse_than_scipy_with_the_same_bounds(sd: float) -> None:
    activity = noisy(250, sd)
    fit = fit_voxels(TIME, activity, physical_rate_per_h=LAMBDA)
    ours = misfit(activity, fit.coefficient[0].astype(float), fit.rate_per_h[0].astype(float))
    for voxel in range(activity.shape[1]):
        y = activity[:, voxel].astype(float)
        found, _ = curve_fit(
            lambda t, a, k: a * np.exp(-k * t),
            TIME,
            y,
            p0=[max(y[0], 1e-3), 0.0139],
            bounds=([0, LAMBDA], [np.inf, LN2]),
        )
        theirs = float(misfit(y[:, None], *(np.array([x]) for x in found))[0])
        assert ours[voxel] <= theirs + 1e-7 * float(y @ y)


def test_no_voxel_fits_worse_than_a_fine_scan_of_all_rates() -> None:
    activity = noisy(2000, 0.5)
    fit = fit_voxels(TIME, activity, physical_rate_per_h=LAMBDA)
    ours = misfit(activity, fit.coefficient[0].astype(float), fit.rate_per_h[0].astype(float))
    for rate in np.geomspace(LAMBDA, LN2, 400):
        f = np.exp(-rate * TIME)
        amplitude = np.maximum(f @ activity / (f @ f), 0.0)
        scanned = misfit(activity, amplitude, np.full(activity.shape[1], rate))
        assert (ours <= scanned + 1e-6 * (activity**2).sum(axis=0)).all()


def test_rates_stay_between_physical_decay_and_the_fastest() -> None:
    rising, vanishing = np.array([0.1, 0.4, 0.9, 1.5]), np.array([1.0, 0.0, 0.0, 0.0])
    fit = fit_voxels(TIME, np.stack([rising, vanishing], axis=1), physical_rate_per_h=LAMBDA)
    assert fit.rate_per_h[0, 0] == pytest.approx(LAMBDA, rel=1e-6)
    assert fit.rate_per_h[0, 1] <= LN2 * (1 + 1e-6)


def test_voxels_without_signal_get_nothing() -> None:
    activity = np.zeros((4, 300), dtype=np.float32)
    activity[:, 1] = [-0.1, -0.2, -0.1, -0.3]
    activity[:, 299] = [1.0, 0.8, 0.5, 0.2]
    total = fit_voxels(TIME, activity, physical_rate_per_h=LAMBDA).time_integrated()
    assert np.flatnonzero(total).tolist() == [299]


def test_the_result_does_not_depend_on_which_voxels_are_fitted_together() -> None:
    activity = noisy(1000, 0.2)
    whole = fit_voxels(TIME, activity, physical_rate_per_h=LAMBDA).time_integrated()
    part = fit_voxels(TIME, activity[:, 333:777], physical_rate_per_h=LAMBDA).time_integrated()
    np.testing.assert_allclose(part, whole[333:777], rtol=1e-6)


def test_a_scan_without_weight_does_not_count() -> None:
    curve = 0.7 * np.exp(-LN2 / 60.0 * TIME)
    spoiled = curve.copy()
    spoiled[0] = 5.0
    fit = fit_voxels(TIME, spoiled[:, None], physical_rate_per_h=LAMBDA, weight=[1e-12, 1.0, 1.0, 1.0])
    assert fit.time_integrated()[0] == pytest.approx(0.7 * 60.0 / LN2, rel=1e-4)


def test_bi_exponential_voxels_are_found_again_from_six_scans() -> None:
    truth = 1.5 * np.exp(-LN2 / 3.0 * SIX) + 0.5 * np.exp(-LN2 / 70.0 * SIX)
    activity = np.stack([truth, 2 * truth, np.zeros(6)], axis=1)
    fit = fit_voxels_bi(SIX, activity, physical_rate_per_h=LAMBDA)
    exact = (1.5 * 3.0 + 0.5 * 70.0) / LN2
    np.testing.assert_allclose(fit.time_integrated(), [exact, 2 * exact, 0.0], rtol=1e-4)


def test_bi_exponential_of_four_scans_is_refused() -> None:
    with pytest.raises(FitError, match="found 4 scans; expected at least 6"):
        fit_voxels_bi(TIME, np.ones((4, 3)), physical_rate_per_h=LAMBDA)


def test_the_map_of_yttrium_is_the_decay_swap_of_each_voxel() -> None:
    activity = noisy(50, 0.05)
    fit = fit_voxels(TIME, activity, physical_rate_per_h=LAMBDA)
    for delay in (0.0, 3.0, -2.0):
        found = predict_voxels(fit, from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=0.8, delay_h=delay)
        rate = np.maximum(fit.rate_per_h.T.astype(float), LAMBDA)
        c, k = transfer_nuclide(
            fit.coefficient.T, rate, from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=0.8, delay_h=delay
        )
        np.testing.assert_allclose(found, time_integrated_activity(c, k), rtol=1e-5)


def test_guided_voxels_add_up_to_their_region() -> None:
    random = np.random.default_rng(5)
    c, k = np.array([[1.0, 0.5]]), np.array([[LN2 / 60.0, LN2 / 5.0]])
    shape = (c[0, :, None] * np.exp(-k[0, :, None] * TIME)).sum(axis=0)
    share = 0.3 + random.random(400)
    activity = share * shape[:, None] + 0.05 * random.standard_normal((4, 400)) * shape[:, None]
    guided = fit_amplitudes(TIME, activity, np.zeros(400, dtype=np.int16), coefficient=c, rate_per_h=k)
    assert guided.time_integrated().sum() == pytest.approx(
        float(activity.sum() / shape.sum() * (c / k).sum()), rel=1e-5
    )
    swapped = predict_voxels(guided, from_nuclide="Lu-177", to_nuclide="Y-90", administered_ratio=1.0)
    mu = nuclide("Y-90").decay_constant_per_h - LAMBDA
    np.testing.assert_allclose(swapped, guided.amplitude * (c / (k + mu)).sum(), rtol=1e-5)


def scans_of(curves: np.ndarray, time: np.ndarray) -> tuple[list[Volume], np.ndarray]:
    """Scans of two halves of a small grid, each with its own half-life; truth of the time-integrated activity."""
    grid = axis_aligned_grid((4, 5, 6), (4.0, 4.0, 4.0))
    half_life = np.where(np.arange(6) < 3, 50.0, 80.0)
    amplitude = np.broadcast_to(curves, grid.shape) * np.ones(6)
    maps = [Volume((amplitude * np.exp(-LN2 / half_life * t)).astype(np.float32), grid, "MBq_per_mL") for t in time]
    return maps, amplitude * half_life / LN2


@pytest.mark.parametrize("method", ["region-guided", "mono-exponential"])
def test_scans_become_maps_of_both_nuclides(method: str) -> None:
    scans, truth = scans_of(np.array(1.3), TIME)
    left = np.zeros(scans[0].grid.shape, dtype=np.float32)
    left[:, :, :3] = 1.0
    regions = [RegionMask("tumour 1", left, scans[0].grid)]
    found = integrate_scans(
        scans,
        TIME,
        nuclide="177Lu",
        method=method,
        regions=regions,
        predicted={"Y-90": 1.0},  # type: ignore[arg-type]
    )
    assert set(found.maps) == {"Lu-177", "Y-90"}
    assert found.maps["Lu-177"].unit == "MBq_h_per_mL"
    np.testing.assert_allclose(found.maps["Lu-177"].values, truth, rtol=2e-3)
    mu = nuclide("Y-90").decay_constant_per_h - LAMBDA
    np.testing.assert_allclose(found.maps["Y-90"].values, truth / (1 + mu * truth / 1.3), rtol=2e-3)


def test_region_guided_is_less_noisy_than_a_rate_for_every_voxel() -> None:
    scans, truth = scans_of(np.array(1.0), TIME)
    random = np.random.default_rng(1)
    noisy_scans = [
        Volume(s.values * (1 + 0.3 * random.standard_normal(s.values.shape)).astype(np.float32), s.grid, "MBq_per_mL")
        for s in scans
    ]
    left = np.zeros(truth.shape, dtype=bool)
    left[:, :, :3] = True
    regions = [RegionMask("tumour 1", left, scans[0].grid)]
    spread = {
        method: float(
            np.abs(
                integrate_scans(noisy_scans, TIME, nuclide="Lu-177", method=method, regions=regions)
                .maps["Lu-177"]
                .values  # type: ignore[arg-type]
                / truth
                - 1
            ).mean()
        )
        for method in ("region-guided", "mono-exponential")
    }
    assert spread["region-guided"] < spread["mono-exponential"]


def test_bad_input_is_refused() -> None:
    scans, _ = scans_of(np.array(1.0), TIME)
    good = np.ones((4, 3))
    with pytest.raises(PhysicsError, match="increasing"):
        fit_voxels(TIME[::-1], good, physical_rate_per_h=LAMBDA)
    with pytest.raises(PhysicsError, match="not a number"):
        fit_voxels(TIME, np.full((4, 3), np.nan), physical_rate_per_h=LAMBDA)
    with pytest.raises(PhysicsError, match="one map and one weight"):
        fit_voxels(TIME, np.ones((3, 3)), physical_rate_per_h=LAMBDA)
    with pytest.raises(PhysicsError, match="weights"):
        fit_voxels(TIME, good, physical_rate_per_h=LAMBDA, weight=[1.0, 0.0, 1.0, 1.0])
    with pytest.raises(PhysicsError, match="physical rate"):
        fit_voxels(TIME, good, physical_rate_per_h=3.0)
    with pytest.raises(PhysicsError, match="labels"):
        fit_amplitudes(TIME, good, np.array([0, 1, 2]), coefficient=[[1.0]], rate_per_h=[[0.01]])
    with pytest.raises(UnknownNameError, match="mono-exponential"):
        integrate_scans(scans, TIME, nuclide="Lu-177", method="mono-exponentiel")  # type: ignore[arg-type]
    other = Volume(scans[0].values, axis_aligned_grid((4, 5, 6), (4.0, 4.0, 4.1)), "MBq_per_mL")
    with pytest.raises(PhysicsError, match="scan 2: found another grid"):
        integrate_scans([scans[0], other], TIME[:2], nuclide="Lu-177")
    with pytest.raises(PhysicsError, match="found counts"):
        integrate_scans([Volume(scans[0].values, scans[0].grid, "counts")], TIME[:1], nuclide="Lu-177")


def test_guided_maps_keep_their_curves() -> None:
    guided = fit_amplitudes(
        TIME, np.ones((4, 2)), np.array([0, 1]), coefficient=[[1.0], [2.0]], rate_per_h=[[0.01], [0.02]]
    )
    assert isinstance(guided, GuidedMap)
    assert guided.amplitude[0] > guided.amplitude[1]


def test_without_regions_all_voxels_follow_one_curve_and_an_empty_region_is_told() -> None:
    scans, _ = scans_of(np.array(1.0), TIME)
    scans = [Volume(s.values * (np.arange(6) < 5), s.grid, "MBq_per_mL") for s in scans]
    whole = integrate_scans(scans, TIME, nuclide="Lu-177")
    assert whole.maps["Lu-177"].values[:, :, :5].min() > 0
    assert not whole.maps["Lu-177"].values[:, :, 5].any()
    empty = np.zeros(scans[0].grid.shape, dtype=bool)
    empty[:, :, 5] = True
    found = integrate_scans(scans, TIME, nuclide="Lu-177", regions=[RegionMask("spleen", empty, scans[0].grid)])
    assert [d.code for d in found.doubts] == ["voxel-region-empty"]
    np.testing.assert_allclose(found.maps["Lu-177"].values, whole.maps["Lu-177"].values, rtol=1e-5)


def test_negative_noise_is_told_and_never_gives_negative_integrals() -> None:
    scans, _ = scans_of(np.array(1.0), TIME)
    random = np.random.default_rng(0)
    noisy_scans = [
        Volume(s.values + random.normal(0, 0.8, s.values.shape).astype(np.float32), s.grid, "MBq_per_mL") for s in scans
    ]
    found = integrate_scans(noisy_scans, TIME, nuclide="Lu-177", predicted={"Y-90": 0.5})
    assert found.doubts[0].code == "voxel-negative"
    assert all(v.values.min() >= 0 for v in found.maps.values())
