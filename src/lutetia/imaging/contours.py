"""Closed contours to occupancy: how much of each voxel lies inside a drawn region.

Within a plane the occupancy is exact along rows and averaged over `SUBROWS` lines across them; contours of one plane
combine by even–odd (a contour in a contour is a hole, also when both are joined by a keyhole line). Across planes each
contour stands for a slab that reaches half-way to its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
SUBROWS = 8


def plane_occupancy(contours: Sequence[FloatArray], shape: tuple[int, int]) -> NDArray[np.float64]:
    """Fraction of each pixel inside closed contours, combined by even–odd.

    Parameters
    ----------
    contours
        Each of shape (point, 2): (row j, column i) in pixel units, pixel centres at integers; closed by itself.
    shape
        Rows and columns.

    Returns
    -------
    Fractions of shape (row, column). Parts outside the image are lost.
    """
    start = np.concatenate(contours) + 0.5
    end = np.concatenate([np.roll(c, -1, axis=0) for c in contours]) + 0.5
    first = max(int(np.floor(start[:, 0].min())), 0)
    last = min(int(np.ceil(start[:, 0].max())), shape[0])
    out = np.zeros(shape)
    if last <= first:
        return out
    lines = first + (np.arange((last - first) * SUBROWS) + 0.5) / SUBROWS
    low, high = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
    line, edge = np.nonzero((lines[:, None] >= low) & (lines[:, None] < high))  # half-open: each vertex counts once
    slope = (end[edge, 1] - start[edge, 1]) / (end[edge, 0] - start[edge, 0])
    crossing = np.clip(start[edge, 1] + (lines[line] - start[edge, 0]) * slope, 0.0, shape[1])
    order = np.lexsort((crossing, line))
    line, crossing = line[order], crossing[order]
    sign = np.where(np.arange(len(line)) % 2 == 0, -1.0, 1.0)  # pairs: enter, leave
    out[first:last] = _covered(line // SUBROWS, crossing, sign, (last - first, shape[1])) / SUBROWS
    return out


def _covered(row: NDArray[np.intp], crossing: FloatArray, sign: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """Sum over crossings of sign × length of pixel [i, i + 1] left of the crossing, shape (row, column)."""
    column = np.minimum(crossing.astype(np.intp), shape[1] - 1)
    partial, whole = np.zeros(shape), np.zeros((shape[0], shape[1] + 1))
    np.add.at(partial, (row, column), sign * (crossing - column))
    np.add.at(whole, (row, column), sign)
    left = np.cumsum(whole[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return np.asarray(partial + left)


def contour_area(contour: FloatArray) -> float:
    """Unsigned area of one closed contour of shape (point, 2)."""
    following = np.roll(contour, -1, axis=0)
    return float(abs(np.sum(contour[:, 0] * following[:, 1] - contour[:, 1] * following[:, 0])) / 2)


def slab_bounds(position: FloatArray, joined: NDArray[np.bool_]) -> FloatArray:
    """Lower and upper end of the slab of each contour plane, shape (plane,) → (plane, 2).

    Parameters
    ----------
    position
        Sorted positions of at least one plane, in slices.
    joined
        Shape (plane − 1,): whether a gap wider than usual is inside one piece (a plane was not drawn) and is filled;
        otherwise the slabs on both sides end at half of the usual spacing.
    """
    if len(position) == 1:
        return np.array([[position[0] - 0.5, position[0] + 0.5]])
    gaps = np.diff(position)
    usual = float(np.median(gaps))
    reach = np.where((gaps <= 1.5 * usual) | joined, gaps, usual) / 2
    reach = np.concatenate([[usual / 2], reach, [usual / 2]])
    return np.stack([position - reach[:-1], position + reach[1:]], axis=1)


def slab_weights(bounds: FloatArray, slices: int) -> FloatArray:
    """Share of each slice [k − ½, k + ½] that a slab covers, shape (plane, slice)."""
    k = np.arange(slices)
    low, high = np.maximum(bounds[:, :1], k - 0.5), np.minimum(bounds[:, 1:], k + 0.5)
    return np.asarray(np.clip(high - low, 0.0, None))
