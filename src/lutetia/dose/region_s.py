"""S-values between a patient's own regions: the voxel kernel of a nuclide convolved with the drawn masks.

S(t ← s) = ρ_K · V · Σ_v Σ_u w_t(v) w_s(u) K(v − u) / (N_s · M_t), with w the occupancies, N_s = Σ w_s, V the
volume of a voxel, K the kernel (Gy per MBq·h in one voxel of density ρ_K), M_t = V Σ w_t ρ the target's mass. Energy is
carried as in uniform tissue and divided by the patient's mass: the density scaling neither makes nor loses energy.

Edge voxels that are partly filled, or ragged, would let too much energy leave a region (4–30 % of its self-dose at
SPECT voxel sizes). The self-dose is therefore computed on sub-voxels with a smooth surface of the same volume.

Here too: local deposition, only under its own name. Not here: kernels (`lutetia.dose.kernels`), organ tables
(`lutetia.dose.s_values`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from lutetia.core.geometry import Grid
from lutetia.core.regions import density_g_per_mL
from lutetia.core.volume import RegionMask, Volume
from lutetia.dose.kernels import VoxelKernel, voxel_kernel
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV
from lutetia.errors import PhysicsError
from lutetia.nuclear.nuclides import canonical_nuclide, nuclide

FloatArray = NDArray[np.float64]
SMatrixMethod = Literal["kernel", "local deposition"]
KERNEL_EXTENT_mm = 200.0
_EXTENT_STEP_mm = 25.0
# Sub-voxels of a region's box: wanted size, number that is aimed at, and the most that are transformed.
_FINE_mm, _FINE_VOXELS, _MOST_FINE_VOXELS = 0.8, 300_000, 2_000_000
# Spectra of all regions stay below this; larger grids are averaged over 2 × 2 × 2 voxels first.
_SPECTRUM_LIMIT_BYTES = 600_000_000


class Kernel(Protocol):
    """What is needed of a voxel kernel: values (k, j, i) of odd sizes, Gy per MBq·h, and the density they hold for."""

    @property
    def values(self) -> NDArray[np.float64]: ...
    @property
    def density_g_per_mL(self) -> float: ...


@dataclass(frozen=True, slots=True, eq=False)
class PatientS:
    """S-values between regions of one patient: `values_Gy_per_MBq_h` has shape (target, source).

    `shared` has the same shape: the volume that two regions surely share over that of the smaller one. Regions that
    share volume hold the same activity twice; they must not be added as self- and cross-dose.
    """

    regions: tuple[str, ...]
    nuclide: str
    values_Gy_per_MBq_h: FloatArray
    mass_g: FloatArray
    method: str
    shared: FloatArray

    def overlap(self, first: str, second: str) -> float:
        """Share of the smaller of two regions that lies in the other one, 0–1."""
        return float(self.shared[self.regions.index(first), self.regions.index(second)])

    def between(self, target: str, source: str) -> float:
        """S(target ← source), Gy per MBq·h."""
        return float(self.values_Gy_per_MBq_h[self.regions.index(target), self.regions.index(source)])


def patient_s_values(
    masks: Sequence[RegionMask],
    nuclide_name: str,
    density: Volume | None = None,
    *,
    method: SMatrixMethod = "kernel",
) -> PatientS:
    """S-values between all pairs of drawn regions, each filled uniformly.

    Parameters
    ----------
    masks
        Regions on one orthogonal grid; fractional occupancy is used as such. Overlapping regions are allowed.
    nuclide_name
        Any accepted spelling.
    density
        g/mL on the same grid; without it each region has its tissue density.
    method
        "kernel", or "local deposition" (electrons only, all in the source: wrong by +7 % for kidneys with 90Y).

    Returns
    -------
    PatientS
        With the masses that were divided by.

    Raises
    ------
    PhysicsError
        For no or empty masks, different grids, skewed voxels, or densities that are not positive.

    Notes
    -----
    Photons are followed to 200 mm; dose from farther away is left out.
    """
    grid = _common_grid(masks, density)
    name = canonical_nuclide(nuclide_name)
    mass = np.array([_mass_g(mask, density) for mask in masks])
    regions = tuple(mask.region for mask in masks)
    if method == "local deposition":
        own = np.diag(nuclide(name).electron_MeV * GY_G_PER_MBQ_H_MEV / mass)
        return PatientS(regions, name, own, mass, "local deposition of electrons, no photons", _shared(masks))
    occupancy, spacing, step = _occupancies(masks, grid)
    extent = max(n * step_mm for n, step_mm in zip(occupancy.shape[1:], spacing, strict=True))
    stepped = min(float(_EXTENT_STEP_mm * np.ceil(extent / _EXTENT_STEP_mm)), KERNEL_EXTENT_mm)
    kernel = _kernel(name, spacing, stepped)
    values = s_matrix(occupancy, kernel, float(np.prod(spacing)) / 1000.0, mass_g=mass)
    np.fill_diagonal(values, _self_values(masks, name, mass))
    text = f"patient's own regions, voxel kernel at {spacing[0]:.3g} × {spacing[1]:.3g} × {spacing[2]:.3g} mm"
    text += " (masks averaged)" if step > 1 else ""
    text += ", CT density" if density is not None else ""
    return PatientS(regions, name, values, mass, text, _shared(masks))


def s_matrix(occupancy: NDArray[np.float32], kernel: Kernel, voxel_mL: float, *, mass_g: FloatArray) -> FloatArray:
    """S(target ← source) of occupancies on one grid by zero-padded Fourier transforms.

    Parameters
    ----------
    occupancy
        Shape (region, k, j, i), 0–1.
    kernel
        Values of odd sizes, centred.
    voxel_mL, mass_g
        Volume of a voxel; masses of the targets, shape (region,).

    Returns
    -------
    Shape (target, source), Gy per MBq·h.

    Notes
    -----
    By Parseval's theorem one transform per region is enough: Σ_v w_t (K * w_s) = Σ_f conj(ŵ_t) K̂ ŵ_s / N.
    """
    from scipy import fft  # heavy, and cases without images need none

    size = occupancy.shape[1:]
    cropped = _centre(np.asarray(kernel.values, dtype=np.float32), size)
    padded = tuple(fft.next_fast_len(n + k // 2, real=True) for n, k in zip(size, cropped.shape, strict=True))
    response = fft.rfftn(_wrapped(cropped, padded), workers=2).real
    spectra = np.stack([fft.rfftn(region, padded, workers=2) for region in occupancy])
    energy = _overlap(spectra, response, padded)
    count = occupancy.sum(axis=(1, 2, 3), dtype=np.float64)
    values = kernel.density_g_per_mL * voxel_mL * energy / (mass_g[:, None] * count[None, :])
    return np.asarray(np.maximum(values, 0.0))


@lru_cache(maxsize=12)
def _kernel(name: str, spacing_mm: tuple[float, float, float], extent_mm: float) -> VoxelKernel:
    """The voxel kernel, kept for the next cycle of the subject: same voxels, same extent in steps."""
    return voxel_kernel(name, spacing_mm, extent_mm=extent_mm)


def _self_values(masks: Sequence[RegionMask], name: str, mass_g: FloatArray) -> list[float]:
    """S(region ← region) of each mask on sub-voxels as fine as the size of the transforms allows."""
    fine = [_fine_region(mask) for mask in masks]
    reach: dict[tuple[float, float, float], float] = {}
    for region, spacing in fine:
        extent = max(n * step for n, step in zip(region.shape, spacing, strict=True))
        stepped = _EXTENT_STEP_mm * np.ceil(extent / _EXTENT_STEP_mm)
        reach[spacing] = min(max(float(stepped), reach.get(spacing, 0.0)), KERNEL_EXTENT_mm)
    kernels = {spacing: _kernel(name, spacing, extent) for spacing, extent in reach.items()}
    values = []
    for (region, spacing), mass in zip(fine, mass_g, strict=True):
        voxel_mL = float(np.prod(spacing)) / 1000.0
        values.append(float(s_matrix(region[None], kernels[spacing], voxel_mL, mass_g=np.array([mass]))[0, 0]))
    return values


def _fine_region(mask: RegionMask) -> tuple[NDArray[np.float32], tuple[float, float, float]]:
    """Filled sub-voxels of the region's box, and their size along k, j, i."""
    inside = np.pad(np.asarray(mask.mask[_bounding_box([mask])], dtype=np.float32), 1)
    step = 1
    while inside.size > _MOST_FINE_VOXELS:
        inside, step = _halved(inside[None])[0], step * 2
    factor = _sub_voxels(inside.shape, max(mask.grid.spacing_mm) * step)
    k, j, i = (s * step / factor for s in mask.grid.spacing_mm)
    return _smooth_surface(inside, factor), (k, j, i)


