"""Pseudonyms at the door: planted words never come out, intervals and pixels stay, unusable objects are refused."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from lutetia.core.geometry import axis_aligned_grid
from lutetia.errors import IdentityError, ImageError
from lutetia.imaging.dicom_time import acquisition_interval
from lutetia.imaging.pseudonymise import Pseudonym, check_admissible, pseudonymise, shift_date, texts
from lutetia.phantom.anatomy import EllipsoidAnatomy
from lutetia.phantom.case import CaseOptions, write_image_case
from lutetia.phantom.subject import reference_woman

SHIFT = -41
DOOR = Pseudonym("DUO-014", SHIFT, "trial secret", "DUO", "Sponsor of the trial", site_id="01", time_point="cycle 1")
NAME, NUMBER = "Wisniewska^Zofia", "PESEL58031201234"
PLANTED = "Wisniewska"
WARSAW = ZoneInfo("Europe/Warsaw")
PLACES = (
    "PatientName", "PatientID", "OtherPatientIDs", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "PatientAddress", "PatientTelephoneNumbers", "PatientComments", "AdditionalPatientHistory", "Occupation",
    "AccessionNumber", "StudyID", "StudyDescription", "SeriesDescription", "ProtocolName", "ImageComments",
    "InstitutionName", "InstitutionAddress", "ReferringPhysicianName", "OperatorsName", "StationName",
    "PerformedProcedureStepDescription", "RequestingPhysician", "DeviceSerialNumber", "BodyPartExamined",
    "Manufacturer", "ManufacturerModelName", "AcquisitionComments", "ContentLabel", "DerivationDescription",
)  # fmt: skip


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small cases of every kind of object: PT and RTSTRUCT, NM and SEG, CT in both."""
    made = {}
    for image, regions in (("PT", "RTSTRUCT"), ("NM", "SEG")):
        folder = tmp_path_factory.mktemp("door") / "case"
        grid = axis_aligned_grid((40, 32, 32), (12.0, 12.0, 12.0), origin_mm=(-190.0, -190.0, -200.0))
        options = CaseOptions(image=image, segmentation=regions, times_h=(24.0,), drawn_on=1, grid=grid, ct_grid=grid)
        made[image] = write_image_case(EllipsoidAnatomy(reference_woman()), folder, options)
    return made


def objects(case: dict[str, Path]) -> list[Dataset]:
    """One object of every modality, as it would arrive."""
    found: dict[str, Dataset] = {}
    for folder in case.values():
        for path in sorted(folder.rglob("*.dcm")):
            data = pydicom.dcmread(path)
            found.setdefault(str(data.Modality), data)
    for data in found.values():
        data.PatientName, data.PatientID, data.PatientBirthDate = NAME, NUMBER, "19580312"
    return list(found.values())


