"""Voxel kernels as Fourier transforms, kept for the next map, and the convolution with them.

The kernel reaches over the whole array, uncropped. It is even along every axis, so its transform is real and one octant
of it, a cosine transform, is enough. Only what holds something is transformed on the way in, only what is asked for on
the way out, and everything goes in slabs, so that no array padded along all axes exists as a whole.
Not here: densities, methods (`voxel_dose`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from lutetia.dose.kernels import SOFT_TISSUE_G_PER_ML, near_octant, near_radius_mm
from lutetia.dose.point_kernels import GY_G_PER_MBQ_H_MEV, PointKernel, point_kernel

FloatArray = NDArray[np.float64]
Float32 = NDArray[np.float32]
Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]
Part = Literal["electron", "bremsstrahlung", "photon"]
ALL_PARTS: tuple[Part, ...] = ("electron", "bremsstrahlung", "photon")
_SLAB_VALUES = 400_000


def convolved(
    activity_MBq_h: Float32, nuclide: str, spacing_mm: Spacing, *, parts: tuple[Part, ...] = ALL_PARTS
) -> Float32:
    """Dose in uniform soft tissue (1.04 g/mL) from the activity of each voxel, by zero-padded Fourier transforms.

    D(v) = Σ_u A(u) K(v − u), nothing wrapped around, voxels outside the array empty.

    Parameters
    ----------
    activity_MBq_h
        Shape (k, j, i): MBq·h in each voxel, or anything proportional to it.
    parts
        What deposits: electrons, their bremsstrahlung, photons.

    Returns
    -------
    Gy, shape (k, j, i), ≥ 0.
    """
    k, j, i = activity_MBq_h.shape
    reach = _reach((k, j, i), nuclide, spacing_mm, parts)
    padded = _padded((k, j, i), reach)
    response = kernel_transform(nuclide, spacing_mm, parts, reach, padded)
    fold_k, fold_j = _fold(padded[0]), _fold(padded[1])
    field = np.empty((k, padded[1], padded[2] // 2 + 1), dtype=np.complex64)
    dose = np.empty((k, j, i), dtype=np.float32)

    def forward(planes: slice) -> None:
        field[planes] = fft.fft(fft.rfft(activity_MBq_h[planes], padded[2], axis=2), padded[1], axis=1)

    def filtered(rows: slice) -> None:
        block = fft.fft(field[:, rows], padded[0], axis=0)
        block *= response[np.ix_(fold_k, fold_j[rows])]
        field[:, rows] = fft.ifft(block, axis=0, overwrite_x=True)[:k]

    def backward(planes: slice) -> None:
        found = fft.irfft(fft.ifft(field[planes], axis=1)[:, :j], padded[2], axis=2)[:, :, :i]
        # Rounding of the transforms, about 1e-7 of the maximum, may be negative.
        np.maximum(found, np.float32(0.0), out=dose[planes])

    _in_slabs(forward, k, padded[1] * padded[2])
    _in_slabs(filtered, padded[1], padded[0] * field.shape[2])
    _in_slabs(backward, k, padded[1] * padded[2])
    return dose


def _in_slabs(work: Callable[[slice], None], count: int, values_per_index: int) -> None:
    """Run a function on slabs of an axis in threads; the transforms run without the interpreter's lock."""
    step = max(1, _SLAB_VALUES // max(values_per_index, 1))
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(work, [slice(first, min(first + step, count)) for first in range(0, count, step)]))


def _fold(count: int) -> NDArray[np.intp]:
    """Index of the frequency in an even transform: 0, 1, … n/2, … 1."""
    index = np.arange(count)
    return np.minimum(index, count - index)


