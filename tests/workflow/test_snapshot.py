from __future__ import annotations

import csv
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.enrolment import ARMS, actor, eligible, make_list, make_trial, randomised, screened

from lutetia.dataset.folder import read_dataset
from lutetia.dataset.tables import TABLES
from lutetia.errors import AccessDeniedError, InputError, MissingRecordError, OutputError, StorageError
from lutetia.safety.reading import read_trial
from lutetia.trial import Change, Create, Trial
from lutetia.trial.access import RIGHTS, ROLES
from lutetia.trial.exporting import import_trial
from lutetia.trial.queries_audit import AuditFilter, audit_trail
from lutetia.workflow.export import export_dataset, export_trial
from lutetia.workflow.randomisation import RecordCrossOver, record_cross_over
from lutetia.workflow.screening import RecordBaseline, record_baseline
from lutetia.workflow.snapshot import SALT, TakeSnapshot, take_snapshot, write_snapshot

CO, DM, ST = actor("coordinator"), actor("data_manager"), actor("masked_statistician")
CUT = TakeSnapshot("2026-01-12", "interim 1")


@pytest.fixture
def trial(tmp_path: Path) -> Iterator[Trial]:
    with make_trial(tmp_path / "trial") as made:
        make_list(made)
        subjects = [randomised(made, site, diabetes=level) for site in ("01", "02") for level in ("no", "yes")]
        screened(made), eligible(made)
        record_baseline(made, CO, RecordBaseline("01-001", {"grade": "2", "ki67": "7.5"}))
        given = {"subject_id": "01-001", "cycle": 1, "nuclide": "Lu-177", "started_at": "2026-01-12T09:00:00+01:00",
                 "planned_MBq": 7400.0, "administered_MBq": 7312.5, "batch": "B1"}  # fmt: skip
        cycle = {"subject_id": "01-001", "cycle": 1, "state": "GIVEN"}
        made.commit(Change("give", [Create("administrations", given), Create("cycles", cycle)]), actor("physicist"))
        other = next(arm for arm in ARMS if arm != subjects[0].arm)
        record_cross_over(made, actor("physicist"), RecordCrossOver("01-001", 1, other, "no product"))
        yield made


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_snapshot_is_a_folder_that_the_safety_report_reads(trial: Trial, tmp_path: Path) -> None:
    taken = take_snapshot(trial, DM, CUT)
    assert write_snapshot(trial, DM, taken.snapshot_id, tmp_path / "out") == taken.sha256
    dataset = read_dataset(tmp_path / "out")
    assert (dataset.snapshot_sha256, dataset.snapshot["audit_head"]) == (taken.sha256, taken.audit_head)
    assert dataset.snapshot["cut_at"] == "2026-01-12"
    assert {name: len(rows) for name, rows in dataset.tables.items() if rows} == {
        "subjects": 6, "baseline": 2, "disposition": 21, "cycles": 1, "administrations": 1,
        "deviations": 1,
    }  # fmt: skip
    first = dataset.tables["subjects"][0]
    assert (first["subject_id"], first["age_years"], first["stratum_true"]) == ("01-001", "61", "site=01;diabetes=no")
    assert first["as_treated_arm"] in ARMS
    assert first["as_treated_arm"] != first["arm"]
    assert dataset.tables["administrations"][0]["administered_MBq"] == "7312.5"
    assert "state" not in first
    data = read_trial(dataset)
    assert len(data["subjects"]) == 6
    assert data.accounting.listed == ()


