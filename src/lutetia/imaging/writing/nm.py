"""SPECT as one reconstructed multi-frame NM object: counts, or Bq/mL through a real-world value map."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import NuclearMedicineImageStorage

from lutetia.core.volume import Volume
from lutetia.errors import UnitError
from lutetia.imaging.writing.common import (
    Study,
    WrittenSeries,
    code,
    date_and_time,
    decimals,
    item,
    make_uid,
    new_object,
    orientation_of,
    save,
    set_attributes,
    set_pixels,
    stacking_direction,
)
from lutetia.imaging.writing.radiopharmaceutical import (
    Radiopharmaceutical,
    orientation_sequences,
    radiopharmaceutical_item,
)

FRAMES_IN_ROTATION = 60
WINDOW_KEV = (187.2, 228.8)  # 208 keV ± 10 %


def write_nm(
    volume: Volume,
    path: Path,
    study: Study,
    *,
    given: Radiopharmaceutical,
    acquired_at: datetime,
    duration_s: float,
    number: int = 1,
) -> WrittenSeries:
    """Write a reconstruction (RECON TOMO) as one NM file, not corrected for decay.

    Counts are stored as they are, rounded; MBq/mL gets a RealWorldValueMappingSequence to Bq/mL.

    Raises
    ------
    UnitError
        If the volume is neither in counts nor in MBq/mL.
    """
    if volume.unit not in ("counts", "MBq_per_mL"):
        raise UnitError(f"NM: found a volume in {volume.unit}; expected counts or MBq_per_mL")
    series_uid = make_uid(study.key, "NM", number)
    uid = make_uid(series_uid, 0)
    dataset = new_object(study, NuclearMedicineImageStorage, uid)
    set_attributes(dataset, _series(study, series_uid, number) | _times(acquired_at))
    set_attributes(dataset, _frames(volume) | _acquisition(duration_s))
    set_attributes(dataset, {"RadiopharmaceuticalInformationSequence": [radiopharmaceutical_item(given, pet=False)]})
    _set_values(dataset, volume)
    dataset.CountsAccumulated = round(float(min(volume.values.sum(dtype=np.float64), 2**31 - 1)))
    save(dataset, path)
    return WrittenSeries(study, series_uid, NuclearMedicineImageStorage, (uid,), (path,), volume.grid)


def _set_values(dataset: Dataset, volume: Volume) -> None:
    top = float(volume.values.max())
    if volume.unit == "counts":
        if top > 65535:
            raise UnitError(f"NM: found {top:.0f} counts in a voxel; expected at most 65535; write a PT series instead")
        set_pixels(dataset, np.rint(volume.values).astype(np.uint16))
        return
    slope = float(f"{max(top, 1e-12) * 1e6 / 65000.0:.9g}")
    set_pixels(dataset, np.rint(volume.values.astype(np.float64) * 1e6 / slope).astype(np.uint16))
    mapping = item(
        RealWorldValueFirstValueMapped=0,
        RealWorldValueLastValueMapped=65535,
        RealWorldValueIntercept=0.0,
        RealWorldValueSlope=slope,
        LUTExplanation="Activity concentration",
        LUTLabel="BQML",
        MeasurementUnitsCodeSequence=[code("Bq/ml", "UCUM", "Becquerels/milliliter")],
    )
    for keyword in ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped"):
        mapping[keyword].VR = "US"
    dataset.RealWorldValueMappingSequence = [mapping]


def _series(study: Study, series_uid: str, number: int) -> dict[str, Any]:
    return {
        "Modality": "NM",
        "SeriesInstanceUID": series_uid,
        "SeriesNumber": number,
        "SeriesDescription": "SPECT reconstruction",
        "FrameOfReferenceUID": study.frame_of_reference_uid,
        "ImageType": ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"],
        "InstanceNumber": 1,
        "CorrectedImage": ["ATTN", "SCAT"],
        "BodyPartExamined": "ABDOMEN",
    } | orientation_sequences(study.position)


def _times(acquired_at: datetime) -> dict[str, str]:
    return (
        date_and_time("Series", acquired_at)
        | date_and_time("Acquisition", acquired_at)
        | date_and_time("Content", acquired_at)
    )


def _frames(volume: Volume) -> dict[str, Any]:
    """Multi-frame, detector and reconstruction modules: geometry of the stack.

    The sign of SpacingBetweenSlices says whether slices follow each other along the normal row × column.
    """
    grid, slices = volume.grid, volume.grid.shape[0]
    detector = item(
        CollimatorType="PARA",
        ImageOrientationPatient=orientation_of(grid),
        ImagePositionPatient=decimals(grid.position_mm((0.0, 0.0, 0.0))),
    )
    return {
        "NumberOfFrames": slices,
        "FrameIncrementPointer": Tag("SliceVector"),
        "SliceVector": list(range(1, slices + 1)),
        "NumberOfSlices": slices,
        "DetectorInformationSequence": [detector],
        "PixelSpacing": decimals(grid.spacing_mm[1:]),
        "SpacingBetweenSlices": decimals([grid.spacing_mm[0] * stacking_direction(grid)])[0],
        "SliceThickness": decimals([grid.spacing_mm[0]])[0],
        "ReconstructionDiameter": decimals([grid.spacing_mm[2] * grid.shape[2]])[0],
    }


def _acquisition(duration_s: float) -> dict[str, Any]:
    """One rotation of `FRAMES_IN_ROTATION` stops; energy window around 208 keV."""
    rotation = item(
        StartAngle="0",
        AngularStep="6",
        RotationDirection="CW",
        ScanArc="360",
        ActualFrameDuration=round(duration_s * 1000 / FRAMES_IN_ROTATION),
        RadialPosition="250",
        NumberOfFramesInRotation=FRAMES_IN_ROTATION,
        TableHeight="0",
        TableTraverse="0",
    )
    window = item(
        EnergyWindowName="Lu-177 208 keV",
        EnergyWindowRangeSequence=[
            item(EnergyWindowLowerLimit=str(WINDOW_KEV[0]), EnergyWindowUpperLimit=str(WINDOW_KEV[1]))
        ],
    )
    return {
        "NumberOfRotations": 1,
        "RotationInformationSequence": [rotation],
        "NumberOfDetectors": 1,
        "NumberOfEnergyWindows": 1,
        "EnergyWindowInformationSequence": [window],
        "TypeOfDetectorMotion": "STEP AND SHOOT",
    }
