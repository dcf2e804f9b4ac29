"""Cycles stored with their draws: a course that starts from them equals the course computed from all measurements."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.plan.case_files import MASSES, ORGANS, STARTS, case_data, table, table_cycle, write_case

from lutetia.errors import CaseError, InputError
from lutetia.plan.case import Case, read_case
from lutetia.plan.course import CourseDoses, doses_of_course
from lutetia.plan.proposal import propose
from lutetia.plan.stored import pack, unpack_cycle, unpack_forecast
from lutetia.plan.uncertainty import Draws
from lutetia.protocol.profile import read_protocol

DRAWS = Draws(1, "T-1", 120)
ONE_SCAN = {"file": table(dict.fromkeys(ORGANS, (24.0,))), "masses_g": {name: MASSES[name] for name in ORGANS}}
UNMEASURED = {"administered_MBq": {"Lu-177": 3700.0, "Y-90": 2500.0}}


def course_of(case: Case, folder: Path, **more: object) -> CourseDoses:
    return doses_of_course(case, folder, read_protocol("duonen"), draws=DRAWS, progress=lambda text: None, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, Path]:
    """Cycle 1 measured in full, cycle 2 by one scan, cycle 3 not at all."""
    folder = tmp_path_factory.mktemp("case")
    third = {"number": 3, "administered_at": STARTS[2], **UNMEASURED}
    second = table_cycle(2, regions=ONE_SCAN, blood=None, whole_body=None)
    return read_case(write_case(folder, case_data(table_cycle(1), second, third))), folder


@pytest.fixture(scope="module")
def whole(case: tuple[Case, Path]) -> CourseDoses:
    return course_of(*case)


def test_a_course_from_stored_cycles_proposes_exactly_what_the_whole_course_does(
    case: tuple[Case, Path], whole: CourseDoses
) -> None:
    stored = {number: unpack_cycle(pack(record)) for number, record in whole.stored.items() if number < 3}
    again = course_of(*case, stored=stored)
    protocol = read_protocol("duonen")
    first, second = (propose(*case, protocol, course, draws=DRAWS) for course in (whole, again))
    assert json.dumps(first.prescription) == json.dumps(second.prescription)
    assert json.dumps(first.limits) == json.dumps(second.limits)
    assert [d.message for d in whole.doubts] == [d.message for d in again.doubts]
    assert again.single_time_point == whole.single_time_point
    assert again.files == ()


def test_a_single_scan_reuses_the_half_life_of_the_stored_cycle(case: tuple[Case, Path], whole: CourseDoses) -> None:
    again = course_of(*case, stored={1: whole.stored[1]})
    for a, b in zip(whole.cycles[1].doses, again.cycles[1].doses, strict=True):
        assert a.method == b.method
        np.testing.assert_array_equal(a.absorbed_dose_Gy.draws, b.absorbed_dose_Gy.draws)


def test_a_stored_record_has_the_same_bytes_each_time_and_survives_reading(whole: CourseDoses) -> None:
    content = pack(whole.stored[1])
    assert pack(whole.stored[1]) == content == pack(unpack_cycle(content))


def test_a_stored_cycle_of_other_activities_is_refused(case: tuple[Case, Path], whole: CourseDoses) -> None:
    other = replace(whole.stored[1].doses, administered_MBq={"Lu-177": 3600.0, "Y-90": 3700.0})
    with pytest.raises(CaseError, match="compute the doses of this cycle again"):
        course_of(*case, stored={1: replace(whole.stored[1], doses=other)})


@pytest.mark.parametrize("content", [b"", b"not an archive", b"PK\x03\x04 cut"])
def test_a_damaged_record_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="compute the doses again"):
        unpack_cycle(content)


def test_a_cycle_is_not_taken_for_a_forecast(whole: CourseDoses) -> None:
    with pytest.raises(InputError, match="expected a Forecast"):
        unpack_forecast(pack(whole.stored[1]))
