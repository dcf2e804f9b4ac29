"""Ellipsoids in patient space, rigid motion, and how much of each voxel they fill.

Not here: what the ellipsoids are made of (`lutetia.phantom.subject`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lutetia.core.geometry import Grid
from lutetia.errors import PhysicsError

FloatArray = NDArray[np.float64]
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """An axis-aligned ellipsoid in the subject's LPS frame: centre and semi-axes (x, y, z) in mm."""

    centre_mm: Vector
    semi_axes_mm: Vector

    def __post_init__(self) -> None:
        if min(self.semi_axes_mm) <= 0:
            raise PhysicsError(f"ellipsoid: found semi-axes {self.semi_axes_mm} mm; expected three positive lengths")

    @property
    def volume_mL(self) -> float:
        """4/3 π a b c, in mL."""
        a, b, c = self.semi_axes_mm
        return 4.0 / 3.0 * math.pi * a * b * c / 1000.0

    def contains(self, position_mm: FloatArray) -> NDArray[np.bool_]:
        """Whether LPS positions (..., 3) lie inside, shape (...)."""
        unit = (position_mm - np.asarray(self.centre_mm)) / np.asarray(self.semi_axes_mm)
        return np.asarray(np.einsum("...d,...d->...", unit, unit) <= 1.0)

    def surface_mm(self) -> FloatArray:
        """Evenly spread positions on its surface, shape (point, 3)."""
        return np.asarray(np.asarray(self.centre_mm) + _unit_sphere() * np.asarray(self.semi_axes_mm))

    def towards(self, other: Ellipsoid, share: float) -> Ellipsoid:
        """A share of the way from this ellipsoid (0) to another (1), in centre and semi-axes."""
        x, y, z = (a + share * (b - a) for a, b in zip(self.centre_mm, other.centre_mm, strict=True))
        p, q, r = (a + share * (b - a) for a, b in zip(self.semi_axes_mm, other.semi_axes_mm, strict=True))
        return Ellipsoid((x, y, z), (p, q, r))


@cache
def _unit_sphere(count: int = 3000) -> FloatArray:
    """A golden-angle spiral of unit vectors, shape (point, 3)."""
    z = 1.0 - (2.0 * np.arange(count) + 1.0) / count
    angle, radius = np.arange(count) * math.pi * (3.0 - math.sqrt(5.0)), np.sqrt(1.0 - z * z)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=-1)


@dataclass(frozen=True, slots=True)
class Motion:
    """A rigid movement of the subject in the scanner: x → R (x − centre) + centre + shift.

    `rotation_deg` is a rotation vector (axis times angle) in LPS.
    """

    shift_mm: Vector = (0.0, 0.0, 0.0)
    rotation_deg: Vector = (0.0, 0.0, 0.0)
    centre_mm: Vector = (0.0, 0.0, 0.0)

    @property
    def matrix(self) -> FloatArray:
        """Homogeneous 4 × 4 matrix from the subject's frame to the scanner's, LPS mm."""
        from scipy.spatial.transform import Rotation

        rotation = Rotation.from_rotvec(np.asarray(self.rotation_deg), degrees=True).as_matrix()
        centre = np.asarray(self.centre_mm)
        matrix = np.eye(4)
        matrix[:3, :3] = rotation
        matrix[:3, 3] = centre + np.asarray(self.shift_mm) - rotation @ centre
        return matrix


STILL = Motion()


def subject_positions_mm(grid: Grid, motion: Motion = STILL) -> NDArray[np.float32]:
    """Positions of all voxel centres in the subject's own frame, shape (3, k, j, i): x, y and z in mm."""
    to_subject = np.linalg.inv(motion.matrix) @ grid.affine
    k, j, i = (np.arange(n, dtype=np.float32) for n in grid.shape)
    columns = to_subject[:3].astype(np.float32)
    return np.stack(
        [(c[0] * k + c[3])[:, None, None] + (c[1] * j)[None, :, None] + (c[2] * i)[None, None, :] for c in columns]
    )


def occupancy(shape: Ellipsoid, grid: Grid, motion: Motion = STILL, *, oversampling: int = 4) -> NDArray[np.float32]:
    """Fraction of each voxel that an ellipsoid fills, by `oversampling`³ points a voxel, shape (k, j, i)."""
    fraction = np.zeros(grid.shape, dtype=np.float32)
    to_unit = _index_to_unit_ball(shape, grid, motion)
    box = _bounding_box(to_unit, grid.shape)
    if box is None:
        return fraction
    axes = [_sub_indices(low, high, oversampling) for low, high in box]
    distance2 = sum(
        (
            ((r[0] * axes[0] + r[3])[:, None, None] + (r[1] * axes[1])[None, :, None] + (r[2] * axes[2])[None, None, :])
            ** 2
            for r in to_unit[:3].astype(np.float32)
        ),
        np.float32(0.0),
    )
    inside = np.asarray(distance2 <= 1.0, dtype=np.float32)
    n = [high - low for low, high in box]
    blocks = inside.reshape(n[0], oversampling, n[1], oversampling, n[2], oversampling)
    fraction[tuple(slice(low, high) for low, high in box)] = blocks.mean(axis=(1, 3, 5))
    return fraction


def _index_to_unit_ball(shape: Ellipsoid, grid: Grid, motion: Motion) -> FloatArray:
    scale = np.eye(4)
    scale[:3, :3] = np.diag(1.0 / np.asarray(shape.semi_axes_mm))
    scale[:3, 3] = -np.asarray(shape.centre_mm) / np.asarray(shape.semi_axes_mm)
    return np.asarray(scale @ np.linalg.inv(motion.matrix) @ grid.affine)


def _bounding_box(to_unit: FloatArray, shape: tuple[int, int, int]) -> list[tuple[int, int]] | None:
    """Index ranges (low, high) of the voxels that the unit ball's image can touch, or None outside the grid."""
    to_index = np.linalg.inv(to_unit)
    centre, reach = to_index[:3, 3], np.linalg.norm(to_index[:3, :3], axis=1)
    low = np.clip(np.floor(centre - reach), 0, np.asarray(shape)).astype(int)
    high = np.clip(np.ceil(centre + reach) + 1, 0, np.asarray(shape)).astype(int)
    return None if (high <= low).any() else [(int(a), int(b)) for a, b in zip(low, high, strict=True)]


def _sub_indices(low: int, high: int, n: int) -> NDArray[np.float32]:
    inside = (np.arange(n) + 0.5) / n - 0.5
    return (np.arange(low, high)[:, None] + inside).ravel().astype(np.float32)
