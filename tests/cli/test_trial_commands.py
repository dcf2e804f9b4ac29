"""Commands of a trial's keeper: make, verify, back up, restore, export, upgrade."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lutetia.cli.app import app
from lutetia.errors import AuditError, InputError, SchemaVersionError, StorageError, UnknownNameError
from lutetia.trial import SYSTEM, Change, Event, Trial
from lutetia.workflow.study_file import protocol_bytes
from lutetia.workflow.study_setup import study_record

STUDY = """schema = "lutetia.study/1"
title = "Small"
planned_n = 20
timezone = "Europe/Warsaw"
[protocol]
file = "p.toml"
version = "3"
"""
PROTOCOL = protocol_bytes("duonen").replace(b'version = "2026.1"', b'version = "3"')


def run(*arguments: str | Path, text: str | None = None) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], input=text, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trial made by the command, with an administrator."""
    monkeypatch.setenv("LUTETIA_PASSWORD", "a long password")
    (tmp_path / "study.toml").write_text(STUDY)
    (tmp_path / "p.toml").write_bytes(PROTOCOL)
    said = run("trial", tmp_path / "DATA", "--study", tmp_path / "study.toml", "--admin", "mn", "--admin-name", "M N")
    assert "mn: administrator" in said
    return tmp_path / "DATA"


def test_a_trial_is_made_with_its_study_files_and_an_administrator(data: Path) -> None:
    with Trial.open(data) as trial, trial.read() as reader:
        study = reader.records("study")[0]
        assert (study["title"], study["protocol_name"], study["protocol_version"]) == ("Small", "duonen", "3")
        assert trial.files.get(study["files"]["protocol.toml"]) == PROTOCOL
        assert reader.record("users", {"user_id": "mn"})["name"] == "M N"
        assert [row["role"] for row in reader.records("grants")] == ["administrator"]


def test_the_id_is_the_folders_name_or_the_files_and_what_is_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_bytes(PROTOCOL)
    (tmp_path / "study.toml").write_text(STUDY)
    said = run("trial", tmp_path / "DATA", "--study", tmp_path / "study.toml")
    assert "study DATA (the name of the folder; `id` in study.toml gives another one): Small; protocol duonen 3" in said
    assert "Note: no [[checklist]]: no physician can confirm eligibility" in said
    (tmp_path / "study.toml").write_text('id = "SML-1"\n' + STUDY)
    assert "study SML-1: Small" in run("trial", tmp_path / "OTHER", "--study", tmp_path / "study.toml")


@pytest.mark.parametrize("text", ["x = 1\n", STUDY.replace("Europe/Warsaw", "Paris"), STUDY + 'nuclide = "Lu-177"\n'])
def test_a_faulty_study_file_makes_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "p.toml").write_bytes(PROTOCOL)
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(InputError, match=r"expected|unknown key"):
        run("trial", tmp_path / "DATA", "--study", tmp_path / "study.toml")
    assert not (tmp_path / "DATA").exists()


def test_a_study_file_is_written_to_be_completed_and_settings_are_amended_with_a_reason(
    data: Path, tmp_path: Path
) -> None:
    said = run("trial", tmp_path / "NEW", "--new-study", tmp_path / "new" / "study.toml")
    assert "complete it (docs/reference/study.md)" in said
    assert not (tmp_path / "NEW").exists()
    with pytest.raises(InputError, match="nothing was written over it"):
        run("trial", tmp_path / "NEW", "--new-study", tmp_path / "new" / "study.toml")
    (tmp_path / "study.toml").write_text("idle_minutes = 20\n" + STUDY)
    assert "in force" in run("trial", data, "--study", tmp_path / "study.toml", "--reason", "longer pauses")
    with Trial.open(data) as trial, trial.read() as reader:
        assert study_record(reader)["settings"]["idle_minutes"] == 20
    with pytest.raises(InputError, match=r"expected the changed study\.toml beside --reason"):
        run("trial", data, "--reason", "longer pauses")


