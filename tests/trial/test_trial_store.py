"""The write gateway: what it stores, what it refuses, and that nothing is stored by halves."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from lutetia.errors import (
    DuplicateRecordError,
    InputError,
    LockedRecordError,
    LutetiaError,
    MissingRecordError,
    ReasonRequiredError,
    SchemaVersionError,
    StaleRecordError,
    StorageError,
    TrialError,
    UnknownNameError,
)
from lutetia.trial import (
    SYSTEM,
    Actor,
    Change,
    Create,
    Event,
    ManualClock,
    Reader,
    Remove,
    Study,
    Touch,
    Trial,
    Update,
    audit,
)
from lutetia.trial.authentication import DemonstrationAuthenticator

KEY = {"subject_id": "DUO-001"}
SUBJECT = Create("subjects", {"subject_id": "DUO-001", "site": "01", "weight_kg": 70.5, "state": "SCREENING"})


def row(trial: Trial, table: str = "subjects", key: Any = KEY) -> dict[str, Any]:
    with trial.read() as reader:
        return reader.record(table, key)


def enrol(trial: Trial, actor: Actor) -> None:
    trial.commit(Change("enrol", [SUBJECT]), actor)


def test_a_change_stores_the_record_and_its_audit_row_together(trial: Trial, coordinator: Actor) -> None:
    before = trial.head()
    receipt = trial.commit(Change("enrol", [SUBJECT]), coordinator)
    found = row(trial)
    assert (found["weight_kg"], found["record_version"], found["record_id"]) == (70.5, 1, receipt.records[0])
    assert receipt.sequence == before.sequence + 1
    with trial.read() as reader:
        entry, body = list(audit.bodies(reader))[-1]
    found = [entry[name] for name in ("actor", "action", "kind", "subject_id", "site", "table_name")]
    assert found == ["ann", "enrol", "create", "DUO-001", "01", "subjects"]
    assert entry["at"] == "2026-03-02T08:00:00+00:00"
    assert entry["software"].startswith("lutetia ")
    assert body["changes"]["weight_kg"] == [None, 70.5]
    assert (entry["hash"], entry["sequence"]) == (receipt.head, receipt.sequence)


@pytest.mark.requirement(4)
def test_a_saved_value_changes_only_with_a_reason_and_a_first_entry_needs_none(
    trial: Trial, coordinator: Actor
) -> None:
    enrol(trial, coordinator)
    trial.commit(Change("enter", [Update("subjects", KEY, {"height_cm": 165})]), coordinator)
    before = trial.head()
    for edits in ([Update("subjects", KEY, {"weight_kg": 71})], [Remove("subjects", KEY)]):
        with pytest.raises(ReasonRequiredError, match="reason"):
            trial.commit(Change("correct", [Update("subjects", KEY, {"sex": "female"}), *edits]), coordinator)
    with pytest.raises(InputError, match="reason: found empty text"):
        trial.commit(Change("correct", [Update("subjects", KEY, {"weight_kg": 71})]), coordinator, "  ")
    assert trial.head().head == before.head
    assert row(trial)["sex"] is None
    trial.commit(Change("correct", [Update("subjects", KEY, {"weight_kg": 71})]), coordinator, "typing error")
    assert row(trial)["weight_kg"] == 71.0


def test_a_state_moves_on_without_a_reason_of_its_own(trial: Trial, coordinator: Actor) -> None:
    enrol(trial, coordinator)
    trial.commit(Change("confirm", [Update("subjects", KEY, {"state": "ELIGIBLE"})]), coordinator)
    assert row(trial)["state"] == "ELIGIBLE"


def test_a_stale_form_is_refused_and_nothing_of_it_is_stored(trial: Trial, coordinator: Actor) -> None:
    enrol(trial, coordinator)
    trial.commit(Change("enter", [Update("subjects", KEY, {"height_cm": 165}, 1)]), coordinator)
    with pytest.raises(StaleRecordError, match=r"found version 2, expected 1.*reload"):
        trial.commit(Change("enter", [Update("subjects", KEY, {"sex": "male"}, 1)]), coordinator)
    with pytest.raises(StaleRecordError):
        trial.commit(Change("check", [Touch("subjects", KEY, 1)]), coordinator)
    assert row(trial)["sex"] is None


def test_a_second_record_with_the_same_key_is_refused_by_name(trial: Trial, coordinator: Actor) -> None:
    enrol(trial, coordinator)
    new = Create("vitals", {"subject_id": "DUO-001", "taken_on": "2026-01-01", "ecog": 1})
    for edits in ([new, SUBJECT], [new, new]):
        with pytest.raises(DuplicateRecordError, match=r"(subjects|vitals) DUO-001.*already"):
            trial.commit(Change("enter", edits), coordinator)
    with trial.read() as reader:
        assert reader.count("vitals") == 0


def test_keys_with_an_empty_part_are_unique_too(trial: Trial, coordinator: Actor) -> None:
    dose = {"subject_id": "DUO-001", "scope": "cumulative", "region": "kidneys", "nuclide": "total", "method": "x"}
    trial.commit(Change("enter", [Create("doses", dose)]), coordinator)
    with pytest.raises(DuplicateRecordError, match="doses"):
        trial.commit(Change("enter", [Create("doses", dose)]), coordinator)


def test_a_missing_record_is_named(trial: Trial, coordinator: Actor) -> None:
    with pytest.raises(MissingRecordError, match="subjects: found no record DUO-001"):
        trial.commit(Change("enter", [Update("subjects", KEY, {"sex": "male"})]), coordinator)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"subject_id": None}, "subjects.subject_id: found nothing"),
        ({"weight_kg": "heavy"}, "weight_kg: found 'heavy'; expected a finite number"),
        ({"weight_kg": float("nan")}, "expected a finite number"),
        ({"randomised_on": "31.12.2026"}, "expected a date such as"),
        ({"sex": ["female"]}, "found list; expected text"),
        ({"colour": "red"}, "unknown column 'colour'"),
    ],
)
def test_values_of_a_wrong_kind_are_refused(
    trial: Trial, coordinator: Actor, values: dict[str, Any], message: str
) -> None:
    with pytest.raises((InputError, UnknownNameError), match=re.escape(message)):
        trial.commit(Change("enrol", [Create("subjects", dict(SUBJECT.values) | values)]), coordinator)


@pytest.mark.requirement(8)
def test_instants_are_kept_in_utc_and_shown_in_local_time_over_the_change_to_summer_time(
    trial: Trial, coordinator: Actor, clock: ManualClock
) -> None:
    from lutetia.trial.clock import local_text

    values = {"subject_id": "DUO-001", "cycle": 1, "nuclide": "Lu-177", "started_at": "2026-03-29T03:30:00+02:00"}
    trial.commit(Change("give", [Create("administrations", values)]), coordinator)
    stored = row(trial, "administrations", {"subject_id": "DUO-001", "cycle": 1, "nuclide": "Lu-177"})["started_at"]
    assert stored == "2026-03-29T01:30:00+00:00"
    assert local_text(stored, "Europe/Warsaw") == "2026-03-29 03:30 CEST"
    assert local_text("2026-03-29T00:30:00+00:00", "Europe/Warsaw") == "2026-03-29 01:30 CET"
    with pytest.raises(InputError, match="expected a time with offset"):
        trial.commit(Change("give", [Create("administrations", values | {"started_at": "2026-03-29T03:30"})]), SYSTEM)


@pytest.mark.requirement(8)
def test_a_server_clock_that_is_set_back_does_not_bend_the_trail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from lutetia.trial import SystemClock

    with Trial.create(tmp_path / "t", study=Study("X", "x")) as made:
        before = made.head()
        earlier = SystemClock().now() - timedelta(hours=2)
        monkeypatch.setattr(SystemClock, "now", lambda self: earlier)
        assert made.commit(Change("x", [Event({})]), SYSTEM).at >= before.at[:19]
        with made.read() as reader:
            times = [row["at"] for row, _ in audit.bodies(reader)]
    assert times == sorted(times)


@pytest.mark.requirement(8)
def test_no_edit_can_set_the_time_of_its_audit_row(trial: Trial, coordinator: Actor, clock: ManualClock) -> None:
    clock.advance(days=1)
    receipt = trial.commit(Change("enrol", [SUBJECT]), coordinator)
    assert receipt.at == "2026-03-03T08:00:00+00:00"
    with pytest.raises(UnknownNameError, match="unknown column 'at'"):
        trial.commit(Change("enter", [Update("subjects", KEY, {"at": "2020-01-01"})]), coordinator)


def test_a_function_reads_and_writes_without_anybody_between(trial: Trial, coordinator: Actor) -> None:
    def number(reader: Reader) -> Change:
        found = reader.next_number("jobs", "job_id")
        return Change("queue", [Create("jobs", {"job_id": found, "kind": "plan"})], result=found)

    assert [trial.commit(number, coordinator).result for _ in range(3)] == [1, 2, 3]


def test_a_failing_function_stores_nothing(trial: Trial, coordinator: Actor) -> None:
    before = trial.head()

    def fail(reader: Reader) -> Change:
        raise InputError("not today")

    with pytest.raises(InputError, match="not today"):
        trial.commit(fail, coordinator)
    assert trial.head().head == before.head


def test_a_commit_inside_a_commit_is_refused_instead_of_waiting_for_itself(trial: Trial) -> None:
    def nested(reader: Reader) -> Change:
        trial.commit(Change("inner", [Event({})]), SYSTEM)
        return Change("outer", [Event({})])

    with pytest.raises(TrialError, match="one inside another"):
        trial.commit(nested, SYSTEM)
    trial.commit(Change("after", [Event({})]), SYSTEM)


def test_a_trial_that_cannot_be_made_leaves_its_place_empty(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    nowhere = f"postgresql://nobody@/none?host={tmp_path}"
    (tmp_path / "was there").mkdir()
    for name in ("new", "was there"):
        with pytest.raises(StorageError, match="check that the database runs"):
            Trial.create(tmp_path / name, study=Study("X", "x"), url=nowhere)
    assert not (tmp_path / "new").exists()
    assert list((tmp_path / "was there").iterdir()) == []


def test_locks_of_subject_form_and_study_hold_every_record_below_them(trial: Trial, coordinator: Actor) -> None:
    enrol(trial, coordinator)
    levels = [{"subject_id": "DUO-001"}, {"subject_id": "DUO-001", "table_name": "vitals"}, {}]
    vitals = Create("vitals", {"subject_id": "DUO-001", "taken_on": "2026-01-01"})
    for number, place in enumerate(levels, start=1):
        lock = {"lock_id": number, "level": "subject", "state": "locked", "locked_at": "2026-03-02T08:00:00Z"}
        trial.commit(Change("lock", [Create("locks", lock | place)]), SYSTEM)
        with pytest.raises(LockedRecordError, match="vitals DUO-001 / 2026-01-01: found the subject locked"):
            trial.commit(Change("enter", [vitals]), coordinator)
        trial.commit(Change("unlock", [Update("locks", {"lock_id": number}, {"state": "unlocked"})]), SYSTEM)
    trial.commit(Change("enter", [vitals]), coordinator)


@pytest.mark.requirement(17)
def test_accounts_signatures_and_allocations_are_never_removed(trial: Trial, coordinator: Actor) -> None:
    trial.commit(Change("add", [Create("users", {"user_id": "eve", "name": "Eve"})]), SYSTEM)
    with pytest.raises(TrialError, match="kept for ever"):
        trial.commit(Change("drop", [Remove("users", {"user_id": "eve"})]), SYSTEM, "left")
    with pytest.raises(TrialError, match="kept for ever"):
        trial.commit(Change("rename", [Update("users", {"user_id": "eve"}, {"user_id": "adam"})]), SYSTEM, "x")
    with (
        pytest.raises((StorageError, IntegrityError), match="never changed or removed"),
        trial.database.writing() as connection,
    ):
        connection.exec_driver_sql("DELETE FROM users")


def test_a_reader_cannot_write(trial: Trial) -> None:
    with pytest.raises(StorageError), trial.read() as reader:
        reader.connection.exec_driver_sql("INSERT INTO activity VALUES ('x', 'y')")


@pytest.mark.requirement(6)
def test_an_event_leaves_an_audit_row_without_a_record(trial: Trial, coordinator: Actor) -> None:
    enrol(trial, coordinator)
    trial.commit(Change("view_unblinded", [Event({"kind": "closed report"}, subject_id="DUO-001")]), coordinator)
    with trial.read() as reader:
        entry, body = list(audit.bodies(reader))[-1]
    assert (entry["action"], entry["kind"], entry["site"], entry["record"]) == ("view_unblinded", "event", "01", None)
    assert body["values"] == {"kind": "closed report"}


def test_a_trial_is_opened_again_as_it_was_left(trial: Trial, coordinator: Actor) -> None:
    enrol(trial, coordinator)
    with Trial.open(trial.folder) as again:
        assert again.head().head == trial.head().head
        assert again.demonstration
        assert row(again) == row(trial)


def test_substitute_clock_and_authenticator_are_for_demonstration_databases_only(tmp_path: Path) -> None:
    substitutes: list[dict[str, Any]] = [
        {"clock": ManualClock(trial_start())}, {"authenticator": DemonstrationAuthenticator()},
    ]  # fmt: skip
    for given in substitutes:
        with pytest.raises(TrialError, match="not a demonstration database"):
            Trial.create(tmp_path / "a", study=Study("X", "x"), **given)
    with Trial.create(tmp_path / "b", study=Study("X", "x")) as made:
        assert not made.demonstration
    for given in substitutes:
        with pytest.raises(TrialError, match="not a demonstration database"):
            Trial.open(tmp_path / "b", **given)


def trial_start() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 3, 2, tzinfo=UTC)


def test_a_full_disk_is_said_and_nothing_is_half_stored(tmp_path: Path) -> None:
    with Trial.create(tmp_path / "t", study=Study("X", "x")) as made:
        before = made.head()
        with made.database.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        made.close()

        from sqlalchemy import event

        @event.listens_for(made.database.engine, "connect")
        def limited(connection: Any, record: Any) -> None:
            connection.execute(f"PRAGMA max_page_count = {pages}")

        edits = [Create("labs", {"subject_id": "S", "sample_id": str(i), "analyte": "alt"}) for i in range(2000)]
        with pytest.raises(StorageError, match=r"full; nothing was stored; free space on the disk"):
            made.commit(Change("import", edits), SYSTEM)
        assert made.head().head == before.head
        with made.read() as reader:
            assert reader.count("labs") == 0
            audit.verify(reader)


def test_a_database_of_a_newer_program_is_left_alone(trial: Trial) -> None:
    with trial.database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(
        SchemaVersionError, match=r"found schema 9999, newer than this program's \d+; install the newer"
    ):
        Trial.open(trial.folder)


def test_a_folder_without_a_trial_and_a_file_without_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"found no trial there .* lutetia trial"):
        Trial.open(tmp_path)
    (tmp_path / "trial.toml").write_text('database = "sqlite"\n')
    with pytest.raises(StorageError, match=r"trial\.sqlite: is missing or empty; .* restore the last backup"):
        Trial.open(tmp_path)
    assert not (tmp_path / "trial.sqlite").exists(), "looking for it makes none"
    with contextlib.closing(sqlite3.connect(tmp_path / "trial.sqlite")) as other:
        other.execute("CREATE TABLE x (y)")
    with pytest.raises(StorageError, match=r"found no trial in it; .* restore the last backup"):
        Trial.open(tmp_path)
    (tmp_path / "trial.toml").write_text('database = "env:NO_SUCH_VARIABLE_1"\n')
    with pytest.raises(InputError, match="NO_SUCH_VARIABLE_1: is not set"):
        Trial.open(tmp_path)
    (tmp_path / "trial.toml").write_text('database = "mysql://x/y"\n')
    with pytest.raises(InputError, match="expected sqlite:///FILE or postgresql"):
        Trial.open(tmp_path)


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "a b%20ü#'(x)"
    with Trial.create(folder, study=Study("X", "x")) as made:
        head = made.head().head
    assert (folder / "trial.sqlite").is_file()
    with Trial.open(folder) as again:
        assert again.head().head == head


def test_a_new_trial_needs_an_empty_place(trial: Trial, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="not an empty folder"):
        Trial.create(trial.folder, study=Study("X", "x"))
    with pytest.raises(StorageError, match="expected an empty one"):
        Trial.create(
            tmp_path / "other",
            study=Study("X", "x"),
            url=str(trial.database.engine.url.render_as_string(hide_password=False)),
        )


def test_a_busy_sqlite_file_is_waited_for_and_then_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lutetia.trial.database.BUSY_SECONDS", 0.05)
    with Trial.create(tmp_path / "t", study=Study("X", "x")) as made:
        holder = sqlite3.connect(tmp_path / "t" / "trial.sqlite", isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError, match=r"locked for .* s; nothing was stored"):
            made.commit(Change("x", [Event({})]), SYSTEM)
        holder.close()


def test_a_busy_postgresql_database_is_waited_for_and_then_named(
    tmp_path: Path, postgresql_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql_url()
    with Trial.create(tmp_path / "t", study=Study("X", "x"), url=url) as made, Trial.open(tmp_path / "t") as other:
        with other.database.writing():
            monkeypatch.setattr("lutetia.trial.database.BUSY_SECONDS", 0.05)
            with pytest.raises(StorageError, match=r"lock timeout for .* s; nothing was stored"):
                made.commit(Change("x", [Event({})]), SYSTEM)
        made.commit(Change("x", [Event({})]), SYSTEM)


@pytest.mark.requirement(5)
def test_no_setting_turns_the_audit_off() -> None:
    import lutetia.trial.store as store

    source = Path(store.__file__).parent
    texts = {path: path.read_text(encoding="utf-8") for path in source.glob("*.py")}
    for path, text in texts.items():
        for name in re.findall(r"environ[^\n]*|settings\"[^\n]*|\.get\(\"[^\n]*", text):
            assert not re.search(r"audit(?!_head)", name), f"{path.name}: {name}"
    pattern = r"(?<![.\w])(insert|update)\(|\.(delete|insert|update)\(\)"
    writers = {path.name for path, text in texts.items() if re.search(pattern, text)}
    assert writers == {"gateway.py", "store.py", "database.py", "dump.py"}


def test_no_other_layer_opens_a_writing_transaction() -> None:
    import lutetia

    source = Path(lutetia.__file__).parent
    found = {p.relative_to(source).as_posix() for p in source.rglob("*.py") if ".writing()" in p.read_text("utf-8")}
    assert found == {"trial/store.py", "trial/database.py", "trial/dump.py", "trial/upgrade.py"}


def test_errors_are_those_meant_for_users() -> None:
    assert issubclass(TrialError, LutetiaError)


def test_a_reading_that_keeps_its_records_asks_the_database_once_and_lends_copies(
    trial: Trial, coordinator: Actor
) -> None:
    enrol(trial, coordinator)
    asked: list[str] = []
    listener = lambda *given: asked.append(given[2]) if " FROM " in given[2] else None  # noqa: E731
    event.listen(trial.database.engine, "before_cursor_execute", listener)
    with trial.read(keep=True) as reader:
        first = reader.record("subjects", KEY)
        first["weight_kg"] = 0.0
        trial.commit(Change("weigh", [Update("subjects", KEY, {"weight_kg": 71.0})]), coordinator, "weighed again")
        asked.clear()
        assert reader.records("subjects", **KEY)[0]["weight_kg"] == 70.5
        assert asked == []
    event.remove(trial.database.engine, "before_cursor_execute", listener)
    assert row(trial)["weight_kg"] == 71.0
