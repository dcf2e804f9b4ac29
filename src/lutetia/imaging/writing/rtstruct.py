"""RTSTRUCT out: closed planar contours traced from region masks; holes joined by keyholes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import contourpy
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from lutetia.core.regions import is_tumour
from lutetia.core.volume import RegionMask
from lutetia.errors import OutputError, PhysicsError
from lutetia.imaging.writing.common import WrittenSeries, item, make_uid, new_object, save, set_attributes

FloatArray = NDArray[np.float64]
COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))


def write_rtstruct(masks: Sequence[RegionMask], path: Path, drawn_on: WrittenSeries, *, drawn_at: datetime) -> Path:
    """Write contours of regions at half occupancy, on every slice of the series that they were drawn on.

    Raises
    ------
    PhysicsError
        If a mask is not on the grid of that series.
    OutputError
        If a mask is empty.
    """
    study = drawn_on.study
    dataset = new_object(study, RTStructureSetStorage, make_uid(study.key, "RTSTRUCT"))
    set_attributes(dataset, _header(drawn_on, drawn_at))
    dataset.StructureSetROISequence = [_region(n, m.region, drawn_on) for n, m in enumerate(masks, start=1)]
    dataset.ROIContourSequence = [_contours(n, m, drawn_on) for n, m in enumerate(masks, start=1)]
    dataset.RTROIObservationsSequence = [
        item(
            ObservationNumber=n,
            ReferencedROINumber=n,
            RTROIInterpretedType="GTV" if is_tumour(m.region) else "ORGAN",
            ROIInterpreter="",
        )
        for n, m in enumerate(masks, start=1)
    ]
    save(dataset, path)
    return path


def mask_contours(mask: NDArray[Any]) -> list[FloatArray]:
    """Closed contours of one plane's occupancy at one half, each (point, 2) as (row j, column i); holes keyholed."""
    padded = np.pad(np.asarray(mask, dtype=np.float64), 1)
    generator = contourpy.contour_generator(z=padded, fill_type=contourpy.FillType.OuterOffset)
    filled: Any = generator.filled(0.5, np.inf)
    points, offsets = filled
    out = []
    for polygon, offset in zip(points, offsets, strict=True):
        rings = [np.asarray(polygon[a:b, ::-1]) - 1.0 for a, b in itertools.pairwise(offset)]
        out.append(_keyholed(rings))
    return out


def _keyholed(rings: list[FloatArray]) -> FloatArray:
    """One ring from an outer ring and its holes, joined where they are nearest; rings come closed, go open."""
    outer = rings[0][:-1]
    for hole in rings[1:]:
        inner = hole[:-1]
        gap = np.linalg.norm(outer[:, None, :] - inner[None, :, :], axis=-1)
        a, b = np.unravel_index(int(gap.argmin()), gap.shape)
        bridge = np.concatenate([np.roll(inner, -int(b), axis=0), inner[b : b + 1]])
        outer = np.concatenate([outer[: a + 1], bridge, outer[a:]])
    return outer


def _contours(number: int, mask: RegionMask, drawn_on: WrittenSeries) -> Dataset:
    if not mask.grid.same_as(drawn_on.grid):
        raise PhysicsError(f"{mask.region}: found a mask on another grid than the series that it is drawn on")
    contours = []
    for k in np.flatnonzero(np.asarray(mask.mask, dtype=bool).any(axis=(1, 2))):
        contours += [_contour(ring, int(k), drawn_on) for ring in mask_contours(mask.mask[k]) if len(ring) >= 3]
    if not contours:
        raise OutputError(f"{mask.region}: found an empty mask; expected voxels; nothing can be drawn")
    return item(
        ReferencedROINumber=number, ROIDisplayColor=list(COLOURS[(number - 1) % len(COLOURS)]), ContourSequence=contours
    )


def _contour(ring: FloatArray, k: int, drawn_on: WrittenSeries) -> Dataset:
    index = np.column_stack([np.full(len(ring), float(k)), ring])
    image = item(
        ReferencedSOPClassUID=drawn_on.sop_class_uid,
        ReferencedSOPInstanceUID=drawn_on.instance_uids[k if len(drawn_on.instance_uids) > 1 else 0],
    )
    return item(
        ContourGeometricType="CLOSED_PLANAR",
        NumberOfContourPoints=len(ring),
        ContourData=[f"{v + 0.0:.3f}" for v in drawn_on.grid.position_mm(index).ravel()],
        ContourImageSequence=[image],
    )


def _region(number: int, name: str, drawn_on: WrittenSeries) -> Dataset:
    return item(
        ROINumber=number,
        ROIName=name,
        ReferencedFrameOfReferenceUID=drawn_on.study.frame_of_reference_uid,
        ROIGenerationAlgorithm="MANUAL",
    )


def _header(drawn_on: WrittenSeries, drawn_at: datetime) -> dict[str, Any]:
    study = drawn_on.study
    images = [
        item(ReferencedSOPClassUID=drawn_on.sop_class_uid, ReferencedSOPInstanceUID=uid)
        for uid in drawn_on.instance_uids
    ]
    series = item(SeriesInstanceUID=drawn_on.series_uid, ContourImageSequence=images)
    visit = item(
        ReferencedSOPClassUID="1.2.840.10008.3.1.2.3.1",
        ReferencedSOPInstanceUID=study.study_uid,
        RTReferencedSeriesSequence=[series],
    )
    frame = item(FrameOfReferenceUID=study.frame_of_reference_uid, RTReferencedStudySequence=[visit])
    return {
        "Modality": "RTSTRUCT",
        "SeriesInstanceUID": make_uid(study.key, "RTSTRUCT", "series"),
        "SeriesNumber": 3,
        "SeriesDescription": "Regions",
        "OperatorsName": "",
        "InstanceNumber": 1,
        "StructureSetLabel": "REGIONS",
        "StructureSetDate": f"{drawn_at:%Y%m%d}",
        "StructureSetTime": f"{drawn_at:%H%M%S}",
        "ApprovalStatus": "UNAPPROVED",
        "FrameOfReferenceUID": study.frame_of_reference_uid,
        "ReferencedFrameOfReferenceSequence": [frame],
    }
