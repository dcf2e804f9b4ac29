"""CT series out."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.uid import CTImageStorage

from lutetia.core.volume import Volume
from lutetia.errors import UnitError
from lutetia.imaging.writing.common import (
    Study,
    WrittenSeries,
    date_and_time,
    make_uid,
    new_folder,
    new_object,
    plane_attributes,
    save,
    set_attributes,
    set_pixels,
)


def write_ct_series(
    volume: Volume, folder: Path, study: Study, *, acquired_at: datetime, number: int = 2
) -> WrittenSeries:
    """Write a CT series, one file a slice, in HU with an intercept of −1024.

    Raises
    ------
    UnitError
        If the volume is not in HU.
    OutputError
        If the folder has content or cannot be written.
    """
    if volume.unit != "HU":
        raise UnitError(f"CT: found a volume in {volume.unit}; expected HU")
    series_uid = make_uid(study.key, "CT", number)
    stored = np.clip(np.rint(volume.values + 1024.0), 0, 65535).astype(np.uint16)
    uids = tuple(make_uid(series_uid, k) for k in range(len(stored)))
    with new_folder(folder) as beside:
        for k, uid in enumerate(uids):
            dataset = new_object(study, CTImageStorage, uid)
            set_attributes(dataset, _series(study, series_uid, number) | date_and_time("Acquisition", acquired_at))
            set_attributes(dataset, plane_attributes(volume.grid, k) | {"InstanceNumber": k + 1})
            set_attributes(dataset, date_and_time("Content", acquired_at))
            set_pixels(dataset, stored[k])
            save(dataset, beside / f"ct_{k + 1:03d}.dcm")
    files = tuple(folder / f"ct_{k + 1:03d}.dcm" for k in range(len(uids)))
    return WrittenSeries(study, series_uid, CTImageStorage, uids, files, volume.grid)


def _series(study: Study, series_uid: str, number: int) -> dict[str, object]:
    return {
        "Modality": "CT",
        "SeriesInstanceUID": series_uid,
        "SeriesNumber": number,
        "SeriesDescription": "CT low dose",
        "FrameOfReferenceUID": study.frame_of_reference_uid,
        "BodyPartExamined": "ABDOMEN",
        "PatientPosition": study.position,
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "AcquisitionNumber": 1,
        "KVP": "120",
        "RescaleIntercept": "-1024",
        "RescaleSlope": "1",
        "RescaleType": "HU",
    } | date_and_time("Series", study.started_at)
