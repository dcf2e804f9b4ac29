"""A DICOM export sorted into a case, without a name anywhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pydicom
import pytest
from pydicom.sequence import Sequence
from tests.imaging.small_dicom import (
    SECRET_ID,
    SECRET_NAME,
    ct_series,
    item,
    nm_object,
    pt_series,
    ramp,
    rtstruct,
    write,
)

from lutetia.cli.new_case import new_case, split_cycles
from lutetia.errors import CaseError, IdentityError, ImageError, OutputError
from lutetia.imaging.ct import read_ct
from lutetia.imaging.hygiene import check_one_patient, deidentify, patient_key, redact
from lutetia.imaging.segmentation import read_segmentation
from lutetia.imaging.sorting import sort_folder
from lutetia.imaging.spect import read_spect
from lutetia.plan.case import read_case

TRIANGLE = np.array([[-10, -20, 30], [-2, -20, 30], [-2, -11, 30]], dtype=float)


def visit(day: int, *, kind: str = "PT", sex: str = "F"):
    """SPECT and CT of one day, in a frame of reference of their own."""
    own = {"FrameOfReferenceUID": f"1.2.{day}", "SeriesInstanceUID": f"1.5.{day}", "PatientSex": sex}
    date = {"AcquisitionDate": f"202601{day:02d}"}
    spect = pt_series(ramp(), **own, **date) if kind == "PT" else [nm_object(ramp(), **own, **date)]
    ct = ct_series(ramp(), **(own | {"SeriesInstanceUID": f"1.6.{day}"}), **date, AcquisitionTime="092000")
    return [*spect, *ct]


def export(tmp_path: Path) -> Path:
    """Two scans mixed in one folder, with a localiser, an RTSTRUCT of the first and a text file."""
    scout = ct_series(ramp()[:1], SeriesInstanceUID="1.9", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    drawn = rtstruct({"Kidney_L": [TRIANGLE], f"{SECRET_NAME.split('^')[0]} ring": [TRIANGLE]}, frame="1.2.13")
    drawn.SeriesInstanceUID = "1.7"
    drawn.ReferencedFrameOfReferenceSequence = Sequence([item(
        FrameOfReferenceUID="1.2.13", RTReferencedStudySequence=Sequence([item(
            RTReferencedSeriesSequence=Sequence([item(SeriesInstanceUID="1.6.13")]))]))])  # fmt: skip
    folder = write(tmp_path / "export" / "deep", [*visit(15, kind="NM"), *visit(13), *scout, drawn])
    (folder / "readme.txt").write_text("no image")
    return tmp_path / "export"


def test_series_become_scans_in_order_of_time_with_their_ct_and_segmentation(tmp_path):
    found = sort_folder(export(tmp_path))
    assert [s.spect.modality for s in found.scans] == ["PT", "NM"]
    assert [s.ct.uid for s in found.scans if s.ct] == ["1.6.13", "1.6.15"]
    assert [(m.modality, n) for m, n in found.segmentations] == [("RTSTRUCT", 0)]
    assert [s.uid for s in found.unused] == ["1.9"]
    assert [d.code for d in found.doubts] == ["files-not-dicom"]
    assert found.sex == "F"


def test_a_new_case_can_be_read_and_holds_no_name(tmp_path, capsys):
    out = tmp_path / "case"
    new_case(export(tmp_path), out, subject="DUO-014", timezone="Europe/Warsaw")
    text = (out / "case.toml").read_text()
    case = tomllib.loads(text)
    cycle = case["cycles"][0]
    assert case["subject"] == {"id": "DUO-014", "sex": "female"}
    assert [s["spect"] for s in cycle["scans"]] == ["cycle1/spect_1", "cycle1/spect_2"]
    assert cycle["segmentation"][0]["labels"] == {"1": "left kidney"}
    assert "# NEEDED administered_at" in text
    spect = read_spect(out / "cycle1/spect_1", nuclide="Lu-177", zone=ZoneInfo("UTC"))
    ct = read_ct(out / cycle["scans"][0]["ct"])
    assert spect.frame_of_reference == ct.frame_of_reference
    assert spect.frame_of_reference not in ("1.2.13", "")
    (kidney,) = read_segmentation(
        out / cycle["segmentation"][0]["file"], cycle["segmentation"][0]["labels"], grid=ct.volume.grid,
        frame_of_reference=ct.frame_of_reference, patient=spect.patient_key,
    )  # fmt: skip
    assert kidney.volume_mL > 0
    everything = [p.read_bytes().lower() for p in out.rglob("*") if p.is_file()]
    printed = capsys.readouterr().out
    for secret in (SECRET_ID, *SECRET_NAME.split("^")):
        assert not any(secret.lower().encode() in content for content in everything)
        assert secret not in printed


def test_a_new_case_shows_times_in_its_zone_and_names_what_a_second_nuclide_needs(tmp_path):
    folder = export(tmp_path)
    new_case(folder, tmp_path / "case", timezone="Europe/Warsaw")
    text = (tmp_path / "case/case.toml").read_text()
    assert "# acquired 2026-01-13 09:30 CET" in text
    assert '# NEEDED "Lu-177" = ' in text
    assert re.search(r'^# "Y-90" = \d', text, re.MULTILINE)
    assert re.search(r"^# y90_cps_per_MBq = \d", text, re.MULTILINE)


@pytest.mark.parametrize(("zone", "offset"), [("Europe/Warsaw", "+01:00"), ("", "+00:00")])
def test_a_new_case_can_be_planned_from_when_its_comments_are_completed(tmp_path, zone, offset):
    export_ = export(tmp_path)
    for file in export_.rglob("*.dcm"):
        data = pydicom.dcmread(file)
        data.TimezoneOffsetFromUTC = offset.replace(":", "")
        data.save_as(file)
    new_case(export_, tmp_path / "case", timezone=zone)
    text = (tmp_path / "case/case.toml").read_text()
    assert text.count("# acquired 2026-01-13 09:30 " + ("CET" if zone else "UTC")) == 1
    for old, new in (
        ("# NEEDED administered_at = 2026-01-13Thh:mm:00+0", "administered_at = 2026-01-12T09:30:00+0"),
        ('# NEEDED arm', "arm"),
        ('# NEEDED "Lu-177"', '"Lu-177"'), ('# "Y-90"', '"Y-90"'), ("# cps_per", "cps_per"), ("# y90_cps", "y90_cps"),
        ("# resolution", "resolution"), ('# NEEDED timezone', "timezone"),
    ):  # fmt: skip
        text = text.replace(old, new)
    (tmp_path / "case/case.toml").write_text(text)
    case = read_case(tmp_path / "case")
    assert set(case.cycles[0].administered_MBq) == {"Lu-177", "Y-90"}
    assert case.calibration.y90_cps_per_MBq == 0.5


def test_each_cycle_is_dated_by_its_own_first_scan_and_a_time_must_be_completed(tmp_path):
    new_case(write(tmp_path / "in", [*visit(2), *visit(4), *visit(27)]), tmp_path / "case", timezone="Europe/Warsaw")
    text = (tmp_path / "case/case.toml").read_text()
    dates = re.findall(r"^# NEEDED administered_at = (\S+) ", text, re.MULTILINE)
    assert dates == ["2026-01-02Thh:mm:00+01:00", "2026-01-27Thh:mm:00+01:00"]
    (tmp_path / "case/case.toml").write_text(text.replace("# NEEDED administered_at", "administered_at"))
    with pytest.raises(CaseError, match="not valid TOML"):
        read_case(tmp_path / "case")


def test_images_in_counts_are_seen_and_their_sensitivity_is_marked_as_needed(tmp_path):
    counted, unknown = visit(2, kind="NM"), visit(2)
    del counted[0].RealWorldValueMappingSequence
    unknown[0].Units = "GML"
    for name, objects, marked in (
        ("PT", visit(2), False), ("NM", visit(2, kind="NM"), False), ("counts", counted, True), ("?", unknown, False),
    ):  # fmt: skip
        new_case(write(tmp_path / name, objects), tmp_path / f"case-{name}", timezone="Europe/Warsaw")
        text = (tmp_path / f"case-{name}/case.toml").read_text()
        assert ("# NEEDED cps_per_MBq" in text) is marked, name


def test_everything_that_is_missing_in_a_new_case_is_said_at_once(tmp_path):
    new_case(write(tmp_path / "in", [*visit(2), *visit(27)]), tmp_path / "case", timezone="Europe/Warsaw")
    with pytest.raises(CaseError) as caught:
        read_case(tmp_path / "case")
    said = str(caught.value)
    for words in (
        "protocol, arm: missing", "cycle 1, administered_at: missing", "cycle 2, administered_at: missing",
        "cycle 1: administered_MBq is empty", "cycle 2: administered_MBq is empty", "cycle 1: scans without regions",
        "cycle 2: scans without regions", "calibration: missing for images",
    ):  # fmt: skip
        assert said.count(words) == 1, words


def test_a_folder_in_use_and_an_unusable_export_leave_nothing_behind(tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("x")
    with pytest.raises(OutputError, match="expected a new or empty folder"):
        new_case(export(tmp_path), tmp_path / "used")
    only_ct = write(tmp_path / "ct", ct_series(ramp()))
    with pytest.raises(ImageError, match="no SPECT series"):
        new_case(only_ct, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    with pytest.raises(ImageError, match="no DICOM file among 1 files"):
        sort_folder(tmp_path / "text")


def test_two_subjects_in_an_export_are_refused_without_naming_them(tmp_path):
    objects = visit(13)
    objects[0].PatientID = "SOMEBODY-ELSE"
    with pytest.raises(IdentityError, match="another patient identity") as caught:
        sort_folder(write(tmp_path, objects))
    assert "SOMEBODY" not in str(caught.value)
    assert SECRET_ID not in str(caught.value)


def test_scans_weeks_apart_are_cycles(tmp_path):
    objects = [*visit(2), *visit(4), *visit(27)]
    found = sort_folder(write(tmp_path, objects))
    assert split_cycles(found.scans) == [[0, 1], [2]]


def test_patient_keys_compare_within_one_salt_only():
    data = ct_series(ramp())[0]
    assert patient_key(data) == patient_key(ct_series(ramp())[1])
    assert patient_key(data, salt="a") != patient_key(data, salt="b")
    assert SECRET_ID not in patient_key(data)
    data.PatientID = ""
    by_name = patient_key(data)
    data.PatientName = ""
    assert patient_key(data) == "" != by_name
    check_one_patient({"scan 1": "a", "scan 2": "", "scan 3": "a"})
    with pytest.raises(IdentityError, match=r"scan 3: found another patient identity than in scan 1"):
        check_one_patient({"scan 1": "a", "scan 2": "", "scan 3": "b"})


def test_copies_lose_private_and_nested_identifiers_but_keep_dates():
    data = ct_series(ramp(), InstitutionName="Clinic", AcquisitionDate="20260113", StudyDescription="x")[0]
    data.private_block(0x0009, "VENDOR", create=True).add_new(1, "LO", SECRET_NAME)
    data.ReferencedPatientSequence = Sequence([item(PatientName=SECRET_NAME, OperatorsName="Somebody")])
    data.SeriesDescription = "CT of Zofia"
    copy = deidentify(data, "DUO-014", salt="s")
    text = str(copy)
    assert "Zofia" not in text
    assert "Clinic" not in text
    assert (copy.PatientID, copy.AcquisitionDate) == ("DUO-014", "20260113")
    assert copy.SOPClassUID == data.SOPClassUID
    assert copy.FrameOfReferenceUID == deidentify(data, "DUO-014", salt="s").FrameOfReferenceUID
    assert copy.FrameOfReferenceUID != data.FrameOfReferenceUID
    assert pydicom.uid.UID(copy.SOPInstanceUID).is_valid


def test_redaction_ignores_case_and_short_words():
    assert redact("Zofia_WISNIEWSKA.dcm", {"wisniewska", "zofia"}) == "…_….dcm"