@pytest.mark.requirement(34)
def test_an_old_snapshot_gives_identical_bytes_after_the_data_changed(trial: Trial, tmp_path: Path) -> None:
    taken = take_snapshot(trial, DM, CUT)
    write_snapshot(trial, DM, taken.snapshot_id, tmp_path / "first")
    record_baseline(trial, CO, RecordBaseline("01-001", {"grade": "3"}, reason="report"))
    randomised(trial)
    later = take_snapshot(trial, DM, TakeSnapshot("2026-01-12", "interim 1, repeated"))
    write_snapshot(trial, actor("unmasked_statistician"), taken.snapshot_id, tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")
    assert later.sha256 != taken.sha256
    assert later.snapshot_id != taken.snapshot_id
    with trial.read() as reader:
        rows = {row["snapshot_id"]: row["sha256"] for row in reader.records("snapshots")}
    assert rows == {taken.snapshot_id: taken.sha256, later.snapshot_id: later.sha256}


@pytest.mark.requirement(10)
def test_the_masked_statistician_gets_a_snapshot_without_arm_information(trial: Trial, tmp_path: Path) -> None:
    taken = take_snapshot(trial, DM, CUT)
    digest = write_snapshot(trial, ST, taken.snapshot_id, tmp_path / "masked")
    assert digest == taken.masked_sha256 != taken.sha256
    dataset = read_dataset(tmp_path / "masked")
    assert dataset.snapshot["masked_from"] == taken.sha256
    assert dataset.tables["administrations"] == ()
    rows = dataset.tables["subjects"]
    assert {row["arm"] for row in rows} == {""}
    assert sum(row["randomised_on"] != "" for row in rows) == 4, "who is randomised is not hidden"
    assert "as_treated_arm" not in rows[0]
    assert dataset.tables["deviations"] == (), "that of a missing nuclide would tell the arm"
    for name in TABLES:
        for line in csv.reader((tmp_path / "masked" / f"{name}.csv").read_text().splitlines()):
            assert not set(line) & set(ARMS)


@pytest.mark.requirement(10)
def test_the_hash_of_the_whole_data_cannot_be_tried_by_who_knows_all_but_the_arms(trial: Trial, tmp_path: Path) -> None:
    """Two snapshots of one state have other hashes, and the masked folder does not hold what makes the difference."""
    one, two = (take_snapshot(trial, DM, TakeSnapshot("2026-01-12", purpose)) for purpose in ("first", "again"))
    assert one.sha256 != two.sha256
    write_snapshot(trial, DM, one.snapshot_id, tmp_path / "whole")
    write_snapshot(trial, ST, one.snapshot_id, tmp_path / "masked")
    assert (tmp_path / "whole" / SALT).is_file()
    assert not (tmp_path / "masked" / SALT).exists()


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.requirement(45)
def test_no_export_holds_a_name_or_an_account(trial: Trial, tmp_path: Path, role: str) -> None:
    if role not in RIGHTS["export"]:
        with pytest.raises(AccessDeniedError):
            export_dataset(trial, actor(role), tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    export_dataset(trial, actor(role), tmp_path / "out")
    assert read_dataset(tmp_path / "out").snapshot["masked"] == (role == "masked_statistician")
    text = b"".join(contents(tmp_path / "out").values()).decode()
    assert "Dr " not in text
    assert "Hospital" not in text
    with trial.read() as reader:
        row = audit_trail(reader, actor("inspector"), AuditFilter(action="export"))[0]
    assert (row.actor, row.values["kind"]) == (actor(role).user_id, "csv folder")


def test_an_export_of_the_same_data_has_the_same_tables(trial: Trial, tmp_path: Path) -> None:
    export_dataset(trial, DM, tmp_path / "a")
    export_dataset(trial, DM, tmp_path / "b")
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert {n: c for n, c in first.items() if n != "snapshot.json"} == {
        n: c for n, c in second.items() if n != "snapshot.json"
    }
    assert tomllib.loads(first["study.toml"].decode())["planned_n"] == 24
    assert json.loads(first["snapshot.json"])["id"] != json.loads(second["snapshot.json"])["id"]


def test_a_snapshot_needs_the_right_a_purpose_and_a_cut_that_has_passed(trial: Trial) -> None:
    for cut, purpose, words in (
        ("2026-01-13", "x", "up to today"),
        ("2026-01", "x", "whole day"),
        ("2026-01-12", " ", "purpose"),
    ):
        with pytest.raises(InputError, match=words):
            take_snapshot(trial, DM, TakeSnapshot(cut, purpose))
    with pytest.raises(AccessDeniedError):
        take_snapshot(trial, CO, CUT)
    with trial.read() as reader:
        assert reader.count("snapshots") == 0


def test_an_altered_or_unknown_snapshot_is_refused_and_nothing_is_written(trial: Trial, tmp_path: Path) -> None:
    taken = take_snapshot(trial, DM, CUT)
    with pytest.raises(MissingRecordError):
        write_snapshot(trial, DM, "S-none", tmp_path / "out")
    with trial.read() as reader:
        digest = reader.record("snapshots", {"snapshot_id": taken.snapshot_id})["file_sha256"]
    stored = next((tmp_path / "trial/files").glob(f"*/{digest}"))
    stored.chmod(0o600)
    stored.write_bytes(stored.read_bytes()[:-1])
    with pytest.raises(StorageError, match="altered"):
        write_snapshot(trial, DM, taken.snapshot_id, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_not_overwritten(trial: Trial, tmp_path: Path) -> None:
    taken = take_snapshot(trial, DM, CUT)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    for write in (lambda p: write_snapshot(trial, DM, taken.snapshot_id, p), lambda p: export_dataset(trial, DM, p)):
        with pytest.raises(OutputError, match="choose another"):
            write(tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.txt"]


@pytest.mark.requirement(36)
def test_the_whole_trial_is_exported_by_unmasked_roles_and_comes_back_with_its_allocations(
    trial: Trial, tmp_path: Path
) -> None:
    with pytest.raises(AccessDeniedError, match="masked"):
        export_trial(trial, ST, tmp_path / "trial.zip")
    with pytest.raises(AccessDeniedError):
        export_trial(trial, CO, tmp_path / "trial.zip")
    facts = export_trial(trial, DM, tmp_path / "trial.zip")
    assert import_trial(tmp_path / "trial.zip", tmp_path / "again") == facts
    with Trial.open(tmp_path / "again") as again, again.read() as reader, trial.read() as before:
        assert reader.records("allocations") == before.records("allocations")
        assert reader.records("signatures") == before.records("signatures")
