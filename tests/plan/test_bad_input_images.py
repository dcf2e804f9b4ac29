"""Every kind of bad image input: one message with what, where and what to do, no identity in it, nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from tests.plan.case_files import CT_GRID, edit, image_case, refused

from lutetia.core.geometry import axis_aligned_grid
from lutetia.imaging import dicom_files

SECRETS = ("Wisniewska", "Zofia", "PESEL58031201234")
Alter = Callable[[Dataset], Any]


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three PT/CT with RTSTRUCT; every object carries a real-looking name."""
    case = image_case(tmp_path_factory.mktemp("images") / "case", image="PT")
    alter(case / "cycle1", identify)
    return case


@pytest.fixture
def case(good: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(good, tmp_path / "case"))


def identify(data: Dataset) -> None:
    data.PatientName, data.PatientID, data.AccessionNumber = "Wisniewska^Zofia", "PESEL58031201234", "PESEL58031201234"


def alter(path: Path, change: Alter) -> None:
    """Change every DICOM object at a path."""
    for file in [path] if path.is_file() else sorted(path.rglob("*.dcm")):
        data = pydicom.dcmread(file)
        change(data)
        data.save_as(file)


def without(keyword: str) -> Alter:
    return lambda data: delattr(data, keyword)


def with_(**values: Any) -> Alter:
    return lambda data: [setattr(data, key, value) for key, value in values.items()]


def other_nuclide(data: Dataset) -> None:
    info = data.RadiopharmaceuticalInformationSequence[0]
    info.RadionuclideHalfLife = 6586.2
    code = info.RadionuclideCodeSequence[0]
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "C-111A1", "SRT", "^18^Fluorine"


def reframe(data: Dataset) -> None:
    for roi in data.StructureSetROISequence:
        roi.ReferencedFrameOfReferenceUID = "1.2.3.4"
    for frame in data.get("ReferencedFrameOfReferenceSequence") or []:
        frame.FrameOfReferenceUID = "1.2.3.4"


