"""Renal function over a course: rates, falls and their confirmation, KDIGO shift, what carries a slope."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from tests.support.small_trial import Row, given, labs, rows, subject, trial

from lutetia.clinical.renal import ckd_epi_2021, cockcroft_gault
from lutetia.safety.baseline import derive_baseline
from lutetia.safety.exposure import derive_infusions
from lutetia.safety.renal import derive_egfr, renal_outcomes
from lutetia.safety.visits import place_labs


def course(path: Path, values: dict[str, object], *, who: Row | None = None, **tables: list[Row]) -> pd.DataFrame:
    """Rates of one man of 60, infusion on 12 January 2026, randomised on 2 January."""
    base = {
        "subjects": [who or subject("S1")],
        "administrations": given("S1", 1, "2026-01-12", Lu_177=7400.0),
        "labs": labs("S1", "creatinine", values, unit="umol/L", uln="104"),
    }
    data = trial(path, base | tables)
    placed = place_labs(data, derive_infusions(data))
    return derive_egfr(data, placed, derive_baseline(data, placed))


def test_the_rate_uses_age_at_entry_plus_the_time_elapsed(tmp_path: Path) -> None:
    found = course(tmp_path, {"2026-01-05T07:00": 88.42, "2026-07-05T07:00": 88.42})
    assert found["egfr"].iloc[0] == pytest.approx(ckd_epi_2021(88.42, 60.0 + 3 / 365.25, "male"))
    assert found["egfr"].iloc[1] == pytest.approx(ckd_epi_2021(88.42, 60.0 + 184 / 365.25, "male"))
    assert found["crcl"].iloc[0] == pytest.approx(cockcroft_gault(88.42, 60.0 + 3 / 365.25, "male", weight_kg=80.0))


def test_clearance_uses_the_last_weight_up_to_the_day(tmp_path: Path) -> None:
    weights = rows("subject_id taken_on weight_kg\nS1 2026-02-01 70\nS1 2026-04-01 60")
    found = course(tmp_path, {"2026-01-05T07:00": 90, "2026-02-01T07:00": 90, "2026-03-31T07:00": 90}, vitals=weights)
    per_kg = found["crcl"] / (140.0 - 60.0)
    assert (per_kg / per_kg.iloc[0]).round(2).tolist() == [1.0, 0.87, 0.87]


@pytest.mark.parametrize("missing", ["age_years", "sex"])
def test_without_age_or_sex_there_is_no_rate(tmp_path: Path, missing: str) -> None:
    found = course(tmp_path, {"2026-01-05T07:00": 90}, who=subject("S1", **{missing: ""}))
    assert found["egfr"].isna().all()


def _at(rate_factor: float) -> float:
    """Creatinine above κ whose rate is that many times the rate at 100 µmol/L (exponent −1.2)."""
    return float(100.0 * rate_factor ** (-1.0 / 1.2))


def test_a_fall_begins_at_25_and_at_40_percent(tmp_path: Path) -> None:
    values = {"2026-01-12T07:00": 100, "2026-02-01T07:00": f"{_at(0.755):.6f}", "2026-03-01T07:00": f"{_at(0.745):.6f}",
              "2026-04-01T07:00": f"{_at(0.595):.6f}"}  # fmt: skip
    found = course(tmp_path, values)
    assert found["percent_change"].round(0).tolist() == [0.0, -25.0, -26.0, -41.0]  # age takes 0.05 to 0.14 points
    assert found["fall_25"].tolist() == [False, False, True, True]
    assert found["fall_40"].tolist() == [False, False, False, True]


def test_a_fall_of_exactly_25_or_40_percent_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutetia.safety.renal.ckd_epi_2021", lambda creatinine, age, sex: creatinine)
    found = course(tmp_path, {"2026-01-12T07:00": 60, "2026-02-01T07:00": 45, "2026-03-01T07:00": 36})
    assert found["fall_25"].tolist() == [False, True, True]
    assert found["fall_40"].tolist() == [False, False, True]


def test_a_fall_is_confirmed_by_the_first_value_28_days_later_or_more(tmp_path: Path) -> None:
    low, high = f"{_at(0.7):.6f}", "100"
    values = {"2026-01-12T07:00": 100, "2026-02-01T07:00": low, "2026-02-20T07:00": high, "2026-03-01T07:00": low,
              "2026-03-28T07:00": low, "2026-03-29T07:00": high}  # fmt: skip
    found = course(tmp_path, values)
    assert found["fall_25"].tolist() == [False, True, False, True, True, False]
    confirmed = found["fall_25_confirmed"]
    assert confirmed.iloc[1] == True  # noqa: E712  (1 March is 28 days after 1 February)
    assert confirmed.iloc[3] == False  # noqa: E712  (29 March is 28 days after 1 March)
    assert pd.isna(confirmed.iloc[4])  # no value so late
    outcome = renal_outcomes(found).iloc[0]
    assert bool(outcome["fall_25_confirmed"]) is True


def test_a_fall_that_cannot_be_judged_yet_is_neither_confirmed_nor_refuted(tmp_path: Path) -> None:
    found = course(tmp_path, {"2026-01-12T07:00": 100, "2026-02-01T07:00": 100, "2026-03-01T07:00": f"{_at(0.5):.6f}"})
    outcome = renal_outcomes(found).iloc[0]
    assert bool(outcome["fall_40"]) is True
    assert pd.isna(outcome["fall_40_confirmed"])


def test_the_shift_is_from_the_baseline_to_the_worst_category(tmp_path: Path) -> None:
    found = course(tmp_path, {"2026-01-05T07:00": 70, "2026-02-01T07:00": 120, "2026-03-01T07:00": 80})
    outcome = renal_outcomes(found).iloc[0]
    assert (outcome["baseline_category"], outcome["worst_category"]) == ("G1", "G3a")  # 97.8 · 1.508^−1.2 = 59.7
    assert outcome["row"] == 3


def test_values_within_7_days_after_an_infusion_carry_no_slope(tmp_path: Path) -> None:
    values = {"2026-01-12T07:00": 90, "2026-01-18T07:00": 90, "2026-01-19T07:00": 90, "2026-07-13T07:00": 90}
    found = course(tmp_path, values)
    assert found["for_slope"].tolist() == [True, False, True, True]
    outcome = renal_outcomes(found).iloc[0]
    assert (outcome["slope_values"], outcome["slope_span_days"], outcome["slope_estimable"]) == (3, 182.0, True)


@pytest.mark.parametrize("last", ["2026-07-12T07:00", "2026-01-17T07:00"])
def test_a_slope_needs_three_values_over_six_months(tmp_path: Path, last: str) -> None:
    found = course(tmp_path, {"2026-01-12T07:00": 90, "2026-02-19T07:00": 90, last: 90})
    assert not renal_outcomes(found)["slope_estimable"].item()


def test_without_a_baseline_falls_are_unknown(tmp_path: Path) -> None:
    outcome = renal_outcomes(course(tmp_path, {"2026-02-01T07:00": 90})).iloc[0]
    assert pd.isna(outcome["fall_25"])
    assert outcome["baseline_category"] == ""
