"""CTCAE grades of a trial: which baseline, limits and transfusion go with which value; worst and emergent grades."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from tests.support.small_trial import Row, given, labs, rows, subject, trial

from lutetia.clinical.ctcae import criteria, grade_scales, is_emergent
from lutetia.safety.baseline import derive_baseline
from lutetia.safety.exposure import derive_infusions
from lutetia.safety.grading import grade_labs, worst_grades
from lutetia.safety.reading import TrialData
from lutetia.safety.visits import place_labs

STEP = Decimal("0.000001")


def graded(data: TrialData) -> tuple[pd.DataFrame, pd.DataFrame]:
    infusions = derive_infusions(data)
    placed = place_labs(data, infusions)
    start = derive_baseline(data, placed)
    found = grade_labs(data, placed, start)
    return found, worst_grades(found, start)


def one(path: Path, own: list[Row], **tables: list[Row]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Grades of one subject with an infusion on 12 January 2026."""
    base = {"subjects": [subject("S1")], "administrations": given("S1", 1, "2026-01-12", Lu_177=7400.0), "labs": own}
    return graded(trial(path, base | tables))


def _cuts() -> list[tuple[str, str, Decimal, int, bool, dict[str, str]]]:
    """Every cut of every criterion: analyte, term, cut, grade beyond it, whether the cut itself has it, limits."""
    found: list[tuple[str, str, Decimal, int, bool, dict[str, str]]] = []
    for c in criteria():
        for grade, cut in c.below.items():
            lln = "1.8" if c.analyte in ("neutrophils", "lymphocytes") else "4" if c.analyte == "leukocytes" else "150"
            lln = "35" if c.analyte == "albumin" else lln
            found.append((c.analyte, c.term, cut or Decimal(lln), grade, False, {"lln": lln}))
        for grade, cut in c.above.items():
            found.append((c.analyte, c.term, cut, grade, False, {}))
        for grade, cut in c.above_uln.items():
            found.append((c.analyte, c.term, cut * 40, grade, False, {"uln": "40"}))
        for grade, cut in c.abnormal_baseline.items():
            at = c.first_inclusive and grade == 1
            found.append((c.analyte, c.term, cut * 60, grade, at, {"uln": "40", "baseline": "60"}))
    return found


@pytest.mark.parametrize("case", _cuts(), ids=lambda c: f"{c[1]} {c[2]} G{c[3]}")
def test_a_value_just_beyond_a_cut_has_its_grade_and_just_within_the_lower_one(
    case: tuple[str, str, Decimal, int, bool, dict[str, str]],
) -> None:
    analyte, term, cut, grade, inclusive, limits = case
    low = next(c for c in criteria() if c.term == term).below
    beyond, within = (cut - STEP, cut + STEP) if low else (cut + STEP, cut - STEP)
    found = {
        name: next(g for g in grade_scales(analyte, v, **limits) if g.term == term)  # type: ignore[arg-type]
        for name, v in (("beyond", beyond), ("at", cut), ("within", within))
    }
    assert found["beyond"].grade == grade
    assert (found["at"].grade == grade) is inclusive
    assert (found["within"].grade or 0) < grade


def test_a_decimal_that_binary_numbers_miss_stays_on_its_cut(tmp_path: Path) -> None:
    own = labs("S1", "creatinine", {"2026-02-01": "1.8"}, unit="mg/dL", uln="1.2")
    found, _ = one(tmp_path, own)
    assert found["grade"].tolist() == [1.0]  # 1.8 is not above 1.5 × 1.2


def test_a_missing_limit_of_normal_leaves_the_grade_open_unless_a_fixed_cut_decides(tmp_path: Path) -> None:
    own = labs("S1", "platelets", {"2026-02-01": 120, "2026-02-02": 60}, unit="10^9/L")
    own += labs("S1", "alt", {"2026-02-01": 4000}, unit="U/L")
    found, worst = one(tmp_path, own)
    assert found.loc[found["analyte"] == "platelets", "grade"].isna().tolist() == [True, False]
    assert found.loc[found["analyte"] == "alt", "grade"].isna().all()
    assert worst.set_index("analyte")["missing"].to_dict() == {"platelets": 1, "alt": 1}
    assert worst.set_index("analyte").loc["platelets", "worst_grade"] == 2.0


