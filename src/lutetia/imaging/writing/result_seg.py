"""SEG of a result: the regions that doses were computed for, on the grid they were drawn on, under the pseudonym."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import highdicom
import numpy as np

from lutetia import __version__
from lutetia.core.volume import RegionMask
from lutetia.errors import PhysicsError
from lutetia.imaging.writing.common import item, make_uid, save
from lutetia.imaging.writing.results import (
    MANUFACTURER,
    MODEL,
    SERIAL,
    ResultStudy,
    SourceSeries,
    made_by,
    source_headers,
)
from lutetia.imaging.writing.seg import segment


def write_result_seg(masks: Sequence[RegionMask], path: Path, study: ResultStudy, *, source: SourceSeries) -> str:
    """Write regions as one binary SEG (at half occupancy); returns its SOP Instance UID.

    Segment n is mask n, counted from 1.

    Raises
    ------
    PhysicsError
        If there is no mask, or the masks are on different grids.
    """
    if not masks or not all(mask.grid.same_as(masks[0].grid) for mask in masks):
        raise PhysicsError(f"SEG: found {len(masks)} masks; expected at least one, all on one grid")
    grid, uid = masks[0].grid, study.uid("SEG")
    pixels = np.stack([np.asarray(m.mask, dtype=np.float32) >= 0.5 for m in masks], axis=-1).astype(np.uint8)
    volume = highdicom.Volume(
        pixels,
        affine=grid.affine,
        coordinate_system="PATIENT",
        frame_of_reference_uid=source.frame_of_reference_uid or make_uid(study.key, source.series_uid, "frame"),
        channels={highdicom.ChannelDescriptor("SegmentNumber"): list(range(1, len(masks) + 1))},
    )
    dataset = highdicom.seg.Segmentation(
        source_images=source_headers(source, study, grid),
        pixel_array=volume,
        segmentation_type="BINARY",
        segment_descriptions=[segment(n, m.region) for n, m in enumerate(masks, start=1)],
        series_instance_uid=study.uid("SEG", "series"),
        series_number=10 * study.cycle + 2,
        sop_instance_uid=uid,
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=__version__,
        device_serial_number=SERIAL,
        content_label="REGIONS",
    )
    dataset.SeriesDescription = f"Regions, cycle {study.cycle}"
    # The images are in a study of their own, not in that of the results.
    other = item(StudyInstanceUID=source.study_uid, ReferencedSeriesSequence=dataset.ReferencedSeriesSequence)
    dataset.StudiesContainingOtherReferencedInstancesSequence = [other]
    del dataset.ReferencedSeriesSequence
    made_by(dataset, study, study.uid("SEG", "dimensions"))
    save(dataset, path)
    return str(uid)
