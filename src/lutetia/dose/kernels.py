"""Voxel kernels: dose in voxels around a uniformly filled source voxel, for any nuclide and any voxel size.

The point kernel is spread over voxels exactly: two points drawn in source and target voxel differ by the offset of the
voxels plus a triangular distribution along each axis, so the energy at a distance and direction falls on the eight
nearest offsets with trilinear weights.
Not here: convolution (`region_s`, voxel dose) and density scaling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV, PointKernel, point_kernel
from lutetia.dose.shapes import octant_directions, octant_weights
from lutetia.errors import PhysicsError

FloatArray = NDArray[np.float64]
SOFT_TISSUE_G_PER_ML = 1.04
LARGEST_EXTENT_mm = 200.0
MOST_VOXELS = 8_000_000
SPACING_LIMITS_mm = (0.2, 50.0)
_NEAR_VOXELS = 6.0
_INNER_ORDER = 10
_LEAST_DIRECTIONS, _DIRECTIONS_PER_VOXEL, _BLOCK = 800, 40.0, 400_000


@dataclass(frozen=True, slots=True, eq=False)
class VoxelKernel:
    """S-values of voxels around a source voxel, Gy/(MBq h), with the energy accounted for per decay.

    `values` has odd sizes (k, j, i); the source voxel is in the middle. Energies are MeV per decay: emitted by
    electrons and photons, deposited inside the kernel (by electrons, by their bremsstrahlung, by photons), and beyond
    it.
    """

    nuclide: str
    spacing_mm: tuple[float, float, float]
    density_g_per_mL: float
    values: FloatArray
    emitted_MeV: float
    electron_MeV: float
    bremsstrahlung_MeV: float
    photon_MeV: float

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Half size of the kernel along k, j, i."""
        half = [(n // 2 + 0.5) * s for n, s in zip(self.values.shape, self.spacing_mm, strict=True)]
        return half[0], half[1], half[2]

    @property
    def absorbed_MeV(self) -> float:
        """Energy per decay deposited inside the kernel."""
        return self.electron_MeV + self.bremsstrahlung_MeV + self.photon_MeV

    @property
    def beyond_MeV(self) -> float:
        """Energy per decay deposited outside the kernel."""
        return self.emitted_MeV - self.absorbed_MeV


def voxel_kernel(
    nuclide: str,
    spacing_mm: tuple[float, float, float],
    *,
    extent_mm: float | None = None,
    density_g_per_mL: float = SOFT_TISSUE_G_PER_ML,
) -> VoxelKernel:
    """Voxel S-values in uniform tissue.

    S(n) = k / m_voxel · Σ_shells E_shell ⟨Π_axes tri((r Ω_a − n_a s_a) / s_a)⟩_Ω

    Parameters
    ----------
    nuclide
        Name of the nuclide.
    spacing_mm
        Voxel size along (k, j, i), 0.2 to 50 mm; need not be isotropic.
    extent_mm
        The kernel reaches at least this far along each axis; default 200 mm, or less where that takes over 8 million
        voxels.
    density_g_per_mL
        Of the tissue.

    Returns
    -------
    `VoxelKernel`.

    Raises
    ------
    PhysicsError
        For sizes, extents or densities out of range.

    Notes
    -----
    Beyond six voxels and the range of the electrons the point kernel at the voxel's centre is used, with the second-
    order term of the triangular distributions.
    """
    spacing = _check(spacing_mm, extent_mm, density_g_per_mL)
    kernel = point_kernel(nuclide)
    half = _half_sizes(spacing, extent_mm)
    parts = np.stack([kernel.electron_MeV, kernel.bremsstrahlung_MeV, kernel.photon_MeV])
    octant = near_octant(kernel, parts, spacing, half, density_g_per_mL)
    _fill_far(octant, kernel, parts, spacing, density_g_per_mL)
    multiplicity = np.ones(octant.shape[1:])
    for axis in range(3):
        multiplicity[(slice(None),) * axis + (slice(1, None),)] *= 2.0
    electron, radiated, photon = (float(np.sum(part * multiplicity)) for part in octant)
    factor = GY_G_PER_MBQ_H_MEV / (np.prod(spacing) / 1000.0 * density_g_per_mL)
    values = np.pad(octant.sum(axis=0) * factor, [(n, 0) for n in half], mode="reflect")
    values.setflags(write=False)
    return VoxelKernel(
        nuclide=kernel.nuclide,
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        density_g_per_mL=density_g_per_mL,
        values=values,
        emitted_MeV=float(parts.sum()),
        electron_MeV=electron,
        bremsstrahlung_MeV=radiated,
        photon_MeV=photon,
    )


def _check(spacing_mm: tuple[float, float, float], extent_mm: float | None, density: float) -> FloatArray:
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    low, high = SPACING_LIMITS_mm
    if spacing.shape != (3,) or not ((spacing >= low) & (spacing <= high)).all():
        raise PhysicsError(f"voxel size: found {spacing_mm} mm; expected three sizes between {low} and {high} mm")
    if extent_mm is not None and not 0.0 < extent_mm <= 1000.0:
        raise PhysicsError(f"kernel extent: found {extent_mm} mm; expected up to 1000 mm")
    if not 0.05 <= density <= 5.0:
        raise PhysicsError(f"density: found {density} g/mL; expected 0.05 to 5")
    return spacing


def _half_sizes(spacing: FloatArray, extent_mm: float | None) -> tuple[int, int, int]:
    if extent_mm is None:
        extent_mm = min(LARGEST_EXTENT_mm, 0.5 * float(MOST_VOXELS * np.prod(spacing)) ** (1 / 3))
    k, j, i = (int(np.ceil(max(extent_mm / s - 0.5, 0.0) - 1e-9)) for s in spacing)
    if (2 * k + 1) * (2 * j + 1) * (2 * i + 1) > 16 * MOST_VOXELS:
        raise PhysicsError(f"kernel: found {2 * k + 1} × {2 * j + 1} × {2 * i + 1} voxels; ask for a smaller extent")
    return k, j, i


def near_radius_mm(kernel: PointKernel, spacing: FloatArray, density: float) -> float:
    """Radius within which offsets take the exact sum."""
    return max(_NEAR_VOXELS * float(spacing.max()), kernel.electron_range_mm / density + 2.0 * float(spacing.max()))


def near_octant(
    kernel: PointKernel, parts: FloatArray, spacing: FloatArray, half: tuple[int, int, int], density: float
) -> FloatArray:
    """Energy on the offsets of one octant by trilinear weights, MeV, shape (part, k, j, i)."""
    radius = 0.5 * (kernel.edge_mm[1:] + kernel.edge_mm[:-1]) / density
    reach = near_radius_mm(kernel, spacing, density) + np.sqrt(3.0) * float(spacing.max())
    size = [int(np.ceil(reach / s)) + 2 for s in spacing]
    grid = np.zeros((3, int(np.prod(size))))
    inner = radius < spacing.min()
    position = np.multiply.outer(radius[inner], octant_directions(_INNER_ORDER)) / spacing
    weight = np.broadcast_to(octant_weights(_INNER_ORDER), position.shape[:2])
    _spread(grid, position.reshape(-1, 3), (parts[:, inner, None] * weight).reshape(3, -1), size)
    shells = np.flatnonzero(~inner & (radius < reach))
    count = np.ceil(_LEAST_DIRECTIONS + _DIRECTIONS_PER_VOXEL * (radius[shells] / spacing.min()) ** 2).astype(int)
    for block_shells, block_count in _blocks(shells, count):
        which = np.repeat(block_shells, block_count)
        position = radius[which, None] * _quasi_directions(int(block_count.sum()), int(block_shells[0])) / spacing
        _spread(grid, position, parts[:, which] / np.repeat(block_count, block_count), size)
    block = grid.reshape(3, *size)
    octant = np.zeros((3, half[0] + 1, half[1] + 1, half[2] + 1))
    common = tuple(slice(0, min(n + 1, m)) for n, m in zip(half, size, strict=True))
    octant[(slice(None), *common)] = block[(slice(None), *common)]
    # The octant's directions stand for all eight; an offset off the planes of symmetry is met in one octant only.
    for axis in range(3):
        octant[(slice(None),) * (axis + 1) + (slice(1, None),)] *= 0.5
    return octant


def _blocks(shells: NDArray[np.intp], count: NDArray[np.intp]) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Shells with their numbers of directions, in blocks of bounded memory."""
    cuts = np.flatnonzero(np.diff(np.cumsum(count) // _BLOCK)) + 1
    return [(s, c) for s, c in zip(np.split(shells, cuts), np.split(count, cuts), strict=True) if s.size]


def _quasi_directions(count: int, start: int) -> FloatArray:
    """Evenly spread directions of one octant, other ones in each shell: additive recurrence of two irrationals."""
    step = np.arange(count) + 7919.0 * start
    cosine, phi = (step * 0.7548776662466927) % 1.0, 0.5 * np.pi * ((step * 0.5698402909980532) % 1.0)
    sine = np.sqrt(1.0 - cosine**2)
    return np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=-1)


def _spread(grid: FloatArray, position: FloatArray, energy: FloatArray, size: list[int]) -> None:
    """Add energies (part, point) at positions in voxels (point, axis) to their eight nearest offsets."""
    low = np.floor(position).astype(np.intp)
    share = position - low
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, share, 1.0 - share), axis=1)
        index = np.ravel_multi_index(tuple((low + corner).T), size)
        for part in range(grid.shape[0]):
            grid[part] += np.bincount(index, weights=weight * energy[part], minlength=grid.shape[1])


def _fill_far(octant: FloatArray, kernel: PointKernel, parts: FloatArray, spacing: FloatArray, density: float) -> None:
    """Replace offsets beyond the near radius by F(r) / (4π r²) · V with the second-order term; F energy per length."""
    axes = [np.arange(n) * s for n, s in zip(octant.shape[1:], spacing, strict=True)]
    squared = [a.reshape([-1 if axis == d else 1 for d in range(3)]) ** 2 for axis, a in enumerate(axes)]
    r2 = squared[0] + squared[1] + squared[2]
    far = r2 > near_radius_mm(kernel, spacing, density) ** 2
    radius2 = r2[far]
    spread = sum(s**2 * np.broadcast_to(q, r2.shape)[far] for s, q in zip(spacing, squared, strict=True))
    second = (8.0 * spread / radius2 - 2.0 * float(np.sum(spacing**2))) / (12.0 * radius2)
    geometry = np.prod(spacing) / (4.0 * np.pi * radius2) * (1.0 + second)
    middle = 0.5 * (kernel.edge_mm[1:] + kernel.edge_mm[:-1]) / density
    per_mm = parts / np.diff(kernel.edge_mm) * density
    radius = np.sqrt(radius2)
    octant[0][far] = 0.0
    for part in (1, 2):
        octant[part][far] = np.interp(radius, middle, per_mm[part]) * geometry