def test_a_normal_baseline_is_compared_on_limits_of_normal(tmp_path: Path) -> None:
    own = labs("S1", "alt", {"2026-01-05": 30, "2026-02-01": 41, "2026-02-08": 121}, unit="U/L", uln="40")
    found, worst = one(tmp_path, own)
    assert found["grade"].tolist() == [0.0, 1.0, 2.0]
    assert found["emergent"].tolist() == [False, True, True]
    assert worst[["baseline_grade", "worst_emergent"]].to_numpy().tolist() == [[0.0, 2.0]]


def test_an_abnormal_baseline_is_graded_on_its_multiples_with_both_scales_shown(tmp_path: Path) -> None:
    values = {"2026-01-05": 60, "2026-02-01": 89, "2026-02-08": 90, "2026-02-15": 181}
    found, worst = one(tmp_path, labs("S1", "alt", values, unit="U/L", uln="40"))
    assert found["grade"].tolist() == [1.0, 0.0, 1.0, 2.0]
    assert found["grade_by_limit"].tolist() == [1.0, 1.0, 1.0, 2.0]  # × ULN: 1.5, 2.2, 2.25, 4.5
    assert found["grade_by_baseline"].tolist()[1:] == [0.0, 1.0, 2.0]
    assert found["emergent"].tolist() == [False, False, True, True]
    assert found["baseline_abnormal"].tolist()[1:] == [True, True, True]
    assert worst["worst_emergent"].item() == 2.0


def test_a_shift_is_never_read_across_the_scales(tmp_path: Path) -> None:
    # 110 is 2.75 × ULN (grade 1); 125 is 3.1 × ULN, which would be grade 2, but only 1.14 × baseline
    found, worst = one(tmp_path, labs("S1", "alt", {"2026-01-05": 110, "2026-02-01": 125}, unit="U/L", uln="40"))
    assert found[["grade", "grade_by_limit", "grade_by_baseline"]].to_numpy().tolist()[1] == [0.0, 2.0, 0.0]
    assert found["emergent"].tolist() == [False, False]
    assert worst[["worst_emergent", "worst_by_limit"]].to_numpy().tolist() == [[0.0, 2.0]]


def test_a_value_before_treatment_never_emerges(tmp_path: Path) -> None:
    own = labs("S1", "platelets", {"2026-01-03": 60, "2026-01-05": 160, "2026-02-01": 155}, unit="10^9/L", lln="150")
    found, worst = one(tmp_path, own)
    assert found[["grade", "emergent"]].to_numpy().tolist() == [[2.0, False], [0.0, False], [0.0, False]]
    assert worst[["worst_grade", "worst_emergent"]].to_numpy().tolist() == [[0.0, 0.0]]


def test_an_abnormal_baseline_is_judged_by_the_limit_of_its_own_laboratory(tmp_path: Path) -> None:
    own = labs("S1", "alt", {"2026-01-05": 45}, unit="U/L", uln="50")
    own += [{**labs("S1", "alt", {"2026-02-01": 60}, unit="U/L", uln="40")[0], "sample_id": "other"}]
    found, _ = one(tmp_path, own)
    assert found["grade"].tolist() == [0.0, 1.0]
    assert found["scale"].tolist() == ["ULN", "ULN"]


def test_creatinine_takes_the_worse_of_both_scales_whatever_the_baseline(tmp_path: Path) -> None:
    values = {"2026-01-05": 50, "2026-02-01": 76, "2026-02-08": 151}
    found, worst = one(tmp_path, labs("S1", "creatinine", values, unit="umol/L", uln="104"))
    assert found["grade"].tolist() == [0.0, 2.0, 3.0]
    assert found["scale"].tolist() == ["ULN", "baseline", "baseline"]
    assert found["grade_by_limit"].tolist() == [0.0, 0.0, 1.0]
    assert worst["worst_emergent"].item() == 3.0


def test_a_grade_like_that_of_the_baseline_did_not_emerge(tmp_path: Path) -> None:
    values = {"2026-01-05": 140, "2026-02-01": 120, "2026-02-08": 74}
    found, worst = one(tmp_path, labs("S1", "platelets", values, unit="10^9/L", lln="150"))
    assert found["grade"].tolist() == [1.0, 1.0, 2.0]
    assert found["emergent"].tolist() == [False, False, True]
    assert worst[["worst_grade", "worst_emergent", "worst_day"]].to_numpy().tolist() == [[2.0, 2.0, 27.0]]


