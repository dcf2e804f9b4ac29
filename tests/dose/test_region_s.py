"""S-values between drawn regions: brute-force sums, energy accounts, reciprocity, density, memory bound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.dose import region_s
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV
from lutetia.dose.region_s import patient_s_values, s_matrix
from lutetia.dose.s_values import sphere_s_value
from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import nuclide


@dataclass
class Stub:
    values: NDArray[np.float64]
    density_g_per_mL: float = 1.0


def ellipsoid(grid: Grid, centre: tuple[float, ...], semi_axes: tuple[float, ...]) -> NDArray[np.bool_]:
    """Centre and semi-axes in mm along k, j, i from the first voxel."""
    index = np.indices(grid.shape, dtype=np.float64)
    position = [(index[n] * grid.spacing_mm[n] - centre[n]) / semi_axes[n] for n in range(3)]
    return np.asarray(sum(p**2 for p in position) <= 1.0)


def two_regions(shape: tuple[int, int, int] = (9, 8, 10)) -> NDArray[np.float32]:
    random = np.random.default_rng(5)
    masks = np.zeros((2, *shape), dtype=np.float32)
    masks[0, 1:4, 1:4, 1:5] = random.uniform(0.2, 1.0, (3, 3, 4))
    masks[1, 5:8, 3:7, 6:10] = 1.0
    return masks


def radial(half: tuple[int, int, int], reach: float) -> NDArray[np.float64]:
    axes = np.meshgrid(*(np.arange(-h, h + 1.0) for h in half), indexing="ij")
    return np.exp(-np.sqrt(sum(a**2 for a in axes)) / reach)


@pytest.mark.parametrize("half", [(2, 2, 2), (3, 6, 4), (30, 30, 30)])
def test_the_matrix_equals_the_brute_force_double_sum(half: tuple[int, int, int]) -> None:
    masks, kernel = two_regions(), radial(half, 1.5)
    mass = np.array([31.0, 55.0])
    points = np.argwhere(masks.any(axis=0))
    shift = points[:, None, :] - points[None, :, :]
    inside = (np.abs(shift) <= half).all(axis=-1)
    reach = np.where(inside, kernel[tuple(np.clip(shift + half, 0, 2 * np.array(half)).transpose(2, 0, 1))], 0.0)
    weight = masks[:, *points.T].astype(np.float64)
    energy = np.einsum("tv,vu,su->ts", weight, reach, weight)
    expected = 1.04 * 0.11 * energy / (mass[:, None] * weight.sum(axis=1)[None, :])
    found = s_matrix(masks, Stub(kernel, 1.04), 0.11, mass_g=mass)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-7 * expected.max())


def test_all_energy_of_a_short_kernel_arrives_in_a_target_that_holds_it() -> None:
    masks = np.zeros((2, 20, 20, 20), dtype=np.float32)
    masks[0, 8:12, 8:12, 8:12], masks[1] = 1.0, 1.0
    kernel = radial((3, 3, 3), 1.0)
    mass = masks.sum(axis=(1, 2, 3), dtype=np.float64) * 0.1
    values = s_matrix(masks, Stub(kernel), 0.1, mass_g=mass)
    assert values[1, 0] * mass[1] == pytest.approx(0.1 * kernel.sum(), rel=1e-5)
    assert values[0, 0] < 0.1 * kernel.sum() / mass[0]


def test_cross_dose_is_reciprocal_in_energy_per_mass() -> None:
    """Uniform tissue: S(t ← s) = S(s ← t)."""
    masks = two_regions()
    masks[0] = masks[0] > 0
    mass = masks.sum(axis=(1, 2, 3), dtype=np.float64) * 0.1
    values = s_matrix(masks, Stub(radial((8, 8, 8), 3.0)), 0.1, mass_g=mass)
    assert values[0, 1] == pytest.approx(values[1, 0], rel=1e-5)


@pytest.fixture(scope="module")
def kidney_like() -> list[RegionMask]:
    grid = axis_aligned_grid((44, 40, 48), (3.0, 3.0, 3.0))
    return [
        RegionMask("left kidney", ellipsoid(grid, (66, 60, 100), (33.0, 33.0, 33.0)), grid),
        RegionMask("spleen", ellipsoid(grid, (66, 60, 35), (30.0, 24.0, 24.0)), grid),
    ]


@pytest.mark.parametrize(("name", "tolerance"), [("Lu-177", 0.01), ("Y-90", 0.015)])
def test_the_self_dose_of_a_ball_is_that_of_the_sphere_model(
    kidney_like: list[RegionMask], name: str, tolerance: float
) -> None:
    patient = patient_s_values(kidney_like, name)
    expected = float(sphere_s_value(name, patient.mass_g[0]))
    assert patient.between("left kidney", "left kidney") == pytest.approx(expected, rel=tolerance)


def test_electrons_never_give_more_than_local_deposition_and_cross_dose_is_small(kidney_like: list[RegionMask]) -> None:
    local = patient_s_values(kidney_like, "Y-90", method="local deposition")
    kernel = patient_s_values(kidney_like, "Y-90")
    own = nuclide("Y-90").electron_MeV * GY_G_PER_MBQ_H_MEV / local.mass_g
    assert np.diag(local.values_Gy_per_MBq_h) == pytest.approx(own)
    assert local.values_Gy_per_MBq_h[0, 1] == 0.0
    assert "local deposition" in local.method
    excess = np.diag(local.values_Gy_per_MBq_h) / np.diag(kernel.values_Gy_per_MBq_h)
    assert (excess > 1.03).all()
    assert (excess < 1.15).all()
    assert 0.0 < kernel.between("spleen", "left kidney") < 1e-2 * kernel.between("spleen", "spleen")


def test_lutetium_photons_cross_to_the_neighbour(kidney_like: list[RegionMask]) -> None:
    patient = patient_s_values(kidney_like, "177Lu")
    share = patient.between("spleen", "left kidney") / patient.between("spleen", "spleen")
    assert 1e-4 < share < 2e-2
    assert patient.nuclide == "Lu-177"


def test_density_divides_the_same_energy_by_the_patients_mass(kidney_like: list[RegionMask]) -> None:
    grid = kidney_like[0].grid
    density = np.full(grid.shape, 1.0, dtype=np.float32)
    density[kidney_like[0].mask] = 1.25
    plain = patient_s_values(kidney_like, "Y-90")
    scaled = patient_s_values(kidney_like, "Y-90", Volume(density, grid, "g_per_mL"))
    assert scaled.mass_g[0] == pytest.approx(kidney_like[0].volume_mL * 1.25, rel=1e-6)
    energy = [p.values_Gy_per_MBq_h * p.mass_g[:, None] for p in (plain, scaled)]
    assert energy[1] == pytest.approx(energy[0], rel=1e-6)
    assert "CT density" in scaled.method


def test_large_grids_are_averaged_and_say_so(kidney_like: list[RegionMask], monkeypatch: pytest.MonkeyPatch) -> None:
    fine = patient_s_values(kidney_like, "Y-90")
    monkeypatch.setattr(region_s, "_SPECTRUM_LIMIT_BYTES", 600_000)
    coarse = patient_s_values(kidney_like, "Y-90")
    assert "masks averaged" in coarse.method
    assert coarse.mass_g == pytest.approx(fine.mass_g)
    assert np.diag(coarse.values_Gy_per_MBq_h) == pytest.approx(np.diag(fine.values_Gy_per_MBq_h), rel=0.03)


def ball(radius_mm: float, spacing_mm: float, *, fractional: bool, divide: int = 4) -> RegionMask:
    """A ball off the grid's symmetry, as the filled fraction of each voxel or as voxels filled by half or more."""
    n = int(np.ceil(2 * radius_mm / spacing_mm)) + 4
    axis = (np.arange(n * divide) + 0.5) / divide - 0.5
    square = ((axis - (n - 1) / 2 - 0.23) * spacing_mm) ** 2
    filled = square[:, None, None] + square[None, :, None] + square[None, None, :] <= radius_mm**2
    share = filled.reshape(n, divide, n, divide, n, divide).mean(axis=(1, 3, 5), dtype=np.float32)
    grid = axis_aligned_grid((n, n, n), (spacing_mm,) * 3)
    return RegionMask("left kidney", share if fractional else share >= 0.5, grid)


