"""CT in: Hounsfield units from DICOM or NIfTI, and tissue density from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from lutetia.core.volume import Volume
from lutetia.errors import ImageError, UnitError
from lutetia.imaging.dicom_files import read_series, stored_values
from lutetia.imaging.dicom_geometry import functional_group, planes_of_frames, planes_of_series, stack
from lutetia.imaging.hygiene import check_one_patient, patient_key
from lutetia.imaging.nifti import is_nifti, read_nifti
from lutetia.imaging.spect import rescale

# Bilinear HU → g/mL: air and water are exact by definition of the HU; the slope above water (0.00061 g/mL per HU)
# stands for a mixture of soft tissue and cortical bone and is an assumption until a scanner's own curve is given.
DENSITY_CURVE: tuple[tuple[float, float], ...] = ((-1000.0, 0.0012), (0.0, 1.0), (3000.0, 2.83))


@dataclass(frozen=True, slots=True, eq=False)
class CtScan:
    """One CT: values in HU, frame of reference and patient key (both empty for NIfTI)."""

    volume: Volume
    frame_of_reference: str
    patient_key: str


def read_ct(path: Path, *, where: str = "CT") -> CtScan:
    """Read a CT series (folder or file) or a NIfTI file in HU.

    Raises
    ------
    ImageError, UnitError
        If it is not a CT, cannot be placed in space, or is not in HU.
    """
    if is_nifti(path):
        values, grid = read_nifti(path, where=where)
        return CtScan(Volume(values.astype(np.float32), grid, "HU"), "", "")
    datasets = read_series(path, where=where)
    head = datasets[0]
    if str(head.get("Modality", "")) != "CT":
        raise ImageError(
            f"{where}: found a series of modality {head.get('Modality', '')!r}; expected CT; name the CT series"
        )
    check_one_patient({f"{where}, slice {n}": patient_key(d) for n, d in enumerate(datasets, start=1)})
    multi = len(datasets) == 1 and "PerFrameFunctionalGroupsSequence" in head
    volume = _enhanced(head, where=where) if multi else _slices(datasets, where=where)
    return CtScan(volume, str(head.get("FrameOfReferenceUID", "")), patient_key(head))


def density(ct: Volume, *, curve: tuple[tuple[float, float], ...] = DENSITY_CURVE) -> Volume:
    """Mass density in g/mL from HU by linear interpolation in a curve, constant beyond its ends.

    Parameters
    ----------
    ct
        In HU.
    curve
        Points (HU, g/mL) in rising HU; the default is an assumption (see `DENSITY_CURVE`).
    """
    if ct.unit != "HU":
        raise UnitError(f"density: found a volume in {ct.unit}; expected HU")
    hounsfield, value = np.array(curve).T
    return Volume(np.interp(ct.values, hounsfield, value).astype(np.float32), ct.grid, "g_per_mL")


def _slices(datasets: list[Dataset], *, where: str) -> Volume:
    grid, index = stack(planes_of_series(datasets, where=where), where=where)
    values = np.empty(grid.shape, dtype=np.float32)
    for k, dataset in zip(index, datasets, strict=True):
        slope, intercept = _hounsfield(dataset, where=where)
        values[k] = stored_values(dataset, where=where)[0].astype(np.float64) * slope + intercept
    return Volume(values, grid, "HU")


def _enhanced(dataset: Dataset, *, where: str) -> Volume:
    grid, index = stack(planes_of_frames(dataset, where=where), where=where)
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    values = np.empty(grid.shape, dtype=np.float32)
    planes = stored_values(dataset, where=where).astype(np.float64)
    for k, frame, plane in zip(index, dataset.PerFrameFunctionalGroupsSequence, planes, strict=True):
        item = functional_group(frame, shared, "PixelValueTransformationSequence", where=where)
        slope, intercept = _hounsfield(item, where=where)
        values[k] = plane * slope + intercept
    return Volume(values, grid, "HU")


def _hounsfield(dataset: Dataset, *, where: str) -> tuple[float, float]:
    kind = str(dataset.get("RescaleType") or "HU").strip().upper()
    if kind != "HU":
        raise UnitError(f"{where}: found a CT in {kind}; expected HU; name a series in Hounsfield units")
    return rescale(dataset, where=where)
