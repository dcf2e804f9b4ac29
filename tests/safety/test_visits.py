"""Baseline, visits, changes and flags of laboratory values, each rule on a few rows."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from tests.support.small_trial import Row, given, labs, rows, subject, trial

from lutetia.clinical.labs import LabValue
from lutetia.clinical.labs import baseline as baseline_of_one
from lutetia.safety.baseline import derive_baseline, derive_changes
from lutetia.safety.exposure import derive_infusions
from lutetia.safety.reading import TrialData
from lutetia.safety.visits import place_labs

UNIT = "10^9/L"


def course(path: Path, values: dict[str, object], *, more: dict[str, list[Row]] | None = None) -> TrialData:
    """Platelets of one subject with infusions on 12 January and 9 March 2026, 09:00 UTC."""
    tables = {
        "subjects": [subject("S1")],
        "administrations": [
            *given("S1", 1, "2026-01-12", Lu_177=7400.0), *given("S1", 2, "2026-03-09", Lu_177=7400.0),
        ],
        "labs": labs("S1", "platelets", values, unit=UNIT, lln="150", uln="400"),
    }  # fmt: skip
    return trial(path, tables | (more or {}))


def frames(data: TrialData) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    infusions = derive_infusions(data)
    placed = place_labs(data, infusions)
    return infusions, placed, derive_baseline(data, placed)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"2026-01-05T07:00": 250, "2026-01-09T07:00": 240}, 240.0),  # the last one
        ({"2026-01-09T07:00": 240, "2026-01-12T08:59": 230}, 230.0),  # minutes before the infusion
        ({"2026-01-09T07:00": 240, "2026-01-12T09:00": 230}, 240.0),  # at its start: after
        ({"2026-01-09T07:00": 240, "2026-01-12": 220}, 220.0),  # same day without time: before
        ({"2026-01-09T07:00": 240, "2026-01-13": 220}, 240.0),  # next day without time: after
        ({"2025-12-15T07:00": 260}, 260.0),  # 28 days before
        ({"2025-12-14T07:00": 260}, None),  # 29 days before
    ],
)
def test_baseline_is_the_last_value_before_the_first_infusion_within_28_days(
    tmp_path: Path, values: dict[str, object], expected: float | None
) -> None:
    _, _, start = frames(course(tmp_path, values))
    assert start["value"].tolist() == ([] if expected is None else [expected])
    own = [
        LabValue(
            "platelets", Decimal(str(v)), UNIT, datetime.fromisoformat(m).replace(tzinfo=UTC), has_time="T" in m
        )
        for m, v in values.items()
    ]  # fmt: skip
    other = baseline_of_one(own, "platelets", first_start=datetime(2026, 1, 12, 9, tzinfo=UTC), within_days=28.1)
    assert (None if other is None else float(other.value or 0)) == expected


def test_a_day_without_time_is_judged_by_the_local_day(tmp_path: Path) -> None:
    data = course(tmp_path, {"2026-01-12": 220}, more={"administrations": [
        {**given("S1", 1, "2026-01-12", Lu_177=7400.0)[0], "started_at": "2026-01-12T08:30:00+10:00",
         "ended_at": ""}]})  # fmt: skip
    _, placed, start = frames(data)
    assert start["value"].tolist() == [220.0]
    assert placed["study_day"].tolist() == [0.0]


def test_cycle_and_day_come_from_the_infusions_and_the_pre_dose_sample_belongs_to_the_cycle_before(
    tmp_path: Path,
) -> None:
    values = {"2026-01-05T07:00": 250, "2026-01-26T07:00": 180, "2026-03-09T07:00": 200, "2026-03-09T12:00": 190}
    _, placed, _ = frames(course(tmp_path, values))
    assert placed["cycle"].tolist() == [0, 1, 1, 2]
    assert placed["cycle_day"].tolist() == [-7.0, 14.0, 56.0, 0.0]
    assert placed["study_day"].tolist() == [-7.0, 14.0, 56.0, 56.0]
    assert placed["visit"].tolist() == ["baseline", "week 2", "", ""]


def test_of_several_values_in_a_window_the_nearest_to_its_target_counts_then_the_later(tmp_path: Path) -> None:
    values = {
        "2026-01-19T07:00": 210,  # day 7
        "2026-01-24T07:00": 190,  # day 12, two from the target 14
        "2026-01-28T07:00": 180,  # day 16, two from the target too, later
        "2026-02-03T07:00": 170,  # day 22: week 4
    }
    _, placed, _ = frames(course(tmp_path, values))
    chosen = placed[placed["selected"]]
    assert chosen[["visit", "value"]].to_numpy().tolist() == [["week 2", 180.0], ["week 4", 170.0]]


def test_two_samples_of_one_moment_give_one_visit_value(tmp_path: Path) -> None:
    doubled = labs("S1", "platelets", {"2026-01-26T07:00": 180}, unit=UNIT)
    doubled += [{**doubled[0], "sample_id": "again", "value": "185"}]
    data = course(tmp_path, {}, more={"labs": doubled})
    _, placed, _ = frames(data)
    assert placed["selected"].sum() == 1
    assert placed.loc[placed["selected"], "value"].item() == 185.0
    assert any(f.kind == "two samples at one time" for f in data.accounting.findings)


def test_changes_are_from_baseline_and_from_before_the_cycle(tmp_path: Path) -> None:
    values = {"2026-01-05T07:00": 250, "2026-01-26T07:00": 200, "2026-03-09T07:00": 160, "2026-03-23T07:00": 120}
    infusions, placed, start = frames(course(tmp_path, values))
    found = derive_changes(placed, start, infusions)
    assert found["percent_change"].tolist() == pytest.approx([0.0, -20.0, -36.0, -52.0])
    assert found["change"].tolist() == [0.0, -50.0, -90.0, -130.0]
    assert found["pre_cycle"].tolist()[1:] == [250.0, 250.0, 160.0]
    assert found["percent_change_from_pre"].tolist()[1:] == pytest.approx([-20.0, -36.0, -25.0])


def test_a_value_older_than_28_days_is_not_the_one_before_a_cycle(tmp_path: Path) -> None:
    infusions, placed, start = frames(course(tmp_path, {"2026-02-08T07:00": 200, "2026-03-23T07:00": 120}))
    assert derive_changes(placed, start, infusions)["pre_cycle"].isna().all()


def test_a_baseline_of_zero_has_no_percentage(tmp_path: Path) -> None:
    infusions, placed, start = frames(course(tmp_path, {"2026-01-05T07:00": 0, "2026-01-26T07:00": 10}))
    assert derive_changes(placed, start, infusions)["percent_change"].isna().all()


def test_half_of_the_limit_of_quantification_is_used_and_flagged(tmp_path: Path) -> None:
    low = [{**labs("S1", "platelets", {"2026-01-26T07:00": 10}, unit=UNIT)[0], "qualifier": "<"}]
    _, placed, _ = frames(course(tmp_path, {}, more={"labs": low}))
    assert placed[["value", "below_loq"]].to_numpy().tolist() == [[5.0, True]]


@pytest.mark.parametrize(
    ("kind", "analyte", "flagged"),
    [
        ("transfusion_platelet", "platelets", True),
        ("transfusion_red", "platelets", False),
        ("transfusion_red", "haemoglobin", True),
        ("g_csf", "neutrophils", True),
        ("g_csf", "lymphocytes", False),
    ],
)
def test_values_up_to_7_days_after_a_transfusion_or_growth_factor_are_flagged(
    tmp_path: Path, kind: str, analyte: str, flagged: bool
) -> None:
    unit = "g/L" if analyte == "haemoglobin" else UNIT
    days = {"2026-01-31T07:00": 90, "2026-02-01T07:00": 91, "2026-02-08T07:00": 92, "2026-02-09T07:00": 93}
    treatments = rows(f"subject_id kind started_on ended_on\nS1 {kind} 2026-02-01 -")
    data = course(tmp_path, {}, more={"labs": labs("S1", analyte, days, unit=unit), "treatments": treatments})
    _, placed, _ = frames(data)
    assert (placed["affected"] != "").tolist() == [False, flagged, flagged, False]


def test_a_growth_factor_flags_until_7_days_after_its_last_day(tmp_path: Path) -> None:
    treatments = rows("subject_id kind started_on ended_on\nS1 g_csf 2026-02-01 2026-02-05")
    days = {"2026-02-12T07:00": 2, "2026-02-13T07:00": 2}
    own = labs("S1", "neutrophils", days, unit=UNIT)
    _, placed, _ = frames(course(tmp_path, {}, more={"labs": own, "treatments": treatments}))
    assert placed["affected"].tolist() == ["g_csf", ""]


def test_a_subject_without_administration_has_no_day_and_no_baseline(tmp_path: Path) -> None:
    data = course(tmp_path, {"2026-01-05T07:00": 250}, more={"administrations": []})
    infusions, placed, start = frames(data)
    assert len(infusions) == 0
    assert placed["study_day"].isna().all()
    assert not placed["treated"].any()
    assert len(start) == 0
