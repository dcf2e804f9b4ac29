"""What a DICOM export holds: its series, sorted into scans (SPECT with its CT) and segmentations.

Nothing here keeps a name or an identifier: a series is known by modality, time and frame of reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pydicom.dataset import Dataset

from lutetia.core.chain import Doubt
from lutetia.errors import ImageError, InputError
from lutetia.imaging.dicom_files import list_files, read_dataset
from lutetia.imaging.dicom_time import acquisition_interval
from lutetia.imaging.hygiene import check_one_patient, patient_key

SPECT, CT, SEGMENTATION = ("PT", "NM"), ("CT",), ("RTSTRUCT", "SEG")
SAME_VISIT_H = 6.0  # assumption: a CT of the same visit is taken within this time of the SPECT


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an export: its files in order of name, and what decides where it belongs.

    `acquired`: start of the acquisition, None where the header has none. `references`: series that a segmentation
    was drawn on. `detail`: for NM the third value of ImageType.
    """

    uid: str
    modality: str
    files: tuple[Path, ...]
    acquired: datetime | None
    frame_of_reference: str
    references: frozenset[str]
    nuclide: str
    detail: str
    localiser: bool
    sex: str


@dataclass(frozen=True, slots=True)
class ScanGroup:
    """One time point: the SPECT series and the CT that belongs to it, if any."""

    spect: Series
    ct: Series | None


@dataclass(frozen=True, slots=True)
class Export:
    """A sorted export: scans in order of time, segmentations with the 0-based scan they were drawn on, and the rest.

    `sex`: F, M or empty, of the headers.
    """

    scans: tuple[ScanGroup, ...]
    segmentations: tuple[tuple[Series, int | None], ...]
    unused: tuple[Series, ...]
    doubts: tuple[Doubt, ...]
    sex: str = ""


def sort_folder(folder: Path, *, zone: ZoneInfo | None = None, where: str = "DICOM export") -> Export:
    """Sort a DICOM export, of one subject and one therapy cycle or more.

    Parameters
    ----------
    folder
        Any depth of subfolders; files that are not DICOM are left out and counted in a doubt.
    zone
        For times without offset; only their order matters here.

    Raises
    ------
    ImageError, IdentityError
        If nothing usable is found, or there is more than one subject.
    """
    series, skipped = find_series(folder, zone=zone, where=where)
    export = group_series(series, where=where)
    if skipped == 0:
        return export
    doubt = Doubt("files-not-dicom", f"{skipped} files are not DICOM and were left out", where)
    return replace(export, doubts=(*export.doubts, doubt))


def find_series(folder: Path, *, zone: ZoneInfo | None, where: str) -> tuple[list[Series], int]:
    """Series of all modalities in a folder, and the number of files that are not DICOM."""
    found: dict[str, list[tuple[Path, Dataset]]] = {}
    keys: dict[str, str] = {}
    skipped = 0
    for number, path in enumerate(list_files(folder, where=where), start=1):
        try:
            dataset = read_dataset(path, where=where, pixels=False)
        except ImageError:
            skipped += 1
            continue
        uid = str(dataset.get("SeriesInstanceUID", "")) or f"file {number}"
        # Two segmentations of one series are two objects of the case.
        if str(dataset.get("Modality")) in SEGMENTATION:
            uid = str(dataset.get("SOPInstanceUID", uid))
        found.setdefault(uid, []).append((path, dataset))
        keys.setdefault(patient_key(dataset), f"{where}, file {number}")
    check_one_patient({place: key for key, place in keys.items()})
    if not found:
        raise ImageError(
            f"{where}: found no DICOM file among {skipped} files; expected a DICOM export; name its folder"
        )
    return [_series(uid, members, zone) for uid, members in found.items()], skipped


def _series(uid: str, members: list[tuple[Path, Dataset]], zone: ZoneInfo | None) -> Series:
    head = members[0][1]
    kind = [str(v).upper() for v in head.get("ImageType") or []]
    items = head.get("RadiopharmaceuticalInformationSequence") or [Dataset()]
    codes = items[0].get("RadionuclideCodeSequence") or [Dataset()]
    starts = [start for _, d in members if (start := _start(d, zone)) is not None]
    return Series(
        uid,
        str(head.get("Modality", "")),
        tuple(path for path, _ in members),
        min(starts, default=None),
        _frame(head),
        _references(head),
        str(codes[0].get("CodeMeaning") or ""),
        kind[2] if len(kind) > 2 else "",
        "LOCALIZER" in kind or "SCOUT" in kind,
        str(head.get("PatientSex") or "").strip().upper(),
    )


