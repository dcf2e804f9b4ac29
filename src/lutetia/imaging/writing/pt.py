"""Quantitative SPECT as a PT series in Bq/mL, with every state of decay correction."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom.uid import PositronEmissionTomographyImageStorage

from lutetia.core.volume import Volume
from lutetia.errors import UnitError
from lutetia.imaging.writing.common import (
    Study,
    WrittenSeries,
    date_and_time,
    make_uid,
    middle,
    new_folder,
    new_object,
    plane_attributes,
    save,
    set_attributes,
    set_pixels,
)
from lutetia.imaging.writing.radiopharmaceutical import (
    Radiopharmaceutical,
    orientation_sequences,
    radiopharmaceutical_item,
)

DecayCorrection = Literal["NONE", "START", "ADMIN"]


def write_pt_series(
    volume: Volume,
    folder: Path,
    study: Study,
    *,
    given: Radiopharmaceutical,
    acquired_at: datetime,
    duration_s: float,
    decay_correction: DecayCorrection = "NONE",
    number: int = 1,
) -> WrittenSeries:
    """Write a SPECT as a PT series in BQML, one file and one rescale slope a slice.

    Parameters
    ----------
    volume
        MBq/mL in the middle of the acquisition.
    acquired_at
        Start of the acquisition.
    decay_correction
        The stored values are those of the middle times 2^((middle − reference)/T½); reference: the start of the
        acquisition or of the administration.

    Raises
    ------
    UnitError
        If the volume is not in MBq/mL.
    """
    if volume.unit != "MBq_per_mL":
        raise UnitError(f"PT: found a volume in {volume.unit}; expected MBq_per_mL")
    factor = decay_factor(given, acquired_at, duration_s, decay_correction=decay_correction)
    series_uid = make_uid(study.key, "PT", number)
    uids = tuple(make_uid(series_uid, k) for k in range(volume.grid.shape[0]))
    common = _series(study, given, len(uids), series_uid=series_uid, number=number, decay_correction=decay_correction)
    common |= _timing(acquired_at, duration_s, factor, decay_correction=decay_correction)
    with new_folder(folder) as beside:
        for k, uid in enumerate(uids):
            dataset = new_object(study, PositronEmissionTomographyImageStorage, uid)
            set_attributes(dataset, common | plane_attributes(volume.grid, k))
            set_attributes(dataset, {"InstanceNumber": k + 1, "ImageIndex": k + 1})
            becquerel = np.asarray(volume.values[k], dtype=np.float64) * 1e6 * factor
            slope = float(f"{max(float(becquerel.max()), 1.0) / 65000.0:.9g}")
            set_attributes(dataset, {"RescaleIntercept": "0", "RescaleSlope": f"{slope:.9g}"})
            set_pixels(dataset, np.rint(becquerel / slope).astype(np.uint16))
            save(dataset, beside / f"pt_{k + 1:03d}.dcm")
    files = tuple(folder / f"pt_{k + 1:03d}.dcm" for k in range(len(uids)))
    return WrittenSeries(study, series_uid, PositronEmissionTomographyImageStorage, uids, files, volume.grid)


def decay_factor(
    given: Radiopharmaceutical, acquired_at: datetime, duration_s: float, *, decay_correction: DecayCorrection
) -> float:
    """Factor between the stored value and that of the middle of the acquisition: 2^((middle − reference)/T½)."""
    if decay_correction == "NONE":
        return 1.0
    reference = acquired_at if decay_correction == "START" else given.administered_at
    elapsed_s = (middle(acquired_at, duration_s) - reference).total_seconds()
    return float(2.0 ** (elapsed_s / given.half_life_s))


def _series(
    study: Study,
    given: Radiopharmaceutical,
    slices: int,
    *,
    series_uid: str,
    number: int,
    decay_correction: DecayCorrection,
) -> dict[str, Any]:
    return {
        "Modality": "PT",
        "SeriesInstanceUID": series_uid,
        "SeriesNumber": number,
        "SeriesDescription": "SPECT quantitative",
        "FrameOfReferenceUID": study.frame_of_reference_uid,
        "BodyPartExamined": "ABDOMEN",
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "Units": "BQML",
        "CountsSource": "EMISSION",
        "SeriesType": ["STATIC", "IMAGE"],
        "NumberOfSlices": slices,
        "CorrectedImage": ["ATTN", "SCAT"] + ([] if decay_correction == "NONE" else ["DECY"]),
        "DecayCorrection": decay_correction,
        "CollimatorType": "NONE",
        "RadiopharmaceuticalInformationSequence": [radiopharmaceutical_item(given, pet=True)],
    } | orientation_sequences(study.position)


def _timing(
    acquired_at: datetime, duration_s: float, factor: float, *, decay_correction: DecayCorrection
) -> dict[str, Any]:
    reference_ms = duration_s * 500.0
    values: dict[str, Any] = date_and_time("Series", acquired_at) | date_and_time("Acquisition", acquired_at)
    values |= date_and_time("Content", acquired_at)
    values |= {"ActualFrameDuration": round(duration_s * 1000), "FrameReferenceTime": f"{reference_ms:.10g}"}
    if decay_correction != "NONE":
        values["DecayFactor"] = f"{factor:.9g}"
    return values
