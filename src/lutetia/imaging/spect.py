"""Quantitative SPECT in: PT and NM objects of DICOM, and NIfTI files with their facts given beside them.

Values come back as they were in the middle of the acquisition: a decay correction is undone with the half-life and
reference time with which it was made, and bed positions are brought to the scan's common middle. What is not here:
counts to activity (`lutetia.imaging.calibration`) and recovery (`lutetia.imaging.measure`).
To accept one more unit: one row of `PT_UNITS` or `MAPPED_UNITS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lutetia.core.chain import Doubt
from lutetia.core.volume import Volume
from lutetia.errors import ImageError, UnitError, UnknownNameError
from lutetia.imaging.dicom_files import read_series, stored_values
from lutetia.imaging.dicom_geometry import (
    functional_group,
    planes_of_frames,
    planes_of_nm,
    planes_of_series,
    stack,
)
from lutetia.imaging.dicom_time import (
    DecayReference,
    DecayState,
    Interval,
    acquisition_interval,
    check_decay_factor,
    decay_reference,
    decay_state,
    whole_interval,
)
from lutetia.imaging.header_facts import NO_FACTS, HeaderFacts, header_facts
from lutetia.imaging.hygiene import patient_key
from lutetia.imaging.nifti import is_nifti, read_nifti
from lutetia.nuclear.nuclides import canonical_nuclide, nuclide

FloatArray = NDArray[np.float64]
Unit = Literal["MBq_per_mL", "counts"]
PT_UNITS: dict[str, tuple[Unit, float]] = {"BQML": ("MBq_per_mL", 1e-6), "CNTS": ("counts", 1.0)}
MAPPED_UNITS: dict[str, tuple[Unit, float]] = {
    "bq/ml": ("MBq_per_mL", 1e-6),
    "kbq/ml": ("MBq_per_mL", 1e-3),
    "mbq/ml": ("MBq_per_mL", 1.0),
    "{counts}": ("counts", 1.0),
    "[counts]": ("counts", 1.0),
}
HALF_LIFE_TOLERANCE = 0.02  # assumption: published half-lives of one nuclide differ by less, of two nuclides by more


@dataclass(frozen=True, slots=True, eq=False)
class SpectScan:
    """One quantitative scan.

    `volume` holds MBq/mL (or counts) in the middle of the acquisition: a decay correction of the file is already
    undone. `decay_corrected_to` and `corrected_reference` say what the file had, `undone_factor` what its values were
    multiplied with (median over slices). `patient_key` compares identity within one run (empty if the file has none).
    `header` is what the file says of subject and administration.
    """

    volume: Volume
    mid_acquisition: datetime
    duration_s: float | None
    nuclide: str
    decay_corrected_to: DecayState
    corrected_reference: datetime | None
    undone_factor: float
    frame_of_reference: str
    patient_key: str
    modality: str
    doubts: tuple[Doubt, ...] = ()
    header: HeaderFacts = NO_FACTS


@dataclass(frozen=True, slots=True)
class StatedFacts:
    """What the case says about a scan, for what its file leaves open; None where it says nothing.

    `unit` is needed for NIfTI; `corrected_reference` for NIfTI with decay correction.
    """

    nuclide: str | None = None
    mid_acquisition: datetime | None = None
    decay_corrected_to: DecayState | None = None
    corrected_reference: datetime | None = None
    unit: Unit | None = None
    zone: ZoneInfo | None = None


def read_spect(
    path: Path,
    *,
    zone: ZoneInfo | None = None,
    nuclide: str | None = None,
    mid_acquisition: datetime | None = None,
    decay_corrected_to: DecayState | None = None,
    corrected_reference: datetime | None = None,
    unit: Unit | None = None,
    where: str = "scan",
) -> SpectScan:
    """Read a SPECT scan: a DICOM series (folder or file) or a NIfTI file.

    Parameters
    ----------
    path
        Folder with one PT or NM series, one DICOM file, or ``.nii``/``.nii.gz``.
    zone
        Time zone of DICOM times without offset.
    nuclide
        The cycle's measured nuclide; contradiction with the header is an error.
    mid_acquisition, decay_corrected_to, corrected_reference, unit
        Facts of the case for what the file does not say (all but the reference are needed for NIfTI).
    where
        Begins every message, such as "cycle 1, scan 2".

    Raises
    ------
    ImageError, UnitError
        If the scan cannot be placed in space or time, or its values have no known meaning.
    """
    facts = StatedFacts(nuclide, mid_acquisition, decay_corrected_to, corrected_reference, unit, zone)
    if is_nifti(path):
        return _nifti_scan(path, facts, where=where)
    datasets = read_series(path, where=where)
    return _dicom_scan(datasets, facts, where=where)


def _dicom_scan(datasets: Sequence[Dataset], facts: StatedFacts, *, where: str) -> SpectScan:
    head = datasets[0]
    modality = str(head.get("Modality", ""))
    if modality not in ("PT", "NM"):
        raise ImageError(f"{where}: found a series of modality {modality!r}; expected PT or NM; name the SPECT series")
    volume, index = (_nm_volume if modality == "NM" else _pt_volume)(datasets, where=where)
    name, half_life_h, doubts = header_nuclide(head, facts.nuclide, where=where)
    if facts.unit is not None and facts.unit != volume.unit:
        raise UnitError(f"{where}: found values in {volume.unit}, but unit = {facts.unit!r} in the case; remove it")
    intervals = _intervals(datasets, facts, where=where)
    whole = whole_interval(intervals)
    reference = _reference(datasets, intervals, facts, half_life_h=half_life_h, where=where)
    factor = _factors(intervals, whole, reference, half_life_h=half_life_h)
    per_slice = np.empty(volume.grid.shape[0])
    per_slice[index] = factor if len(factor) == len(index) else factor[0]
    return SpectScan(
        volume=replace(volume, values=(volume.values * per_slice[:, None, None]).astype(np.float32)),
        mid_acquisition=whole.middle,
        duration_s=whole.duration_s or None,
        nuclide=name,
        decay_corrected_to=reference.state,
        corrected_reference=reference.reference,
        undone_factor=float(np.median(per_slice)),
        frame_of_reference=str(head.get("FrameOfReferenceUID", "")),
        patient_key=_one_patient(datasets, where=where),
        modality=modality,
        doubts=doubts,
        header=header_facts(head, zone=facts.zone),
    )


def _one_patient(datasets: Sequence[Dataset], *, where: str) -> str:
    keys = {patient_key(d) for d in datasets}
    if len(keys) > 1:
        raise ImageError(f"{where}: found slices with different patient identities in one series; export it again")
    return keys.pop()


def _intervals(datasets: Sequence[Dataset], facts: StatedFacts, *, where: str) -> list[Interval]:
    """Acquisition of every object; where the header has none, the stated middle with unknown duration."""
    try:
        found = [acquisition_interval(d, zone=facts.zone, where=where) for d in datasets]
    except ImageError:
        if facts.mid_acquisition is None:
            raise
        return [Interval(facts.mid_acquisition, 0.0)] * len(datasets)
    if facts.mid_acquisition is not None:
        gap_h = (whole_interval(found).middle - facts.mid_acquisition).total_seconds() / 3600
        if abs(gap_h) > 0.25:
            raise ImageError(
                f"{where}: found a time in the case that is {abs(gap_h):.2f} h {'before' if gap_h > 0 else 'after'} "
                "the middle of the DICOM acquisition; remove `time_h`, or correct the time zone"
            )
    return found


def _reference(
    datasets: Sequence[Dataset], intervals: Sequence[Interval], facts: StatedFacts, *, half_life_h: float, where: str
) -> DecayReference:
    states = {decay_state(d, facts.decay_corrected_to, where=where) for d in datasets}
    if len(states) > 1:
        raise ImageError(f"{where}: found slices with and without decay correction in one series; export it again")
    state = states.pop()
    earliest = min(range(len(datasets)), key=lambda n: intervals[n].start)
    found = decay_reference(
        datasets[earliest], state, intervals[earliest], half_life_h=half_life_h, zone=facts.zone, where=where
    )
    for dataset, interval in zip(datasets, intervals, strict=True):
        check_decay_factor(dataset, found, interval, half_life_h=half_life_h, where=where)
    return found


def _factors(
    intervals: Sequence[Interval], whole: Interval, reference: DecayReference, *, half_life_h: float
) -> FloatArray:
    """Factor for each object that brings its values to the middle of the whole acquisition."""
    origin = [reference.reference or interval.middle for interval in intervals]
    elapsed_h = np.array([(whole.middle - moment).total_seconds() / 3600 for moment in origin])
    return np.asarray(2.0 ** (-elapsed_h / half_life_h))


def header_nuclide(dataset: Dataset, stated: str | None, *, where: str) -> tuple[str, float, tuple[Doubt, ...]]:
    """Nuclide of a scan, the half-life in h that its header used, and doubts.

    Raises
    ------
    ImageError
        If name and half-life of the header, or header and case, contradict each other, or nothing names a nuclide.
    """
    items = dataset.get("RadiopharmaceuticalInformationSequence") or [Dataset()]
    codes = items[0].get("RadionuclideCodeSequence") or [Dataset()]
    meaning = str(codes[0].get("CodeMeaning") or "").strip()
    seconds = items[0].get("RadionuclideHalfLife")
    name = _named(meaning, where=where) or (canonical_nuclide(stated, where=where) if stated else None)
    if name is None:
        raise ImageError(
            f"{where}: found no radionuclide in the header (RadionuclideCodeSequence); expected one, such as Lu-177; "
            "export it with the radiopharmaceutical information"
        )
    if stated is not None and canonical_nuclide(stated, where=where) != name:
        raise ImageError(
            f"{where}: found the nuclide {name} in the header; expected {canonical_nuclide(stated)}, the measured "
            "nuclide of the cycle; check that the scan belongs to this therapy"
        )
    own = nuclide(name).half_life_h
    half_life_h = own if seconds in (None, "") else float(seconds) / 3600.0
    if abs(half_life_h / own - 1) > HALF_LIFE_TOLERANCE:
        raise ImageError(
            f"{where}: found a half-life of {half_life_h:.4g} h in the header of a {name} scan; expected {own:.4g} h; "
            "the nuclide was set wrongly at the scanner: have it corrected there"
        )
    if meaning:
        return name, half_life_h, ()
    message = f"the header names no nuclide; {name} is taken from the case"
    return name, half_life_h, (Doubt("nuclide-from-case", message, where),)


def _named(meaning: str, *, where: str) -> str | None:
    if not meaning:
        return None
    try:
        return canonical_nuclide(meaning, where=where)
    except UnknownNameError as error:
        raise ImageError(f"{where}: found the radionuclide {meaning!r} in the header; {error}") from None


def _pt_volume(datasets: Sequence[Dataset], *, where: str) -> tuple[Volume, NDArray[np.intp]]:
    """PT: single-frame objects, or one object with functional groups; rescaled slice by slice."""
    found = {str(d.get("Units") or "").strip().upper() for d in datasets}
    if len(found) > 1:
        raise UnitError(f"{where}: found different Units in one series ({', '.join(sorted(found))}); export it again")
    text = found.pop()
    if len(datasets) == 1 and "PerFrameFunctionalGroupsSequence" in datasets[0]:
        return _functional_volume(datasets[0], text, where=where)
    unit, scale = _unit(text, PT_UNITS, where=where)
    if len(datasets) == 1 and int(datasets[0].get("NumberOfFrames", 1) or 1) > 1:
        raise ImageError(f"{where}: found a multi-frame PT object without geometry for each frame; export it as slices")
    grid, index = stack(planes_of_series(datasets, where=where), where=where)
    values = np.empty(grid.shape, dtype=np.float32)
    for k, dataset in zip(index, datasets, strict=True):
        slope, intercept = rescale(dataset, where=where)
        values[k] = (stored_values(dataset, where=where)[0].astype(np.float64) * slope + intercept) * scale
    return Volume(_finite(values, where=where), grid, unit), index


def _functional_volume(dataset: Dataset, text: str, *, where: str) -> tuple[Volume, NDArray[np.intp]]:
    grid, index = stack(planes_of_frames(dataset, where=where), where=where)
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    stored = stored_values(dataset, where=where).astype(np.float64)
    values = np.empty(grid.shape, dtype=np.float32)
    unit: Unit = "MBq_per_mL"
    for k, frame, plane in zip(index, dataset.PerFrameFunctionalGroupsSequence, stored, strict=True):
        if text:
            unit, scale = _unit(text, PT_UNITS, where=where)
            item = functional_group(frame, shared, "PixelValueTransformationSequence", where=where)
            slope, intercept = rescale(item, where=where)
        else:
            group = frame if "RealWorldValueMappingSequence" in frame else shared
            unit, scale, slope, intercept = _mapping(group, where=where)
        values[k] = (plane * slope + intercept) * scale
    return Volume(_finite(values, where=where), grid, unit), index


def _nm_volume(datasets: Sequence[Dataset], *, where: str) -> tuple[Volume, NDArray[np.intp]]:
    """NM: one reconstructed multi-frame object, in mapped units or in counts."""
    if len(datasets) != 1:
        raise ImageError(f"{where}: found {len(datasets)} NM objects in one folder; expected one reconstruction")
    dataset = datasets[0]
    kind = [str(part).upper() for part in dataset.get("ImageType") or []]
    if "RECON TOMO" not in kind:
        label = kind[2] if len(kind) > 2 else "unknown"
        raise ImageError(
            f"{where}: found an NM image of type {label}, not a reconstruction; expected RECON TOMO (slices); "
            "reconstruct the projections first"
        )
    for vector in ("EnergyWindowVector", "TimeSlotVector", "DetectorVector", "RRIntervalVector"):
        entries = dataset.get(vector)
        if entries is not None and len(set(np.atleast_1d(entries).tolist())) > 1:
            raise ImageError(
                f"{where}: found several volumes in one NM object ({vector}); expected one; export each alone"
            )
    grid, index = stack(planes_of_nm(dataset, where=where), where=where)
    unit, scale, slope, intercept = _nm_unit(dataset, where=where)
    stored = stored_values(dataset, where=where)
    if len(stored) != len(index):
        raise ImageError(f"{where}: found {len(stored)} frames of pixels for {len(index)} slices; export it again")
    values = np.empty(grid.shape, dtype=np.float32)
    values[index] = (stored.astype(np.float64) * slope + intercept) * scale
    return Volume(_finite(values, where=where), grid, unit), index


def in_counts(dataset: Dataset, *, where: str) -> bool:
    """Whether a SPECT object says that its voxels are counts; False where its unit cannot be read."""
    try:
        if dataset.get("Modality") == "NM":
            return _nm_unit(dataset, where=where)[0] == "counts"
        return _unit(str(dataset.get("Units") or "").strip().upper(), PT_UNITS, where=where)[0] == "counts"
    except (ImageError, UnitError):
        return False


def _nm_unit(dataset: Dataset, *, where: str) -> tuple[Unit, float, float, float]:
    if dataset.get("RealWorldValueMappingSequence"):
        return _mapping(dataset, where=where)
    slope, intercept = rescale(dataset, where=where) if "RescaleSlope" in dataset else (1.0, 0.0)
    text = str(dataset.get("Units") or "").strip().upper()
    unit, scale = _unit(text, PT_UNITS, where=where) if text else ("counts", 1.0)
    return unit, scale, slope, intercept


def _mapping(group: Dataset, *, where: str) -> tuple[Unit, float, float, float]:
    """Unit, its scale, slope and intercept of the real-world value mapping that applies to stored values."""
    items = group.get("RealWorldValueMappingSequence") or []
    seen = []
    for item in items:
        codes = item.get("MeasurementUnitsCodeSequence") or [Dataset()]
        text = str(codes[0].get("CodeValue") or "").strip()
        seen.append(text or "none")
        if text.lower() not in MAPPED_UNITS:
            continue
        slope, intercept = item.get("RealWorldValueSlope"), item.get("RealWorldValueIntercept", 0.0)
        if slope is None or not np.isfinite(float(slope)) or float(slope) <= 0:
            raise UnitError(f"{where}: found a real-world value mapping without a positive slope; export it again")
        unit, scale = MAPPED_UNITS[text.lower()]
        return unit, scale, float(slope), float(intercept or 0.0)
    raise UnitError(
        f"{where}: found a real-world value mapping to {', '.join(seen) or 'nothing'}; expected Bq/ml (or kBq/ml, "
        "MBq/ml); export the scan in Bq/ml, or in counts with a [calibration]"
    )


def rescale(dataset: Dataset, *, where: str) -> tuple[float, float]:
    """RescaleSlope and RescaleIntercept of one object.

    Raises
    ------
    UnitError
        If they are missing, or the slope is not a positive number.
    """
    try:
        slope, intercept = float(dataset.RescaleSlope), float(dataset.RescaleIntercept)
    except (AttributeError, TypeError, ValueError):
        raise UnitError(f"{where}: found an image without RescaleSlope and RescaleIntercept; export it again") from None
    if not (np.isfinite([slope, intercept]).all() and slope > 0):
        raise UnitError(f"{where}: found RescaleSlope {slope}; expected a positive number; export the series again")
    return slope, intercept


def _unit(text: str, known: dict[str, tuple[Unit, float]], *, where: str) -> tuple[Unit, float]:
    if text in known:
        return known[text]
    raise UnitError(
        f"{where}: found Units {text or 'missing'}; expected {' or '.join(known)}; export the scan in Bq/mL, "
        "or in counts with a [calibration]"
    )


def _finite(values: NDArray[np.float32], *, where: str) -> NDArray[np.float32]:
    if not np.isfinite(values).all():
        raise ImageError(f"{where}: found values that are not finite numbers; export the series again")
    if not (values > 0).any():
        raise ImageError(f"{where}: found an image without any positive value; expected activity; check the series")
    return values


def _nifti_scan(path: Path, facts: StatedFacts, *, where: str) -> SpectScan:
    """NIfTI has values and geometry only; the case must state everything else."""
    needed = ("nuclide", "mid_acquisition", "decay_corrected_to", "unit")
    missing = [name for name in needed if getattr(facts, name) is None]
    if missing or facts.mid_acquisition is None or facts.decay_corrected_to is None or facts.unit is None:
        raise ImageError(
            f"{where}: found a NIfTI image, which holds no {', '.join(missing)}; expected them in the case "
            "(time_h, decay_corrected_to, unit); add them to the scan"
        )
    name = canonical_nuclide(str(facts.nuclide), where=where)
    if facts.decay_corrected_to != "none" and facts.corrected_reference is None:
        raise ImageError(f"{where}: found a decay-corrected NIfTI image without the time it is corrected to; give it")
    values, grid = read_nifti(path, where=where)
    reference = None if facts.decay_corrected_to == "none" else facts.corrected_reference
    elapsed_h = 0.0 if reference is None else (facts.mid_acquisition - reference).total_seconds() / 3600
    factor = float(2.0 ** (-elapsed_h / nuclide(name).half_life_h))
    volume = Volume(_finite((values * factor).astype(np.float32), where=where), grid, facts.unit)
    return SpectScan(
        volume, facts.mid_acquisition, None, name, facts.decay_corrected_to, reference, factor, "", "", "NIfTI"
    )