def _start(dataset: Dataset, zone: ZoneInfo | None) -> datetime | None:
    """Start of the acquisition; an object without duration still has its start."""
    if dataset.get("ActualFrameDuration") is None and not dataset.get("RotationInformationSequence"):
        dataset.ActualFrameDuration = 1000
    try:
        return acquisition_interval(dataset, zone=zone or ZoneInfo("UTC"), where="").start
    except InputError:
        return None


def _frame(dataset: Dataset) -> str:
    if dataset.get("Modality") == "RTSTRUCT":
        items = dataset.get("StructureSetROISequence") or [Dataset()]
        return str(items[0].get("ReferencedFrameOfReferenceUID") or "")
    return str(dataset.get("FrameOfReferenceUID") or "")


def _references(dataset: Dataset) -> frozenset[str]:
    """Series Instance UIDs that a segmentation refers to."""
    found = {str(r.get("SeriesInstanceUID") or "") for r in dataset.get("ReferencedSeriesSequence") or []}
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            found |= {str(s.get("SeriesInstanceUID") or "") for s in study.get("RTReferencedSeriesSequence") or []}
    return frozenset(found - {""})


def group_series(series: Sequence[Series], *, where: str) -> Export:
    """Match CTs and segmentations to SPECT series: by frame of reference and reference first, else by time."""
    spects = [s for s in series if s.modality in SPECT and not _projections(s)]
    cts = [s for s in series if s.modality in CT and not s.localiser and len(s.files) > 0]
    if not spects:
        kinds = ", ".join(sorted({s.modality or "?" for s in series}))
        raise ImageError(
            f"{where}: found no SPECT series (PT or reconstructed NM) among {kinds}; export the reconstructions"
        )
    undated = [s for s in spects if s.acquired is None]
    if undated:
        raise ImageError(
            f"{where}: found a {undated[0].modality} series without acquisition time; expected AcquisitionDate and "
            "AcquisitionTime; export the original series"
        )
    ordered = sorted(spects, key=lambda s: s.acquired.timestamp() if s.acquired else 0.0)
    scans = tuple(ScanGroup(s, _matching_ct(s, cts)) for s in ordered)
    doubts = [
        Doubt("scan-without-ct", f"scan {n} has no CT", where)
        for n, scan in enumerate(scans, start=1)
        if scan.ct is None
    ]
    masks = [s for s in series if s.modality in SEGMENTATION]
    segmentations = tuple((m, _drawn_on(m, scans)) for m in masks)
    used = {s.uid for scan in scans for s in (scan.spect, scan.ct) if s is not None} | {m.uid for m in masks}
    sexes = {s.sex for s in series} - {""}
    unused = tuple(s for s in series if s.uid not in used)
    return Export(scans, segmentations, unused, tuple(doubts), sexes.pop() if len(sexes) == 1 else "")


def _projections(series: Series) -> bool:
    return series.modality == "NM" and series.detail != "RECON TOMO"


def _matching_ct(spect: Series, cts: Sequence[Series]) -> Series | None:
    """CT in the same frame of reference (the one with most slices), else the nearest of the same visit."""
    same = [c for c in cts if c.frame_of_reference and c.frame_of_reference == spect.frame_of_reference]
    near = [(abs(gap), c) for c in cts if (gap := _gap_h(spect, c)) is not None and abs(gap) <= SAME_VISIT_H]
    timed = {c.uid for _, c in near}
    visit = [c for c in same if c.uid in timed or c.acquired is None] or same
    if visit:
        return max(visit, key=lambda c: len(c.files))
    return min(near, key=lambda pair: pair[0])[1] if near else None


def _gap_h(a: Series, b: Series) -> float | None:
    if a.acquired is None or b.acquired is None:
        return None
    return (a.acquired - b.acquired).total_seconds() / 3600


def _drawn_on(mask: Series, scans: Sequence[ScanGroup]) -> int | None:
    """Scan that a segmentation refers to, by its series, else by its frame of reference if only one scan has it."""
    for n, scan in enumerate(scans):
        if mask.references & {s.uid for s in (scan.spect, scan.ct) if s is not None}:
            return n
    same = [
        n
        for n, scan in enumerate(scans)
        if mask.frame_of_reference
        and mask.frame_of_reference in {s.frame_of_reference for s in (scan.spect, scan.ct) if s is not None}
    ]
    return same[0] if len(same) == 1 else None
