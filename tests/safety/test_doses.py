"""Cumulative doses: missing is missing, methods are never mixed, limits, Gy/GBq, and forecasts beside measurements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.small_trial import STUDY, Row, dose, given, rows, subject, trial

from lutetia.safety.doses import cumulative_by_nuclide, cumulative_doses, cycle_doses, limit_doses, nuclide_doses
from lutetia.safety.exposure import derive_infusions
from lutetia.safety.forecasts import calibration, derive_forecasts
from lutetia.safety.reading import TrialData


def two_cycles(path: Path, doses: list[Row], *, study: str = STUDY, **subject_values: str) -> TrialData:
    """One subject of arm B: 3.7 + 3.7 GBq, then 3.7 + 1.85 GBq."""
    tables = {
        "subjects": [subject("S1", "B", **subject_values)],
        "administrations": [
            *given("S1", 1, "2026-01-12", Lu_177=3700.0, Y_90=3700.0),
            *given("S1", 2, "2026-03-09", Lu_177=3700.0, Y_90=1850.0),
        ],
        "doses": doses,
    }
    return trial(path, tables, study=study)


FIRST = dose("S1", 1, "kidneys", Lu_177=1.85, Y_90=7.4, total=9.25)
SECOND = dose("S1", 2, "kidneys", Lu_177=2.0, Y_90=3.7, total=5.7)


def test_doses_add_over_cycles_and_nuclides(tmp_path: Path) -> None:
    data = two_cycles(tmp_path, [*FIRST, *SECOND])
    infusions = derive_infusions(data)
    total = cumulative_doses(data, infusions).iloc[0]
    assert total["absorbed_dose_Gy"] == pytest.approx(14.95)
    assert total["absorbed_dose_sd_Gy"] == pytest.approx(1.495)  # not 1.09: errors are shared between cycles
    parts = cumulative_by_nuclide(data, infusions).set_index("nuclide")["absorbed_dose_Gy"]
    assert parts.to_dict() == pytest.approx({"Lu-177": 3.85, "Y-90": 11.1})


def test_coefficients_are_dose_over_administered_activity(tmp_path: Path) -> None:
    found = nuclide_doses(two_cycles(tmp_path, [*FIRST, *SECOND]))
    assert found["Gy_per_GBq"].tolist() == pytest.approx([0.5, 2.0, 2.0 / 3.7, 2.0])


CARRIED = [{**row, "basis": "carried"} for row in dose("S1", 2, "kidneys", Lu_177=1.0, Y_90=9.0, total=10.0)]


@pytest.mark.parametrize("missing", [dose("S1", 2, "kidneys", total=None), [], CARRIED])
def test_a_missing_cycle_makes_the_sum_missing_and_the_sensitivity_uses_the_last_coefficient(
    tmp_path: Path, missing: list[Row]
) -> None:
    data = two_cycles(tmp_path, [*FIRST, *missing])
    infusions = derive_infusions(data)
    total = cumulative_doses(data, infusions).iloc[0]
    assert np.isnan(total["absorbed_dose_Gy"])
    assert total["imputed_cycles"] == (2,)
    assert total["sensitivity_Gy"] == pytest.approx(9.25 + 0.5 * 3.7 + 2.0 * 1.85)
    against = limit_doses(data, infusions).set_index("limit").loc["kidneys"]
    assert not against["complete"]
    assert pd.isna(against["over"])
    assert bool(against["sensitivity_over"]) is False
    per_cycle = cycle_doses(data, infusions)
    assert per_cycle["basis"].tolist() == ["measured", "missing"]


def test_the_coefficient_just_before_the_missing_cycle_is_used(tmp_path: Path) -> None:
    tables = {
        "subjects": [subject("S1", "B")],
        "administrations": [
            *given("S1", 1, "2026-01-12", Lu_177=4000.0), *given("S1", 2, "2026-03-09", Lu_177=4000.0),
            *given("S1", 3, "2026-05-04", Lu_177=2000.0), *given("S1", 4, "2026-06-29", Lu_177=4000.0),
        ],
        "doses": [
            *dose("S1", 1, "kidneys", Lu_177=2.0, total=2.0), *dose("S1", 2, "kidneys", Lu_177=4.0, total=4.0),
            *dose("S1", 4, "kidneys", Lu_177=8.0, total=8.0),
        ],
    }  # fmt: skip
    data = trial(tmp_path, tables)
    total = cumulative_doses(data, derive_infusions(data)).iloc[0]
    assert total["sensitivity_Gy"] == pytest.approx(2.0 + 4.0 + 1.0 * 2.0 + 8.0)  # 1 Gy/GBq of cycle 2


def test_a_dose_carried_from_another_cycle_is_no_measured_one(tmp_path: Path) -> None:
    data = two_cycles(tmp_path, [*FIRST, *CARRIED])
    found = cycle_doses(data, derive_infusions(data)).set_index("cycle").loc[2]
    assert found["basis"] == "missing"
    assert "carried" in found["missing_reason"]
    assert nuclide_doses(data)["cycle"].tolist() == [1, 1]


def test_a_first_missing_cycle_takes_the_coefficient_of_the_next(tmp_path: Path) -> None:
    data = two_cycles(tmp_path, [*dose("S1", 1, "kidneys", total=None), *SECOND])
    total = cumulative_doses(data, derive_infusions(data)).iloc[0]
    assert total["sensitivity_Gy"] == pytest.approx(5.7 + 2.0 + 7.4)


def test_without_any_coefficient_the_sensitivity_is_missing_too(tmp_path: Path) -> None:
    data = two_cycles(tmp_path, dose("S1", 1, "kidneys", total=None))
    assert np.isnan(cumulative_doses(data, derive_infusions(data)).iloc[0]["sensitivity_Gy"])


def test_a_dose_of_zero_is_not_missing(tmp_path: Path) -> None:
    data = two_cycles(tmp_path, [*FIRST, *dose("S1", 2, "kidneys", total=0.0)])
    assert cumulative_doses(data, derive_infusions(data)).iloc[0]["absorbed_dose_Gy"] == pytest.approx(9.25)


def test_methods_are_never_mixed_in_one_sum(tmp_path: Path) -> None:
    image = [{**row, "method": "image"} for row in dose("S1", 2, "red marrow", total=0.9)]
    data = two_cycles(tmp_path, [*dose("S1", 1, "red marrow", total=0.3), *image])
    infusions = derive_infusions(data)
    found = cumulative_doses(data, infusions).set_index("method")
    assert found["absorbed_dose_Gy"].isna().all()
    assert found["imputed_cycles"].to_dict() == {"blood": (2,), "image": (1,)}
    marrow = limit_doses(data, infusions).set_index("limit").loc["marrow"]
    assert marrow["method"] == "blood"
    assert not marrow["complete"]


@pytest.mark.parametrize(
    ("total", "prior", "over"),
    [("17.30", "0", False), ("17.31", "0", True), ("17.30", "0.5", True)],
)
def test_the_limit_is_passed_strictly_above_it_and_prior_therapy_counts(
    tmp_path: Path, total: str, prior: str, over: bool
) -> None:
    second = [{**row, "absorbed_dose_Gy": total} for row in dose("S1", 2, "kidneys", total=1.0)]
    first = dose("S1", 1, "kidneys", total=5.7)
    data = two_cycles(tmp_path, [*first, *second], prior_kidney_Gy=prior)
    found = limit_doses(data, derive_infusions(data)).set_index("limit").loc["kidneys"]
    assert bool(found["over"]) is over
    assert found["dose_Gy"] == pytest.approx(5.7 + float(total))


def test_bed_adds_over_cycles_and_prior_absorbed_dose_leaves_its_limit_open(tmp_path: Path) -> None:
    study = STUDY.replace('metric = "absorbed_dose"\nlimit_Gy = 23.0', 'metric = "bed"\nlimit_Gy = 23.0')
    first = [{**row, "bed_Gy": "11"} for row in dose("S1", 1, "kidneys", total=9.25)]
    second = [{**row, "bed_Gy": "13"} for row in dose("S1", 2, "kidneys", total=9.25)]
    data = two_cycles(tmp_path / "a", [*first, *second], study=study)
    found = limit_doses(data, derive_infusions(data)).iloc[0]
    assert (found["dose_Gy"], bool(found["over"])) == (24.0, True)
    data = two_cycles(tmp_path / "b", [*first, *second], study=study, prior_kidney_Gy="3")
    found = limit_doses(data, derive_infusions(data))
    assert found["over"].isna().iloc[0]


FORECAST = (
    "subject_id cycle version region horizon absorbed_dose_Gy absorbed_dose_sd_Gy p_over_limit\n"
    "S1 1 1 kidneys next 9.0 1.0 0.0\nS1 1 1 kidneys course 24.0 3.0 0.6\n"
    "S1 2 1 kidneys next 15.0 1.0 0.1\nS1 2 2 kidneys next 99.0 1.0 1.0"
)
PRESCRIPTIONS = (
    "subject_id cycle version nuclide state\nS1 1 1 Y-90 ADMINISTERED\nS1 2 1 Y-90 VOID\nS1 2 2 Y-90 ADMINISTERED"
)


def test_forecasts_of_administered_versions_stand_beside_the_measured_doses(tmp_path: Path) -> None:
    data = two_cycles(tmp_path / "a", [*FIRST, *SECOND])
    tables = {
        "subjects": [subject("S1", "B", prior_kidney_Gy="1")],
        "administrations": [
            {**row, "prescription_version": row["cycle"]}
            for row in [*given("S1", 1, "2026-01-12", Lu_177=3700.0), *given("S1", 2, "2026-03-09", Lu_177=3700.0)]
        ],
        "doses": [*FIRST, *SECOND],
        "forecasts": rows(FORECAST),
        "prescriptions": rows(PRESCRIPTIONS),
    }
    data = trial(tmp_path / "b", tables)
    found = derive_forecasts(data, derive_infusions(data))
    assert found[["cycle", "horizon", "predicted_Gy", "measured_Gy"]].to_numpy().tolist() == [
        [1, "next", 9.0, 10.25], [1, "course", 24.0, 15.95], [2, "next", 99.0, 15.95],
    ]  # fmt: skip
    first = found.iloc[0]
    assert (first["error_Gy"], first["z"], bool(first["inside"])) == (1.25, 1.25, True)
    assert (first["predicted_cycle_Gy"], first["measured_cycle_Gy"]) == (8.0, 9.25)
    bins = calibration(found)
    assert bins[["horizon", "low", "n", "over"]].to_numpy().tolist() == [
        ["course", 0.5, 1, 0], ["next", 0.0, 1, 0], ["next", 0.95, 1, 0],
    ]  # fmt: skip


def test_the_course_is_not_judged_before_every_planned_cycle_was_given(tmp_path: Path) -> None:
    tables = {
        "subjects": [subject("S1", "B")],
        "administrations": given("S1", 1, "2026-01-12", Lu_177=3700.0),
        "doses": FIRST,
        "forecasts": rows(FORECAST)[:2],
        "prescriptions": rows(PRESCRIPTIONS)[:1],
    }
    data = trial(tmp_path, tables)
    found = derive_forecasts(data, derive_infusions(data)).set_index("horizon")
    assert found.loc["next", "measured_Gy"] == 9.25
    assert np.isnan(found.loc["course", "measured_Gy"])
