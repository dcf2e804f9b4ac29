"""Grids: index and position, comparison, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.errors import PhysicsError


def oblique() -> Grid:
    """A turned, feet-first grid with three different voxel sizes."""
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, -1]])
    affine = np.eye(4)
    affine[:3, :3] = turn[:, ::-1] * [5.0, 2.0, 3.0]
    affine[:3, 3] = [10, -20, 30]
    return Grid((4, 5, 6), affine)


def test_the_first_voxel_lies_at_the_origin_and_steps_follow_the_axes() -> None:
    grid = axis_aligned_grid((3, 4, 5), (5.0, 2.0, 3.0), origin_mm=(1.0, 2.0, 3.0))
    np.testing.assert_array_equal(grid.origin_mm, [1, 2, 3])
    np.testing.assert_array_equal(grid.position_mm((0, 0, 0)), [1, 2, 3])
    np.testing.assert_array_equal(grid.position_mm((1, 0, 0)), [1, 2, 8])
    np.testing.assert_array_equal(grid.position_mm((0, 1, 0)), [1, 4, 3])
    np.testing.assert_array_equal(grid.position_mm((0, 0, 1)), [4, 2, 3])
    assert grid.spacing_mm == (5.0, 2.0, 3.0)
    assert grid.voxel_mL == pytest.approx(0.03)


def test_index_and_position_are_inverse_also_in_turned_grids() -> None:
    grid, index = oblique(), np.random.default_rng(1).uniform(-2, 8, (7, 2, 3))
    position = grid.position_mm(index)
    assert position.shape == (7, 2, 3)
    np.testing.assert_allclose(grid.index_of(position), index, atol=1e-12)
    assert grid.spacing_mm == pytest.approx((5.0, 2.0, 3.0))
    assert grid.voxel_mL == pytest.approx(0.03)


def test_grids_are_the_same_within_the_tolerance_at_every_corner() -> None:
    grid = axis_aligned_grid((10, 10, 10), (3.0, 3.0, 3.0))
    assert grid.same_as(axis_aligned_grid((10, 10, 10), (3.0, 3.0, 3.0), origin_mm=(5e-4, 0, 0)))
    assert not grid.same_as(axis_aligned_grid((10, 10, 10), (3.0, 3.0, 3.0), origin_mm=(2e-3, 0, 0)))
    assert not grid.same_as(axis_aligned_grid((10, 10, 11), (3.0, 3.0, 3.0)))
    # 0.0002 mm a voxel is within the tolerance at the first corner and 0.0018 mm at the last.
    assert not grid.same_as(axis_aligned_grid((10, 10, 10), (3.0002, 3.0, 3.0)))
    assert grid.same_as(axis_aligned_grid((10, 10, 10), (3.0002, 3.0, 3.0)), tolerance_mm=0.01)


def test_the_affine_is_a_copy_that_cannot_be_changed() -> None:
    affine = np.eye(4)
    grid = Grid((2, 2, 2), affine)
    affine[0, 3] = 9.0
    assert grid.origin_mm[0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 0] = 2.0


@pytest.mark.parametrize(
    ("shape", "affine", "text"),
    [
        ((2, 2, 2), np.eye(3), "finite 4 × 4 matrix"),
        ((2, 2, 2), np.full((4, 4), np.nan), "finite 4 × 4 matrix"),
        ((2, 2, 2), np.eye(4) + np.eye(4)[[3, 0, 1, 2]], "last row 0 0 0 1"),
        ((2, 2, 2), np.diag([1.0, 1.0, 0.0, 1.0]), "voxels without volume"),
        ((2, 0, 2), np.eye(4), "three positive sizes"),
        ((2, 2), np.eye(4), "three positive sizes"),
    ],
)
def test_impossible_grids_are_refused(shape: tuple[int, int, int], affine: np.ndarray, text: str) -> None:
    with pytest.raises(PhysicsError, match=text):
        Grid(shape, affine)
