"""SEG out: binary or fractional segmentation on the slices of a written series."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from pydicom.sr.coding import Code

from lutetia import __version__
from lutetia.core.regions import is_tumour
from lutetia.core.volume import RegionMask
from lutetia.errors import PhysicsError
from lutetia.imaging.writing.common import IMPLEMENTATION_UID, WrittenSeries, date_and_time, make_uid, save

# SNOMED CT: category and type of a segment.
ORGAN, ABNORMAL = (
    Code("91723000", "SCT", "Anatomical Structure"),
    Code("49755003", "SCT", "Morphologically Abnormal Structure"),
)
TYPES: dict[str, Code] = {
    "left kidney": Code("64033007", "SCT", "Kidney"),
    "right kidney": Code("64033007", "SCT", "Kidney"),
    "kidneys": Code("64033007", "SCT", "Kidney"),
    "liver": Code("10200004", "SCT", "Liver"),
    "spleen": Code("78961009", "SCT", "Spleen"),
}
TUMOUR, OTHER = Code("108369006", "SCT", "Neoplasm"), Code("91723000", "SCT", "Anatomical Structure")


def write_seg(
    masks: Sequence[RegionMask], path: Path, drawn_on: WrittenSeries, *, drawn_at: datetime, fractional: bool = False
) -> Path:
    """Write regions as one SEG object; binary (at half occupancy) or fractional occupancy in steps of 1/255.

    Raises
    ------
    PhysicsError
        If a mask is not on the grid of that series.
    """
    for mask in masks:
        if not mask.grid.same_as(drawn_on.grid):
            raise PhysicsError(f"{mask.region}: found a mask on another grid than the series that it is drawn on")
    pixels = np.stack([np.asarray(m.mask, dtype=np.float32) for m in masks], axis=-1)
    dataset = highdicom.seg.Segmentation(
        source_images=[pydicom.dcmread(f) for f in drawn_on.files],
        pixel_array=pixels.astype(np.float32) if fractional else (pixels >= 0.5).astype(np.uint8),
        segmentation_type="FRACTIONAL" if fractional else "BINARY",
        fractional_type="OCCUPANCY",
        segment_descriptions=[segment(n, m.region) for n, m in enumerate(masks, start=1)],
        series_instance_uid=make_uid(drawn_on.study.key, "SEG", "series"),
        series_number=4,
        sop_instance_uid=make_uid(drawn_on.study.key, "SEG"),
        instance_number=1,
        manufacturer="Lutetia",
        manufacturer_model_name="Virtual subject",
        software_versions=__version__,
        device_serial_number="VIRTUAL",
        content_label="REGIONS",
    )
    _fix_times(dataset, drawn_on, drawn_at)
    save(dataset, path)
    return path


def segment(number: int, region: str) -> highdicom.seg.SegmentDescription:
    """Coded description of a region; the label is its canonical name."""
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=region,
        segmented_property_category=ABNORMAL if is_tumour(region) else ORGAN,
        segmented_property_type=TUMOUR if is_tumour(region) else TYPES.get(region, OTHER),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.MANUAL,
    )


def _fix_times(dataset: highdicom.seg.Segmentation, drawn_on: WrittenSeries, drawn_at: datetime) -> None:
    """Replace everything that depends on the clock or on drawn UIDs, so that the bytes are reproducible."""
    times = date_and_time("Content", drawn_at) | date_and_time("Series", drawn_at)
    times |= date_and_time("InstanceCreation", drawn_at)
    for keyword, value in times.items():
        if keyword.startswith("Content") or keyword in dataset:
            setattr(dataset, keyword, value)
    for entry in dataset.get("ContributingEquipmentSequence") or []:
        entry.ContributionDateTime = f"{drawn_at:%Y%m%d%H%M%S}"
    organisation = make_uid(drawn_on.study.key, "SEG", "dimensions")
    for entry in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        entry.DimensionOrganizationUID = organisation
    dataset.file_meta.ImplementationClassUID = IMPLEMENTATION_UID
