"""Ellipsoids on grids: volumes, motion and the voxels that they fill."""

from __future__ import annotations

import numpy as np
import pytest

from lutetia.core.geometry import axis_aligned_grid
from lutetia.errors import PhysicsError
from lutetia.phantom.case import in_position
from lutetia.phantom.shapes import Ellipsoid, Motion, occupancy, subject_positions_mm

GRID = axis_aligned_grid((40, 44, 48), (4.0, 3.0, 2.5), origin_mm=(-60.0, -66.0, -80.0))
SHAPE = Ellipsoid((3.0, -5.0, 8.0), (27.0, 23.0, 50.0))


def test_occupancy_sums_to_the_analytic_volume() -> None:
    volume = occupancy(SHAPE, GRID).sum(dtype=np.float64) * GRID.voxel_mL
    assert volume == pytest.approx(SHAPE.volume_mL, rel=1e-3)


def test_motion_moves_the_centre_of_mass_and_keeps_the_volume() -> None:
    motion = Motion((6.0, -4.0, 2.0), (10.0, -5.0, 8.0), (0.0, 0.0, 0.0))
    fraction = occupancy(SHAPE, GRID, motion)
    index = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"), axis=-1)
    centre = (GRID.position_mm(index) * fraction[..., None]).sum((0, 1, 2)) / fraction.sum()
    expected = (motion.matrix @ [*SHAPE.centre_mm, 1.0])[:3]
    np.testing.assert_allclose(centre, expected, atol=0.05)
    assert fraction.sum() * GRID.voxel_mL == pytest.approx(SHAPE.volume_mL, rel=2e-3)


def test_subject_positions_undo_the_motion() -> None:
    motion = Motion((6.0, -4.0, 2.0), (10.0, -5.0, 8.0), (1.0, 2.0, 3.0))
    seen = GRID.position_mm((7.0, 11.0, 13.0))
    own = subject_positions_mm(GRID, motion)[:, 7, 11, 13]
    np.testing.assert_allclose((motion.matrix @ [*own, 1.0])[:3], seen, atol=1e-3)


def test_a_shape_outside_the_grid_fills_nothing() -> None:
    assert not occupancy(Ellipsoid((500.0, 0.0, 0.0), (5.0, 5.0, 5.0)), GRID).any()


def test_a_shape_cut_by_the_grid_keeps_the_part_inside() -> None:
    cut = Ellipsoid((-61.25, 0.0, 0.0), (20.0, 20.0, 20.0))  # centred on the edge of the first voxels
    assert occupancy(cut, GRID).sum() * GRID.voxel_mL == pytest.approx(cut.volume_mL / 2, rel=2e-3)


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "FFP"])
def test_every_patient_position_sees_the_same_subject(position: str) -> None:
    turned = in_position(GRID, position)  # type: ignore[arg-type]
    fraction = occupancy(SHAPE, turned)
    index = np.stack(np.meshgrid(*map(np.arange, GRID.shape), indexing="ij"), axis=-1)
    centre = (turned.position_mm(index) * fraction[..., None]).sum((0, 1, 2)) / fraction.sum()
    np.testing.assert_allclose(centre, SHAPE.centre_mm, atol=0.05)
    assert np.linalg.det(turned.affine[:3, :3]) == pytest.approx(np.linalg.det(GRID.affine[:3, :3]))


def test_semi_axes_must_be_positive() -> None:
    with pytest.raises(PhysicsError, match="three positive lengths"):
        Ellipsoid((0.0, 0.0, 0.0), (1.0, 0.0, 1.0))
