"""RTSTRUCT in: contours of each region rasterised on the grid of the image that they were drawn on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lutetia.core.geometry import Grid
from lutetia.core.volume import RegionMask
from lutetia.errors import ImageError
from lutetia.imaging.contours import contour_area, plane_occupancy, slab_bounds, slab_weights

FloatArray = NDArray[np.float64]
PLANE_TOLERANCE = 0.1  # slices; assumption: a contour that leaves its plane by more is not parallel to the slices
OUTSIDE_TOLERANCE = 0.01
SAME_PLANE = 0.01  # slices


def rtstruct_names(dataset: Dataset) -> dict[int, str]:
    """Number and name of every region of interest that has contours."""
    drawn = {int(c.ReferencedROINumber) for c in dataset.get("ROIContourSequence") or [] if c.get("ContourSequence")}
    items = dataset.get("StructureSetROISequence") or []
    return {int(r.ROINumber): str(r.get("ROIName") or "") for r in items if int(r.ROINumber) in drawn}


def rtstruct_frames(dataset: Dataset, numbers: Iterable[int]) -> list[set[str]]:
    """Frames of reference that each of the named regions can be drawn in: its own, else those of the whole object."""
    whole = {str(r.get("FrameOfReferenceUID") or "") for r in dataset.get("ReferencedFrameOfReferenceSequence") or []}
    items = dataset.get("StructureSetROISequence") or []
    own = {int(r.ROINumber): str(r.get("ReferencedFrameOfReferenceUID") or "") for r in items}
    return [{own[number]} if own.get(number) else whole - {""} for number in numbers]


def rtstruct_regions(dataset: Dataset, regions: Mapping[int, str], grid: Grid, *, where: str) -> list[RegionMask]:
    """Occupancy of the wanted regions on a grid.

    Parameters
    ----------
    regions
        ROI number → canonical region.
    grid
        Of the image that the contours were drawn on; contours must be parallel to its slices.

    Raises
    ------
    ImageError
        For contours that are not closed and planar, not parallel to the slices, or outside the image.
    """
    found = []
    for item in dataset.ROIContourSequence:
        number = int(item.ReferencedROINumber)
        if number in regions and item.get("ContourSequence"):
            place = f"{where}, {regions[number]}"
            contours = [_points(c, grid, where=place) for c in item.ContourSequence]
            found.append(RegionMask(regions[number], _rasterise(contours, grid, where=place), grid))
    return found


def _points(contour: Dataset, grid: Grid, *, where: str) -> FloatArray:
    """Points of one contour as indices (k, j, i), shape (point, 3)."""
    kind = str(contour.get("ContourGeometricType") or "missing").upper()
    if kind not in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR"):
        raise ImageError(
            f"{where}: found a contour of type {kind}; expected CLOSED_PLANAR; draw the region as closed outlines"
        )
    data = np.array([float(v) for v in contour.get("ContourData") or []])
    if len(data) < 9 or len(data) % 3:
        raise ImageError(
            f"{where}: found a contour with {len(data)} coordinates; expected three or more points; redraw it"
        )
    index = grid.index_of(data.reshape(-1, 3))
    if np.ptp(index[:, 0]) > PLANE_TOLERANCE:
        raise ImageError(
            f"{where}: found contours that are not parallel to the slices of the image; expected contours drawn on "
            "those slices; check `scan`, or export the region as SEG"
        )
    return np.asarray(index)


def _rasterise(contours: list[FloatArray], grid: Grid, *, where: str) -> NDArray[np.float32]:
    planes = _by_plane(contours)
    position = np.array([k for k, _ in planes])
    shape = grid.shape[1:]
    occupancy = np.array([plane_occupancy(members, (shape[0], shape[1])) for _, members in planes])
    joined = np.array([_one_piece(a, b) for a, b in pairwise(occupancy)], dtype=bool)
    bounds = slab_bounds(position, joined & _single_skip(position))
    weights = slab_weights(bounds, grid.shape[0])
    _check_inside(contours, planes, occupancy, weights, bounds, grid, where=where)
    return np.tensordot(weights.T, occupancy, axes=1).clip(0.0, 1.0).astype(np.float32)


def _by_plane(contours: list[FloatArray]) -> list[tuple[float, list[FloatArray]]]:
    """Contours grouped by slice position, sorted; points reduced to (j, i)."""
    planes: list[tuple[float, list[FloatArray]]] = []
    for contour in sorted(contours, key=lambda c: float(c[:, 0].mean())):
        k = float(contour[:, 0].mean())
        if planes and k - planes[-1][0] <= max(SAME_PLANE, PLANE_TOLERANCE / 2):
            planes[-1][1].append(contour[:, 1:])
        else:
            planes.append((k, [contour[:, 1:]]))
    return planes


def _one_piece(lower: FloatArray, upper: FloatArray) -> bool:
    return bool((np.minimum(lower, upper) > 0.5).any())


def _single_skip(position: FloatArray) -> NDArray[np.bool_]:
    """Gaps in which at most two planes were left out; wider ones are the space between two pieces."""
    gaps = np.diff(position)
    return gaps <= 3.5 * (np.median(gaps) if len(gaps) else 1.0)


def _check_inside(
    contours: list[FloatArray],
    planes: list[tuple[float, list[FloatArray]]],
    occupancy: FloatArray,
    weights: FloatArray,
    bounds: FloatArray,
    grid: Grid,
    *,
    where: str,
) -> None:
    """Refuse a region of which more than 1 % lies outside the image."""
    points = np.concatenate(contours)
    size = np.array(grid.shape)
    beyond = bool(((points < -0.5 - 1e-6) | (points > size - 0.5 + 1e-6)).any())
    drawn = sum(
        contour_area(c) * (high - low)
        for (_, members), (low, high) in zip(planes, bounds, strict=True)
        for c in members
    )
    inside = float((occupancy.sum(axis=(1, 2)) * weights.sum(axis=1)).sum())
    if drawn <= 0 or (not beyond and inside <= 0):
        raise ImageError(f"{where}: found contours without area; expected a closed outline; redraw the region")
    if beyond and inside < (1 - OUTSIDE_TOLERANCE) * drawn:
        raise ImageError(
            f"{where}: found {100 * (1 - inside / drawn):.0f} % of the region outside the image; expected it inside "
            "the image it was drawn on; check `scan` of the segmentation and the frame of reference"
        )
