"""Laboratory values: dry run, row-by-row reasons, units, duplicates, dates, plausibility, grades, missing codes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.workflow.treated_trial import COORDINATOR, ELSEWHERE, OFFICER, SUBJECT, Story, make_story, person

from lutetia.errors import (
    AccessDeniedError,
    InputError,
    LockedRecordError,
    MissingRecordError,
    ReasonRequiredError,
    StaleRecordError,
)
from lutetia.trial import SYSTEM, Change, Create
from lutetia.workflow.course_records import lab_values
from lutetia.workflow.laboratory import (
    CHANGED,
    NEW,
    REFUSED,
    SAME,
    EnterLabs,
    ImportLabs,
    LabEntry,
    LabPreview,
    enter_labs,
    import_labs,
    preview_labs,
)
from lutetia.workflow.laboratory_reading import graded_values, strange_rows
from lutetia.workflow.missing import MISSING_CODES, RecordMissing, missing_code, record_missing
from lutetia.workflow.vitals import RecordVitals, record_vitals

HEADER = "subject_id,sample_id,analyte,taken_at,value,unit,lln,uln,missing_reason\n"
GOOD = f"{SUBJECT},S1,platelets,2026-01-04T08:00:00+01:00,240,10^9/L,150,400,\n"


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = make_story(tmp_path)
    yield made
    made.trial.close()


def file(*rows: str, header: str = HEADER) -> ImportLabs:
    return ImportLabs((header + "".join(rows)).encode(), "labs.csv")


def dry_run(story: Story, *rows: str) -> LabPreview:
    before = story.trial.head().head
    found = preview_labs(story.trial, COORDINATOR, file(*rows))
    assert story.trial.head().head == before
    return found


def test_a_dry_run_says_what_would_happen_and_writes_nothing(story: Story) -> None:
    import_labs(story.trial, COORDINATOR, file(GOOD))
    changed = GOOD.replace(",240,", ",230,")
    new = GOOD.replace(",S1,", ",S2,")
    assert [r.status for r in dry_run(story, GOOD, new).rows] == [SAME, NEW]
    assert [r.status for r in dry_run(story, changed).rows] == [CHANGED]
    assert [r.status for r in dry_run(story, GOOD.replace(",240,", ",240.0,")).rows] == [SAME]
    assert len(story.rows("labs")) == 1


REFUSALS = {
    "unknown subject": (GOOD.replace(SUBJECT, "DUO-999"), "not in this trial"),
    "no subject": (GOOD.replace(SUBJECT, ""), "not in this trial"),
    "unknown analyte": (GOOD.replace("platelets", "plankton"), "unknown analyte"),
    "wrong unit": (GOOD.replace("10^9/L", "mg/dL"), "found unit"),
    "no unit": (GOOD.replace("10^9/L", ""), "found unit"),
    "future date": (GOOD.replace("2026-01-04", "2026-01-06"), "in the future"),
    "no date": (GOOD.replace("2026-01-04T08:00:00+01:00", ""), "expected a time"),
    "day before month": (GOOD.replace("2026-01-04T08:00:00+01:00", "04.01.2026"), "expected a time"),
    "year": (GOOD.replace("2026-01-04", "1926-01-04"), "check the year"),
    "a word": (GOOD.replace(",240,", ",many,"), "expected a number"),
    "decimal comma": (GOOD.replace(",240,", ',"240,5",'), "decimal point"),
    "negative": (GOOD.replace(",240,", ",-3,"), "number ≥ 0"),
    "not a number": (GOOD.replace(",240,", ",NaN,"), "number ≥ 0"),
    "limits in another unit": (GOOD.replace(",150,400,", ",150000,400000,"), "in another unit than the value?"),
    "limits upside down": (GOOD.replace(",150,400,", ",400,150,"), "not below uln"),
    "nothing": (GOOD.replace(",240,", ",,"), "is missing"),
    "value and reason": (GOOD.replace(",400,", ",400,not done"), "keep one"),
    "a field too many": (GOOD.replace(",150,400,", ",150,4,5,"), "found 10 fields; expected 9; put a text"),
    "cut off": (f"{SUBJECT},S1,platelets,2026-01-04T08:00\n", "found 4 fields; expected 9; the row is cut off"),
    "an open quote": (GOOD.replace(",S1,", ',"S1,') + 'x"' + GOOD[len(SUBJECT) :], "a quote is not closed"),
    "another spelling": (GOOD.replace("platelets", "trombocytes"), "did you mean thrombocytes?"),
    "misspelt": (GOOD.replace("platelets", "plateletts"), "unknown analyte 'plateletts'; did you mean platelets?"),
    "a time twice": (GOOD.replace("2026-01-04T08:00:00+01:00", "2025-10-26T02:30"), "exists twice in Europe/Warsaw"),
    "no such time": (GOOD.replace("2026-01-04T08:00:00+01:00", "2025-03-30T02:30"), "does not exist in Europe/Warsaw"),
    "unknown reason": (GOOD.replace(",240,", ",,").replace(",400,", ",400,forgot"), "expected one of not done"),
}


@pytest.mark.requirement(31)
@pytest.mark.parametrize("name", REFUSALS)
def test_a_bad_row_is_refused_with_its_reason_and_nothing_is_stored(story: Story, name: str) -> None:
    row, words = REFUSALS[name]
    good, bad = dry_run(story, GOOD, row).rows
    assert (good.status, bad.status) == (NEW, REFUSED)
    assert words in bad.reason
    assert bad.number == 3
    before = story.trial.head().head
    with pytest.raises(InputError, match=r"nothing was stored\nrow 3: "):
        import_labs(story.trial, COORDINATOR, file(GOOD, row))
    assert story.trial.head().head == before
    stored = import_labs(story.trial, COORDINATOR, replace(file(GOOD, row), skip_refused=True))
    assert stored.preview.count(REFUSED) == 1
    assert len(story.rows("labs")) == 1


def test_the_same_sample_twice_in_a_file_is_refused(story: Story) -> None:
    assert "in row 2 already" in dry_run(story, GOOD, GOOD).rows[1].reason


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "labs.csv: is empty"),
        (b"\xef\xbb\xbf \r\n", "labs.csv: is empty"),
        (b"a,b\n1,2\n", "column 'subject_id' is missing"),
        ((HEADER.replace("lln", "value") + GOOD).encode(), "the column 'value' stands 2 times; keep one"),
        ((HEADER + GOOD.replace("240", "2\x0040")).encode(), "zero byte in line 2"),
        ((HEADER + GOOD.replace("10^9/L", "µmol/l")).encode("latin-1"), "is not UTF-8 text"),
        ((HEADER + GOOD * 20_001).encode(), "found 20001 rows; expected at most 20000; split the file"),
        (HEADER.encode(), "found a header and no row"),
        ((HEADER + GOOD.replace(",S1,", ',"S1,')).encode(), "is no CSV table"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (HEADER.replace(",", ";").encode(), "columns are separated by ';'; expected ',' and numbers with a decimal"),
        (HEADER.replace(",", "\t").encode(), "columns are separated by tabs; expected ','"),
    ],
)
def test_a_file_that_is_no_table_is_refused(story: Story, content: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        preview_labs(story.trial, COORDINATOR, ImportLabs(content, "labs.csv"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_file_that_says_how_it_is_encoded_is_read_with_its_line_ends_and_blank_rows(
    story: Story, encoding: str
) -> None:
    text = "\r\n".join((HEADER.strip(), "", GOOD.replace("10^9/L", "10⁹/L").strip(), ",,,,,,,,", GOOD.strip()))
    rows = preview_labs(story.trial, COORDINATOR, ImportLabs(text.encode(encoding), "labs.csv")).rows
    assert [(r.number, r.status) for r in rows] == [(3, NEW), (5, REFUSED)]
    assert "in row 3 already" in rows[1].reason, "rows are numbered as in the spreadsheet"


def test_units_may_differ_from_row_to_row_and_a_corrected_one_changes_the_stored_value(story: Story) -> None:
    rows = [f"{SUBJECT},S{i},creatinine,2026-01-04T08:0{i}:00+01:00,{v},{u},,,\n"
            for i, (v, u) in enumerate((("70", "µmol/l"), ("0.8", "mg/dL"), ("70", "mg/dL")))]  # fmt: skip
    found = import_labs(story.trial, COORDINATOR, file(*rows)).preview
    assert [len(r.findings) for r in found.rows] == [0, 0, 1], "the third is not plausible in its unit"
    again = dry_run(story, rows[1], rows[2].replace("mg/dL", "umol/L"))
    assert [r.status for r in again.rows] == [SAME, CHANGED]
    assert "unit: stored is 'mg/dL'" in again.rows[1].reason


def test_two_values_of_one_analyte_at_one_time_are_asked_about_whatever_their_samples_are_called(story: Story) -> None:
    other = GOOD.replace(",S1,", ",S2,").replace(",240,", ",24,")
    found = dry_run(story, GOOD, other).rows
    assert [len(r.findings) for r in found] == [0, 1]
    import_labs(story.trial, COORDINATOR, file(GOOD))
    stored = import_labs(story.trial, COORDINATOR, file(other, other.replace(",S2,", ",S3,").replace(",24,", ",240,")))
    words = "platelets 24 10^9/L at the same time as 240 10^9/L of sample S1; which one is right?"
    reverse = "platelets 240 10^9/L at the same time as 24 10^9/L of sample S2; which one is right?"
    assert [r.findings for r in stored.preview.rows] == [(words,), (reverse,)]
    assert stored.queries == 2
    later = other.replace("T08:00", "T09:00").replace(",S2,", ",S4,")
    assert dry_run(story, later).rows[0].findings == ()


def entered(value: str, analyte: str = "platelets", **more: Any) -> EnterLabs:
    limits = {"platelets": ("150", "400"), "neutrophils": ("1.8", "7.5")}[analyte]
    entry = LabEntry(analyte, value, "10^9/L", *limits)
    return EnterLabs(SUBJECT, "2026-01-04T08:00+01:00", [entry], "S1", **more)


def test_of_two_forms_on_one_sample_the_second_is_refused_even_with_a_reason(story: Story) -> None:
    enter_labs(story.trial, COORDINATOR, entered("240", versions={}))
    with pytest.raises(StaleRecordError, match="sample S1, platelets: somebody stored another value"):
        enter_labs(story.trial, COORDINATOR, entered("250", versions={}, reason="mine"))
    enter_labs(story.trial, COORDINATOR, entered("240", versions={}))
    first = entered("250", versions={"platelets": 1}, reason="typing error")
    enter_labs(story.trial, COORDINATOR, first)
    with pytest.raises(StaleRecordError):
        enter_labs(story.trial, COORDINATOR, replace(first, entries=entered("260").entries))
    enter_labs(story.trial, COORDINATOR, entered("4.1", "neutrophils", versions={"platelets": 1}))
    assert {r["analyte"]: r["value"] for r in story.rows("labs")} == {"platelets": "250", "neutrophils": "4.1"}


def test_a_stored_row_that_is_not_understood_is_left_out_of_readings_and_stops_decisions(story: Story) -> None:
    import_labs(story.trial, COORDINATOR, file(GOOD))
    odd = {"subject_id": SUBJECT, "sample_id": "S1", "taken_at": "2026-01-04T07:00:00+00:00", "unit": "10^9/L"}
    rows = [odd | {"analyte": "plankton", "value": "3"}, odd | {"analyte": "alt", "value": "30"},
            odd | {"analyte": "krill", "missing_reason": "not done"}]  # fmt: skip
    story.trial.commit(Change("odd", [Create("labs", row) for row in rows]), SYSTEM)
    with story.trial.read() as reader:
        assert list(graded_values(reader, SUBJECT)) == ["platelets"]
        strange = {row["analyte"]: why for row, why in strange_rows(reader, SUBJECT)}
        assert "unknown analyte" in strange["plankton"]
        assert "found unit '10^9/L'" in strange["alt"]
        assert "unknown analyte" in strange["krill"]
        with pytest.raises(InputError, match=r"sample S1, (plankton|alt): is not understood .*; correct it"):
            lab_values(reader, SUBJECT)
    assert dry_run(story, GOOD.replace(",S1,", ",S2,")).rows[0].status == NEW, "entry goes on"


def test_a_subject_of_another_site_is_refused(story: Story) -> None:
    row = preview_labs(story.trial, ELSEWHERE, file(GOOD)).rows[0]
    assert row.status == REFUSED
    assert "another site" in row.reason


def test_roles_that_enter_no_data_are_refused(story: Story) -> None:
    for actor in (OFFICER, person("moni", "monitor")):
        with pytest.raises(AccessDeniedError, match="enter_data"):
            preview_labs(story.trial, actor, file(GOOD))


@pytest.mark.requirement(31)
def test_units_are_recognised_and_values_stored_as_printed(story: Story) -> None:
    rows = (
        f"{SUBJECT},S1,Hb,2026-01-04T08:00:00+01:00,12.8,g/dL,12,16,\n",
        f"{SUBJECT},S1,SGPT,2026-01-04T08:00:00+01:00,30,IU/l,,35,\n",
        f"{SUBJECT},S1,PLT,2026-01-04T08:00:00+01:00,240,x10E9/l,150,400,\n",
    )
    import_labs(story.trial, COORDINATOR, file(*rows))
    stored = {r["analyte"]: (r["value"], r["unit"]) for r in story.rows("labs")}
    assert stored == {"haemoglobin": ("12.8", "g/dL"), "alt": ("30", "IU/l"), "platelets": ("240", "x10E9/l")}


@pytest.mark.requirement(31)
def test_an_implausible_value_is_stored_and_asked_about(story: Story) -> None:
    row = GOOD.replace(",240,", ",240000,")
    found = import_labs(story.trial, COORDINATOR, file(row))
    assert found.queries == 1
    query, message = story.row("queries"), story.row("query_messages")
    assert (query["state"], query["table_name"], query["field"]) == ("OPEN", "labs", "value")
    assert "check its unit" in message["text"]
    assert len(story.rows("labs")) == 1


def test_a_sample_outside_of_its_visit_window_is_asked_about(story: Story) -> None:
    from lutetia.workflow.cycles import PlanCycle, plan_cycle

    plan_cycle(story.trial, COORDINATOR, PlanCycle(SUBJECT, "2026-01-20"))
    entry = LabEntry("platelets", "240", "10^9/L", "150", "400")
    found = enter_labs(story.trial, COORDINATOR, EnterLabs(SUBJECT, "2026-01-04", [entry], visit="cycle 1"))
    assert found.queries == 1
    assert "outside of the window of cycle 1" in story.row("query_messages")["text"]


def test_each_value_is_graded_at_entry(story: Story) -> None:
    rows = [GOOD.replace(",S1,", f",S{i},").replace(",240,", f",{v},") for i, v in enumerate((149, 74, 49, 24))]
    found = import_labs(story.trial, COORDINATOR, file(*rows))
    assert [r.grade for r in found.preview.rows] == [1, 2, 3, 4]
    assert next(r["further"] for r in story.rows("labs")) == {"ctcae": "5.0", "grade_at_entry": 1}


def test_a_change_of_a_stored_value_needs_a_reason(story: Story) -> None:
    import_labs(story.trial, COORDINATOR, file(GOOD))
    changed = file(GOOD.replace(",240,", ",230,"))
    with pytest.raises(ReasonRequiredError):
        import_labs(story.trial, COORDINATOR, changed)
    assert story.row("labs")["value"] == "240"
    import_labs(story.trial, COORDINATOR, replace(changed, reason="laboratory sent a correction"))
    assert story.row("labs")["value"] == "230"


@pytest.mark.requirement(33)
@pytest.mark.parametrize("code", MISSING_CODES)
def test_a_missing_value_says_why(story: Story, code: str) -> None:
    row = GOOD.replace(",240,", ",,").replace(",400,", f",400,{code}")
    import_labs(story.trial, COORDINATOR, file(row))
    stored = story.row("labs")
    assert (stored["value"], stored["missing_reason"]) == (None, code)


@pytest.mark.requirement(33)
def test_a_value_below_detection_keeps_its_limit(story: Story) -> None:
    row = f"{SUBJECT},S1,bilirubin,2026-01-04T08:00:00+01:00,<1.5,umol/L,3,21,\n"
    import_labs(story.trial, COORDINATOR, file(row))
    stored = story.row("labs")
    assert (stored["qualifier"], stored["value"]) == ("<", "1.5")


@pytest.mark.requirement(33)
def test_any_field_of_any_form_can_say_why_it_is_missing(story: Story) -> None:
    command = RecordMissing(SUBJECT, "vitals", f"{SUBJECT} / 2026-01-04", "weight_kg", "N/A", "wheelchair")
    with pytest.raises(MissingRecordError, match="enter the form first"):
        record_missing(story.trial, COORDINATOR, command)
    record_vitals(story.trial, COORDINATOR, RecordVitals(SUBJECT, "2026-01-04", ecog=1))
    record_missing(story.trial, COORDINATOR, command)
    assert story.row("missing_reasons")["reason"] == "not applicable"
    with pytest.raises(InputError, match="ecog: found the value 1; expected none"):
        record_missing(story.trial, COORDINATOR, replace(command, field="ecog"))
    with pytest.raises(ReasonRequiredError):
        record_missing(story.trial, COORDINATOR, replace(command, code="unknown"))
    with pytest.raises(InputError, match="expected one of"):
        record_missing(story.trial, COORDINATOR, replace(command, code="lazy"))
    with pytest.raises(InputError, match="has no field"):
        record_missing(story.trial, COORDINATOR, replace(command, field="height"))
    assert missing_code(" Not-Done ") == "not done"
    lock = {"lock_id": 1, "level": "subject", "subject_id": SUBJECT, "state": "locked", "locked_by": "dan",
            "locked_at": "2026-01-05T07:00:00+00:00"}  # fmt: skip
    story.trial.commit(Change("lock", [Create("locks", lock)]), SYSTEM)
    with pytest.raises(LockedRecordError, match="found the subject locked since"):
        record_missing(story.trial, COORDINATOR, replace(command, code="unknown", reason="read again"))


def test_a_day_without_time_is_stored_as_a_day(story: Story) -> None:
    import_labs(story.trial, COORDINATOR, file(GOOD.replace("2026-01-04T08:00:00+01:00", "2026-01-04")))
    assert story.row("labs")["taken_at"] == "2026-01-04"


def test_a_value_after_death_is_refused(story: Story) -> None:
    from lutetia.workflow.follow_up import Leave, leave

    leave(story.trial, COORDINATOR, Leave(SUBJECT, "died", "2026-01-03", "progression"))
    assert "after the subject died" in dry_run(story, GOOD).rows[0].reason


def test_a_changed_time_is_told_in_local_minutes(story: Story) -> None:
    import_labs(story.trial, COORDINATOR, file(GOOD))
    later = dry_run(story, GOOD.replace("T08:00:00+01:00", "T08:30:00.123456Z"))
    reason = "taken_at: stored is 2026-01-04 08:00, found 2026-01-04 09:30; a change needs a reason"
    assert later.rows[0].reason == reason
    assert dry_run(story, GOOD.replace("2026-01-04T08:00:00+01:00", "2026-01-04T07:00Z")).rows[0].status == SAME


def test_a_large_file_is_checked_quickly(story: Story) -> None:
    rows = [
        GOOD.replace(",S1,", f",S{i},").replace("2026-01-04", (datetime(2025, 12, 1, tzinfo=UTC)
                                                               + timedelta(days=i % 30)).date().isoformat())
        for i in range(2000)
    ]  # fmt: skip
    found = import_labs(story.trial, COORDINATOR, file(*rows))
    assert found.preview.count(NEW) == len(story.rows("labs")) == 2000
