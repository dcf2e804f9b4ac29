"""Self-overlap of bodies: the chance that two points a distance r apart, one inside, are both inside.

γ(u) with u = r / a, a the radius of the sphere of equal volume; it turns a point kernel into an absorbed fraction.
Spheres exactly, ellipsoids by quadrature over directions, organs from `data/organ_shapes.csv` (stylised equations;
builders/build_organ_shapes.py).
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.errors import PhysicsError, UnknownNameError

FloatArray = NDArray[np.float64]
Overlap = Callable[[FloatArray], FloatArray]


def sphere_overlap(u: ArrayLike) -> FloatArray:
    """γ(u) = 1 − 3u/4 + u³/16 for u ≤ 2, else 0 (exact; geometry of two equal spheres)."""
    value = np.minimum(np.asarray(u, dtype=np.float64), 2.0)
    return np.asarray(1.0 - 0.75 * value + value**3 / 16.0)


def ellipsoid_overlap(axes_ratio: tuple[float, float, float]) -> Overlap:
    """γ of an ellipsoid with semi-axes in the given ratio: mean over directions of the sphere's γ in stretched space.

    Raises
    ------
    PhysicsError
        If a ratio is not positive and finite.
    """
    ratio = np.asarray(axes_ratio, dtype=np.float64)
    if ratio.shape != (3,) or not (np.isfinite(ratio).all() and (ratio > 0).all()):
        raise PhysicsError(f"axes ratio: found {axes_ratio}; expected three positive numbers")
    axes = ratio / np.prod(ratio) ** (1 / 3)
    if np.allclose(axes, 1.0):
        return sphere_overlap
    stretch = np.linalg.norm(octant_directions(24) / axes, axis=1)
    grid = np.linspace(0.0, 2.0 * float(axes.max()), 501)
    values = sphere_overlap(np.multiply.outer(grid, stretch)) @ octant_weights(24)
    return lambda u: np.interp(u, grid, values)


@cache
def octant_directions(order: int) -> FloatArray:
    """Unit vectors of one octant: Gauss nodes in cosine × azimuth, shape (order², 3)."""
    node, _ = np.polynomial.legendre.leggauss(order)
    cosine, phi = np.meshgrid(0.5 * (node + 1), 0.25 * np.pi * (node + 1), indexing="ij")
    sine = np.sqrt(1 - cosine**2)
    return np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=-1).reshape(-1, 3)


@cache
def octant_weights(order: int) -> FloatArray:
    """Weights that belong to `octant_directions`, sum 1."""
    _, weight = np.polynomial.legendre.leggauss(order)
    return np.asarray(np.multiply.outer(weight, weight).ravel() / 4.0)


@cache
def _organ_table() -> dict[str, FloatArray]:
    text = (files("lutetia.dose") / "data" / "organ_shapes.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(line for line in text.splitlines() if not line.startswith("#")))
    return dict(zip(rows[0], np.array(rows[1:], dtype=np.float64).T, strict=True))


def organ_overlap(organ: str) -> Overlap:
    """γ of a stylised organ: `kidney` (one), `liver` or `spleen`.

    Raises
    ------
    UnknownNameError
        If the table has no such organ.
    """
    table = _organ_table()
    if organ == "u" or organ not in table:
        raise UnknownNameError("organ shape", organ, set(table) - {"u"})
    grid, values = table["u"], table[organ]
    return lambda u: np.interp(u, grid, values)
