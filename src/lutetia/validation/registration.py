"""Recovery of a planted rigid motion between two CTs of the virtual subject."""

from __future__ import annotations

import numpy as np

from lutetia.imaging.registration import register_rigid
from lutetia.phantom.anatomy import EllipsoidAnatomy
from lutetia.phantom.case import ct_grid
from lutetia.phantom.shapes import STILL, Motion
from lutetia.phantom.subject import random_subject
from lutetia.validation.checks import Check

SHIFT_MM, ANGLE_DEG, CENTRE_MM = 8.0, 4.0, (0.0, 30.0, 40.0)


def registration_study(count: int = 3) -> list[Check]:
    """Largest residual shift of organ-sized points and residual rotation after 8 mm and 4° in random directions."""
    shifts, angles = [], []
    for seed in range(1, count + 1):
        shift, angle = planted_residual(seed)
        shifts.append(shift)
        angles.append(angle)
    return [
        Check("registration", "largest residual shift at the centre of the organs", max(shifts), "mm", high=1.0),
        Check("registration", "largest residual rotation", max(angles), "°", high=1.0),
    ]


def planted_residual(seed: int) -> tuple[float, float]:
    """Residual shift (mm, at the centre of the organs) and rotation (degrees) of one planted motion."""
    generator = np.random.default_rng(seed)
    direction, axis = (v / np.linalg.norm(v) for v in generator.normal(size=(2, 3)))
    shift = SHIFT_MM * direction
    angles = ANGLE_DEG * axis
    motion = Motion(
        (float(shift[0]), float(shift[1]), float(shift[2])),
        (float(angles[0]), float(angles[1]), float(angles[2])),
        CENTRE_MM,
    )
    anatomy = EllipsoidAnatomy(random_subject(seed))
    still, moved = anatomy.ct(ct_grid(), STILL, seed=seed), anatomy.ct(ct_grid(), motion, seed=seed + 100)
    found = register_rigid(still, moved)
    expected = motion.matrix
    residual = np.linalg.inv(expected) @ found.matrix
    cosine = np.clip((np.trace(residual[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)
    centre = np.array([*CENTRE_MM, 1.0])
    return float(np.linalg.norm((residual @ centre - centre)[:3])), float(np.degrees(np.arccos(cosine)))
