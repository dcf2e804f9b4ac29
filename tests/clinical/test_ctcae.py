"""Every cut of the CTCAE laboratory criteria: at it, just above and just below."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

import pytest

from lutetia.clinical.ctcae import criteria, grade_value, worst_grade
from lutetia.errors import UnknownNameError

STEP = Decimal("0.0001")
# analyte, term, cuts from grade 1 on; LLN is taken as given here. Source: CTCAE v5.0 (NCI, 27 November 2017).
LOW = [
    ("haemoglobin", "Anemia", "120", ["120", "100", "80"]),
    ("platelets", "Platelet count decreased", "150", ["150", "75", "50", "25"]),
    ("neutrophils", "Neutrophil count decreased", "1.8", ["1.8", "1.5", "1.0", "0.5"]),
    ("lymphocytes", "Lymphocyte count decreased", "1.1", ["1.1", "0.8", "0.5", "0.2"]),
    ("leukocytes", "White blood cell decreased", "4.0", ["4.0", "3.0", "2.0", "1.0"]),
    ("albumin", "Hypoalbuminemia", "35", ["35", "30", "20"]),
]
# multiples of ULN from grade 1 on
HIGH = [
    ("creatinine", "Creatinine increased", "104", ["1", "1.5", "3.0", "6.0"]),
    ("alt", "Alanine aminotransferase increased", "35", ["1", "3.0", "5.0", "20.0"]),
    ("ast", "Aspartate aminotransferase increased", "33", ["1", "3.0", "5.0", "20.0"]),
    ("alp", "Alkaline phosphatase increased", "120", ["1", "2.5", "5.0", "20.0"]),
    ("ggt", "GGT increased", "40", ["1", "2.5", "5.0", "20.0"]),
    ("bilirubin", "Blood bilirubin increased", "21", ["1", "1.5", "3.0", "10.0"]),
]
# multiples of an abnormal baseline from grade 1 on; whether grade 1 begins at the multiple itself
ABNORMAL = [
    ("alt", ["1.5", "3.0", "5.0", "20.0"], True),
    ("ast", ["1.5", "3.0", "5.0", "20.0"], True),
    ("alp", ["2.0", "2.5", "5.0", "20.0"], True),
    ("ggt", ["2.0", "2.5", "5.0", "20.0"], True),
    ("bilirubin", ["1.0", "1.5", "3.0", "10.0"], False),
]


def one(analyte: str, value: Decimal | str, term: str | None = None, **limits: str) -> int | None:
    grades = [g for g in grade_value(analyte, value, **limits) if term in (None, g.term)]  # type: ignore[arg-type]
    assert len(grades) == 1
    return grades[0].grade


@pytest.mark.parametrize(("analyte", "term", "lln", "cuts"), LOW, ids=[r[0] for r in LOW])
def test_a_low_value_has_the_next_grade_strictly_below_each_cut(
    analyte: str, term: str, lln: str, cuts: list[str]
) -> None:
    for grade, cut in enumerate(cuts, start=1):
        assert one(analyte, Decimal(cut) - STEP, term, lln=lln) == grade
        assert one(analyte, Decimal(cut), term, lln=lln) == grade - 1
        assert one(analyte, Decimal(cut) + STEP, term, lln=lln) == grade - 1


@pytest.mark.parametrize(("analyte", "term", "uln", "multiples"), HIGH, ids=[r[0] for r in HIGH])
def test_a_high_value_has_the_next_grade_strictly_above_each_multiple_of_uln(
    analyte: str, term: str, uln: str, multiples: list[str]
) -> None:
    for grade, multiple in enumerate(multiples, start=1):
        cut = Decimal(multiple) * Decimal(uln)
        assert one(analyte, cut + STEP, term, uln=uln) == grade
        assert one(analyte, cut, term, uln=uln) == grade - 1
        assert one(analyte, cut - STEP, term, uln=uln) == grade - 1


@pytest.mark.parametrize(("analyte", "multiples", "inclusive"), ABNORMAL, ids=[r[0] for r in ABNORMAL])
def test_an_abnormal_baseline_is_the_scale_of_liver_values(analyte: str, multiples: list[str], inclusive: bool) -> None:
    uln, base = "40", "60"
    for grade, multiple in enumerate(multiples, start=1):
        cut = Decimal(multiple) * Decimal(base)
        at = grade if grade == 1 and inclusive else grade - 1
        assert one(analyte, cut + STEP, uln=uln, baseline=base) == grade
        assert one(analyte, cut, uln=uln, baseline=base) == at
        assert one(analyte, cut - STEP, uln=uln, baseline=base) == grade - 1
    assert grade_value(analyte, "61", uln=uln, baseline=base)[0].scale == "baseline"
    assert grade_value(analyte, "61", uln=uln, baseline="40")[0].scale == "ULN"


@pytest.mark.parametrize(("cut", "grade"), [("1.5", 2), ("3.0", 3)])
def test_creatinine_is_also_graded_by_multiples_of_baseline(cut: str, grade: int) -> None:
    at = Decimal(cut) * 60
    assert one("creatinine", at + STEP, uln="200", baseline="60") == grade
    assert one("creatinine", at, uln="200", baseline="60") == (0 if grade == 2 else grade - 1)
    assert one("creatinine", "301", uln="50", baseline="300") == 4


@pytest.mark.parametrize(("cut", "grade"), [("1.2", 1), ("1.5", 2), ("2.5", 3)])
def test_inr_has_fixed_cuts(cut: str, grade: int) -> None:
    assert one("inr", Decimal(cut) + STEP) == grade
    assert one("inr", Decimal(cut)) == grade - 1


@pytest.mark.parametrize(("cut", "grade", "below"), [("4", 2, 0), ("20", 3, 2)])
def test_lymphocytosis_begins_at_grade_two(cut: str, grade: int, below: int) -> None:
    assert one("lymphocytes", Decimal(cut) + STEP, "Lymphocyte count increased", lln="1") == grade
    assert one("lymphocytes", Decimal(cut), "Lymphocyte count increased", lln="1") == below


def test_decimals_decide_where_binary_floats_would_not() -> None:
    assert 1.2 * 1.5 < 1.8  # the float product falls below the true cut
    assert one("bilirubin", "1.8", uln="1.2") == 1
    assert one("bilirubin", 1.8, uln=1.2) == 1  # type: ignore[arg-type]


def test_a_missing_limit_leaves_the_grade_open_unless_a_fixed_cut_decides() -> None:
    assert one("platelets", "74") == 2
    assert one("platelets", "76") is None
    assert one("alt", "900") is None
    assert worst_grade(grade_value("alt", "900")) is None
    assert worst_grade([*grade_value("alt", "900"), *grade_value("platelets", "49")]) == 3


def test_a_transfusion_makes_anaemia_grade_three() -> None:
    assert grade_value("Hb", "110", lln="120", transfused=True)[0].grade == 3
    assert grade_value("Hb", "60", lln="120")[0].grade == 3


def test_every_analyte_but_none_other_has_a_criterion() -> None:
    from lutetia.clinical.analytes import analytes

    assert {c.analyte for c in criteria()} == set(analytes())
    assert all(c.unit == analytes()[c.analyte].unit for c in criteria())
    with pytest.raises(UnknownNameError, match="unknown CTCAE version"):
        criteria("4.03")


def test_the_packaged_criteria_are_those_of_the_reference_table() -> None:
    path = Path(__file__).parents[1] / "reference" / "ctcae5_laboratory.csv"
    table = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()[1:]))
    packaged = {c.term: c for c in criteria("5.0")}
    assert {row["term"] for row in table} == set(packaged)
    for row in table:
        c = packaged[row["term"]]
        cuts = c.below if row["direction"] == "low" else c.above_uln if row["unit"] == "xULN" else c.above
        stated = {g: row[f"grade{g}"] for g in range(1, 5) if row[f"grade{g}"]}
        assert {g: None if cut == "LLN" else Decimal(cut) for g, cut in stated.items()} == dict(cuts), row["term"]
        abnormal = {g: Decimal(row[f"abnormal{g}"]) for g in range(1, 5) if row[f"abnormal{g}"]}
        assert abnormal == dict(c.abnormal_baseline), row["term"]
        assert c.analyte == row["analyte"]
