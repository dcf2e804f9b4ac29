"""The exchange folder: what is written can be read, and what was changed is noticed."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutetia.dataset.folder import csv_bytes, escaped, read_dataset, restored, write_dataset
from lutetia.dataset.tables import TABLES
from lutetia.errors import InputError, OutputError, UnknownNameError

STUDY = {"study.toml": b'schema = "lutetia.study/1"\n'}
ROWS = {"vitals": [{"subject_id": "S1", "taken_on": "2026-01-01", "weight_kg": "70.5", "note": 'a "quoted", text'}]}


def write(folder: Path) -> str:
    return write_dataset(folder, ROWS, files=STUDY, snapshot={"id": "x"})


def test_tables_come_back_as_they_were_written(tmp_path: Path) -> None:
    digest = write(tmp_path / "data")
    found = read_dataset(tmp_path / "data")
    assert found.snapshot_sha256 == digest
    assert found.tables["vitals"][0]["weight_kg"] == "70.5"
    assert found.tables["vitals"][0]["note"] == 'a "quoted", text'
    assert found.tables["labs"] == ()


TEXTS = [
    "=1+1",
    "+48 600",
    "-",
    "@x",
    "\t=1",
    "\r=1",
    "'=1",
    "''-1.5",
    "'quoted'",
    "'",
    "",
    "\uff1d1",
    "a=b",
    "- none",
    "-1.5.2",
]
NUMBERS = ["-1.5", "+3", "-0", "1e-5", "-.5", "-3.191e-39", "2026-01-01"]


def test_no_cell_is_a_formula_and_every_text_comes_back(tmp_path: Path) -> None:
    rows = [{"subject_id": f"S{n}", "taken_on": "2026-01-01", "note": text, "=cmd()": text}
            for n, text in enumerate(TEXTS + NUMBERS)]  # fmt: skip
    write_dataset(tmp_path / "data", {"vitals": rows}, files=STUDY, snapshot={"id": "x"})
    with (tmp_path / "data" / "vitals.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    column = header.index("note")
    assert "'=cmd()" in header
    assert [line[column] for line in lines[len(TEXTS) :]] == NUMBERS, "numbers stay as they are"
    assert not [line[column] for line in lines[: len(TEXTS)] if line[column].startswith(tuple("=+-@\t\r\uff1d"))]
    found = read_dataset(tmp_path / "data")
    kept = [
        {name: row[name] for name in ("subject_id", "taken_on", "note", "=cmd()")} for row in found.tables["vitals"]
    ]
    assert kept == rows
    assert "begins with '" in found.snapshot["cells"]


@given(st.text(alphabet="'=+-@\t\r\n.e5a", max_size=8))
def test_what_is_escaped_is_restored(text: str) -> None:
    assert restored(escaped(text)) == text


def test_the_snapshot_hash_is_that_of_the_sorted_lines(tmp_path: Path) -> None:
    digest = write(tmp_path / "data")
    paths = [p for p in (tmp_path / "data").iterdir() if p.name != "snapshot.json"]
    lines = sorted(f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in paths)
    assert digest == hashlib.sha256("\n".join(lines).encode()).hexdigest()
    record = json.loads((tmp_path / "data" / "snapshot.json").read_text())
    assert {entry["name"] for entry in record["files"]} == {p.name for p in paths}


def test_every_table_has_its_columns_in_order(tmp_path: Path) -> None:
    write(tmp_path / "data")
    for name, columns in TABLES.items():
        with (tmp_path / "data" / f"{name}.csv").open(newline="") as file:
            assert tuple(next(csv.reader(file)))[: len(columns.names)] == columns.names


def test_a_file_changed_after_the_snapshot_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "data")
    with (tmp_path / "data" / "vitals.csv").open("a") as file:
        file.write("S2,2026-01-02\r\n")
    with pytest.raises(InputError, match=r"vitals\.csv: changed after the snapshot was taken"):
        read_dataset(tmp_path / "data")


def test_a_folder_without_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"study\.toml is missing"):
        read_dataset(tmp_path)


def test_two_rows_with_one_key_are_refused() -> None:
    with pytest.raises(InputError, match="two rows have the key S1, 2026-01-01"):
        csv_bytes("vitals", [ROWS["vitals"][0], ROWS["vitals"][0]])


def test_an_unknown_table_names_close_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean labs"):
        csv_bytes("lab", [])


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="is not an empty folder or an earlier dataset"):
        write(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_an_earlier_dataset_is_replaced_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "data")
    write(tmp_path / "data")
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "file" / "data")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "data")
    path = tmp_path / "data" / "vitals.csv"
    path.write_bytes(b"subject_id,taken_on\r\nS1,2026-01-01\xff\r\n")
    record = json.loads((tmp_path / "data" / "snapshot.json").read_text())
    for entry in record["files"]:
        if entry["name"] == "vitals.csv":
            entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "data" / "snapshot.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"vitals\.csv: cannot be read .*expected CSV in UTF-8"):
        read_dataset(tmp_path / "data")