@lru_cache(maxsize=8)
def kernel_transform(
    nuclide: str, spacing_mm: Spacing, parts: tuple[Part, ...], reach: Triple, padded: Triple
) -> Float32:
    """Octant of the real transform of a kernel of `reach` offsets: cosine transform of the kernel's octant."""
    field = np.zeros([p // 2 + 1 for p in padded], dtype=np.float32)
    octant = kernel_octant(nuclide, spacing_mm, parts, reach)
    field[tuple(slice(n) for n in octant.shape)] = octant
    response = np.asarray(fft.dctn(field, type=1, overwrite_x=True, workers=os.cpu_count() or 1))
    response.setflags(write=False)
    return response


def kernel_octant(nuclide: str, spacing_mm: Spacing, parts: tuple[Part, ...], shape: Triple) -> Float32:
    """Gy/(MBq h) at offsets 0 … n − 1 along each axis, from the chosen parts of the nuclide's kernel.

    The numbers of `lutetia.dose.kernels.voxel_kernel`, without arrays in double precision of the whole size.
    """
    kernel, spacing = _only(point_kernel(nuclide), parts), np.array(spacing_mm)
    deposits = np.stack([kernel.electron_MeV, kernel.bremsstrahlung_MeV, kernel.photon_MeV])
    radius = near_radius_mm(kernel, spacing, SOFT_TISSUE_G_PER_ML)
    near_half = [min(n - 1, int(radius / s) + 1) for n, s in zip(shape, spacing, strict=True)]
    near = near_octant(kernel, deposits, spacing, (near_half[0], near_half[1], near_half[2]), SOFT_TISSUE_G_PER_ML)
    factor = GY_G_PER_MBQ_H_MEV / (float(np.prod(spacing)) / 1000.0 * SOFT_TISSUE_G_PER_ML)
    octant = np.zeros(shape, dtype=np.float32)
    octant[tuple(slice(n + 1) for n in near_half)] = near.sum(axis=0) * factor
    radiated = deposits[1] + deposits[2]
    for plane in range(shape[0]):
        r2, spread = _distances(plane, shape, spacing)
        far = r2 > radius**2
        octant[plane][far] = factor * _far_MeV(kernel, radiated, spacing, r2[far], spread[far])
    return octant


def _distances(plane: int, shape: Triple, spacing: FloatArray) -> tuple[FloatArray, FloatArray]:
    """r² and Σ_a s_a² r_a² of the offsets of one plane."""
    k, j, i = (
        (plane * spacing[0]) ** 2,
        (np.arange(shape[1]) * spacing[1]) ** 2,
        (np.arange(shape[2]) * spacing[2]) ** 2,
    )
    spread = k * spacing[0] ** 2 + (j * spacing[1] ** 2)[:, None] + (i * spacing[2] ** 2)[None, :]
    return k + j[:, None] + i[None, :], spread


def _far_MeV(
    kernel: PointKernel, radiated_MeV: FloatArray, spacing: FloatArray, r2: FloatArray, spread: FloatArray
) -> FloatArray:
    """V F(r) / (4π r²) with the second-order term of the triangular distributions; F energy per length."""
    second = (8.0 * spread / r2 - 2.0 * float(np.sum(spacing**2))) / (12.0 * r2)
    middle = 0.5 * (kernel.edge_mm[1:] + kernel.edge_mm[:-1]) / SOFT_TISSUE_G_PER_ML
    per_mm = radiated_MeV / np.diff(kernel.edge_mm) * SOFT_TISSUE_G_PER_ML
    return np.asarray(
        np.interp(np.sqrt(r2), middle, per_mm) * float(np.prod(spacing)) / (4.0 * np.pi * r2) * (1.0 + second)
    )


def _only(kernel: PointKernel, parts: tuple[Part, ...]) -> PointKernel:
    """The point kernel with the other parts emptied."""
    empty = np.zeros_like(kernel.electron_MeV)
    # The range of the electrons sets the near zone and needs some energy.
    at_source = empty.copy()
    at_source[0] = 1e-300
    return PointKernel(
        nuclide=kernel.nuclide,
        edge_mm=kernel.edge_mm,
        electron_MeV=kernel.electron_MeV if "electron" in parts else at_source,
        bremsstrahlung_MeV=kernel.bremsstrahlung_MeV if "bremsstrahlung" in parts else empty,
        photon_MeV=kernel.photon_MeV if "photon" in parts else empty,
    )


def _reach(shape: Triple, nuclide: str, spacing_mm: Spacing, parts: tuple[Part, ...]) -> Triple:
    """Number of offsets along each axis that the kernel fills: all of the array's, or those that electrons reach."""
    if parts != ("electron",):
        return shape
    range_mm = point_kernel(nuclide).electron_range_mm / SOFT_TISSUE_G_PER_ML
    k, j, i = (min(n, int(range_mm / s) + 3) for n, s in zip(shape, spacing_mm, strict=True))
    return k, j, i


def _padded(shape: Triple, reach: Triple) -> Triple:
    """Even fast sizes that hold every displacement within the array and the kernel without wrapping."""
    k, j, i = (2 * fft.next_fast_len(max((n + r) // 2, r), real=True) for n, r in zip(shape, reach, strict=True))
    return k, j, i