def _sub_voxels(shape: tuple[int, ...], spacing_mm: float) -> int:
    """Subdivision of each axis: to `_FINE_mm`, as long as the region's box stays below `_FINE_VOXELS`."""
    wanted = max(round(spacing_mm / _FINE_mm), 1)
    allowed = int((_FINE_VOXELS / float(np.prod(shape))) ** (1 / 3))
    return max(min(wanted, allowed), 1)


def _smooth_surface(inside: NDArray[np.float32], factor: int) -> NDArray[np.float32]:
    """Filled or empty sub-voxels: linear interpolation, cut at the level that keeps the volume."""
    from scipy.ndimage import zoom

    fine = zoom(inside, factor, order=1, mode="grid-constant", grid_mode=True) if factor > 1 else inside
    count = max(round(float(inside.sum(dtype=np.float64)) * factor**3), 1)
    order = np.argsort(fine, axis=None, kind="stable")[::-1]
    filled = np.zeros(fine.size, dtype=np.float32)
    filled[order[:count]] = 1.0
    return filled.reshape(fine.shape)


def _overlap(spectra: NDArray[np.complex64], response: NDArray[np.float32], padded: tuple[int, ...]) -> FloatArray:
    """Σ over frequencies of conj(ŵ_t) K̂ ŵ_s, in double precision plane by plane; half spectrum counted twice."""
    twice = np.full(response.shape[-1], 2.0)
    twice[0] = 1.0
    if padded[-1] % 2 == 0:
        twice[-1] = 1.0
    if len(spectra) == 1:
        power = spectra[0].real ** 2 + spectra[0].imag ** 2
        power *= response
        return np.asarray([[np.sum(power.sum(axis=(0, 1), dtype=np.float64) * twice) / np.prod(padded)]])
    total = np.zeros((len(spectra), len(spectra)))
    for plane in range(response.shape[0]):
        field = spectra[:, plane].astype(np.complex128).reshape(len(spectra), -1)
        weighted = field * (response[plane] * twice).reshape(1, -1)
        total += (weighted @ field.conj().T).real
    return np.asarray(total.T / np.prod(padded))