def written(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def plant(data: Dataset) -> int:
    """Write the patient's name into every place; the number of places."""
    for keyword in PLACES:
        setattr(data, keyword, "WISNIEWSKA" if keyword in ("BodyPartExamined", "ContentLabel") else PLANTED)
    data.add_new(0x00091001, "LO", PLANTED)
    data.add_new(0x00091002, "OB", PLANTED.encode())
    data.add_new(0x60003000, "OW", PLANTED.encode())
    item = Dataset()
    item.RequestedProcedureDescription, item.ScheduledProcedureStepID = PLANTED, PLANTED
    item.ReasonForTheRequestedProcedure = PLANTED
    data.RequestAttributesSequence = Sequence([item])
    data.LastMenstrualDate = "19580312"
    for roi in data.get("StructureSetROISequence", []):
        roi.ROIDescription = PLANTED
    for segment in data.get("SegmentSequence", []):
        segment.SegmentLabel = f"{PLANTED} tumour"
    return len(PLACES) + 3 + 3


@pytest.mark.requirement(46)
def test_words_planted_in_thirty_places_never_come_out(case: dict[str, Path]) -> None:
    for data in objects(case):
        assert plant(data) >= 30
        out = pseudonymise(data, DOOR)
        raw = written(out).lower()
        for word in ("wisniewska", "zofia", "pesel", "58031201234", "19580312"):
            assert word.encode() not in raw, (data.Modality, word)
        assert not any(PLANTED.lower() in text.lower() for text in texts(out))
        assert not [element for element in out.iterall() if element.tag.is_private]


@pytest.mark.requirement(46)
def test_method_codes_trial_attributes_and_modified_dates_are_stated(case: dict[str, Path]) -> None:
    for data in objects(case):
        out = pseudonymise(data, DOOR)
        assert [c.CodeValue for c in out.DeidentificationMethodCodeSequence] == ["113100", "113105", "113107", "113108"]
        assert (out.PatientIdentityRemoved, out.LongitudinalTemporalInformationModified) == ("YES", "MODIFIED")
        assert (out.ClinicalTrialSubjectID, out.ClinicalTrialSiteID, out.ClinicalTrialProtocolID) == (
            "DUO-014",
            "01",
            "DUO",
        )
        assert str(out.PatientID) == str(out.PatientName) == "DUO-014"
        assert out.PatientBirthDate == ""
        if "PatientSex" in data:
            assert out.PatientSex == data.PatientSex


@pytest.mark.requirement(46)
def test_every_interval_and_every_pixel_survives(case: dict[str, Path]) -> None:
    timed = 0
    for data in objects(case):
        out = pydicom.dcmread(io.BytesIO(written(pseudonymise(data, DOOR))))
        if "PixelData" in data:
            np.testing.assert_array_equal(out.pixel_array, data.pixel_array)
        for keyword in ("RescaleSlope", "ImagePositionPatient", "PixelSpacing", "ActualFrameDuration"):
            assert out.get(keyword) == data.get(keyword), keyword
        if data.Modality == "CT":
            assert out.AcquisitionTime == data.AcquisitionTime
            assert out.AcquisitionDate == shift_date(data.AcquisitionDate, SHIFT)
        elif "AcquisitionTime" in data:
            timed += 1
            before, after = (acquisition_interval(d, zone=WARSAW, where="test") for d in (data, out))
            # Local clock times stay; the calendar day moves by the shift.
            assert after.start.replace(tzinfo=None) - before.start.replace(tzinfo=None) == timedelta(days=SHIFT)
            assert after.duration_s == before.duration_s
        given, kept = (
            data.get("RadiopharmaceuticalInformationSequence"),
            out.get("RadiopharmaceuticalInformationSequence"),
        )
        if given and "RadiopharmaceuticalStartDateTime" in given[0]:
            assert kept[0].RadiopharmaceuticalStartDateTime == shift_date(
                str(given[0].RadiopharmaceuticalStartDateTime), SHIFT
            )
    assert timed == 2  # PT and NM


def test_references_between_objects_stay_and_uids_are_new(case: dict[str, Path]) -> None:
    by_modality = {str(d.Modality): d for d in objects(case)}
    ct = pseudonymise(by_modality["CT"], DOOR)
    structure = pseudonymise(by_modality["RTSTRUCT"], DOOR)
    frame = structure.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    original = by_modality["RTSTRUCT"].ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID
    assert frame != original
    assert (frame == ct.FrameOfReferenceUID) == (original == by_modality["CT"].FrameOfReferenceUID)
    other = pseudonymise(by_modality["CT"], Pseudonym("DUO-014", SHIFT, "another secret", "DUO"))
    assert other.SOPInstanceUID != ct.SOPInstanceUID
    assert ct.SOPClassUID == by_modality["CT"].SOPClassUID


def test_known_regions_keep_their_canonical_names_and_others_get_a_number(case: dict[str, Path]) -> None:
    structure = next(d for d in objects(case) if d.Modality == "RTSTRUCT")
    names = [str(roi.ROIName) for roi in structure.StructureSetROISequence]
    structure.StructureSetROISequence[0].ROIName = "lesion of Mrs W."
    out = [str(roi.ROIName) for roi in pseudonymise(structure, DOOR).StructureSetROISequence]
    assert out[0] == f"region {structure.StructureSetROISequence[0].ROINumber}"
    assert out[1:] == names[1:]


def test_the_validator_finds_no_error_that_the_original_has_not(
    case: dict[str, Path], tmp_path: Path, debian_tool: Callable[[str], str]
) -> None:
    for data in objects(case):
        found = []
        for name, one in (("before", data), ("after", pseudonymise(data, DOOR))):
            path = tmp_path / f"{data.Modality}-{name}.dcm"
            path.write_bytes(written(one))
            run = subprocess.run(
                [debian_tool("dciodvfy"), "-new", str(path)], capture_output=True, text=True, check=False
            )
            found.append({line for line in run.stderr.splitlines() if line.startswith("Error")})
        assert found[1] <= found[0], (data.Modality, found[1] - found[0])


def test_other_kinds_burned_in_text_and_missing_patients_are_refused(case: dict[str, Path]) -> None:
    data = next(d for d in objects(case) if d.Modality == "CT")
    data.BurnedInAnnotation = "YES"
    with pytest.raises(ImageError, match="burned-in text"):
        check_admissible(data)
    data.BurnedInAnnotation = "NO"
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    with pytest.raises(ImageError, match="Secondary Capture"):
        check_admissible(data)
    data.SOPClassUID, data.PatientID = "1.2.840.10008.5.1.4.1.1.2", " "
    with pytest.raises(IdentityError, match="no patient identifier"):
        check_admissible(data)


@pytest.mark.parametrize("text", ["yesterday", "20261345", ""])
def test_a_date_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="date"):
        shift_date(text, 3)


def test_dates_move_over_months_and_leap_years_and_keep_time_and_offset() -> None:
    assert shift_date("20240301", -1) == "20240229"
    assert shift_date("20251231235959.25+0100", 1) == "20260101235959.25+0100"


def test_very_high_ages_are_pooled(case: dict[str, Path]) -> None:
    data = next(d for d in objects(case) if d.Modality == "CT")
    data.PatientAge = "097Y"
    assert pseudonymise(data, DOOR).PatientAge == "090Y"