def test_a_simulated_folder_brings_its_protocol_and_makes_a_trial(tmp_path: Path) -> None:
    run("simulate", "--subjects", "2", "--out", tmp_path / "made")
    assert (tmp_path / "made" / "duonen.toml").read_bytes() == protocol_bytes("duonen")
    run("trial", tmp_path / "DATA", "--tables", tmp_path / "made")
    run("trial", tmp_path / "AGAIN", "--study", tmp_path / "made" / "study.toml")


def test_an_administrator_who_lost_everything_is_reset_at_the_server(data: Path) -> None:
    assert "mn: new password" in run("trial", data, "--admin", "mn")
    with Trial.open(data) as trial, trial.read() as reader:
        assert reader.record("users", {"user_id": "mn"})["must_change"] == "yes"


def test_a_new_trial_needs_one_source_and_an_empty_folder(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InputError, match="expected one of --study, --tables and --archive"):
        run("trial", tmp_path / "NEW")
    with pytest.raises(StorageError, match="not an empty folder"):
        run("trial", data, "--study", tmp_path / "study.toml")
    with pytest.raises(InputError, match=r"none\.toml: cannot be read"):
        run("trial", tmp_path / "NEW", "--study", tmp_path / "none.toml")


def test_a_trail_is_verified_and_a_head_is_found_in_it(data: Path) -> None:
    found = json.loads(run("audit", "head", data, "--json"))
    with Trial.open(data) as trial:
        trial.commit(Change("x", [Event({})]), SYSTEM)
    said = run("audit", "verify", data, "--head", found["head"], "--records")
    assert f"{found['rows'] + 1} rows verify" in said
    assert "the given head is in the chain, 1 rows before its end" in said
    assert "records are those that the trail tells" in said
    answer = json.loads(run("audit", "verify", data, "--json"))
    assert (answer["rows"], answer["redacted"], answer["rows_after_head"]) == (found["rows"] + 1, [], None)
    with pytest.raises(AuditError, match="rows were cut"):
        run("audit", "verify", data, "--head", "f" * 64)
    with pytest.raises(UnknownNameError, match="verify"):
        run("audit", "change", data)


@pytest.mark.requirement(37)
def test_backup_verify_and_restore_show_one_head(data: Path, tmp_path: Path) -> None:
    key, file = tmp_path / "site.key", tmp_path / "b.lutetia"
    run("backup", "key", key)
    made = json.loads(run("backup", "make", data, "--out", file, "--key", key, "--json"))
    assert json.loads(run("backup", "verify", file, "--key", key, "--json")) == made
    run("restore", file, "--out", tmp_path / "R", "--key", key)
    assert made["head"] in run("audit", "verify", tmp_path / "R")
    with pytest.raises(StorageError, match="make one with  lutetia backup key"):
        run("backup", "verify", file, "--key", tmp_path / "none.key")
    with pytest.raises(InputError, match="found no --out"):
        run("backup", "make", data, "--key", key)


