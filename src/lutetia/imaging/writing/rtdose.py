"""RTDOSE out: a dose map on its grid in Gy, 16 bits unsigned with the scaling of its largest dose.

Frames run along the normal of the planes (row direction × column direction), whatever way the grid runs, so that
readers that ignore the sign of an offset place them right. ImagePositionPatient is the centre of the first voxel.
The summation type is PLAN_OVERVIEW: every older one refers to an RT plan or treatment record, and there is none.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, RTDoseStorage

from lutetia.core.geometry import Grid
from lutetia.core.volume import Volume
from lutetia.errors import PhysicsError, UnitError
from lutetia.imaging.writing.common import (
    decimals,
    item,
    make_uid,
    orientation_of,
    save,
    set_attributes,
    stacking_direction,
)
from lutetia.imaging.writing.results import ResultStudy, SourceSeries, new_result

LARGEST_STORED = 65_000
"""Below 2¹⁶ − 1, so that the rounding of the scaling can never make a value wrap."""


def write_rtdose(
    dose: Volume, path: Path, study: ResultStudy, *, source: SourceSeries, label: str, text: str, number: int = 1
) -> Path:
    """Write a dose map.

    Parameters
    ----------
    dose
        In Gy, on any orthogonal grid (any position of the patient, oblique or not).
    source
        The images that the map lies over; its frame of reference is theirs.
    label
        What is shown: a nuclide, or ``sum``. Distinguishes the objects of one cycle.
    text
        Method, for the comment (DICOM holds 64 characters of label and text).
    number
        Instance number in the series of the cycle.

    Raises
    ------
    UnitError, PhysicsError
        If the map is not in Gy, has negative or infinite values, or its voxels are skewed.
    """
    _check(dose)
    grid, values = _along_normal(dose)
    dataset = new_result(study, RTDoseStorage, study.uid("RTDOSE", label))
    set_attributes(dataset, _header(study, source, comment=f"{label}: {text}", number=number))
    set_attributes(dataset, _geometry(grid))
    scaling = _scaling(float(values.max()))
    stored = np.rint(values.astype(np.float64) / float(scaling)).astype("<u2")
    set_attributes(dataset, {"DoseGridScaling": scaling, "PixelData": stored.tobytes()})
    dataset["PixelData"].VR = "OW"
    save(dataset, path)
    return path


def _check(dose: Volume) -> None:
    if dose.unit != "Gy":
        raise UnitError(f"RTDOSE: found a map in {dose.unit}; expected Gy")
    if not np.isfinite(dose.values).all() or dose.values.min() < 0:
        raise PhysicsError("RTDOSE: found negative or infinite doses; expected finite values ≥ 0")
    axes = dose.grid.affine[:3, :3] / np.asarray(dose.grid.spacing_mm)
    if np.abs(axes.T @ axes - np.eye(3)).max() > 1e-3:
        raise PhysicsError("RTDOSE: found skewed voxels; expected an orthogonal grid; resample the map")


def _along_normal(dose: Volume) -> tuple[Grid, np.ndarray]:
    """The same voxels with k along the normal of the planes."""
    if stacking_direction(dose.grid) > 0:
        return dose.grid, dose.values
    affine = dose.grid.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (dose.grid.shape[0] - 1)
    affine[:3, 0] *= -1.0
    return Grid(dose.grid.shape, affine), dose.values[::-1]


def _scaling(largest_Gy: float) -> str:
    """Gy per stored unit as a decimal string, rounded up; a map of zeros has a scaling too."""
    wanted = max(largest_Gy, 1e-6) / LARGEST_STORED
    text = f"{wanted:.9e}"
    return text if len(text) <= 16 else f"{wanted:.8e}"


def _geometry(grid: Grid) -> dict[str, Any]:
    frames, rows, columns = grid.shape
    return {
        "ImagePositionPatient": decimals(grid.origin_mm),
        "ImageOrientationPatient": orientation_of(grid),
        "PixelSpacing": decimals(grid.spacing_mm[1:]),
        "SliceThickness": decimals(grid.spacing_mm[:1])[0],
        "GridFrameOffsetVector": decimals(np.arange(frames) * grid.spacing_mm[0]),
        "NumberOfFrames": frames,
        "FrameIncrementPointer": 0x3004000C,
        "Rows": rows,
        "Columns": columns,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
    }


def _header(study: ResultStudy, source: SourceSeries, *, comment: str, number: int) -> dict[str, Any]:
    images: list[Dataset] = [
        item(ReferencedSOPClassUID=UID(source.sop_class_uid), ReferencedSOPInstanceUID=UID(uid))
        for uid in source.instance_uids
    ]
    return {
        "Modality": "RTDOSE",
        "SeriesInstanceUID": study.uid("RTDOSE", "series"),
        "SeriesNumber": 10 * study.cycle + 1,
        "SeriesDescription": f"Absorbed dose, cycle {study.cycle}",
        "OperatorsName": "",
        "InstanceNumber": number,
        "FrameOfReferenceUID": source.frame_of_reference_uid or make_uid(study.key, source.series_uid, "frame"),
        "DoseUnits": "GY",
        "DoseType": "PHYSICAL",
        "DoseSummationType": "PLAN_OVERVIEW",
        "PlanOverviewSequence": [item(PlanOverviewIndex=1, RTPlanLabel=f"cycle {study.cycle}")],
        "DoseComment": comment[:64],
        "ReferencedImageSequence": images,
        "TissueHeterogeneityCorrection": "IMAGE",
    }
