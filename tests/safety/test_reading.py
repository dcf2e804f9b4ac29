"""Reading a trial: every row is used or listed, the cut is an event date, doubts are named."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.small_trial import STUDY, Row, dose, folder, given, labs, rows, subject, trial

from lutetia.dataset.folder import Dataset, read_dataset, snapshot_hash
from lutetia.errors import InputError
from lutetia.safety.reading import TrialData, read_trial


def two_subjects() -> dict[str, list[Row]]:
    return {
        "subjects": [subject("S1"), subject("S2", "B"), subject("S3", "")],
        "disposition": rows(
            "subject_id event on\nS1 screened 2025-12-20\nS1 randomised 2026-01-02\nS3 screened 2025-12-22"
        ),
        "administrations": [
            *given("S1", 1, "2026-01-12", Lu_177=7400.0),
            *given("S2", 1, "2026-01-13", Lu_177=3700.0, Y_90=3700.0),
        ],
        "labs": labs("S1", "platelets", {"2026-01-05": 250, "2026-01-26": 180}, unit="10^9/L", lln="150", uln="400"),
        "doses": dose("S1", 1, "kidneys", Lu_177=3.0, total=3.0),
        "adverse_events": rows(
            "subject_id ae_id seq started_on ended_on term grade\nS1 1 1 2026-02 2026-03-20 Nausea 2"
        ),
    }


def reasons(data: TrialData, table: str) -> list[tuple[int, str]]:
    return [(item.row, item.reason) for item in data.accounting.listed if item.table == table]


def kinds(data: TrialData) -> set[str]:
    return {finding.kind for finding in data.accounting.findings}


def test_every_row_of_a_sound_trial_is_used(tmp_path: Path) -> None:
    data = trial(tmp_path, two_subjects())
    assert data.accounting.listed == ()
    assert {c.table: c.used for c in data.accounting.counts if c.used} == {
        "subjects": 3, "disposition": 3, "administrations": 3, "doses": 2, "labs": 2, "adverse_events": 1,
    }  # fmt: skip


def test_frames_keep_the_number_of_the_row_in_the_file(tmp_path: Path) -> None:
    data = trial(tmp_path, two_subjects())
    assert data["administrations"]["row"].tolist() == [2, 3, 4]


def test_what_cannot_be_read_is_listed_with_what_was_found(tmp_path: Path) -> None:
    tables = two_subjects()
    tables["labs"] += [
        {**tables["labs"][0], "sample_id": "x1", "analyte": "unobtainium"},
        {**tables["labs"][0], "sample_id": "x2", "unit": "mg/dL"},
        {**tables["labs"][0], "sample_id": "x3", "value": "many"},
        {**tables["labs"][0], "sample_id": "x4", "taken_at": "yesterday"},
        {**tables["labs"][0], "sample_id": "x5", "value": "", "missing_reason": "haemolysed"},
        {**tables["labs"][0], "sample_id": "x6", "subject_id": "S9"},
        {**tables["labs"][0], "sample_id": "x7", "taken_at": "2026-01-05T08:00:00"},
    ]
    data = trial(tmp_path, tables)
    assert reasons(data, "labs") == [
        (4, "unknown name"), (5, "cannot be read"), (6, "cannot be read"), (7, "cannot be read"), (8, "no value"),
        (9, "unknown subject"), (10, "cannot be read"),
    ]  # fmt: skip
    details = [item.detail for item in data.accounting.listed]
    assert "unobtainium" in details[0]
    assert "found unit 'mg/dL'; expected one of 10^9/L" in details[1]
    assert details[4] == "haemolysed"
    assert "without offset" in details[6]


def test_a_bad_optional_cell_is_missing_and_noted_a_bad_essential_one_lists_the_row(tmp_path: Path) -> None:
    tables = two_subjects()
    tables["subjects"][0]["height_cm"] = "tall"
    tables["administrations"][0]["administered_MBq"] = "-1"
    data = trial(tmp_path, tables)
    assert data["subjects"]["height_cm"].isna().tolist() == [True, False, False]
    assert [f.text for f in data.accounting.findings if f.kind.startswith("value not readable")] == [
        "height_cm: found 'tall'; expected a number ≥ 0"
    ]
    assert reasons(data, "administrations") == [(2, "cannot be read")]
    assert reasons(data, "doses") == [(2, "no administration of this cycle"), (3, "no administration of this cycle")]


@pytest.mark.parametrize("huge", ["9" * 40, "1e12", "-1e300", "1e400"])
def test_a_number_beyond_all_quantities_is_not_read(tmp_path: Path, huge: str) -> None:
    tables = two_subjects()
    tables["labs"][1]["value"] = huge
    tables["administrations"][0]["administered_MBq"] = huge
    data = trial(tmp_path, tables)
    assert reasons(data, "labs") == [(3, "cannot be read")]
    assert reasons(data, "administrations") == [(2, "cannot be read")]


def test_an_unknown_arm_takes_its_subject_out_with_all_rows(tmp_path: Path) -> None:
    tables = two_subjects()
    tables["subjects"][1]["arm"] = "Z"
    data = trial(tmp_path, tables)
    assert reasons(data, "subjects") == [(3, "unknown arm")]
    assert reasons(data, "administrations") == [(3, "unknown subject"), (4, "unknown subject")]


def raw_folder(path: Path, change: Callable[[dict[str, str]], None]) -> Dataset:
    """A folder whose files were changed as text before its snapshot was taken."""
    folder(path, two_subjects())
    texts = {p.name: p.read_text(encoding="utf-8") for p in path.glob("*.csv")}
    change(texts)
    for file in path.glob("*.csv"):
        if file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        (path / name).write_bytes(text.encode("utf-8"))
    record = json.loads((path / "snapshot.json").read_text())
    names = [*texts, "study.toml"]
    hashes = {n: hashlib.sha256((path / n).read_bytes()).hexdigest() for n in names}
    record["files"] = [{"name": n, "sha256": h} for n, h in hashes.items()]
    record["snapshot_sha256"] = snapshot_hash(hashes)
    (path / "snapshot.json").write_text(json.dumps(record))
    return read_dataset(path)


def test_rows_of_one_key_that_differ_are_all_listed_and_a_repeat_once(tmp_path: Path) -> None:
    def repeat(texts: dict[str, str]) -> None:
        lines = texts["labs.csv"].splitlines()
        texts["labs.csv"] = "\r\n".join([*lines, lines[1], lines[2].replace(",180,", ",18,")]) + "\r\n"

    data = read_trial(raw_folder(tmp_path / "data", repeat))
    assert reasons(data, "labs") == [
        (3, "contradicts a row of the same key"), (4, "repeats another row"), (5, "contradicts a row of the same key"),
    ]  # fmt: skip
    assert data["labs"]["row"].tolist() == [2]


def test_a_row_with_more_cells_than_the_header_is_listed(tmp_path: Path) -> None:
    def widen(texts: dict[str, str]) -> None:
        texts["labs.csv"] = texts["labs.csv"].rstrip("\r\n") + ",surplus\r\n"

    assert reasons(read_trial(raw_folder(tmp_path / "data", widen)), "labs") == [(3, "more cells than the header")]


def test_a_missing_file_and_a_missing_column_are_named(tmp_path: Path) -> None:
    def remove(texts: dict[str, str]) -> None:
        del texts["vitals.csv"]
        texts["labs.csv"] = texts["labs.csv"].replace("unit", "units")

    data = read_trial(raw_folder(tmp_path / "data", remove))
    found = {(f.kind, f.table) for f in data.accounting.findings}
    assert {("file missing", "vitals"), ("column missing", "labs")} <= found
    assert [reason for _, reason in reasons(data, "labs")] == ["cannot be read"] * 2


def test_a_missing_key_column_is_refused(tmp_path: Path) -> None:
    def rename(texts: dict[str, str]) -> None:
        texts["labs.csv"] = texts["labs.csv"].replace("sample_id", "sample")

    with pytest.raises(InputError, match=r"labs\.csv: the column 'sample_id' is missing"):
        raw_folder(tmp_path / "one", rename)


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    def double(texts: dict[str, str]) -> None:
        texts["vitals.csv"] = "subject_id,taken_on,ecog,ecog\r\n"

    with pytest.raises(InputError, match="stands in the header twice"):
        raw_folder(tmp_path / "one", double)


def test_a_folder_without_study_is_refused(tmp_path: Path) -> None:
    folder(tmp_path / "data", two_subjects())
    (tmp_path / "data" / "study.toml").unlink()
    with pytest.raises(InputError, match=r"study\.toml is missing"):
        read_dataset(tmp_path / "data")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('base_MBq = { "Lu-177" = 7400.0 }', "", "arms.A: base_MBq: found None"),
        ('variable = "Y-90"', 'variable = "I-131"', "variable is 'I-131'; expected one of Lu-177, Y-90"),
        ("limit_Gy = 23.0", 'limit_Gy = "23"', "limits 1: limit_Gy: found '23'; expected a number"),
        ('metric = "absorbed_dose"', 'metric = "dose"', "metric is 'dose'"),
        ("window_days = [7, 21]", "window_days = [21, 7]", "visits 2: window_days"),
    ],
)
def test_a_study_description_that_cannot_be_used_is_refused_by_key(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        trial(tmp_path, two_subjects(), study=STUDY.replace(old, new))
    assert message in str(caught.value)


def test_events_on_the_day_of_the_cut_count_and_later_ones_are_listed(tmp_path: Path) -> None:
    data = trial(tmp_path, two_subjects(), cut="2026-01-26")
    assert len(data["labs"]) == 2
    assert reasons(data, "adverse_events") == [(2, "after the cut")]
    earlier = read_trial(read_dataset(tmp_path / "data"), "2026-01-25")
    assert reasons(earlier, "labs") == [(3, "after the cut")]


def test_a_cut_with_a_time_counts_to_the_minute(tmp_path: Path) -> None:
    folder(tmp_path / "data", two_subjects())
    dataset = read_dataset(tmp_path / "data")
    before = read_trial(dataset, "2026-01-12T08:59:00+00:00")
    assert reasons(before, "administrations") == [(2, "after the cut"), (3, "after the cut"), (4, "after the cut")]
    assert [reason for _, reason in reasons(before, "doses")] == ["after the cut"] * 2
    assert len(read_trial(dataset, "2026-01-12T09:00:00+00:00")["administrations"]) == 1


def test_an_adverse_event_open_at_the_cut_is_ongoing(tmp_path: Path) -> None:
    data = trial(tmp_path, two_subjects(), cut="2026-03-01")
    event = data["adverse_events"].iloc[0]
    assert event["ongoing"]
    assert event["ended_on"] is None or event.isna()["ended_on"]
    closed = read_trial(read_dataset(tmp_path / "data"), "2026-03-20")["adverse_events"].iloc[0]
    assert str(closed["ended_on"].date()) == "2026-03-20"


def test_a_treatment_that_goes_on_after_the_cut_lasts_to_the_cut(tmp_path: Path) -> None:
    text = "subject_id kind started_on ended_on\nS1 g_csf 2026-01-15 2026-03-20"
    tables = two_subjects() | {"treatments": rows(text)}
    data = trial(tmp_path, tables, cut="2026-02-28")
    assert str(data["treatments"]["ended_on"].iloc[0].date()) == "2026-02-28"


def test_a_prescription_signed_after_the_cut_was_a_proposal_at_the_cut(tmp_path: Path) -> None:
    text = (
        "subject_id cycle version nuclide state prescribed_MBq proposed_at signed_by signed_at override_by\n"
        "S2 2 1 Y-90 RELEASED 1850 2026-03-01T09:00:00+00:00 physician 2026-03-03T09:00:00+00:00 second"
    )
    tables = two_subjects() | {"prescriptions": rows(text)}
    before = trial(tmp_path, tables, cut="2026-03-02")["prescriptions"].iloc[0]
    assert (before["state"], before["signed_by"], before["override_by"]) == ("PROPOSED", "", "")
    after = read_trial(read_dataset(tmp_path / "data"), "2026-03-03")["prescriptions"].iloc[0]
    assert (after["state"], after["signed_by"], after["override_by"]) == ("RELEASED", "physician", "second")


def test_a_prior_dose_that_is_not_stated_is_told_and_not_silently_none(tmp_path: Path) -> None:
    tables = two_subjects()
    tables["subjects"][1]["prior_kidney_Gy"] = ""
    tables["subjects"][2]["prior_marrow_Gy"] = ""  # never treated
    found = [f for f in trial(tmp_path, tables).accounting.findings if f.kind == "prior dose not stated"]
    assert [(f.rows, f.text) for f in found] == [
        ((3,), "prior_kidney_Gy: not stated for 1 treated subject; taken as none")
    ]


def test_a_partial_date_spans_its_month(tmp_path: Path) -> None:
    event = trial(tmp_path, two_subjects())["adverse_events"].iloc[0]
    assert (str(event["started_on"].date()), str(event["started_on_last"].date())) == ("2026-02-01", "2026-02-28")


def test_a_subject_randomised_after_the_cut_was_only_screened(tmp_path: Path) -> None:
    data = trial(tmp_path, two_subjects(), cut="2026-01-01")
    found = dict(zip(data["subjects"]["subject_id"], data["subjects"]["arm"], strict=True))
    assert found == {"S1": "", "S3": ""}  # S2 has no screening date and is listed
    assert reasons(data, "subjects") == [(3, "after the cut")]


def test_the_date_of_randomisation_can_come_from_the_disposition(tmp_path: Path) -> None:
    tables = two_subjects()
    tables["subjects"][0]["randomised_on"] = ""
    before = trial(tmp_path, tables, cut="2026-01-01")
    assert before["subjects"].set_index("subject_id")["arm"]["S1"] == ""
    after = read_trial(read_dataset(tmp_path / "data"), "2026-01-02")
    assert after["subjects"].set_index("subject_id")["arm"]["S1"] == "A"


def test_a_cut_after_the_snapshot_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="after the snapshot was extracted"):
        trial(tmp_path, two_subjects(), cut="2027-02-01")


def test_dates_out_of_order_are_named_and_an_end_before_its_start_is_missing(tmp_path: Path) -> None:
    tables = two_subjects()
    tables["treatments"] = rows("subject_id kind started_on ended_on\nS1 epo 2026-02-10 2026-02-01")
    tables["administrations"] += given("S1", 2, "2026-01-05", Lu_177=7400.0)
    tables["disposition"] += rows("subject_id event on\nS1 consented 2026-01-20")
    data = trial(tmp_path, tables)
    texts = [f.text for f in data.accounting.findings if f.kind == "dates out of order"]
    assert any("ends on 2026-02-01 before it starts on 2026-02-10" in text for text in texts)
    assert any("S1: cycle 1 starts after cycle 2" in text for text in texts)
    assert any("S1: randomised on 2026-01-02 before consented on 2026-01-20" in text for text in texts)
    assert data["treatments"]["ended_on"].isna().all()


def test_doubts_name_thin_arms_missing_limits_of_normal_and_activities(tmp_path: Path) -> None:
    tables = two_subjects()
    tables["labs"] += labs("S1", "alt", {"2026-01-05": 30}, unit="U/L")
    tables["labs"] += labs("S1", "haemoglobin", {"2026-01-05": 13}, unit="g/L", lln="130")
    tables["administrations"][1]["prescribed_MBq"] = "3000"
    data = trial(tmp_path, tables)
    assert {"small arm", "no limits of normal", "implausible value", "activity"} <= kinds(data)
    activity = next(f for f in data.accounting.findings if f.kind == "activity")
    assert activity.text == "S2 cycle 1 Lu-177: administered 123 % of 3000 MBq prescribed"
    assert activity.rows == (3,)


def test_an_empty_trial_is_read(tmp_path: Path) -> None:
    data = trial(tmp_path, {})
    assert all(len(frame) == 0 for frame in data.frames.values())
    assert {f.text for f in data.accounting.findings} == {"arm A has no subject", "arm B has no subject"}


def _damaged(texts: dict[str, str], generator: random.Random) -> None:
    """Ten random faults: cells emptied, swapped, replaced by nonsense, rows repeated or lost."""
    junk = ["", "-3", "nan", "1e999", "2026-13-45", "2026-02", "yes", "x", "0", "é", "99999", "2031-01-01"]
    for _ in range(10):
        name = generator.choice([n for n, text in texts.items() if text.count("\n") > 1])
        table = list(csv.reader(io.StringIO(texts[name])))
        i, j = generator.randrange(1, len(table)), generator.randrange(len(table[0]))
        fault = generator.randrange(4)
        if fault == 0:
            table[i][j] = generator.choice(junk)
        elif fault == 1:
            table.append(list(table[i]))
        elif fault == 2 and len(table) > 2:
            table.pop(i)
        else:
            other = generator.randrange(1, len(table))
            table[i][j], table[other][j] = table[other][j], table[i][j]
        out = io.StringIO()
        csv.writer(out, lineterminator="\r\n").writerows(table)
        texts[name] = out.getvalue()


@pytest.mark.parametrize("seed", range(40))
def test_the_account_balances_on_damaged_data(tmp_path: Path, seed: int) -> None:
    data = read_trial(raw_folder(tmp_path / "data", lambda texts: _damaged(texts, random.Random(seed))))
    for count in data.accounting.counts:
        listed = [item for item in data.accounting.listed if item.table == count.table]
        assert count.read == count.used + count.listed == len(data[count.table]) + len(listed)
        numbers = [*data[count.table]["row"], *(item.row for item in listed)]
        assert sorted(numbers) == list(range(2, count.read + 2))