def _centre(kernel: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """The part of the kernel that displacements within a box of that size can reach."""
    if any(n % 2 == 0 for n in kernel.shape):
        raise PhysicsError(f"voxel kernel: found shape {kernel.shape}; expected odd sizes")
    half = [min(n // 2, m - 1) for n, m in zip(kernel.shape, size, strict=True)]
    return kernel[tuple(slice(n // 2 - h, n // 2 + h + 1) for n, h in zip(kernel.shape, half, strict=True))]


def _wrapped(kernel: NDArray[np.float32], padded: tuple[int, ...]) -> NDArray[np.float32]:
    """Kernel with its centre at index 0, negative displacements at the far ends."""
    field = np.zeros(padded, dtype=np.float32)
    field[tuple(slice(n) for n in kernel.shape)] = kernel
    return np.roll(field, [-(n // 2) for n in kernel.shape], axis=(0, 1, 2))


def _occupancies(
    masks: Sequence[RegionMask], grid: Grid
) -> tuple[NDArray[np.float32], tuple[float, float, float], int]:
    """Masks cropped to the box that holds all of them; averaged over blocks while the transforms would be too large."""
    box = _bounding_box(masks)
    stack = np.stack([np.asarray(mask.mask[box], dtype=np.float32) for mask in masks])
    step, k, j, i = 1, *grid.spacing_mm
    while 4 * stack.size * 8 > _SPECTRUM_LIMIT_BYTES:
        stack, step = _halved(stack), step * 2
    return stack, (k * step, j * step, i * step), step


def _halved(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """Means over 2 × 2 × 2 voxels, zero-padded to even sizes."""
    even = np.pad(stack, [(0, 0), *((0, n % 2) for n in stack.shape[1:])])
    r, k, j, i = even.shape
    return np.asarray(even.reshape(r, k // 2, 2, j // 2, 2, i // 2, 2).mean(axis=(2, 4, 6), dtype=np.float32))


def _bounding_box(masks: Sequence[RegionMask]) -> tuple[slice, slice, slice]:
    spans = []
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        filled = np.flatnonzero(np.any([np.any(mask.mask, axis=other) for mask in masks], axis=0))
        spans.append(slice(int(filled[0]), int(filled[-1]) + 1))
    return spans[0], spans[1], spans[2]


def _shared(masks: Sequence[RegionMask]) -> FloatArray:
    """Shared volume over the smaller volume, shape (region, region); complementary edge fractions share nothing."""
    box = _bounding_box(masks)
    filled = [np.asarray(mask.mask[box], dtype=np.float32).ravel() for mask in masks]
    total = [float(region.sum(dtype=np.float64)) for region in filled]
    shared = np.eye(len(masks))
    for a in range(len(masks)):
        inside = np.flatnonzero(filled[a])
        own = filled[a][inside]
        for b in range(a):
            both = np.maximum(own + filled[b][inside] - 1.0, 0.0).sum(dtype=np.float64)
            shared[a, b] = shared[b, a] = both / min(total[a], total[b])
    return shared


def _mass_g(mask: RegionMask, density: Volume | None) -> float:
    if density is None:
        return mask.volume_mL * density_g_per_mL(mask.region)
    weight = np.asarray(mask.mask, dtype=np.float64)
    values = density.values[weight > 0]
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise PhysicsError(f"{mask.region}: found densities that are negative or not finite; expected g/mL")
    mass = float(np.sum(weight[weight > 0] * values, dtype=np.float64)) * mask.grid.voxel_mL
    if not mass > 0:
        raise PhysicsError(f"{mask.region}: found a mass of 0 g in the density image; check its unit (g/mL)")
    return mass


def _common_grid(masks: Sequence[RegionMask], density: Volume | None) -> Grid:
    if not masks:
        raise PhysicsError("S-values of drawn regions: found no region; expected at least one")
    grid = masks[0].grid
    for mask in masks:
        if not mask.grid.same_as(grid):
            raise PhysicsError(f"{mask.region}: found another grid than that of {masks[0].region}; resample it first")
        if not np.any(mask.mask):
            raise PhysicsError(f"{mask.region}: found an empty mask; leave the region out or draw it")
    if len({mask.region for mask in masks}) != len(masks):
        raise PhysicsError("S-values of drawn regions: found a region twice; expected each name once")
    axes = grid.affine[:3, :3] / np.asarray(grid.spacing_mm)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
        raise PhysicsError("S-values of drawn regions: found skewed voxels; resample to an orthogonal grid")
    if density is not None and (density.unit != "g_per_mL" or not density.grid.same_as(grid)):
        raise PhysicsError(
            f"density: found {density.unit} on its own grid; expected g_per_mL on the grid of the regions"
        )
    return grid
