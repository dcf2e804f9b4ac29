"""Images and masks on a grid."""

from __future__ import annotations

import numpy as np
import pytest

from lutetia.core.geometry import axis_aligned_grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.errors import PhysicsError

GRID = axis_aligned_grid((2, 3, 4), (5.0, 2.0, 2.0))


def test_values_are_single_precision_and_read_only() -> None:
    volume = Volume(np.ones((2, 3, 4)), GRID, "MBq_per_mL")
    assert volume.values.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        volume.values[0, 0, 0] = 2.0


def test_values_and_masks_of_another_shape_than_the_grid_are_refused() -> None:
    with pytest.raises(PhysicsError, match=r"found values of shape \(4, 3, 2\) on a grid of shape \(2, 3, 4\)"):
        Volume(np.ones((4, 3, 2)), GRID, "HU")
    with pytest.raises(PhysicsError, match="liver: found a mask of shape"):
        RegionMask("liver", np.ones((4, 3, 2), dtype=bool), GRID)


def test_the_volume_of_a_mask_counts_parts_of_voxels() -> None:
    mask = np.zeros((2, 3, 4), dtype=np.float32)
    mask[0, 0, :2] = 1.0, 0.5
    assert RegionMask("liver", mask, GRID).volume_mL == pytest.approx(1.5 * 0.02)
    assert RegionMask("liver", mask > 0, GRID).volume_mL == pytest.approx(2 * 0.02)
