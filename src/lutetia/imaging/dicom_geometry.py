"""Where the voxels of DICOM images are: one `Grid` from the planes of a series or of a multi-frame object.

All positions come from ImagePositionPatient and ImageOrientationPatient, which are patient coordinates: head-first,
feet-first, supine, prone and oblique series need no case of their own. Refused by name: tilted gantries (planes
shifted against each other), unequal spacing (a missing slice), two slices at one place, planes of different
orientation, and objects without orientation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lutetia.core.geometry import Grid
from lutetia.errors import ImageError

FloatArray = NDArray[np.float64]
POSITION_TOLERANCE_MM = 0.1  # assumption: rounding of positions in exports is finer, a misplaced slice is coarser


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Geometry of a set of image planes: positions (plane, 3) in mm, the common orientation and pixel size.

    `row_mm` is the distance between rows (along j), `column_mm` between columns (along i).
    """

    position_mm: FloatArray
    orientation: FloatArray
    row_mm: float
    column_mm: float
    rows: int
    columns: int
    thickness_mm: float | None = None


def planes_of_series(datasets: Sequence[Dataset], *, where: str) -> Planes:
    """Planes of a series of single-frame objects, in the given order."""
    orientation = np.array([_numbers(d, "ImageOrientationPatient", 6, where=where) for d in datasets])
    spacing = np.array([_numbers(d, "PixelSpacing", 2, where=where) for d in datasets])
    position = np.array([_numbers(d, "ImagePositionPatient", 3, where=where) for d in datasets])
    sizes = {(int(d.Rows), int(d.Columns)) for d in datasets}
    if np.ptp(orientation, axis=0).max() > 1e-3 or np.ptp(spacing, axis=0).max() > 1e-3 or len(sizes) > 1:
        raise ImageError(
            f"{where}: found slices of different orientation, pixel size or matrix; expected one stack; "
            "leave out localisers and other series"
        )
    rows, columns = sizes.pop()
    row_mm, column_mm = spacing[0]
    return Planes(position, orientation[0], row_mm, column_mm, rows, columns, _optional(datasets[0], "SliceThickness"))


