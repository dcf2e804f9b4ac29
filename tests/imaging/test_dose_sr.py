"""Organ doses as structured report, and the segmentation that it refers to: same numbers, same places, no person."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest

from lutetia.core.geometry import Grid, axis_aligned_grid
from lutetia.core.volume import RegionMask
from lutetia.errors import PhysicsError
from lutetia.imaging.resample import resample_mask
from lutetia.imaging.segmentation import read_segmentation
from lutetia.imaging.writing.result_seg import write_result_seg
from lutetia.imaging.writing.results import ResultStudy, SourceSeries
from lutetia.imaging.writing.sr import DoseEntry, write_dose_sr
from lutetia.phantom.case import in_position

STUDY = ResultStudy("plan 1", "DUO-014", "male", datetime(2026, 2, 1, 14, 5, 6), 1)
BASE = axis_aligned_grid((6, 9, 11), (3.0, 2.4, 2.2), origin_mm=(-10.123, 5.0, 7.5))
CT = SourceSeries("1.2.3", "1.2.4", "1.2.840.10008.5.1.4.1.1.2", tuple(f"1.2.5.{k}" for k in range(6)), "1.2.6")
NM = SourceSeries("1.2.3", "1.2.4", "1.2.840.10008.5.1.4.1.1.20", ("1.2.5",), "1.2.6")
ENTRIES = (
    DoseEntry("left kidney", "Lu-177", 1.23457, 0.1, None, "patient's own region", "measured", 1),
    DoseEntry("left kidney", "Y-90", 4.5, 0.6, None, "patient's own region", "predicted from Lu-177", 1),
    DoseEntry("left kidney", None, 5.73457, 0.66, 6.4, "patient's own region", "sum of the nuclides", 1),
    DoseEntry("tumour 1", None, 60.25, 9.0, 71.0, "sphere of the same mass", "sum of the nuclides", 2),
    DoseEntry("red marrow", None, 0.31, None, None, "blood", "sum of the nuclides"),
    DoseEntry("vertebra L2", "In-111", 0.02, 0.01, None, "x" * 120, "measured"),
)


def masks_on(grid: Grid) -> list[RegionMask]:
    kidney, tumour = (np.zeros(grid.shape, dtype=bool) for _ in range(2))
    kidney[1:4, 2:6, 3:9] = True
    tumour[4, 6:8, 1:3] = True
    return [RegionMask("left kidney", kidney, grid), RegionMask("tumour 1", tumour, grid)]


def report(folder: Path, entries: tuple[DoseEntry, ...] = ENTRIES) -> Path:
    seg_uid = write_result_seg(masks_on(BASE), folder / "seg.dcm", STUDY, source=CT)
    return write_dose_sr(entries, folder / "sr.dcm", STUDY, source=CT, seg_uid=seg_uid)


def doses_of(group: highdicom.sr.MeasurementsAndQualitativeEvaluations) -> dict[str, float]:
    found = {}
    for part in group.get_measurements():
        assert part.unit.value == "Gy"
        kind = "" if part.derivation is None else f" ({part.derivation.meaning})"
        found[part.name.meaning + kind] = part.value
    return found


def test_the_report_reads_back_with_the_same_numbers(tmp_path: Path) -> None:
    content = highdicom.sr.srread(report(tmp_path)).content
    drawn, other = content.get_volumetric_roi_measurement_groups(), content.get_image_measurement_groups()
    assert [len(drawn), len(other)] == [4, 2]
    for entry, group in zip(ENTRIES, (*drawn, *other), strict=True):
        assert group.tracking_identifier == f"{entry.region}, {entry.nuclide or 'all nuclides'}"
        expected = {"Mean Absorbed Radiation Dose (Mean)": entry.absorbed_dose_Gy}
        if entry.absorbed_dose_sd_Gy is not None:
            expected["Mean Absorbed Radiation Dose (Standard Deviation)"] = entry.absorbed_dose_sd_Gy
        if entry.bed_Gy is not None:
            expected["Biologically Effective Dose"] = entry.bed_Gy
        assert doses_of(group) == pytest.approx(expected, rel=1e-6)
        said = {e.name.meaning: e.value.meaning for e in group.get_qualitative_evaluations()}
        assert said["Basis of the dose"] == entry.basis


def test_method_nuclide_side_and_segment_of_a_group(tmp_path: Path) -> None:
    seg = pydicom.dcmread(report(tmp_path).with_name("seg.dcm"))
    content = highdicom.sr.srread(tmp_path / "sr.dcm").content
    kidney, yttrium, _, tumour = content.get_volumetric_roi_measurement_groups()
    nuclides = [g.get_qualitative_evaluations()[0].value for g in (kidney, yttrium)]
    assert [(n.value, n.scheme_designator) for n in nuclides] == [("447553000", "SCT"), ("14691008", "SCT")]
    (site,) = kidney.finding_sites
    assert (site.value.meaning, site.laterality.meaning) == ("Kidney", "Left")
    for group, number in ((kidney, 1), (tumour, 2)):
        assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
        assert list(group.referenced_segment.referenced_segment_numbers) == [number]
    texts = {str(item.value) for item in pydicom.dcmread(tmp_path / "sr.dcm").iterall() if item.keyword == "TextValue"}
    assert {"patient's own region", "sphere of the same mass", "blood", "x" * 120} <= texts


@pytest.mark.parametrize("position", ["HFS", "FFS", "HFP", "FFP"])
@pytest.mark.parametrize("source", [CT, NM], ids=["CT slices", "one NM object"])
def test_the_segments_lie_where_the_masks_are(position: str, source: SourceSeries, tmp_path: Path) -> None:
    grid = in_position(BASE, position)  # type: ignore[arg-type]
    write_result_seg(masks_on(grid), tmp_path / "seg.dcm", STUDY, source=source)
    found = read_segmentation(tmp_path / "seg.dcm", grid=grid, frame_of_reference="1.2.6")
    assert [r.region for r in found] == ["left kidney", "tumour 1"]
    for region, mask in zip(found, masks_on(grid), strict=True):
        there = resample_mask(region, grid)  # slices without any region are not stored
        np.testing.assert_allclose(there.mask, mask.mask, atol=1e-3)


def test_nothing_but_the_pseudonym_names_the_patient(tmp_path: Path) -> None:
    for path in (report(tmp_path), tmp_path / "seg.dcm"):
        dataset = pydicom.dcmread(path)
        assert (dataset.PatientID, str(dataset.PatientName), dataset.PatientSex) == ("DUO-014", "DUO-014^", "M")
        assert (dataset.PatientBirthDate, dataset.AccessionNumber) == ("", "")
        assert dataset.StudyInstanceUID == STUDY.study_uid
    (other,) = pydicom.dcmread(tmp_path / "seg.dcm").StudiesContainingOtherReferencedInstancesSequence
    assert other.StudyInstanceUID == CT.study_uid


def test_the_same_doses_give_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        report(tmp_path / name)
        texts.append([(tmp_path / name / file).read_bytes() for file in ("sr.dcm", "seg.dcm")])
    assert texts[0] == texts[1]


def test_nothing_to_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PhysicsError, match="no organ dose"):
        report(tmp_path, ())
    with pytest.raises(PhysicsError, match="found 0 masks"):
        write_result_seg([], tmp_path / "none.dcm", STUDY, source=CT)
    mixed = [masks_on(BASE)[0], masks_on(in_position(BASE, "FFS"))[1]]
    with pytest.raises(PhysicsError, match="all on one grid"):
        write_result_seg(mixed, tmp_path / "none.dcm", STUDY, source=CT)
    assert not (tmp_path / "none.dcm").exists()


@pytest.mark.parametrize("name", ["sr.dcm", "seg.dcm"])
def test_the_validator_finds_no_error(name: str, tmp_path: Path, debian_tool: Callable[[str], str]) -> None:
    """The only warnings are that our own coding scheme is not one of the standard's."""
    report(tmp_path)
    command = [debian_tool("dciodvfy"), "-new", str(tmp_path / name)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (found.stdout + found.stderr).splitlines()
    assert {"Comprehensive3DSR", "Segmentation"} & set(lines)
    assert not [li for li in lines if li.startswith("Error") or (li.startswith("Warning") and "99LUTETIA" not in li)]
