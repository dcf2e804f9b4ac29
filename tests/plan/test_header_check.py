"""Scans whose header contradicts the case: first-line warnings, and none where both agree."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.plan.case_files import case_data, image_case, planned, table_cycle

from lutetia.core.chain import Doubt
from lutetia.imaging.header_facts import HeaderFacts
from lutetia.plan.case import Case
from lutetia.plan.header_check import header_doubts

START = datetime.fromisoformat("2026-01-12T09:30:00+01:00")


def compared(*facts: HeaderFacts) -> tuple[Doubt, ...]:
    cycle = {k: v for k, v in table_cycle().items() if k not in ("regions", "blood", "whole_body")}
    case = Case.model_validate(case_data(cycle | {"administered_at": START}))
    return header_doubts(case, case.cycles[0], dict(enumerate(facts, start=1)), "Lu-177")


@pytest.mark.parametrize(
    ("inside", "outside", "code"),
    [
        ({"sex": "female"}, {"sex": "male"}, "header-sex-differs"),
        ({"administered_MBq": 3700 * 1.09}, {"administered_MBq": 3700 * 1.11}, "header-activity-differs"),
        ({"administered_MBq": 3700 * 0.91}, {"administered_MBq": 3700 * 0.89}, "header-activity-differs"),
        (
            {"administered_at": START - timedelta(minutes=29)},
            {"administered_at": START + timedelta(minutes=31)},
            "header-start-differs",
        ),
    ],
)
def test_a_contradiction_is_a_first_line_warning(inside: dict[str, Any], outside: dict[str, Any], code: str) -> None:
    assert compared(HeaderFacts(), HeaderFacts(**inside)) == ()
    (doubt,) = compared(HeaderFacts(**inside), HeaderFacts(**outside))
    assert (doubt.code, doubt.severity, doubt.where) == (code, "first-line", "cycle 1, scan 2")


def test_the_same_contradiction_of_many_scans_is_told_once() -> None:
    (doubt,) = compared(*[HeaderFacts(administered_MBq=7400.0)] * 3)
    assert doubt.where == "cycle 1, scans 1, 2, 3"
    assert "7,400 MBq of Lu-177 were given, the case 3,700 MBq" in doubt.message


def test_the_hour_of_another_zone_is_told_in_the_zone_of_the_case() -> None:
    (doubt,) = compared(HeaderFacts(administered_at=START.astimezone(tz=None) + timedelta(hours=1)))
    assert "given at 2026-01-12 10:30 +0100, the case 2026-01-12 09:30 +0100" in doubt.message


def test_a_plan_warns_of_headers_that_contradict_the_case_and_only_then(tmp_path: Path) -> None:
    case = image_case(tmp_path / "case", image="PT", times_h=(24.0, 96.0))
    codes = {"header-sex-differs", "header-activity-differs", "header-start-differs"}
    assert not codes & {w["code"] for w in planned(case, "--draws", "100")["warnings"]}
    for file in (case / "cycle1").glob("spect_*/*.dcm"):
        data = pydicom.dcmread(file)
        data.PatientSex = "M"
        info = data.RadiopharmaceuticalInformationSequence[0]
        info.RadionuclideTotalDose = 2.0 * float(info.RadionuclideTotalDose)
        info.RadiopharmaceuticalStartDateTime = "20260112060000"
        data.save_as(file)
    warnings = [w for w in planned(case, "--draws", "100")["warnings"] if w["code"] in codes]
    assert {w["code"] for w in warnings} == codes
    assert {(w["severity"], w["where"]) for w in warnings} == {("first-line", "cycle 1, scans 1, 2")}
