"""Where a voxel is: `Grid`, the one geometry of all images.

Not here: resampling and registration (`lutetia.imaging`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.errors import PhysicsError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A regular voxel grid in patient space.

    Parameters
    ----------
    shape
        Number of voxels along (k, j, i): slices, rows, columns.
    affine
        4 × 4; maps the homogeneous index (k, j, i, 1) of a voxel *centre* to LPS coordinates (x, y, z, 1) in mm.

    Raises
    ------
    PhysicsError
        If a size is not positive, or the affine is singular or not finite.
    """

    shape: tuple[int, int, int]
    affine: FloatArray

    def __post_init__(self) -> None:
        affine = np.array(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or not np.array_equal(affine[3], [0, 0, 0, 1]):
            raise PhysicsError("grid: found an affine that is not a finite 4 × 4 matrix with last row 0 0 0 1")
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise PhysicsError(f"grid: found shape {self.shape}; expected three positive sizes (k, j, i)")
        if abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise PhysicsError("grid: found voxels without volume (singular affine)")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along k, j, i in mm."""
        k, j, i = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(k), float(j), float(i)

    @property
    def voxel_mL(self) -> float:
        """Volume of one voxel in mL."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    @property
    def origin_mm(self) -> FloatArray:
        """LPS position of the centre of voxel (0, 0, 0), shape (3,)."""
        return self.affine[:3, 3]

    def position_mm(self, index_kji: NDArray[np.float64] | tuple[float, float, float]) -> FloatArray:
        """LPS positions of (possibly fractional) indices, shape (..., 3) → (..., 3)."""
        index = np.asarray(index_kji, dtype=np.float64)
        return index @ self.affine[:3, :3].T + self.affine[:3, 3]

    def index_of(self, position_mm: NDArray[np.float64]) -> FloatArray:
        """Fractional indices (k, j, i) of LPS positions in mm, shape (..., 3) → (..., 3)."""
        offset = np.asarray(position_mm, dtype=np.float64) - self.affine[:3, 3]
        return offset @ np.linalg.inv(self.affine[:3, :3]).T

    def same_as(self, other: Grid, *, tolerance_mm: float = 1e-3) -> bool:
        """Whether both grids have the same voxels, within a tolerance at every corner."""
        if self.shape != other.shape:
            return False
        corners = np.array([[k, j, i] for k in (0, 1) for j in (0, 1) for i in (0, 1)]) * (np.array(self.shape) - 1)
        gap = np.abs(self.position_mm(corners) - other.position_mm(corners)).max()
        return bool(gap <= tolerance_mm)


def axis_aligned_grid(
    shape: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
    *,
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Grid:
    """Grid of a head-first supine axial series: k along +z (to the head), j along +y (to the back), i along +x (left).

    Parameters
    ----------
    shape, spacing_mm
        Along (k, j, i).
    origin_mm
        LPS (x, y, z) of the first voxel's centre.
    """
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spacing_mm
    affine[:3, 3] = origin_mm
    affine[3, 3] = 1.0
    return Grid(shape, affine)
