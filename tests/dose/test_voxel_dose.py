"""Dose maps: kernel, energy, equilibrium, spheres, density, Monte Carlo beside kernel, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.volume import Volume
from lutetia.dose.kernels import voxel_kernel
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV, point_kernel
from lutetia.dose.s_values import sphere_s_value
from lutetia.dose.voxel_dose import METHODS, recommended_method, voxel_dose
from lutetia.errors import PhysicsError, UnknownNameError
from lutetia.nuclear.nuclides import nuclide

NUCLIDES = ("Lu-177", "Y-90")


def maps(
    values: np.ndarray, step: float | tuple[float, float, float], density: np.ndarray | None = None
) -> tuple[Volume, Volume | None]:
    spacing = (step,) * 3 if isinstance(step, float) else step
    grid = axis_aligned_grid((values.shape[0], values.shape[1], values.shape[2]), spacing)
    mass = None if density is None else Volume(density.astype(np.float32), grid, "g_per_mL")
    return Volume(values.astype(np.float32), grid, "MBq_h_per_mL"), mass


def energy_MeV(dose: np.ndarray, density: np.ndarray, grid: Grid) -> float:
    return float((dose * density).sum(dtype=np.float64)) * grid.voxel_mL / GY_G_PER_MBQ_H_MEV


@pytest.mark.parametrize("name", NUCLIDES)
@pytest.mark.parametrize("spacing", [(4.0, 4.0, 4.0), (5.0, 2.5, 3.0)])
def test_the_dose_of_one_voxel_is_the_kernel(name: str, spacing: tuple[float, float, float]) -> None:
    impulse = np.zeros((21, 25, 23))
    impulse[10, 12, 11] = 2.0
    activity, _ = maps(impulse, spacing)
    found = voxel_dose(activity, name).dose
    kernel = voxel_kernel(name, spacing, extent_mm=200.0).values
    middle = [n // 2 for n in kernel.shape]
    part = kernel[middle[0] - 10 : middle[0] + 11, middle[1] - 12 : middle[1] + 13, middle[2] - 11 : middle[2] + 12]
    expected = part * 2.0 * activity.grid.voxel_mL
    np.testing.assert_allclose(found.values, expected, rtol=1e-4, atol=1e-6 * expected.max())
    assert found.unit == "Gy"


def test_an_impulse_in_a_corner_does_not_wrap_around() -> None:
    impulse = np.zeros((12, 12, 12))
    impulse[0, 0, 0] = 1.0
    activity, _ = maps(impulse, 4.0)
    dose = voxel_dose(activity, "Lu-177").dose.values
    kernel = voxel_kernel("Lu-177", (4.0,) * 3, extent_mm=60.0).values
    middle = kernel.shape[0] // 2
    exact = kernel[middle:, middle:, middle:][:12, :12, :12] * activity.grid.voxel_mL
    np.testing.assert_allclose(dose, exact, rtol=1e-2, atol=2e-7 * exact.max())


def test_activity_gives_dose_rate() -> None:
    activity, _ = maps(np.ones((5, 5, 5)), 4.0)
    rate = voxel_dose(Volume(activity.values, activity.grid, "MBq_per_mL"), "Y-90").dose
    assert rate.unit == "Gy_per_h"
    np.testing.assert_array_equal(rate.values, voxel_dose(activity, "Y-90").dose.values)


@pytest.mark.parametrize("name", NUCLIDES)
def test_convolution_agrees_with_scipy_in_double_precision(name: str) -> None:
    values = np.random.default_rng(2).random((24, 30, 28))
    activity, _ = maps(values, 4.0)
    found = voxel_dose(activity, name).dose.values
    kernel = voxel_kernel(name, (4.0,) * 3, extent_mm=200.0).values
    exact = fftconvolve(values.astype(np.float32).astype(float) * 0.064, kernel, mode="same")
    assert np.abs(found - exact).max() <= 5e-6 * exact.max()


@pytest.mark.parametrize("name", NUCLIDES)
def test_inside_a_large_uniform_body_the_dose_is_all_emitted_energy(name: str) -> None:
    activity, _ = maps(np.ones((81, 81, 81)), 10.0)
    data, found = nuclide(name), voxel_dose(activity, name).dose.values[40, 40, 40]
    equilibrium = GY_G_PER_MBQ_H_MEV * (data.electron_MeV + data.photon_MeV) / 1.04
    kernel = voxel_kernel(name, (10.0,) * 3, extent_mm=405.0)
    beyond = kernel.beyond_MeV / kernel.emitted_MeV
    assert found == pytest.approx(equilibrium * (1 - beyond), rel=2e-4)
    assert beyond < 0.01


@pytest.mark.parametrize("method", ["kernel", "local electrons", "local deposition"])
def test_energy_is_kept_whatever_the_density(method: str) -> None:
    random = np.random.default_rng(4)
    source = np.zeros((40, 40, 40))
    source[16:24, 16:24, 16:24] = random.random((8, 8, 8))
    density = random.uniform(0.15, 1.9, source.shape)
    activity, mass = maps(source, 5.0, density)
    found = voxel_dose(activity, "Y-90", density=mass, method=method)
    emitted = nuclide("Y-90").electron_MeV * source.sum() * activity.grid.voxel_mL
    absorbed = energy_MeV(found.dose.values, density, activity.grid)
    # Bremsstrahlung leaves this box of 200 mm; it is 0.4 % of the energy.
    assert emitted * 0.995 < absorbed <= emitted * 1.0005


def test_lung_takes_the_energy_of_tissue_over_its_own_mass() -> None:
    source = np.ones((41, 41, 41))
    density = np.full(source.shape, 0.26)
    activity, mass = maps(source, 4.0, density)
    lung = voxel_dose(activity, "Lu-177", density=mass).dose.values
    water = voxel_dose(activity, "Lu-177").dose.values
    np.testing.assert_allclose(lung, water * 1.04 / 0.26, rtol=1e-5)


def test_photons_deposit_where_the_mass_is() -> None:
    source = np.zeros((31, 31, 31))
    source[10:21, 10:21, 10:15] = 1.0
    density = np.full(source.shape, 1.04)
    density[:, :, 22:] = 0.26
    activity, mass = maps(source, 8.0, density)
    found = voxel_dose(activity, "Lu-177", density=mass).dose.values
    uniform = voxel_dose(activity, "Lu-177").dose.values
    # Far from electrons the dose, not the energy, is that of uniform tissue: the lung holds a quarter of the energy.
    ratio = found[15, 15, 24] / uniform[15, 15, 24]
    assert ratio == pytest.approx(found[15, 15, 19] / uniform[15, 15, 19], rel=1e-3)
    assert 1.0 < ratio < 1.1
    assert energy_MeV(found, density, activity.grid) == pytest.approx(
        energy_MeV(uniform, np.full(source.shape, 1.04), activity.grid), rel=1e-5
    )


def test_energy_on_air_is_not_shown_and_is_told() -> None:
    source = np.zeros((20, 20, 20))
    source[:, :, :10] = 1.0
    density = np.where(np.arange(20) < 10, 1.04, 0.0012) * np.ones(source.shape)
    activity, mass = maps(source, 3.0, density)
    found = voxel_dose(activity, "Y-90", density=mass)
    assert not found.dose.values[:, :, 10:].any()
    absorbed = energy_MeV(found.dose.values, density, activity.grid)
    emitted = nuclide("Y-90").electron_MeV * source.sum() * activity.grid.voxel_mL
    assert found.escaped_share == pytest.approx(1 - absorbed / emitted, abs=1e-4)
    assert 0.05 < found.escaped_share < 0.3
    assert not found.doubts


def test_activity_in_air_raises_a_doubt() -> None:
    source = np.ones((20, 20, 20))
    density = np.where(np.arange(20) < 10, 1.04, 0.0012) * np.ones(source.shape)
    activity, mass = maps(source, 3.0, density)
    found = voxel_dose(activity, "Y-90", density=mass)
    assert found.doubts[0].code == "voxel-activity-in-air"
    assert "50.0 %" in found.doubts[0].message


@pytest.mark.parametrize(("name", "mass_g"), [("Lu-177", 20.0), ("Y-90", 20.0), ("Lu-177", 100.0), ("Y-90", 100.0)])
def test_a_ball_of_voxels_has_the_s_value_of_the_sphere(name: str, mass_g: float) -> None:
    radius = 10 * (3 * mass_g / (4 * np.pi * 1.0)) ** (1 / 3)
    step = radius / 14
    axis = (np.arange(33) - 16) * step
    squared = axis[:, None, None] ** 2 + axis[None, :, None] ** 2 + axis[None, None, :] ** 2
    ball = (squared <= radius**2).astype(float)
    activity, mass = maps(ball, float(step), np.ones(ball.shape))
    dose = voxel_dose(activity, name, density=mass).dose.values
    grams = ball.sum() * activity.grid.voxel_mL
    found = float(dose[ball > 0].mean(dtype=np.float64)) / (ball.sum() * activity.grid.voxel_mL)
    # Energy is carried at 1.04 g/mL, so the ball stands for one of the same m ρ² law at that density.
    expected = float(sphere_s_value(name, grams * 1.04, density_g_per_mL=1.04)) * 1.04
    assert found == pytest.approx(expected, rel=0.02)


def test_local_deposition_is_electron_energy_over_mass() -> None:
    values = np.random.default_rng(1).random((4, 4, 4))
    density = np.full(values.shape, 1.1)
    activity, mass = maps(values, 4.0, density)
    found = voxel_dose(activity, "Lu-177", density=mass, method="local deposition").dose.values
    np.testing.assert_allclose(found, values * nuclide("Lu-177").electron_MeV * GY_G_PER_MBQ_H_MEV / 1.1, rtol=1e-5)


def test_local_and_kernel_electrons_have_the_same_mean_far_from_borders() -> None:
    activity, _ = maps(np.ones((31, 31, 31)), 6.0)
    middle = (15, 15, 15)
    kernel = voxel_dose(activity, "Y-90").dose.values[middle]
    local = voxel_dose(activity, "Y-90", method="local electrons").dose.values[middle]
    assert local == pytest.approx(kernel, rel=1e-3)


def test_monte_carlo_photons_agree_with_the_kernel_in_uniform_tissue() -> None:
    source = np.zeros((61, 61, 61))
    source[26:35, 26:35, 26:35] = 1.0
    density = np.full(source.shape, 1.04)
    activity, mass = maps(source, 8.0, density)
    kernel = voxel_dose(activity, "Lu-177", density=mass)
    carlo = voxel_dose(activity, "Lu-177", density=mass, method="monte carlo", photons=400_000)
    inside = source > 0
    assert float(carlo.dose.values[inside].mean()) == pytest.approx(float(kernel.dose.values[inside].mean()), rel=2e-3)
    around = (slice(20, 41),) * 3
    own, other = (float(m.dose.values[around].sum() - m.dose.values[inside].sum()) for m in (carlo, kernel))
    assert own == pytest.approx(other, rel=0.01)
    assert carlo.sd is not None
    assert 0 < float(carlo.sd.values[30, 30, 30]) < 0.01 * float(carlo.dose.values[30, 30, 30])
    assert "photons, seed 1" in carlo.method


def test_monte_carlo_of_a_nuclide_without_photons_is_its_electron_kernel() -> None:
    source = np.zeros((15, 15, 15))
    source[7, 7, 7] = 1.0
    activity, mass = maps(source, 4.0, np.full(source.shape, 1.04))
    carlo = voxel_dose(activity, "Y-90", density=mass, method="monte carlo", photons=3200)
    kernel = voxel_dose(activity, "Y-90", density=mass)
    # 90Y emits no photons to speak of (annihilation quanta of 32 pairs per million decays).
    np.testing.assert_allclose(carlo.dose.values, kernel.dose.values, atol=1e-4 * kernel.dose.values.max())


def test_the_recommended_method_does_not_blur_lutetium_twice() -> None:
    assert recommended_method("Lu-177", measured_by_spect=True) == "local electrons"
    assert recommended_method("Lu-177", measured_by_spect=False) == "kernel"
    assert recommended_method("Y-90", measured_by_spect=True) == "kernel"


def test_the_result_says_method_and_blur() -> None:
    activity, _ = maps(np.ones((4, 4, 4)), 4.0)
    for method in ("kernel", "local electrons", "local deposition"):
        found = voxel_dose(activity, "177Lu", method=method, resolution_mm=10.0)
        assert found.nuclide == "Lu-177"
        assert found.method.startswith(method)
        assert "FWHM 10 mm" in found.blur
        assert [d.code for d in found.doubts] == (["voxel-blurred-twice"] if method == "kernel" else [])
    assert not voxel_dose(activity, "Y-90", resolution_mm=10.0).doubts


def test_zero_activity_gives_zero_dose_and_a_doubt() -> None:
    activity, mass = maps(np.zeros((4, 4, 4)), 4.0, np.ones((4, 4, 4)))
    for method in METHODS:
        found = voxel_dose(activity, "Lu-177", density=mass, method=method)
        assert not found.dose.values.any()
        assert found.doubts[0].code == "voxel-no-activity"


def test_bremsstrahlung_leaves_the_voxel_even_when_electrons_stay() -> None:
    activity, _ = maps(np.ones((3, 3, 3)), 4.0)
    found = voxel_dose(activity, "Y-90", method="local electrons").dose.values[1, 1, 1]
    whole = voxel_dose(activity, "Y-90", method="local deposition").dose.values[1, 1, 1]
    share = float(point_kernel("Y-90").bremsstrahlung_MeV.sum()) / nuclide("Y-90").electron_MeV
    assert 1 - share < found / whole < 1


def refuse(text: str, *, values: np.ndarray | None = None, step: float | tuple[float, float, float] = 4.0,
           density: np.ndarray | None = None, method: str = "kernel") -> None:  # fmt: skip
    activity, mass = maps(np.ones((4, 4, 4)) if values is None else values, step, density)
    with pytest.raises(PhysicsError, match=text):
        voxel_dose(activity, "Lu-177", density=mass, method=method)


def test_bad_maps_are_refused() -> None:
    one = np.ones((4, 4, 4))
    negative, missing = one.copy(), one.copy()
    negative[1, 2, 3], missing[0, 0, 0] = -0.1, np.nan
    refuse("1 negative voxels", values=negative)
    refuse("not a number", values=missing)
    refuse("at most 5 times the shortest", step=(12.0, 2.0, 2.0))
    refuse("voxels of 0.1", step=0.1)
    refuse("expected 0 to 5 g/mL", density=6 * one)
    refuse("Hounsfield", density=-900 * one)
    refuse("density map: found values", density=missing)
    refuse("found no density map", method="monte carlo")


def test_wrong_units_grids_and_names_are_refused() -> None:
    activity, mass = maps(np.ones((4, 4, 4)), 4.0, np.ones((4, 4, 4)))
    assert mass is not None
    with pytest.raises(PhysicsError, match="found counts"):
        voxel_dose(Volume(activity.values, activity.grid, "counts"), "Lu-177")
    with pytest.raises(PhysicsError, match="found HU; expected g_per_mL"):
        voxel_dose(activity, "Lu-177", density=Volume(mass.values, mass.grid, "HU"))
    shifted = axis_aligned_grid((4, 4, 4), (4.0,) * 3, origin_mm=(2.0, 0.0, 0.0))
    with pytest.raises(PhysicsError, match="resample it to the activity map"):
        voxel_dose(activity, "Lu-177", density=Volume(mass.values, shifted, "g_per_mL"))
    with pytest.raises(UnknownNameError, match="kernel"):
        voxel_dose(activity, "Lu-177", method="kernal")
    with pytest.raises(UnknownNameError, match="unknown nuclide"):
        voxel_dose(activity, "Lu-199")
    skewed = np.array(activity.grid.affine)
    skewed[0, 0] = 1.0
    with pytest.raises(PhysicsError, match="skewed"):
        voxel_dose(Volume(activity.values, Grid((4, 4, 4), skewed), "MBq_per_mL"), "Lu-177")
