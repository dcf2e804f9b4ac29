"""Resampling keeps what must be kept: identity, ramps, means, volumes."""

from __future__ import annotations

import numpy as np
import pytest

from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import PhysicsError
from lutetia.imaging.resample import coarse_grid, resample_mask, resample_volume
from lutetia.imaging.transform import identity, inverse, rigid_from_euler

GRID = axis_aligned_grid((12, 14, 16), (4.0, 3.0, 2.0), origin_mm=(5.0, -7.0, 11.0))


def ramp(grid: Grid) -> Volume:
    """A linear function of position: any correct interpolation reproduces it exactly."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return Volume((grid.position_mm(index.astype(float)) @ [0.3, -0.7, 0.2] + 100).astype(np.float32), grid, "counts")


def test_identical_grids_give_identical_values_without_holes():
    noise = Volume(np.random.default_rng(1).random(GRID.shape, dtype=np.float32), GRID, "counts")
    np.testing.assert_array_equal(resample_volume(noise, GRID).values, noise.values)
    turned = rigid_from_euler((0, 0, 1e-9), (1e-12, 0, 0))
    found = resample_volume(noise, GRID, turned, fill=-9).values
    np.testing.assert_allclose(found, noise.values, atol=1e-5)


@pytest.mark.parametrize("spacing", [(4.0, 3.0, 2.0), (2.5, 2.5, 2.5), (5.5, 5.5, 5.5)])
@pytest.mark.parametrize("angles", [(0, 0, 0), (5, -3, 8), (0, 0, 180)])
def test_a_linear_ramp_stays_a_linear_ramp(spacing, angles):
    wide = axis_aligned_grid((40, 40, 40), (4.0, 4.0, 4.0), origin_mm=(-80.0, -80.0, -80.0))
    target = axis_aligned_grid((9, 9, 9), spacing, origin_mm=(-20.0, -18.0, -15.0))
    transform = rigid_from_euler(angles, (1.3, -2.2, 0.7))
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), axis=-1).astype(float)
    expected = transform.apply(target.position_mm(index)) @ [0.3, -0.7, 0.2] + 100
    np.testing.assert_allclose(resample_volume(ramp(wide), target, transform).values, expected, atol=2e-3)


def test_feet_first_target_finds_the_same_positions():
    affine = GRID.affine @ np.diag([-1.0, 1, -1, 1])
    affine[:3, 3] = GRID.position_mm((11, 0, 15))
    flipped = Grid(GRID.shape, affine)
    np.testing.assert_allclose(resample_volume(ramp(GRID), flipped).values, ramp(flipped).values, atol=1e-3)


def test_outside_is_the_fill_value():
    away = axis_aligned_grid((3, 3, 3), (2.0, 2.0, 2.0), origin_mm=(500.0, 0.0, 0.0))
    assert (resample_volume(ramp(GRID), away, fill=-1.0).values == -1).all()


@pytest.mark.parametrize("spacing", [1.7, 4.8, 7.0])
def test_the_volume_of_a_mask_is_kept_on_coarser_finer_and_turned_grids(spacing):
    fine = axis_aligned_grid((50, 50, 50), (2.0, 1.5, 1.5))
    k, j, i = np.meshgrid(*map(np.arange, fine.shape), indexing="ij")
    ball = ((k - 25) * 2.0) ** 2 + ((j - 24) * 1.5) ** 2 + ((i - 26) * 1.5) ** 2 < 20**2
    region = RegionMask("liver", ball, fine)
    size = int(110 / spacing)
    target = axis_aligned_grid((size, size, size), (spacing,) * 3, origin_mm=(-5.0, -5.0, -5.0))
    turned = rigid_from_euler((4, 7, -3), (2, 1, 0), centre_mm=(36, 36, 50))
    for transform in (None, turned):
        found = resample_mask(region, target, transform)
        assert found.volume_mL == pytest.approx(region.volume_mL, rel=5e-3)
        assert found.mask.max() <= 1 + 1e-6


def test_a_mask_box_gives_the_same_as_the_whole_array():
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[3:6, 4:9, 5:12] = True
    region, target = RegionMask("spleen", mask, GRID), axis_aligned_grid((9, 9, 9), (5.0, 5.0, 5.0))
    whole = resample_volume(Volume(mask.astype(np.float32), GRID, "counts"), target)
    np.testing.assert_allclose(resample_mask(region, target).mask, whole.values, atol=1e-6)


def test_coarse_grid_covers_the_same_extent():
    coarse = coarse_grid(axis_aligned_grid((128, 128, 128), (2.4, 1.2, 1.2)), 4.8)
    assert coarse.shape == (64, 32, 32)
    np.testing.assert_allclose(coarse.position_mm((-0.5, -0.5, -0.5)), [-0.6, -0.6, -1.2])


def test_transforms_invert_and_refuse_what_is_not_rigid():
    transform = rigid_from_euler((1, 2, 3), (4, 5, 6), centre_mm=(7, 8, 9))
    point = np.array([[10.0, -20, 30]])
    np.testing.assert_allclose(inverse(transform).apply(transform.apply(point)), point)
    assert rigid_from_euler((0, 4, 0), (0, 0, 0)).rotation_deg == pytest.approx(4)
    assert identity().rotation_deg == 0
    with pytest.raises(PhysicsError, match="not a rotation and a translation"):
        type(transform)(np.diag([2.0, 1, 1, 1]))
