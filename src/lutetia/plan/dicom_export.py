"""DICOM results of a plan: dose maps (RTDOSE), regions (SEG) and organ doses (SR) of every imaged cycle.

The maps carry the blur of the SPECT and say so: means over small regions are below the organ doses of the SR.
One folder a cycle: ``rtdose_<nuclide>.dcm``, ``rtdose_sum.dcm``, ``regions.dcm``, ``organ_doses.dcm``, and the
dose-volume histograms of the regions in ``dose_volume.csv``. Patient name and
identifier are the case's pseudonym; of the images only unique identifiers are kept, so that viewers can join them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lutetia.dose.dvh import dose_volume_csv, dose_volume_histogram
from lutetia.errors import InputError
from lutetia.imaging.writing.common import new_folder
from lutetia.imaging.writing.result_seg import write_result_seg
from lutetia.imaging.writing.results import ResultStudy, SourceSeries, read_source
from lutetia.imaging.writing.rtdose import write_rtdose
from lutetia.imaging.writing.sr import DoseEntry, write_dose_sr
from lutetia.plan.cycle_images import CycleImages
from lutetia.plan.dose_maps import dose_maps, summed
from lutetia.plan.run import Planned

Progress = Callable[[str], None]
BLURRED = "not recovery-corrected"


def _quiet(text: str) -> None:
    """No progress shown."""


def export_dicom(planned: Planned, folder: Path, *, made_at: datetime, progress: Progress = _quiet) -> list[Path]:
    """Write the DICOM results of every imaged cycle into a new folder, all or none; returns the files.

    Parameters
    ----------
    folder
        Must not exist, or be empty.
    made_at
        Dates study and content, and tells exports of one plan apart; the same plan and time give the same bytes.

    Raises
    ------
    InputError
        If no cycle has images.
    ImageError
        If the images are NIfTI: DICOM results refer to DICOM images.
    OutputError
        If the folder has content or cannot be written.
    """
    if not planned.images:
        raise InputError("DICOM results: found no cycle with images; expected at least one; plan without --dicom")
    with new_folder(folder) as beside:
        for images in planned.images:
            progress(f"cycle {images.number}: DICOM results")
            _write_cycle(planned.result, images, beside / f"cycle{images.number}", made_at)
        written = sorted(path.relative_to(beside) for path in beside.rglob("*.*"))
    return [folder / path for path in written]


def _write_cycle(result: Mapping[str, Any], images: CycleImages, folder: Path, made_at: datetime) -> None:
    study = _study(result, images.number, made_at)
    where = f"cycle {images.number}, scan {images.drawn_on + 1}"
    spect = read_source(images.spect, where=f"{where}, SPECT")
    drawn = spect if images.ct is None else read_source(images.ct, where=f"{where}, CT")
    seg_uid = write_result_seg(
        [region.mask() for region in images.regions], folder / "regions.dcm", study, source=drawn
    )
    entries = dose_entries(result, images)
    write_dose_sr(entries, folder / "organ_doses.dcm", study, source=drawn, seg_uid=seg_uid)
    _write_maps(images, folder, study, spect)


def _study(result: Mapping[str, Any], cycle: int, made_at: datetime) -> ResultStudy:
    version = result["software"]["version"]
    key = f"{result['inputs_sha256']} {result['seed']} {result['draws']} {version} {made_at.isoformat()}"
    subject = result["subject"]
    return ResultStudy(key, subject["id"], subject["sex"], made_at, cycle)


def _write_maps(images: CycleImages, folder: Path, study: ResultStudy, source: SourceSeries) -> None:
    doses, _ = dose_maps(images)
    for number, (name, dose) in enumerate(doses.items(), start=1):
        path = folder / f"rtdose_{name}.dcm"
        text = f"{BLURRED}, {dose.method}"
        write_rtdose(dose.dose, path, study, source=source, label=name, text=text, number=number)
    text = f"{BLURRED}, {' + '.join(doses)}"
    path = folder / "rtdose_sum.dcm"
    total = summed(doses)
    write_rtdose(total, path, study, source=source, label="sum", text=text, number=len(doses) + 1)
    maps = {name: dose.dose for name, dose in doses.items()} | {"sum": total}
    masks = [region.mask() for region in images.on_spect]
    histograms = {
        name: [dose_volume_histogram(dose, mask, resolution_mm=images.resolution_mm) for mask in masks]
        for name, dose in maps.items()
    }
    (folder / "dose_volume.csv").write_text(dose_volume_csv(histograms), encoding="utf-8")


def dose_entries(result: Mapping[str, Any], images: CycleImages) -> list[DoseEntry]:
    """Evaluable doses of the cycle: by nuclide, and of all nuclides with BED."""
    (cycle,) = (c for c in result["cycles"] if c["number"] == images.number)
    segment = {mask.region: n for n, mask in enumerate(images.regions, start=1)}
    entries = []
    for row in cycle["regions"]:
        region, method = row["region"], row["method"]
        parts = [(name, part, part["basis"], part["method"] or method) for name, part in row["nuclides"].items()]
        for name, part, basis, how in [*parts, (None, row, "sum of the nuclides", method)]:
            if part["absorbed_dose_Gy"] is None:
                continue
            dose, sd = part["absorbed_dose_Gy"], part["absorbed_dose_sd_Gy"]
            bed = row["bed_Gy"] if name is None else None
            entries.append(DoseEntry(region, name, dose, sd, bed, how, basis, segment.get(region)))
    return entries