def test_a_passphrase_is_asked_for_where_no_key_is_given(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "b.lutetia"
    run("backup", "make", data, "--out", file, text="open sesame 123\nopen sesame 123\n")
    assert "restored and verified" in run("backup", "verify", file, text="open sesame 123\n")
    with pytest.raises(StorageError, match="does not open"):
        run("backup", "verify", file, text="wrong\n")


@pytest.mark.requirement(36)
def test_an_archive_makes_the_same_trial_again_and_tables_make_a_dataset(data: Path, tmp_path: Path) -> None:
    answer = json.loads(run("export", data, "--archive", tmp_path / "x.zip", "--json"))
    said = run("trial", tmp_path / "AGAIN", "--archive", tmp_path / "x.zip")
    assert answer["head"] in said
    run("export", data, "--csv", tmp_path / "tables", "--cut", "2026-06-30")
    assert json.loads((tmp_path / "tables" / "snapshot.json").read_text())["cut_at"] == "2026-06-30"
    run("trial", tmp_path / "THIRD", "--tables", tmp_path / "tables")
    with pytest.raises(InputError, match="neither --archive nor --csv"):
        run("export", data)
    with Trial.open(data) as trial, trial.read() as reader:
        from lutetia.trial import audit

        assert {r["actor"].partition(":")[0] for r, _ in audit.bodies(reader) if r["action"] == "export"} == {"console"}


def test_an_up_to_date_trial_is_left_as_it_is_by_an_upgrade(data: Path) -> None:
    assert "has schema" in run("trial", data, "--upgrade")


def test_a_password_that_is_too_short_leaves_no_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTETIA_PASSWORD", "short")
    (tmp_path / "study.toml").write_text(STUDY)
    with pytest.raises(InputError, match="expected at least 12; nothing was made"):
        run("trial", tmp_path / "DATA", "--study", tmp_path / "study.toml", "--admin", "mn")
    assert not (tmp_path / "DATA").exists()


@pytest.mark.parametrize("name", ["a/b", "Maria Nowak", "../x", ""])
def test_an_administrator_whose_name_cannot_be_an_account_leaves_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("LUTETIA_PASSWORD", "a long password")
    (tmp_path / "study.toml").write_text(STUDY)
    with pytest.raises(InputError, match="expected a lower-case account name"):
        run("trial", tmp_path / "DATA", "--study", tmp_path / "study.toml", "--admin", name)
    assert not (tmp_path / "DATA").exists()


def damaged(folder: Path, damage: str) -> None:
    """The closed trial's database: newer, cut, emptied, overwritten or gone."""
    file = folder / "trial.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as connection:
        if damage == "newer":
            connection.execute("UPDATE alembic_version SET version_num = '9999'")
            connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = file.stat().st_size
    if damage in ("cut", "empty"):
        os.truncate(file, size // 2 if damage == "cut" else 0)
    elif damage == "overwritten":
        file.write_bytes(b"\x5a" * size)
    elif damage == "gone":
        file.unlink()


@pytest.mark.requirement(37)
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("newer", "found schema 9999, newer than this program's .* install the newer Lutetia"),
        ("cut", "DATA: database: .* the file is damaged; keep it, and restore the last backup"),
        ("overwritten", "DATA: database: .* the file is damaged; keep it, and restore the last backup"),
        ("empty", r"trial\.sqlite: is missing or empty; .* restore the last backup into another folder"),
        ("gone", r"trial\.sqlite: is missing or empty; .* restore the last backup into another folder"),
    ],
)
def test_a_database_that_cannot_be_read_is_named_with_what_to_do_and_nothing_is_written(
    data: Path, tmp_path: Path, damage: str, said: str
) -> None:
    key = tmp_path / "site.key"
    run("backup", "key", key)
    damaged(data, damage)
    before = {path: path.read_bytes() for path in data.iterdir() if path.is_file() and path.suffix != ".sqlite-shm"}
    for arguments in (
        ("audit", "verify", data), ("backup", "make", data, "--out", tmp_path / "b", "--key", key),
        ("export", data, "--archive", tmp_path / "b"), ("export", data, "--csv", tmp_path / "b"),
        ("trial", data, "--admin", "zz"),
    ):  # fmt: skip
        with pytest.raises((StorageError, SchemaVersionError), match=said):
            run(*arguments)
        assert not (tmp_path / "b").exists()
    after = {path: path.read_bytes() for path in data.iterdir() if path.is_file() and path.suffix != ".sqlite-shm"}
    assert {path.name for path in after if path.stat().st_size} == {path.name for path in before if before[path]}
    assert all(after.get(path, content) == content for path, content in before.items())


def test_a_cut_backup_is_named_with_its_place_and_leaves_nothing(data: Path, tmp_path: Path) -> None:
    key, made = tmp_path / "site.key", tmp_path / "b.lutetia"
    run("backup", "key", key)
    run("backup", "make", data, "--out", made, "--key", key)
    os.truncate(made, made.stat().st_size - 100)
    with pytest.raises(StorageError, match=r"b\.lutetia, into .*R: .* expected the right key file"):
        run("restore", made, "--out", tmp_path / "R", "--key", key)
    assert not (tmp_path / "R").exists()


def test_a_worker_without_jobs_says_so(data: Path) -> None:
    assert "no job of" in run("worker", data, "--once")
