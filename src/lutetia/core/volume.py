"""Voxel values on a grid, with their unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lutetia.core.geometry import Grid
from lutetia.errors import PhysicsError

Unit = Literal["MBq_per_mL", "MBq_h_per_mL", "counts", "HU", "g_per_mL", "Gy", "Gy_per_h"]


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """An image: values of shape (k, j, i) on a `Grid`, in one named unit; the array is made read-only."""

    values: NDArray[np.float32]
    grid: Grid
    unit: Unit

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        if values.shape != self.grid.shape:
            raise PhysicsError(f"volume: found values of shape {values.shape} on a grid of shape {self.grid.shape}")
        values.setflags(write=False)
        object.__setattr__(self, "values", values)


@dataclass(frozen=True, slots=True, eq=False)
class RegionMask:
    """One delineated region: canonical name and occupancy (boolean, or fraction 0–1) of shape (k, j, i) on a grid."""

    region: str
    mask: NDArray[np.bool_] | NDArray[np.float32]
    grid: Grid

    def __post_init__(self) -> None:
        mask = np.ascontiguousarray(self.mask)
        if mask.shape != self.grid.shape:
            raise PhysicsError(f"{self.region}: found a mask of shape {mask.shape} on a grid of {self.grid.shape}")
        mask.setflags(write=False)
        object.__setattr__(self, "mask", mask)

    @property
    def volume_mL(self) -> float:
        """Volume of the region in mL."""
        return float(np.sum(self.mask, dtype=np.float64)) * self.grid.voxel_mL
