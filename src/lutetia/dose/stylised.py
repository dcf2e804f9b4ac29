"""Stylised organs of a reference adult: where they are and what they contain.

Equations of the adult phantom of MIRD Pamphlet No. 5 Revised (Snyder, Ford, Warner 1978); centimetres, x to the left, y
to the back, z to the head. Sizes follow the mass that is asked for; positions stay (assumption).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Body:
    """A body given by its bounding box (cm; rows low, high) and a predicate on points of shape (point, 3)."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    contains: Callable[[FloatArray], NDArray[np.bool_]]

    def sample(self, count: int, random: np.random.Generator) -> FloatArray:
        """Points drawn uniformly inside, shape (count, 3), cm."""
        found: list[FloatArray] = []
        missing = count
        while missing > 0:
            points = random.uniform(self.low, self.high, (4 * missing + 100, 3))
            found.append(points[self.contains(points)][:missing])
            missing -= len(found[-1])
        return np.concatenate(found)

    @cached_property
    def volume_mL(self) -> float:
        """Volume by a regular grid of 80 points along each axis of the box."""
        axes = [a + (b - a) * (np.arange(80) + 0.5) / 80 for a, b in zip(self.low, self.high, strict=True)]
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        return float(self.contains(points).mean() * np.prod(np.subtract(self.high, self.low)))

    @cached_property
    def centre_cm(self) -> FloatArray:
        """Centre of mass, shape (3,)."""
        return np.asarray(self.sample(40_000, np.random.default_rng(1)).mean(axis=0))


def ellipsoid(
    centre: tuple[float, float, float], axes: tuple[float, float, float]
) -> Callable[[FloatArray], NDArray[np.bool_]]:
    """Predicate of the points inside an ellipsoid, cm."""
    return lambda p: np.asarray((((p - centre) / axes) ** 2).sum(axis=-1) <= 1.0)


def _kidney(side: float) -> Body:
    inside = ellipsoid((side * 6.0, 6.0, 32.5), (4.5, 1.5, 5.5))
    low, high = (3.0, 4.5, 27.0), (10.5, 7.5, 38.0)
    if side < 0:
        low, high = (-10.5, 4.5, 27.0), (-3.0, 7.5, 38.0)
    return Body(low, high, lambda p: inside(p) & (side * p[..., 0] >= 3.0))


def _liver(p: FloatArray) -> NDArray[np.bool_]:
    x, y, z = p[..., 0], p[..., 1], p[..., 2]
    cylinder = (x / 16.5) ** 2 + (y / 8.0) ** 2 <= 1.0
    return np.asarray(cylinder & (x / 35.0 + y / 45.0 - z / 43.0 <= -1.0) & (z >= 27.0) & (z <= 43.0))


ORGANS: dict[str, Body] = {
    "left kidney": _kidney(1.0),
    "right kidney": _kidney(-1.0),
    "liver": Body((-16.5, -8.0, 27.0), (16.5, 8.0, 43.0), _liver),
    "spleen": Body((7.5, 1.0, 31.0), (14.5, 5.0, 43.0), ellipsoid((11.0, 3.0, 37.0), (3.5, 2.0, 6.0))),
}
