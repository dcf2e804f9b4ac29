"""Every kind of bad input of cases made of tables: one message with what, where and what to do; nothing is written."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from tests.plan.case_files import MASSES, ORGANS, STARTS, TIMES_H, case_data, refused, table, table_cycle, write_case

GOOD = table(dict.fromkeys(ORGANS, TIMES_H))
DOSES = "region,nuclide,absorbed_dose_Gy,absorbed_dose_sd_Gy,bed_Gy,method\n"
Change = Callable[[dict[str, Any]], Any]


def first(data: dict[str, Any]) -> dict[str, Any]:
    cycle: dict[str, Any] = data["cycles"][0]
    return cycle


def rows(text: str) -> Change:
    """The region table with this text after its good rows."""
    return lambda data: first(data)["regions"].update(file=GOOD + text)


def blood(text: str) -> Change:
    return lambda data: first(data).update(blood={"file": text})


def body(text: str) -> Change:
    return lambda data: first(data).update(whole_body={"file": text})


def doses(text: str) -> Change:
    def change(data: dict[str, Any]) -> None:
        for key in ("regions", "blood", "whole_body"):
            del first(data)[key]
        first(data)["doses"] = {"file": DOSES + text}

    return change


def second(**more: Any) -> Change:
    return lambda data: data["cycles"].append(table_cycle(2, **more))


BAD: dict[str, tuple[Change, tuple[str, ...]]] = {
    # times
    "no time of administration": (
        lambda d: first(d).pop("administered_at"),
        ("cycle 1, administered_at", "missing", "add it"),
    ),
    "date without time": (
        lambda d: first(d).update(administered_at="2026-01-12"),
        ("cycle 1, administered_at", "without time of day", "2026-01-12T09:30:00"),
    ),
    "time without zone": (
        lambda d: (first(d).update(administered_at="2026-01-12T09:30:00"), d.pop("timezone")),
        ("cycle 1, administered_at", "without offset", "timezone"),
    ),
    "unknown zone": (lambda d: d.update(timezone="Mars/Olympus"), ("timezone", "Mars/Olympus", "Europe/Warsaw")),
    "cycles out of order": (second(administered_at=STARTS[0]), ("cycle 2", "not after cycle 1", "correct the dates")),
    "cycle 1 measured after cycle 2 was given": (
        second(administered_at="2026-01-14T09:30:00+01:00"),
        ("cycle 1, left kidney", "168 h", "cycle 2 was given at 48 h", "correct"),
    ),
    "times of other nuclides": (
        lambda d: first(d).update(administered_at={"Lu-177": STARTS[0], "Ac-225": STARTS[0]}),
        ("cycle 1", "administered_at names", "administered_MBq"),
    ),
    "measured before the nuclide": (
        lambda d: first(d).update(administered_at={"Lu-177": STARTS[0], "Y-90": "2026-01-11T13:30:00+01:00"}),
        ("cycle 1, left kidney", "4 h", "before Lu-177 was given", "correct the times"),
    ),
    "decision before the last cycle": (
        lambda d: d.update(decision_at="2025-12-01"),
        ("decision_at", "before cycle 1 was given", "correct"),
    ),
    "measurement at time 0": (
        rows("spleen,0,5,1\n"),
        ("cycle 1, regions", "row 17, time_h", "found 0", "after the start"),
    ),
    "measurement before administration": (rows("spleen,-4,5,1\n"), ("row 17, time_h", "found -4", "correct it")),
    "same time twice": (rows("spleen,24,5,1\n"), ("cycle 1, regions", "spleen at 24 h", "twice", "keep one")),
    # numbers and units
    "negative activity": (rows("spleen,200,-5,1\n"), ("row 17, activity_MBq", "found -5", "at least 0")),
    "activity that is no number": (rows("spleen,200,nan,1\n"), ("row 17, activity_MBq", "'nan'", "finite")),
    "decimal comma": (rows('spleen,200,"5,2",1\n'), ("row 17, activity_MBq", "'5,2'", "decimal point")),
    "zero uncertainty": (rows("spleen,200,5,0\n"), ("row 17, sd_MBq", "found 0", "more than 0")),
    "only zeros": (
        lambda d: first(d)["regions"].update(file=GOOD + "tumour 1,24,0,1\ntumour 1,96,0,1\n", masses_g=MASSES),
        ("cycle 1, tumour 1", "no activity at any time", "leave it out"),
    ),
    "more than was given": (
        rows("spleen,10,5000,1\n"),
        ("cycle 1, spleen", "5000 MBq at 10 h", "3700 MBq", "check units, times, decay correction"),
    ),
    "administered in GBq": (
        lambda d: first(d).update(administered_MBq={"Lu-177": 3.7, "Y-90": 3.7}),
        ("cycle 1", "3.7 MBq of Lu-177 given", "check units"),
    ),
    "activity in another unit": (
        lambda d: first(d)["regions"].update(file=GOOD.replace("activity_MBq", "activity_kBq")),
        ("cycle 1, regions", "missing column activity_MBq", "expected region,time_h,activity_MBq"),
    ),
    "unknown column": (
        lambda d: first(d)["regions"].update(file=GOOD.replace("sd_MBq", "sd_kBq")),
        ("unknown column sd_kBq", "activities are in MBq", "not converted"),
    ),
    "same column twice": (
        lambda d: first(d)["regions"].update(file=GOOD.replace("sd_MBq", "activity_MBq")),
        ("column activity_MBq is there twice", "keep one"),
    ),
    "no administered activity": (
        lambda d: first(d).update(administered_MBq={"Lu-177": 0.0, "Y-90": 3700.0}),
        ("cycle 1, administered_MBq, Lu-177", "greater than 0"),
    ),
    "negative administered activity": (
        lambda d: first(d).update(administered_MBq={"Lu-177": -3700.0}),
        ("cycle 1, administered_MBq, Lu-177", "-3700"),
    ),
    "one nuclide under two names": (
        lambda d: first(d).update(administered_MBq={"Lu-177": 3700.0, "177Lu": 300.0}),
        ("cycle 1, administered_MBq", "Lu-177 is named twice"),
    ),
    "mass in kilograms": (
        lambda d: first(d)["regions"]["masses_g"].update(spleen=0.15),
        ("cycle 1, regions, masses_g", "0.15 g for the spleen", "grams"),
    ),
    "mass of zero": (
        lambda d: first(d)["regions"]["masses_g"].update(spleen=0.0),
        ("cycle 1, regions, masses_g, spleen", "greater than 0"),
    ),
    "region without mass": (
        lambda d: first(d)["regions"]["masses_g"].pop("spleen"),
        ("cycle 1, regions", "spleen has no mass", "add it"),
    ),
    "mass without region": (
        lambda d: first(d)["regions"]["masses_g"].update({"tumour 4": 12.0}),
        ("cycle 1, regions", "tumour 4, not in the table"),
    ),
    # too few points
    "one blood sample": (
        blood("time_h,activity_MBq_per_mL\n4,0.03\n"),
        ("cycle 1, blood", "1 sample", "at least 2", "leave blood out"),
    ),
    "blood of zeros": (blood("time_h,activity_MBq_per_mL\n4,0\n24,0\n"), ("cycle 1, blood", "no activity at any time")),
    "blood in Bq": (
        blood("time_h,activity_MBq_per_mL\n4,30000\n24,10000\n"),
        ("cycle 1, blood", "MBq at 4 h", "check units"),
    ),
    "whole body above what was given": (
        body("time_h,activity_MBq\n4,3000\n24,6000\n"),
        ("cycle 1, whole_body", "6000 MBq at 24 h", "decay correction"),
    ),
    "table without rows": (blood("time_h,activity_MBq_per_mL\n"), ("cycle 1, blood", "no rows")),
    # names
    "unknown region": (rows("splen,200,5,1\n"), ("row 17", "unknown region 'splen'", "did you mean spleen")),
    "unknown nuclide": (
        lambda d: first(d).update(administered_MBq={"Xx-99": 3700.0}),
        ("cycle 1, administered_MBq", "unknown nuclide 'Xx-99'"),
    ),
    "measured nuclide not given": (
        lambda d: first(d).update(administered_MBq={"Y-90": 3700.0}),
        ("cycle 1", "measures Lu-177", "Y-90 was given", "check administered_MBq"),
    ),
    "unknown protocol": (lambda d: d["protocol"].update(name="duonem"), ("unknown protocol", "did you mean duonen")),
    "unknown arm": (lambda d: d["protocol"].update(arm="E"), ("unknown arm 'E'", "A, B, C, D")),
    "unknown key": (lambda d: first(d).update(weight=3.0), ("cycle 1, weight", "unknown key", "administered_at")),
    "unknown key of a scan": (
        lambda d: first(d).update(scans=[{"spect": "x", "cta": "y"}]),
        ("cycle 1, scan 1, cta", "unknown key", "spect, ct"),
    ),
    "other schema": (lambda d: d.update(schema="lutetia.case/2"), ("lutetia.case/2", "expected 'lutetia.case/1'")),
    "cycle missing": (lambda d: first(d).update(number=2), ("numbered [2]", "1, 2, 3")),
    # kidneys
    "one kidney of two": (
        lambda d: first(d)["regions"].update(
            file=table({"left kidney": TIMES_H}), masses_g={"left kidney": MASSES["left kidney"]}
        ),
        ("cycle 1", "only the left kidney", "kidneys_present = 1"),
    ),
    "two kidneys of one": (
        lambda d: d["subject"].update(kidneys_present=1),
        ("cycle 1", "two kidneys were measured", "correct one"),
    ),
    "pair and single": (
        lambda d: first(d)["regions"].update(
            file=GOOD + "kidneys,24,50,2\n", masses_g={n: MASSES[n] for n in ORGANS} | {"kidneys": 270.0}
        ),
        ("cycle 1", "as a pair and singly", "keep one"),
    ),
    "two whole bodies": (rows("whole body,24,500,20\n"), ("cycle 1", "whole body is in regions.csv and", "keep one")),
    # files
    "no such file": (lambda d: first(d)["regions"].update(file="nope.csv"), ("cycle 1, regions", "nope.csv", "path")),
    "folder in place of a file": (
        lambda d: first(d)["regions"].update(file="."),
        ("cycle 1, regions", "found no file"),
    ),
    "open quote": (rows('"spleen,200,5,1\n'), ("cycle 1, regions", "row 16", "not CSV", "quotes")),
    "short row": (rows("spleen,200\n"), ("row 17", "expected 4 values")),
    # doses as results
    "doses and measurements": (
        lambda d: first(d).update(doses={"file": DOSES + "kidneys,total,5,,,\n"}),
        ("cycle 1", "entered as results", "keep one"),
    ),
    "total against parts": (
        doses("kidneys,total,9.1,,,\nkidneys,Lu-177,1.6,,,\nkidneys,Y-90,5.5,,,\n"),
        ("cycle 1, doses", "total of 9.1 Gy", "add up to 7.1 Gy"),
    ),
    "dose of a nuclide not given": (doses("kidneys,Ac-225,1.6,,,\n"), ("cycle 1, doses", "Ac-225", "did not give")),
    "dose of one nuclide of two": (doses("kidneys,Lu-177,1.6,,,\n"), ("cycle 1, doses", "lacks the dose of Y-90")),
    "BED below dose": (doses("kidneys,total,7.1,,5,\n"), ("row 1, bed_Gy", "found 5", "7.1 Gy")),
    "negative dose": (doses("kidneys,total,-7.1,,,\n"), ("row 1, absorbed_dose_Gy", "-7.1")),
    "dose given twice": (doses("kidneys,total,7,,,\nkidneys,total,7,,,\n"), ("kidneys, total", "twice")),
    "doses that give no forecast": (
        doses("kidneys,total,7.1,,,\n"),
        ("cycle 2", "no limit can be evaluated", "kidneys", "for each nuclide"),
    ),
    "prior BED below dose": (
        lambda d: d["subject"].update(prior_therapy=[{"region": "kidneys", "absorbed_dose_Gy": 9.0, "bed_Gy": 1.0}]),
        ("subject, prior_therapy 1", "bed_Gy 1", "absorbed_dose_Gy 9"),
    ),
    # laboratory values
    "labs of another subject": (
        lambda d: d["subject"].update(
            labs="subject_id,analyte,taken_at,value,unit\nOTHER-7,platelets,2026-03-01,200,10^9/L\n"
        ),
        ("labs", "1 other subject", "keep this subject's rows"),
    ),
    "labs in an unknown unit": (
        lambda d: d["subject"].update(labs="analyte,taken_at,value,unit\nplatelets,2026-03-01,200,furlong\n"),
        ("labs", "row 2", "furlong"),
    ),
    "unknown analyte": (
        lambda d: d["subject"].update(labs="analyte,taken_at,value,unit\nplatelet dust,2026-03-01,200,10^9/L\n"),
        ("labs", "row 2", "platelet dust"),
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_with_place_and_remedy(name: str, tmp_path: Path) -> None:
    change, fragments = BAD[name]
    data = deepcopy(case_data(table_cycle()))
    change(data)
    refused(write_case(tmp_path / "case", data), *fragments)


def test_all_problems_of_a_case_file_are_in_one_message(tmp_path: Path) -> None:
    data = case_data(table_cycle(colour="red"))
    data["subject"]["sex"] = "unknown"
    refused(write_case(tmp_path / "case", data), "2 problems", "cycle 1, colour", "subject, sex")


def test_another_subject_in_the_laboratory_values_is_not_named(tmp_path: Path) -> None:
    data = case_data(table_cycle())
    data["subject"]["labs"] = "subject_id,analyte,taken_at,value,unit\nWISNIEWSKA,platelets,2026-03-01,200,10^9/L\n"
    assert "WISNIEWSKA" not in refused(write_case(tmp_path / "case", data))


def test_a_case_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    case = tmp_path / "case"
    case.mkdir()
    (case / "case.toml").write_bytes(b"schema = \xff\xfe\n")
    refused(case, "case.toml", "not valid TOML")
    (case / "case.toml").write_text('schema = "lutetia.case/1', encoding="utf-8")
    refused(case, "case.toml", "not valid TOML", "unterminated string")


def test_a_folder_without_case_and_a_huge_case_file_are_refused(tmp_path: Path) -> None:
    case = tmp_path / "case"
    case.mkdir()
    refused(case, "no case.toml", "new-case")
    (case / "case.toml").write_text("#" * 1_000_001, encoding="utf-8")
    refused(case, "case.toml", "1000001 bytes", "at most 1000000")


def test_a_table_that_is_not_text_is_refused(tmp_path: Path) -> None:
    case = write_case(tmp_path / "case", case_data(table_cycle(blood={"file": "blood.csv"})))
    (case / "blood.csv").write_bytes(b"time_h,activity_MBq_per_mL\n4,\xff\xfe\n")
    refused(case, "cycle 1, blood, blood.csv", "not UTF-8", "save the table")
