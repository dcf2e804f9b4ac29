"""Rigid transforms between patient spaces of two scans, in LPS mm."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lutetia.core.chain import Doubt
from lutetia.errors import PhysicsError

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RegistrationQuality:
    """How well two scans fit after registration.

    `correlation`: of the two images inside the body, 1 is best. `inverse_consistency_mm`: largest distance between a
    point of the body and where forward and backward registration take it. `overlap`: share of the fixed body that
    lies inside the moving image. None where not evaluated.
    """

    method: str
    correlation: float | None = None
    inverse_consistency_mm: float | None = None
    overlap: float | None = None
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class RigidTransform:
    """Maps a point of the fixed scan to the point of the moving scan that shows the same tissue.

    Parameters
    ----------
    matrix
        4 × 4, LPS mm: p_moving = R p_fixed + t.
    """

    matrix: FloatArray
    quality: RegistrationQuality = field(default_factory=lambda: RegistrationQuality("given"))

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        rotation = matrix[:3, :3] if matrix.shape == (4, 4) else np.zeros((3, 3))
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) or np.linalg.det(rotation) < 0:
            raise PhysicsError("rigid transform: found a matrix that is not a rotation and a translation")
        matrix.setflags(write=False)
        object.__setattr__(self, "matrix", matrix)

    @property
    def rotation_deg(self) -> float:
        """Angle of the rotation about its axis, degrees."""
        cosine = (np.trace(self.matrix[:3, :3]) - 1) / 2
        return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))

    def apply(self, position_mm: FloatArray) -> FloatArray:
        """Points of the moving scan for points (..., 3) of the fixed scan."""
        return np.asarray(position_mm, dtype=np.float64) @ self.matrix[:3, :3].T + self.matrix[:3, 3]


def identity(method: str = "same frame of reference") -> RigidTransform:
    """The transform that changes nothing."""
    return RigidTransform(np.eye(4), RegistrationQuality(method, inverse_consistency_mm=0.0))


def inverse(transform: RigidTransform) -> RigidTransform:
    """From the moving scan to the fixed one, with the same quality."""
    return RigidTransform(np.asarray(np.linalg.inv(transform.matrix), dtype=np.float64), transform.quality)


def rigid_from_euler(
    angles_deg: tuple[float, float, float],
    shift_mm: tuple[float, float, float],
    *,
    centre_mm: FloatArray | tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> RigidTransform:
    """Rotation about x, then y, then z through a centre, then a shift; LPS, degrees and mm."""
    x, y, z = np.radians(angles_deg)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix: FloatArray = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    centre = np.asarray(centre_mm, dtype=np.float64)
    matrix[:3, 3] = centre + np.asarray(shift_mm) - matrix[:3, :3] @ centre
    return RigidTransform(np.asarray(matrix, dtype=np.float64))
