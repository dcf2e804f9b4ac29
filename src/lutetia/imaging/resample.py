"""Values of one grid at the voxels of another, by linear interpolation of the library (scipy).

Where target voxels are larger than source voxels, the mean over points inside each target voxel is taken, so that
means and volumes are kept. Identical grids give identical values; outside the source the value is `fill`.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lutetia.core.geometry import Grid
from lutetia.core.volume import RegionMask, Volume
from lutetia.imaging.transform import RigidTransform

FloatArray = NDArray[np.float64]
MAX_SUBSAMPLES = 5
EDGE = 0.5 + 1e-6  # voxels: values reach to the outer face of the first and last voxel


def resample_volume(
    volume: Volume, grid: Grid, transform: RigidTransform | None = None, *, fill: float = 0.0
) -> Volume:
    """A volume at the voxels of another grid.

    Parameters
    ----------
    grid
        Where values are wanted (fixed space).
    transform
        From fixed space to the space of `volume`; identity if None.
    fill
        Value outside the volume.
    """
    values = resample_array(volume.values, volume.grid, grid, transform, fill=fill)
    return Volume(values, grid, volume.unit)


def resample_mask(region: RegionMask, grid: Grid, transform: RigidTransform | None = None) -> RegionMask:
    """Occupancy of a region at the voxels of another grid, 0–1."""
    mask = np.asarray(region.mask, dtype=np.float32)
    inside = np.argwhere(mask.any(axis=(1, 2))), np.argwhere(mask.any(axis=(0, 2))), np.argwhere(mask.any(axis=(0, 1)))
    if not all(len(axis) for axis in inside):
        return RegionMask(region.region, np.zeros(grid.shape, dtype=np.float32), grid)
    low = [max(int(axis[0, 0]) - 1, 0) for axis in inside]
    high = [min(int(axis[-1, 0]) + 2, n) for axis, n in zip(inside, mask.shape, strict=True)]
    first, last = _target_box(region.grid, np.array(low), np.array(high), grid, transform)
    out = np.zeros(grid.shape, dtype=np.float32)
    if all(b < e for b, e in zip(first, last, strict=True)):
        box = tuple(slice(b, e) for b, e in zip(first, last, strict=True))
        part = mask[low[0] : high[0], low[1] : high[1], low[2] : high[2]]
        source, target = sub_grid(region.grid, low, high), sub_grid(grid, first, last)
        out[box] = resample_array(part, source, target, transform, fill=0.0)
    return RegionMask(region.region, out, grid)


def resample_array(
    values: NDArray[np.generic], source: Grid, target: Grid, transform: RigidTransform | None = None, *, fill: float
) -> NDArray[np.float32]:
    """Values of shape `source.shape` at the voxels of `target`, shape `target.shape`."""
    matrix = index_matrix(source, target, transform)
    if source.shape == target.shape and np.allclose(matrix, np.eye(4), atol=1e-6):
        return np.asarray(values, dtype=np.float32)
    array = np.ascontiguousarray(values, dtype=np.float32)
    counts = [_subsamples(float(np.linalg.norm(matrix[:3, axis]))) for axis in range(3)]
    offsets = [(np.arange(n) + 0.5) / n - 0.5 for n in counts]
    total = np.zeros(target.shape, dtype=np.float32)
    for shift in itertools.product(*offsets):
        total += _linear(array, matrix, np.array(shift), target.shape, fill)
    return total / np.float32(math.prod(counts))


def index_matrix(source: Grid, target: Grid, transform: RigidTransform | None = None) -> FloatArray:
    """4 × 4 from target index (k, j, i, 1) to source index."""
    middle = np.eye(4) if transform is None else transform.matrix
    return np.asarray(np.linalg.inv(source.affine) @ middle @ target.affine)


def sub_grid(grid: Grid, low: list[int], high: list[int]) -> Grid:
    """The part [low, high) of a grid."""
    affine = grid.affine.copy()
    affine[:3, 3] = grid.position_mm(np.array(low, dtype=np.float64))
    size = [h - b for b, h in zip(low, high, strict=True)]
    return Grid((size[0], size[1], size[2]), affine)


def coarse_grid(grid: Grid, spacing_mm: float) -> Grid:
    """Grid of the same extent and directions with voxels of about `spacing_mm`; never finer than the grid."""
    factor = np.maximum(spacing_mm / np.array(grid.spacing_mm), 1.0)
    size = np.maximum(np.floor(np.array(grid.shape) / factor + 1e-6), 1).astype(int)
    affine = grid.affine.copy()
    affine[:3, :3] = grid.affine[:3, :3] * factor
    first = (np.array(grid.shape) - 1) / 2 - factor * (size - 1) / 2
    affine[:3, 3] = grid.position_mm(first)
    return Grid((int(size[0]), int(size[1]), int(size[2])), affine)


def _subsamples(ratio: float) -> int:
    """Points along an axis for a target voxel of `ratio` source voxels."""
    return min(max(round(ratio), 1), MAX_SUBSAMPLES)


def _linear(
    array: NDArray[np.float32], matrix: FloatArray, shift: FloatArray, shape: tuple[int, int, int], fill: float
) -> NDArray[np.float32]:
    offset = matrix[:3, :3] @ shift + matrix[:3, 3]
    values: NDArray[np.float32] = ndimage.affine_transform(
        array, matrix[:3, :3], offset, output_shape=shape, output=np.float32, order=1, mode="nearest"
    )
    corners = np.array(list(itertools.product(*((0, n - 1) for n in shape)))) @ matrix[:3, :3].T + offset
    for axis, size in enumerate(array.shape):
        if corners[:, axis].min() >= -EDGE and corners[:, axis].max() <= size - 1 + EDGE:
            continue  # nothing is outside along this axis
        row = matrix[axis, :3]
        k, j, i = (row[n] * np.arange(shape[n]) for n in range(3))
        index = (k[:, None, None] + j[:, None]) + (i + offset[axis])
        np.copyto(values, np.float32(fill), where=(index < -EDGE) | (index > size - 1 + EDGE))
    return values


def _target_box(
    source: Grid, low: NDArray[np.intp], high: NDArray[np.intp], target: Grid, transform: RigidTransform | None
) -> tuple[list[int], list[int]]:
    """Part [first, last) of the target grid in which a box [low, high) of the source can be seen."""
    back = np.linalg.inv(index_matrix(source, target, transform))
    corners = np.array(list(itertools.product(*zip(low - 1, high, strict=True))), dtype=np.float64)
    index = corners @ back[:3, :3].T + back[:3, 3]
    first = np.maximum(np.floor(index.min(axis=0)).astype(int), 0)
    last = np.minimum(np.ceil(index.max(axis=0)).astype(int) + 1, target.shape)
    return first.tolist(), last.tolist()