def planes_of_frames(dataset: Dataset, *, where: str) -> Planes:
    """Planes of an object with functional groups for each frame (enhanced CT and PT, SEG)."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    frames = dataset.PerFrameFunctionalGroupsSequence
    position, orientation, spacing = [], [], []
    for frame in frames:
        place = functional_group(frame, shared[0], "PlanePositionSequence", where=where)
        plane = functional_group(frame, shared[0], "PlaneOrientationSequence", where=where)
        measures = functional_group(frame, shared[0], "PixelMeasuresSequence", where=where)
        position.append(_numbers(place, "ImagePositionPatient", 3, where=where))
        orientation.append(_numbers(plane, "ImageOrientationPatient", 6, where=where))
        spacing.append(_numbers(measures, "PixelSpacing", 2, where=where))
    if np.ptp(orientation, axis=0).max() > 1e-3 or np.ptp(spacing, axis=0).max() > 1e-3:
        raise ImageError(f"{where}: found frames of different orientation or pixel size; expected one stack of planes")
    gap = _optional(measures, "SpacingBetweenSlices") or _optional(measures, "SliceThickness")
    return Planes(
        np.array(position),
        np.array(orientation[0]),
        spacing[0][0],
        spacing[0][1],
        int(dataset.Rows),
        int(dataset.Columns),
        gap,
    )


def functional_group(frame: Dataset, shared: Dataset, name: str, *, where: str) -> Dataset:
    """The item of a functional group, of the frame itself or shared by all frames."""
    items = frame.get(name) or shared.get(name)
    if not items:
        raise ImageError(f"{where}: found frames without {name}; expected geometry for every frame; export it again")
    item: Dataset = items[0]
    return item


def planes_of_nm(dataset: Dataset, *, where: str) -> Planes:
    """Planes of a reconstructed multi-frame NM object.

    Position and orientation of the first slice come from the detector information; the sign of
    SpacingBetweenSlices gives the direction of stacking: positive along the normal row × column (away from the
    viewer), negative against it (DICOM PS3.3, NM reconstruction module). SliceVector says which slice a frame is.
    """
    detectors = dataset.get("DetectorInformationSequence") or [Dataset()]
    source = detectors[0] if "ImageOrientationPatient" in detectors[0] else dataset
    orientation = _numbers(source, "ImageOrientationPatient", 6, where=where)
    place = detectors[0] if "ImagePositionPatient" in detectors[0] else dataset
    first = _numbers(place, "ImagePositionPatient", 3, where=where)
    row_mm, column_mm = _numbers(dataset, "PixelSpacing", 2, where=where)
    gap = _optional(dataset, "SpacingBetweenSlices")
    frames = int(dataset.get("NumberOfFrames", 1) or 1)
    if gap is None or gap == 0:
        raise ImageError(
            f"{where}: found an NM image without SpacingBetweenSlices; its sign says whether slices run to the head "
            "or to the feet; export the series with it, or as PT"
        )
    slices = np.atleast_1d(np.asarray(dataset.get("SliceVector") or np.arange(1, frames + 1), dtype=np.float64))
    if len(slices) != frames:
        raise ImageError(f"{where}: found {frames} frames but {len(slices)} entries of SliceVector; export it again")
    position = np.array(first) + np.outer((slices - 1) * gap, normal_of(np.array(orientation), where=where))
    return Planes(position, np.array(orientation), row_mm, column_mm, int(dataset.Rows), int(dataset.Columns), abs(gap))


def normal_of(orientation: FloatArray, *, where: str) -> FloatArray:
    """Unit normal row × column of ImageOrientationPatient, shape (6,) → (3,).

    Raises
    ------
    ImageError
        If the directions are not unit vectors at right angles.
    """
    row, column = orientation[:3], orientation[3:]
    lengths = np.array([row @ row, column @ column])
    if np.abs(lengths - 1).max() > 1e-2 or abs(row @ column) > 1e-2:
        raise ImageError(f"{where}: found an ImageOrientationPatient that is not two unit vectors at right angles")
    normal = np.cross(row, column)
    return np.asarray(normal / np.linalg.norm(normal))


def stack(planes: Planes, *, where: str, gaps: bool = False) -> tuple[Grid, NDArray[np.intp]]:
    """Grid of a stack of planes, with k along the normal row × column, and the slice index k of every plane.

    Parameters
    ----------
    planes
        In any order.
    gaps
        Accept planes that are left out (SEG objects omit empty ones); else a missing slice is refused.

    Raises
    ------
    ImageError
        For duplicate or missing slices and tilted stacks.
    """
    normal = normal_of(planes.orientation, where=where)
    distance = planes.position_mm @ normal
    order = np.argsort(distance, kind="stable")
    step = _slice_step(distance[order], planes, where=where, gaps=gaps)
    index = (distance - distance[order[0]]) / step
    first = planes.position_mm[order[0]]
    expected = first + np.outer(distance - distance[order[0]], normal)
    if np.abs(planes.position_mm - expected).max() > POSITION_TOLERANCE_MM:
        raise ImageError(
            f"{where}: found slices shifted against each other (tilted gantry); expected a straight stack; "
            "resample the series to an untilted grid at the workstation"
        )
    k = np.rint(index).astype(np.intp)
    if np.abs(index - k).max() * step > POSITION_TOLERANCE_MM:
        raise ImageError(f"{where}: {_uneven(distance[order])}")
    affine = np.eye(4)
    affine[:3, 0] = normal * step
    affine[:3, 1] = planes.orientation[3:] * planes.row_mm
    affine[:3, 2] = planes.orientation[:3] * planes.column_mm
    affine[:3, 3] = first
    return Grid((int(k.max()) + 1, planes.rows, planes.columns), affine), k


def _slice_step(distance: FloatArray, planes: Planes, *, where: str, gaps: bool) -> float:
    """Distance between slices in mm, from sorted positions along the normal."""
    if len(distance) == 1:
        if planes.thickness_mm is None or planes.thickness_mm <= 0:
            raise ImageError(f"{where}: found a single slice without thickness; expected a volume; export all slices")
        return planes.thickness_mm
    steps = np.diff(distance)
    if steps.min() < POSITION_TOLERANCE_MM:
        raise ImageError(
            f"{where}: found two slices at the same place; expected one volume; leave out duplicates and give "
            "dynamic or gated frames as one summed series"
        )
    if gaps:
        return float(planes.thickness_mm or steps.min())
    if steps.max() - steps.min() > 2 * POSITION_TOLERANCE_MM:
        raise ImageError(f"{where}: {_uneven(distance)}")
    return float((distance[-1] - distance[0]) / (len(distance) - 1))


def _uneven(distance: FloatArray) -> str:
    steps = np.diff(distance)
    worst = int(np.argmax(steps))
    return (
        f"found slices {np.median(steps):.2f} mm apart but {steps[worst]:.2f} mm after slice {worst + 1} "
        f"of {len(distance)}; expected equal spacing: a slice is missing; export the whole series again"
    )


def _numbers(dataset: Dataset, keyword: str, count: int, *, where: str) -> list[float]:
    value = dataset.get(keyword)
    try:
        numbers = [float(v) for v in value] if value is not None else []
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ImageError(
            f"{where}: found an image without a usable {keyword}; it cannot be placed in the patient; "
            "export the original reconstruction with its geometry"
        )
    if keyword == "PixelSpacing" and min(numbers) <= 0:
        raise ImageError(f"{where}: found a PixelSpacing that is not positive; export the series again")
    return numbers


def _optional(dataset: Dataset, keyword: str) -> float | None:
    value = dataset.get(keyword)
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