def test_without_a_baseline_every_grade_counts_as_emergent(tmp_path: Path) -> None:
    found, worst = one(tmp_path, labs("S1", "platelets", {"2026-02-01": 120}, unit="10^9/L", lln="150"))
    assert found["emergent"].tolist() == [True]
    assert not worst["has_baseline"].item()


def test_both_directions_of_lymphocytes_are_graded(tmp_path: Path) -> None:
    values = {"2026-01-05": 1.5, "2026-02-01": 4.1, "2026-02-08": 0.4}
    _, worst = one(tmp_path, labs("S1", "lymphocytes", values, unit="10^9/L", lln="1.0", uln="4.0"))
    assert worst.set_index("term")["worst_emergent"].to_dict() == {
        "Lymphocyte count decreased": 3.0,
        "Lymphocyte count increased": 2.0,
    }


def test_unscheduled_values_count_for_the_worst_grade(tmp_path: Path) -> None:
    values = {"2026-01-05": 250, "2026-01-26": 180, "2026-03-30": 24}  # the last on day 77: no visit
    found, worst = one(tmp_path, labs("S1", "platelets", values, unit="10^9/L", lln="150"))
    assert found["visit"].tolist()[-1] == ""
    assert worst["worst_grade"].item() == 4.0


HB = {"unit": "g/L", "lln": "130"}


def test_a_red_cell_transfusion_makes_the_haemoglobin_before_it_grade_3(tmp_path: Path) -> None:
    own = labs("S1", "haemoglobin", {"2026-01-05": 135, "2026-02-01": 95, "2026-02-05": 110}, **HB)
    treatments = rows("subject_id kind started_on\nS1 transfusion_red 2026-02-03")
    found, worst = one(tmp_path, own, treatments=treatments)
    assert found["grade"].tolist() == [0.0, 3.0, 1.0]
    assert found["transfused"].tolist() == [False, True, False]
    assert found["affected"].tolist() == ["", "", "transfusion_red"]
    assert worst["worst_emergent"].item() == 3.0


def test_a_transfusion_without_a_value_on_treatment_has_a_row_of_its_own(tmp_path: Path) -> None:
    own = labs("S1", "haemoglobin", {"2026-01-11": 135}, **HB)
    treatments = rows("subject_id kind started_on\nS1 transfusion_red 2026-01-14")
    found, worst = one(tmp_path, own, treatments=treatments)
    assert found[["table", "grade"]].to_numpy().tolist() == [["labs", 0.0], ["treatments", 3.0]]
    assert worst[["worst_emergent", "table", "row"]].to_numpy().tolist() == [[3.0, "treatments", 2]]


def test_a_transfusion_before_treatment_does_not_emerge(tmp_path: Path) -> None:
    own = labs("S1", "haemoglobin", {"2026-01-05": 135, "2026-02-01": 132}, **HB)
    treatments = rows("subject_id kind started_on\nS1 transfusion_red 2026-01-06")
    _, worst = one(tmp_path, own, treatments=treatments)
    assert worst["worst_emergent"].item() == 0.0


def test_haemoglobin_has_no_grade_4_from_a_value(tmp_path: Path) -> None:
    found, _ = one(tmp_path, labs("S1", "haemoglobin", {"2026-02-01": 35}, **HB))
    assert found["grade"].tolist() == [3.0]


def test_the_sensitivity_leaves_out_values_after_a_transfusion(tmp_path: Path) -> None:
    own = labs("S1", "platelets", {"2026-01-05": 250, "2026-02-01": 60, "2026-02-05": 40}, unit="10^9/L", lln="150")
    treatments = rows("subject_id kind started_on\nS1 transfusion_platelet 2026-02-04")
    _, worst = one(tmp_path, own, treatments=treatments)
    assert worst[["worst_emergent", "worst_unaffected"]].to_numpy().tolist() == [[3.0, 2.0]]


def test_emergence_without_a_grade_is_unknown() -> None:
    now = grade_scales("alt", "100")[0]
    assert is_emergent(now, None) is None
    assert is_emergent(grade_scales("alt", "100", uln="40")[0], None) is True


def test_the_version_travels_with_every_grade(tmp_path: Path) -> None:
    found, _ = one(tmp_path, labs("S1", "platelets", {"2026-02-01": 120}, unit="10^9/L", lln="150"))
    assert set(found["version"]) == {"5.0"}
