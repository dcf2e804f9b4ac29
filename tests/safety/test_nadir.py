"""Nadirs by cycle, worst values and recovery, worked by hand."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tests.support.small_trial import Row, given, labs, rows, subject, trial

from lutetia.safety.baseline import derive_baseline, derive_changes
from lutetia.safety.exposure import derive_infusions
from lutetia.safety.grading import grade_labs
from lutetia.safety.nadir import derive_extremes, derive_nadirs, directions
from lutetia.safety.visits import place_labs


def nadirs(path: Path, own: list[Row], **tables: list[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One subject with infusions on 12 January and 9 March 2026 (day 56), 09:00 UTC."""
    base = {
        "subjects": [subject("S1")],
        "administrations": [
            *given("S1", 1, "2026-01-12", Lu_177=7400.0), *given("S1", 2, "2026-03-09", Lu_177=7400.0),
        ],
        "labs": own,
    }  # fmt: skip
    data = trial(path, base | tables)
    infusions = derive_infusions(data)
    placed = place_labs(data, infusions)
    start = derive_baseline(data, placed)
    changes = derive_changes(placed, start, infusions)
    return derive_nadirs(changes, grade_labs(data, placed, start), infusions), derive_extremes(changes)


def platelets(values: dict[str, object]) -> list[Row]:
    return labs("S1", "platelets", values, unit="10^9/L", lln="150", uln="400")


def test_the_nadir_runs_from_day_7_to_the_next_infusion_and_to_day_84_after_the_last(tmp_path: Path) -> None:
    values = {
        "2026-01-05T07:00": 250,
        "2026-01-18T07:00": 90,  # day 6: too early
        "2026-01-19T07:00": 140,  # day 7
        "2026-03-09T07:00": 120,  # pre-dose sample of cycle 2
        "2026-03-15T07:00": 80,  # day 6 of cycle 2
        "2026-06-01T07:00": 130,  # day 84
        "2026-06-02T07:00": 70,  # day 85
    }
    found, worst = nadirs(tmp_path, platelets(values))
    assert found[["cycle", "value", "day"]].to_numpy().tolist() == [[1, 120.0, 56.0], [2, 130.0, 84.0]]
    assert found["percent_change"].tolist() == pytest.approx([-52.0, -48.0])
    assert found["values"].tolist() == [2, 1]
    assert worst[["value", "cycle", "study_day"]].to_numpy().tolist() == [[70.0, 2.0, 141.0]]


def test_a_sample_after_the_start_of_the_next_infusion_belongs_to_its_cycle(tmp_path: Path) -> None:
    values = {"2026-01-19T07:00": 140, "2026-03-09T09:30": 100}
    found, _ = nadirs(tmp_path, platelets(values))
    assert found[["cycle", "value"]].to_numpy().tolist() == [[1.0, 140.0]]


def test_change_from_before_the_cycle_stands_beside_that_from_baseline(tmp_path: Path) -> None:
    values = {"2026-01-05T07:00": 200, "2026-03-09T07:00": 160, "2026-03-30T07:00": 80}
    found, _ = nadirs(tmp_path, platelets(values))
    second = found[found["cycle"] == 2].iloc[0]
    assert (second["percent_change"], second["percent_change_from_pre"]) == pytest.approx((-60.0, -50.0))


def test_of_equal_values_the_first_is_the_nadir(tmp_path: Path) -> None:
    found, _ = nadirs(tmp_path, platelets({"2026-01-26T07:00": 100, "2026-02-09T07:00": 100}))
    assert found["day"].tolist() == [14.0]


def test_the_peak_is_taken_where_a_rise_is_the_harm(tmp_path: Path) -> None:
    own = labs("S1", "creatinine", {"2026-01-05T07:00": 80, "2026-01-26T07:00": 75, "2026-02-09T07:00": 100},
               unit="umol/L", uln="104")  # fmt: skip
    found, worst = nadirs(tmp_path, own)
    assert found[["direction", "value"]].to_numpy().tolist() == [["high", 100.0]]
    assert worst["percent_change"].item() == pytest.approx(25.0)
    assert directions()["lymphocytes"] == "low"


def test_recovery_is_the_first_value_no_worse_than_the_baseline_grade(tmp_path: Path) -> None:
    values = {"2026-01-05T07:00": 160, "2026-01-26T07:00": 70, "2026-02-02T07:00": 120, "2026-02-16T07:00": 151}
    found, _ = nadirs(tmp_path, platelets(values))
    assert found["recovered"].tolist() == [True]
    assert found["recovery_days"].tolist() == [21.0]


def test_a_nadir_that_is_not_followed_or_not_worse_has_no_recovery(tmp_path: Path) -> None:
    values = {"2026-01-05T07:00": 160, "2026-01-26T07:00": 70, "2026-03-30T07:00": 155}
    found, _ = nadirs(tmp_path, platelets(values))
    assert found["recovered"].isna().tolist() == [True, True]


def test_a_nadir_that_stays_low_has_not_recovered(tmp_path: Path) -> None:
    values = {"2026-01-05T07:00": 160, "2026-01-26T07:00": 70, "2026-02-16T07:00": 120}
    found, _ = nadirs(tmp_path, platelets(values))
    assert found["recovered"].tolist() == [False]


def test_a_second_nadir_leaves_out_values_after_a_transfusion(tmp_path: Path) -> None:
    values = {"2026-01-05T07:00": 200, "2026-01-26T07:00": 60, "2026-01-31T07:00": 40}
    treatments = rows("subject_id kind started_on\nS1 transfusion_platelet 2026-01-30")
    found, worst = nadirs(tmp_path, platelets(values), treatments=treatments)
    first = found.iloc[0]
    assert (first["value"], first["affected"], first["unaffected_value"]) == (40.0, True, 60.0)
    assert first["unaffected_percent_change"] == pytest.approx(-70.0)
    assert worst["unaffected_percent_change"].item() == pytest.approx(-70.0)
