"""Fraction of the emitted energy that a uniformly filled region absorbs itself, by its mass and shape.

φ = Σ_shells E_shell γ(r ρ / a) / Σ E, the point kernel folded with the self-overlap of the shape, tabulated over log
mass once per nuclide and shape. Water-like tissue without borders around the region: photons may come back from
outside. Not here: doses (`s_values`).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutetia.dose.monotone import MonotoneCubic, monotone_cubic
from lutetia.dose.point_kernels import point_kernel
from lutetia.dose.shapes import Overlap, ellipsoid_overlap, organ_overlap
from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import canonical_nuclide

FloatArray = NDArray[np.float64]
Shape = tuple[float, float, float] | str
SPHERE: Shape = (1.0, 1.0, 1.0)
MASS_LIMITS_g = (1e-4, 5e5)
_NODES = np.linspace(np.log(1e-5), np.log(5e6), 331)


def electron_absorbed_fraction(
    nuclide: str, mass_g: ArrayLike, *, axes_ratio: Shape = SPHERE, density_g_per_mL: float = 1.04
) -> FloatArray:
    """Share of the electrons' energy (betas, conversion, Auger) that stays in the region.

    Bremsstrahlung that the region takes up again is counted in; what leaves is the rest.

    Parameters
    ----------
    nuclide
        Name of the nuclide.
    mass_g
        Shape (...), 0.0001 g to 500 kg.
    axes_ratio
        Semi-axes of an ellipsoid in any common unit, or the name of a stylised organ of `shapes.organ_overlap`.
    density_g_per_mL
        Of the region and its surroundings; φ depends on m ρ² only.

    Returns
    -------
    Shape (...), between 0 and 1.

    Raises
    ------
    PhysicsError
        For masses or densities that are not positive, not finite, or outside the table.
    """
    electron, _ = _tables(canonical_nuclide(nuclide), axes_ratio)
    return _evaluate(electron, mass_g, density_g_per_mL)


def photon_absorbed_fraction(
    nuclide: str, mass_g: ArrayLike, *, axes_ratio: Shape = SPHERE, density_g_per_mL: float = 1.04
) -> FloatArray:
    """Share of the photons' energy that stays in the region; arguments as in `electron_absorbed_fraction`."""
    _, photon = _tables(canonical_nuclide(nuclide), axes_ratio)
    return _evaluate(photon, mass_g, density_g_per_mL)


def _evaluate(table: MonotoneCubic, mass_g: ArrayLike, density_g_per_mL: float) -> FloatArray:
    mass = np.asarray(mass_g, dtype=np.float64)
    low, high = MASS_LIMITS_g
    if not (np.isfinite(mass).all() and (mass >= low).all() and (mass <= high).all()):
        raise PhysicsError(
            f"region mass: found {mass.tolist()} g; expected finite masses between {low} and {high:.0f} g"
        )
    if not 0.05 <= density_g_per_mL <= 5.0:
        raise PhysicsError(f"density: found {density_g_per_mL} g/mL; expected 0.05 to 5")
    return np.asarray(table(np.log(mass * density_g_per_mL**2)))


@cache
def _tables(nuclide: str, shape: Shape) -> tuple[MonotoneCubic, MonotoneCubic]:
    """Absorbed fractions of electrons and photons over log(m ρ²)."""
    kernel = point_kernel(nuclide)
    overlap = organ_overlap(shape) if isinstance(shape, str) else ellipsoid_overlap(shape)
    radius_mm = 10.0 * (3.0 * np.exp(_NODES) / (4.0 * np.pi)) ** (1 / 3)
    deposit = np.stack([kernel.electron_MeV + kernel.bremsstrahlung_MeV, kernel.photon_MeV])
    electron, photon = np.array([_absorbed(overlap, kernel.edge_mm / a, deposit) for a in radius_mm]).T
    electron_total = float(kernel.electron_MeV.sum() + kernel.bremsstrahlung_MeV.sum())
    return _fraction(electron, electron_total), _fraction(photon, float(kernel.photon_MeV.sum()))


def _fraction(absorbed_MeV: FloatArray, total_MeV: float) -> MonotoneCubic:
    return monotone_cubic(_NODES, absorbed_MeV / total_MeV if total_MeV > 0 else np.zeros_like(absorbed_MeV))


def _absorbed(overlap: Overlap, edge: FloatArray, deposit_MeV: FloatArray) -> FloatArray:
    """Σ_shells E_shell γ, the mean of γ over each shell by Simpson's rule; shapes (..., shell) → (...)."""
    # Beyond the largest diameter nothing overlaps.
    at_edge = overlap(edge)
    near = min(1 + int(np.count_nonzero(at_edge > 0.0)), edge.size)
    at_edge, middle = at_edge[:near], overlap(0.5 * (edge[1:near] + edge[: near - 1]))
    mean = (at_edge[1:] + at_edge[:-1] + 4.0 * middle) / 6.0
    # Not as a matrix product: the threads of BLAS cost more than this sum.
    return np.asarray((deposit_MeV[..., : near - 1] * mean).sum(axis=-1))