SCAN, CT = "cycle1/spect_096h", "cycle1/ct_096h"
BAD: dict[str, tuple[str, Alter, tuple[str, ...]]] = {
    "another patient in a scan": (
        SCAN,
        with_(PatientID="PESEL58031201234X"),
        ("cycle 1, scan 2", "another patient identity than in cycle 1, scan 1", "check"),
    ),
    "another patient in a CT": (CT, with_(PatientID="99"), ("cycle 1, scan 2", "CT", "another patient", "check")),
    "another patient in the regions": (
        "cycle1/rtstruct.dcm",
        with_(PatientID="99"),
        ("cycle 1, segmentation rtstruct.dcm", "another patient"),
    ),
    "no decay correction": (
        SCAN,
        lambda d: [delattr(d, key) for key in ("DecayCorrection", "CorrectedImage")],
        ("cycle 1, scan 2", "decay", "decay_corrected_to"),
    ),
    "unknown decay correction": (SCAN, with_(DecayCorrection="MAYBE"), ("cycle 1, scan 2", "decay", "MAYBE")),
    "contradictory decay correction": (
        SCAN,
        lambda d: setattr(d, "DecayCorrection", "START" if d.InstanceNumber == 1 else "NONE"),
        ("cycle 1, scan 2", "decay"),
    ),
    "counts as units": (SCAN, with_(Units="CNTS"), ("cycle 1, scan 2", "cps_per_MBq")),
    "uptake value as units": (SCAN, with_(Units="GML"), ("cycle 1, scan 2", "GML", "BQML")),
    "no units": (SCAN, without("Units"), ("cycle 1, scan 2", "unit")),
    "another nuclide": (SCAN, other_nuclide, ("cycle 1, scan 2", "Lu-177")),
    "acquired before administration": (
        SCAN,
        with_(AcquisitionDate="20260110", SeriesDate="20260110", ContentDate="20260110"),
        ("cycle 1, scan 2", "before", "administered_at"),
    ),
    "two frames of reference": (
        CT,
        with_(FrameOfReferenceUID="1.2.3.4"),
        ("cycle 1, scan 2", "two frames of reference"),
    ),
    "regions of another frame": (
        "cycle1/rtstruct.dcm",
        lambda d: reframe(d),
        ("cycle 1, segmentation rtstruct.dcm", "frame of reference"),
    ),
    "negative slope": (SCAN, with_(RescaleSlope=-1.0), ("cycle 1, scan 2", "slope")),
    "zero activity": (
        SCAN,
        lambda d: setattr(d, "PixelData", b"\0" * len(d.PixelData)),
        ("cycle 1, scan 2", "activity"),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_images_are_refused_with_place_and_remedy_and_without_identity(name: str, case: Path) -> None:
    where, change, fragments = BAD[name]
    alter(case / where, change)
    anonymous(refused(case, *fragments))


def anonymous(message: str) -> None:
    for secret in SECRETS:
        assert secret.lower() not in message.lower()


def test_no_acquisition_time_is_refused(case: Path) -> None:
    def untimed(data: Dataset) -> None:
        for key in [e.keyword for e in data if e.VR in ("TM", "DT") and e.keyword]:
            delattr(data, key)

    alter(case / SCAN, untimed)
    anonymous(refused(case, "cycle 1, scan 2", "time"))


def test_a_truncated_file_is_refused(case: Path) -> None:
    file = sorted((case / SCAN).iterdir())[3]
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    anonymous(refused(case, "cycle 1, scan 2", "truncated", "export"))


def test_a_file_that_is_not_dicom_is_refused(case: Path) -> None:
    (case / SCAN / "notes.txt").write_text("Wisniewska Zofia, PESEL58031201234", encoding="utf-8")
    anonymous(refused(case, "cycle 1, scan 2", "not DICOM", "notes.txt", "remove it"))


def test_a_missing_slice_is_refused(case: Path) -> None:
    sorted((case / SCAN).iterdir())[7].unlink()
    anonymous(refused(case, "cycle 1, scan 2", "slice"))


def test_two_series_in_one_folder_are_refused(case: Path) -> None:
    shutil.copy(sorted((case / CT).iterdir())[0], case / SCAN / "other.dcm")
    anonymous(refused(case, "cycle 1, scan 2", "2 series", "one"))


def test_an_empty_folder_is_refused(case: Path) -> None:
    shutil.rmtree(case / SCAN)
    (case / SCAN).mkdir()
    refused(case, "cycle 1, scan 2", "empty folder", "export")


def test_a_missing_folder_is_refused(case: Path) -> None:
    shutil.rmtree(case / SCAN)
    refused(case, "cycle 1, scan 2", "found nothing at 'spect_096h'", "check the path")


def test_a_huge_folder_is_refused(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dicom_files, "MAX_FILES", 10)
    refused(case, "cycle 1, scan 1", "more than 10 files", "series itself")


def test_a_ct_in_place_of_a_scan_is_refused(case: Path) -> None:
    edit(case, 'spect = "cycle1/spect_096h"', 'spect = "cycle1/ct_096h"')
    anonymous(refused(case, "cycle 1, scan 2", "CT"))


def test_a_scan_named_twice_is_refused(case: Path) -> None:
    edit(case, 'spect = "cycle1/spect_096h"', 'spect = "cycle1/spect_024h"')
    edit(case, 'ct = "cycle1/ct_096h"', 'ct = "cycle1/ct_024h"')
    refused(case, "cycle 1", "same time", "once")


def test_images_without_calibration_of_the_resolution_are_refused(case: Path) -> None:
    text = (case / "case.toml").read_text(encoding="utf-8")
    start, end = text.index("[calibration]"), text.index("[[cycles]]")
    (case / "case.toml").write_text(text[:start] + text[end:], encoding="utf-8")
    refused(case, "calibration: missing", "resolution_fwhm_mm", "recovery_csv")


def test_regions_drawn_on_a_scan_that_is_not_there_are_refused(case: Path) -> None:
    edit(case, "scan = 1", "scan = 4")
    refused(case, "cycle 1", "scan 4", "3 scans")


def test_an_unknown_region_name_is_refused_or_listed(case: Path) -> None:
    alter(
        case / "cycle1/rtstruct.dcm", lambda d: [setattr(r, "ROIName", "flimflam") for r in d.StructureSetROISequence]
    )
    anonymous(refused(case, "cycle 1, segmentation rtstruct.dcm", "flimflam", "region"))


def test_a_region_outside_the_image_is_refused(case: Path) -> None:
    def away(data: Dataset) -> None:
        for roi in data.ROIContourSequence:
            for contour in roi.ContourSequence:
                points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
                points[:, 0] += 900.0
                contour.ContourData = [f"{v:.4f}" for v in points.ravel()]

    alter(case / "cycle1/rtstruct.dcm", away)
    anonymous(refused(case, "cycle 1, segmentation rtstruct.dcm", "outside"))


def test_a_region_outside_the_field_of_view_of_the_scan_is_refused(tmp_path: Path) -> None:
    half = axis_aligned_grid((14, 42, 54), (7.5, 7.5, 7.5), origin_mm=(-198.75, -153.75, -120.0))
    case = image_case(tmp_path / "case", image="PT", grid=half, ct_grid=CT_GRID, regions=("liver", "spleen"))
    refused(case, "cycle 1, scan 1", "liver", "no part of the region inside the scan", "field of view")


def test_another_patient_in_the_second_cycle_is_refused(case: Path) -> None:
    shutil.copytree(case / "cycle1", case / "cycle2")
    alter(case / "cycle2", lambda d: moved(d))
    text = (case / "case.toml").read_text(encoding="utf-8")
    cycle = text[text.index("[[cycles]]") :].replace("cycle1/", "cycle2/").replace("number = 1", "number = 2")
    cycle = cycle.replace("2026-01-12", "2026-03-09")
    (case / "case.toml").write_text(text + "\n" + cycle, encoding="utf-8")
    anonymous(refused(case, "cycle 2, scan 1", "another patient identity than in cycle 1", "check"))


def moved(data: Dataset) -> None:
    """Eight weeks later, of someone else."""
    data.PatientID = "99"
    for element in data:
        if element.VR == "DA" and str(element.value).startswith("2026"):
            day = np.datetime64(f"{element.value[:4]}-{element.value[4:6]}-{element.value[6:]}") + 56
            element.value = str(day).replace("-", "")