@pytest.mark.parametrize("fractional", [True, False], ids=["partly filled", "ragged"])
@pytest.mark.parametrize("spacing_mm", [2.0, 4.8, 6.0])
@pytest.mark.parametrize(
    ("name", "radius_mm", "tolerance"), [("Lu-177", 10, 0.01), ("Y-90", 10, 0.025), ("Y-90", 28, 0.01)]
)
def test_self_dose_does_not_depend_on_voxel_size_or_filled_edges(
    name: str, radius_mm: float, tolerance: float, spacing_mm: float, fractional: bool
) -> None:
    """Convolution on the drawn voxels alone is 10–30 % low for partly filled edges."""
    patient = patient_s_values([ball(radius_mm, spacing_mm, fractional=fractional)], name)
    expected = float(sphere_s_value(name, patient.mass_g[0], density_g_per_mL=1.05))
    assert patient.values_Gy_per_MBq_h[0, 0] == pytest.approx(expected, rel=tolerance)


def test_regions_drawn_on_a_fine_grid_stay_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    fine = ball(28.0, 1.5, fractional=True, divide=2)
    full = patient_s_values([fine], "Lu-177").values_Gy_per_MBq_h[0, 0]
    sizes = []
    transform = region_s.s_matrix

    def seen(occupancy, *rest, **named):
        sizes.append(occupancy.size)
        return transform(occupancy, *rest, **named)

    monkeypatch.setattr(region_s, "s_matrix", seen)
    monkeypatch.setattr(region_s, "_MOST_FINE_VOXELS", 20_000)
    monkeypatch.setattr(region_s, "_FINE_VOXELS", 20_000)
    bounded = patient_s_values([fine], "Lu-177").values_Gy_per_MBq_h[0, 0]
    assert sizes[-1] <= 20_000 < sizes[0]
    assert bounded == pytest.approx(full, rel=0.01)


