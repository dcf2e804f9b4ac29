"""SEG in: binary, fractional and label-map segmentations of DICOM."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lutetia.core.volume import RegionMask
from lutetia.errors import ImageError
from lutetia.imaging.dicom_files import stored_values
from lutetia.imaging.dicom_geometry import functional_group, planes_of_frames, stack


def seg_names(dataset: Dataset) -> dict[int, str]:
    """Number and label of every segment."""
    items = dataset.get("SegmentSequence") or []
    return {int(s.SegmentNumber): str(s.get("SegmentLabel") or "") for s in items}


def seg_regions(dataset: Dataset, regions: Mapping[int, str], *, where: str) -> list[RegionMask]:
    """Occupancy of the wanted segments on the grid of the segmentation itself.

    BINARY gives 0 or 1; FRACTIONAL of type OCCUPANCY its share of MaximumFractionalValue; of type PROBABILITY inside
    where the probability is at least one half; LABELMAP the voxels with the segment's number. Planes that the object
    leaves out are empty.

    Parameters
    ----------
    regions
        Segment number → canonical region.
    """
    kind = str(dataset.get("SegmentationType") or "").upper()
    if kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise ImageError(f"{where}: found a segmentation of type {kind!r}; expected BINARY, FRACTIONAL or LABELMAP")
    if not dataset.get("PerFrameFunctionalGroupsSequence"):
        raise ImageError(f"{where}: found a segmentation without geometry for each frame; export it again")
    planes = planes_of_frames(dataset, where=where)
    keep = _one_per_place(planes.position_mm)
    single = type(planes)(
        planes.position_mm[keep],
        planes.orientation,
        planes.row_mm,
        planes.column_mm,
        planes.rows,
        planes.columns,
        planes.thickness_mm,
    )
    grid, _ = stack(single, where=where, gaps=True)
    index = np.rint(grid.index_of(planes.position_mm)[:, 0]).astype(np.intp)
    frames = stored_values(dataset, where=where)
    number = None if kind == "LABELMAP" else _segment_of_frames(dataset, where=where)
    out = []
    for segment, region in regions.items():
        mask = np.zeros(grid.shape, dtype=np.float32)
        chosen = np.arange(len(frames)) if number is None else np.flatnonzero(number == segment)
        values = frames[chosen] == segment if number is None else _occupancy(dataset, frames[chosen], kind)
        mask[index[chosen]] = values
        if not mask.any():
            raise ImageError(f"{where}, {region}: found an empty segment; expected voxels; draw the region again")
        out.append(RegionMask(region, mask, grid))
    return out


def _one_per_place(position: NDArray[np.float64]) -> NDArray[np.intp]:
    _, first = np.unique(np.round(position, 3), axis=0, return_index=True)
    return np.sort(first)


def _segment_of_frames(dataset: Dataset, *, where: str) -> NDArray[np.intp]:
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    items = (
        functional_group(frame, shared, "SegmentIdentificationSequence", where=where)
        for frame in dataset.PerFrameFunctionalGroupsSequence
    )
    return np.array([int(item.ReferencedSegmentNumber) for item in items], dtype=np.intp)


def _occupancy(dataset: Dataset, frames: NDArray[np.generic], kind: str) -> NDArray[np.float32]:
    if kind == "BINARY":
        return frames.astype(np.float32)
    share = frames.astype(np.float32) / float(dataset.MaximumFractionalValue)
    probability = str(dataset.get("SegmentationFractionalType") or "").upper() == "PROBABILITY"
    return (share >= 0.5).astype(np.float32) if probability else share
