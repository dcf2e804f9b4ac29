"""Odd ways in which an identity could pass the door: accents, numbers, times, values of a wrong kind, logs."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset

from lutetia.errors import ImageError
from lutetia.imaging.pseudonymise import Pseudonym, pseudonymise

DOOR = Pseudonym("DUO-001", -30, "salt", "DUO", site_id="01")
NUMBER = "8001011234"


def ct_object() -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.20260101.4"
    data.SpecificCharacterSet = "ISO_IR 192"
    data.PatientID, data.PatientName, data.PatientBirthDate = NUMBER, "Łuczyńska^Anna", "19800101"
    data.Modality, data.StudyDate, data.AcquisitionDate = "CT", "20260101", "20260101"
    data.AcquisitionTime = "101010"
    return data


def written(data: Dataset) -> bytes:
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, pseudonymise(data, DOOR), enforce_file_format=True)
    return buffer.getvalue().lower()


PLANTED: dict[str, tuple[Callable[[Dataset], object], bytes]] = {
    "a name without its accents": (lambda d: setattr(d, "Manufacturer", "Scanner of LUCZYNSKA"), b"luczynska"),
    "a name in a code string": (lambda d: setattr(d, "ImageType", ["ORIGINAL", "LUCZYNSKA-ANNA"]), b"luczynska"),
    "the birth date in a text": (lambda d: setattr(d, "SoftwareVersions", "born 01.01.1980"), b"01.01.1980"),
    "the time of birth": (lambda d: setattr(d, "PatientBirthTime", "071523"), b"071523"),
    "the hospital": (lambda d: (setattr(d, "InstitutionName", "Clinic North"),
                                setattr(d, "Manufacturer", "Clinic North")), b"clinic north"),
    "the physician": (lambda d: (setattr(d, "ReferringPhysicianName", "Nowak^Jan"),
                                 setattr(d, "Radiopharmaceutical", "as Nowak said")), b"nowak"),
    "the number as series number": (lambda d: setattr(d, "SeriesNumber", NUMBER), NUMBER.encode()),
    "the number as weight": (lambda d: setattr(d, "PatientWeight", NUMBER), NUMBER.encode()),
    "the number in an identifier": (lambda d: setattr(d, "StudyInstanceUID", f"1.2.840.10008.{NUMBER}"),
                                    NUMBER.encode()),
    "text as a number": (lambda d: d.add_new(0x00081030, "US", [0x4F4B, 0x4C41]), b"koal"),
    "text as a time": (lambda d: d.add_new(0x00081030, "TM", "123456"), b"123456"),
    "an age that is rare": (lambda d: setattr(d, "PatientAge", "1188M"), b"1188m"),
    "an age in another form": (lambda d: setattr(d, "PatientAge", "99Y"), b"99y"),
}  # fmt: skip


@pytest.mark.requirement(46)
@pytest.mark.parametrize("name", PLANTED)
def test_no_odd_way_passes_the_door(name: str) -> None:
    plant, canary = PLANTED[name]
    data = ct_object()
    plant(data)
    assert canary not in written(data)


@pytest.mark.parametrize("text", ["20260101120000LUCZYNSKA", "20260101 anna"])
def test_words_after_a_date_are_refused(text: str) -> None:
    data = ct_object()
    data.add_new("AcquisitionDateTime", "DT", text)
    with pytest.raises(ImageError, match="words after the date"):
        pseudonymise(data, DOOR)


@pytest.mark.requirement(46)
def test_no_value_of_an_object_is_repeated_in_warnings_or_logs(caplog: pytest.LogCaptureFixture) -> None:
    data = ct_object()
    data.add_new("PatientBirthDate", "DA", "born in May 1980")
    data.add_new("PatientID", "LO", NUMBER * 9)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    buffer.seek(0)
    with warnings.catch_warnings(record=True) as told, caplog.at_level(logging.DEBUG):
        warnings.simplefilter("always")
        written(pydicom.dcmread(buffer))
    said = " ".join([str(w.message) for w in told] + [r.getMessage() for r in caplog.records])
    assert "1980" not in said
    assert NUMBER not in said


def test_what_dosimetry_needs_stays() -> None:
    data = ct_object()
    data.PatientAge, data.PatientWeight, data.ImageType = "45Y", "68.5", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.InstanceNumber, data.AcquisitionDateTime = "17", "20260131120000.5+0100"
    clean = pseudonymise(data, DOOR)
    assert (clean.PatientAge, float(clean.PatientWeight), list(clean.ImageType)) == ("045Y", 68.5, data.ImageType)
    assert (int(clean.InstanceNumber), clean.AcquisitionDateTime) == (17, "20260101120000.5+0100")
    assert (clean.AcquisitionTime, clean.SOPClassUID) == ("101010", data.SOPClassUID)