def test_an_oblique_grid_gives_the_same_values(kidney_like: list[RegionMask]) -> None:
    angle = np.deg2rad(25.0)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    grid = Grid(kidney_like[0].grid.shape, turn @ kidney_like[0].grid.affine)
    turned = [RegionMask(m.region, m.mask, grid) for m in kidney_like]
    straight = patient_s_values(kidney_like, "Lu-177").values_Gy_per_MBq_h
    assert patient_s_values(turned, "Lu-177").values_Gy_per_MBq_h == pytest.approx(straight, rel=1e-5)


def test_shared_volume_is_that_of_the_smaller_region_and_touching_edges_share_nothing() -> None:
    grid = axis_aligned_grid((12, 12, 12), (4.0, 4.0, 4.0))
    liver, tumour, neighbour = (np.zeros(grid.shape, dtype=np.float32) for _ in range(3))
    liver[2:8, 2:8, 2:8], tumour[3:5, 3:5, 3:7], neighbour[8:11, 2:8, 2:8] = 1.0, 1.0, 1.0
    liver[8, 2:8, 2:8], neighbour[8, 2:8, 2:8] = 0.4, 0.6
    tumour[3:5, 3:5, 7:11] = 1.0  # half of it outside
    drawn = [RegionMask(n, m, grid) for n, m in (("liver", liver), ("tumour 1", tumour), ("spleen", neighbour))]
    patient = patient_s_values(drawn, "Lu-177")
    assert patient.overlap("liver", "tumour 1") == pytest.approx(5 / 8)
    assert patient.overlap("tumour 1", "liver") == patient.overlap("liver", "tumour 1")
    assert patient.overlap("liver", "spleen") == pytest.approx(0.0, abs=1e-6)


def test_empty_skewed_mixed_and_repeated_regions_are_refused(kidney_like: list[RegionMask]) -> None:
    first = kidney_like[0]
    empty = RegionMask("liver", np.zeros(first.grid.shape, dtype=bool), first.grid)
    with pytest.raises(PhysicsError, match=r"liver: found an empty mask"):
        patient_s_values([first, empty], "Lu-177")
    moved = RegionMask("liver", first.mask, axis_aligned_grid(first.grid.shape, (3.0, 3.0, 3.1)))
    with pytest.raises(PhysicsError, match=r"another grid"):
        patient_s_values([first, moved], "Lu-177")
    with pytest.raises(PhysicsError, match=r"region twice"):
        patient_s_values([first, first], "Lu-177")
    affine = first.grid.affine.copy()
    affine[0, 1] = 1.0
    skewed = RegionMask("liver", first.mask, Grid(first.grid.shape, affine))
    with pytest.raises(PhysicsError, match=r"skewed voxels"):
        patient_s_values([skewed], "Lu-177")
    with pytest.raises(PhysicsError, match=r"no region"):
        patient_s_values([], "Lu-177")


def test_a_density_image_in_the_wrong_unit_is_refused(kidney_like: list[RegionMask]) -> None:
    grid = kidney_like[0].grid
    with pytest.raises(PhysicsError, match=r"found HU"):
        patient_s_values(kidney_like, "Lu-177", Volume(np.zeros(grid.shape, dtype=np.float32), grid, "HU"))
