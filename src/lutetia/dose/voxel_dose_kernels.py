"""Voxel kernels as Fourier transforms, kept for the next map, and the convolution with them.

The kernel is even along every axis, so its transform is real. Only the rows and planes that hold something are
transformed on the way in, and only those that are asked for on the way out.
Not here: densities, methods (`voxel_dose`).
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from lutetia.dose.kernels import SOFT_TISSUE_G_PER_ML, _fill_far, _near
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV, PointKernel, point_kernel

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]
Triple = tuple[int, int, int]
Part = Literal["electron", "bremsstrahlung", "photon"]
ALL_PARTS: tuple[Part, ...] = ("electron", "bremsstrahlung", "photon")
KERNEL_EXTENT_mm = 200.0


def convolved(
    activity_MBq_h: Float32,
    nuclide: str,
    spacing_mm: tuple[float, float, float],
    *,
    parts: tuple[Part, ...] = ALL_PARTS,
    extent_mm: float = KERNEL_EXTENT_mm,
) -> Float32:
    """Dose in uniform soft tissue (1.04 g/mL) from the activity of each voxel, by zero-padded Fourier transforms.

    D(v) = Σ_u A(u) K(v − u), nothing wrapped around, voxels outside the array empty.

    Parameters
    ----------
    activity_MBq_h
        Shape (k, j, i): MBq·h in each voxel.
    parts
        What deposits: electrons, their bremsstrahlung, photons.
    extent_mm
        Half size of the kernel along each axis; not beyond the array.

    Returns
    -------
    Gy, shape (k, j, i), ≥ 0.
    """
    k, j, i = activity_MBq_h.shape
    half = _half((k, j, i), spacing_mm, extent_mm)
    padded = _padded((k, j, i), half)
    response = kernel_transform(nuclide, spacing_mm, parts, half, padded)
    workers = os.cpu_count() or 1
    field = fft.rfft(np.asarray(activity_MBq_h, dtype=np.float32), padded[2], axis=2, workers=workers)
    field = fft.fft(field, padded[1], axis=1, overwrite_x=True, workers=workers)
    field = fft.fft(field, padded[0], axis=0, overwrite_x=True, workers=workers)
    field *= response
    field = fft.ifft(field, axis=0, overwrite_x=True, workers=workers)[:k]
    field = fft.ifft(field, axis=1, overwrite_x=True, workers=workers)[:, :j]
    dose = fft.irfft(field, padded[2], axis=2, overwrite_x=True, workers=workers)[:, :, :i]
    # Rounding of the transforms, about 1e-7 of the maximum, may be negative.
    return np.asarray(np.maximum(dose, np.float32(0.0)))


@lru_cache(maxsize=4)
def kernel_transform(
    nuclide: str, spacing_mm: tuple[float, float, float], parts: tuple[Part, ...], half: Triple, padded: Triple
) -> Float32:
    """Real transform of the kernel in an array of size `padded`, centred at index 0."""
    octant = kernel_octant(nuclide, spacing_mm, parts, half)
    field = np.zeros(padded, dtype=np.float32)
    mirrored = np.pad(octant, [(h, 0) for h in half], mode="reflect")
    field[tuple(slice(2 * h + 1) for h in half)] = mirrored
    field = np.roll(field, [-h for h in half], axis=(0, 1, 2))
    response = np.ascontiguousarray(fft.rfftn(field, overwrite_x=True, workers=os.cpu_count() or 1).real)
    response.setflags(write=False)
    return response


def kernel_octant(
    nuclide: str, spacing_mm: tuple[float, float, float], parts: tuple[Part, ...], half: Triple
) -> FloatArray:
    """Gy/(MBq h) at offsets 0 … half along each axis from the chosen parts of `voxel_kernel`."""
    kernel = _only(point_kernel(nuclide), parts)
    deposits = np.stack([kernel.electron_MeV, kernel.bremsstrahlung_MeV, kernel.photon_MeV])
    spacing = np.array(spacing_mm)
    octant = _near(kernel, deposits, spacing, half, SOFT_TISSUE_G_PER_ML)
    _fill_far(octant, kernel, deposits, spacing, SOFT_TISSUE_G_PER_ML)
    voxel_g = float(np.prod(spacing)) / 1000.0 * SOFT_TISSUE_G_PER_ML
    return np.asarray(octant.sum(axis=0) * (GY_G_PER_MBQ_H_MEV / voxel_g))


def _only(kernel: PointKernel, parts: tuple[Part, ...]) -> PointKernel:
    """The point kernel with the other parts emptied; the range of the electrons sets the near zone, so keep one."""
    empty = np.zeros_like(kernel.electron_MeV)
    first = empty.copy()
    first[0] = 1e-300
    return PointKernel(
        nuclide=kernel.nuclide,
        edge_mm=kernel.edge_mm,
        electron_MeV=kernel.electron_MeV if "electron" in parts else first,
        bremsstrahlung_MeV=kernel.bremsstrahlung_MeV if "bremsstrahlung" in parts else empty,
        photon_MeV=kernel.photon_MeV if "photon" in parts else empty,
    )


def _half(shape: Triple, spacing_mm: tuple[float, float, float], extent_mm: float) -> Triple:
    k, j, i = (
        min(n - 1, int(np.ceil(max(extent_mm / s - 0.5, 0.0) - 1e-9))) for n, s in zip(shape, spacing_mm, strict=True)
    )
    return k, j, i


def _padded(shape: Triple, half: Triple) -> Triple:
    k, j, i = (fft.next_fast_len(n + h, real=axis == 2) for axis, (n, h) in enumerate(zip(shape, half, strict=True)))
    return k, j, i
