"""What a header says about subject and administration."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from pydicom.dataset import Dataset
from tests.imaging.small_dicom import item, pt_series, radiopharmaceutical, ramp, write

from lutetia.imaging.header_facts import HeaderFacts, header_facts
from lutetia.imaging.spect import read_spect

WARSAW = ZoneInfo("Europe/Warsaw")


def header(sex: str = "", **given: object) -> Dataset:
    return item(PatientSex=sex, RadiopharmaceuticalInformationSequence=radiopharmaceutical(**given))


@pytest.mark.parametrize(("stored", "expected"), [("3.7e9", 3700.0), ("3700", 3700.0), ("0", None), ("", None)])
def test_the_activity_given_comes_in_Bq_or_in_MBq(stored: str, expected: float | None) -> None:
    assert header_facts(header(RadionuclideTotalDose=stored), zone=WARSAW).administered_MBq == expected


def test_the_start_has_the_zone_of_the_case_unless_the_header_has_an_offset() -> None:
    text = "20260112093000"
    found = header_facts(header(RadiopharmaceuticalStartDateTime=text), zone=WARSAW).administered_at
    assert found == datetime(2026, 1, 12, 8, 30, tzinfo=UTC)
    offset = header(RadiopharmaceuticalStartDateTime=text)
    offset.TimezoneOffsetFromUTC = "+0300"
    assert header_facts(offset, zone=WARSAW).administered_at == datetime(2026, 1, 12, 6, 30, tzinfo=UTC)
    assert header_facts(header(RadiopharmaceuticalStartDateTime=text), zone=None).administered_at is None
    assert header_facts(header(RadiopharmaceuticalStartDateTime="20260112"), zone=WARSAW).administered_at is None


def test_only_the_two_sexes_of_reference_anatomy_are_compared() -> None:
    found = [header_facts(header(letter), zone=None).sex for letter in ("F", "M", "O", "")]
    assert found == ["female", "male", None, None]


def test_a_scan_carries_the_facts_of_its_header(tmp_path) -> None:
    given = radiopharmaceutical(RadionuclideTotalDose="7.4e9", RadiopharmaceuticalStartDateTime="20260112093000")
    series = pt_series(ramp() * 50, PatientSex="M", RadiopharmaceuticalInformationSequence=given)
    found = read_spect(write(tmp_path, series), zone=WARSAW).header
    assert found == HeaderFacts("male", 7400.0, datetime(2026, 1, 12, 8, 30, tzinfo=UTC))
