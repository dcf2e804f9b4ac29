"""The audit trail: what the database refuses, what verification notices, and that replay rebuilds every state."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from lutetia.errors import AuditError, InputError, LutetiaError, SignatureError, StorageError
from lutetia.trial import SYSTEM, Actor, Change, Create, ManualClock, Reader, Remove, Study, Trial, Update, audit
from lutetia.trial.records import Redact
from lutetia.trial.redaction import confirm_redaction, propose_redaction

BOB = Actor("bob", "Bob")


def subject(number: int, **values: Any) -> Create:
    return Create("subjects", {"subject_id": f"DUO-{number:03d}", "site": "01"} | values)


def fill(trial: Trial, count: int = 5) -> list[str]:
    return [trial.commit(Change("enrol", [subject(n, weight_kg=70 + n)]), BOB).head for n in range(count)]


def refused(trial: Trial, statement: str) -> None:
    match = r"never changed or removed|out of sequence"
    with pytest.raises((StorageError, IntegrityError), match=match), trial.database.writing() as connection:
        connection.exec_driver_sql(statement)


@pytest.mark.requirement(2)
def test_the_database_refuses_to_change_remove_or_insert_audit_rows_by_hand(trial: Trial) -> None:
    fill(trial)
    for table, column in (("audit", "actor"), ("audit_bodies", "body")):
        refused(trial, f"UPDATE {table} SET {column} = 'x' WHERE sequence = 3")
        refused(trial, f"DELETE FROM {table} WHERE sequence = 3")
        refused(trial, f"DELETE FROM {table}")
        if trial.database.kind == "postgresql":
            refused(trial, f"TRUNCATE {table}")
            refused(trial, f"TRUNCATE {table} CASCADE")
        else:
            refused(trial, f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE sequence = 3")
    columns = ", ".join(audit.COLUMNS)
    refused(
        trial, f"INSERT INTO audit SELECT sequence + 100, {columns.partition(', ')[2]} FROM audit WHERE sequence = 3"
    )
    if trial.database.kind == "sqlite":
        next_one = f"SELECT {trial.head().sequence + 1}, {columns.partition(', ')[2]} FROM audit WHERE sequence = 3"
        refused(trial, f"INSERT OR REPLACE INTO audit {next_one}")
    with trial.read() as reader:
        assert audit.verify(reader).rows == trial.head().sequence


def without_triggers(trial: Trial, statement: str) -> None:
    """What an intruder does who owns the database."""
    with trial.database.writing() as connection:
        if trial.database.kind == "postgresql":
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        else:
            names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'trigger'").scalars().all()
            for name in names:
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        connection.exec_driver_sql(statement)


@pytest.mark.requirement(3)
@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE audit SET actor = 'eve' WHERE sequence = 4", "audit row 4: was altered"),
        ("UPDATE audit SET at = REPLACE(at, '08:', '09:') WHERE sequence = 5", "audit row 5: was altered"),
        ("UPDATE audit_bodies SET body = REPLACE(body, '71', '72') WHERE sequence = 6", "audit row 6: its body"),
        ("DELETE FROM audit WHERE sequence = 5", "audit row 5: is missing"),
        ("DELETE FROM audit_bodies WHERE sequence = 5", "audit row 5: its body"),
        ("UPDATE audit SET previous = hash WHERE sequence = 4", "audit row 4: does not follow row 3"),
    ],
)
def test_one_altered_byte_is_named_by_its_row(trial: Trial, statement: str, message: str) -> None:
    fill(trial)
    without_triggers(trial, statement)
    with trial.read() as reader, pytest.raises(AuditError, match=message):
        audit.verify(reader)


@pytest.mark.requirement(3)
def test_a_cut_tail_does_not_match_a_head_that_was_printed(trial: Trial) -> None:
    heads = fill(trial)
    with trial.read() as reader:
        assert audit.verify(reader, heads[-2]).rows_after == 1
        assert audit.verify(reader, heads[-1]).rows_after == 0
    without_triggers(trial, f"DELETE FROM audit WHERE sequence = {trial.head().sequence}")
    with trial.read() as reader:
        assert audit.verify(reader).head == heads[-2]
        with pytest.raises(AuditError, match=r"without the head [0-9a-f]{64}; expected it in the chain: rows were cut"):
            audit.verify(reader, heads[-1])


@pytest.mark.requirement(3)
def test_a_record_changed_beside_the_gateway_is_named(trial: Trial) -> None:
    fill(trial)
    with trial.read() as reader:
        assert audit.verify_data(reader) > 5
    with trial.database.writing() as connection:
        connection.exec_driver_sql("UPDATE subjects SET weight_kg = 99 WHERE subject_id = 'DUO-002'")
    with trial.read() as reader:
        audit.verify(reader)
        with pytest.raises(AuditError, match=r"subjects: record \d+ differs from the audit trail"):
            audit.verify_data(reader)


def leaked(trial: Trial) -> int:
    trial.commit(Change("enter", [subject(1, further={"note": "Jan Kowalski called"}, sex="male")]), BOB)
    created = trial.head().sequence
    trial.commit(
        Change("correct", [Update("subjects", {"subject_id": "DUO-001"}, {"further": {"note": "called"}})]), BOB, "name"
    )
    return created


@pytest.mark.requirement(9)
def test_leaked_data_go_only_by_two_people_and_the_chain_still_verifies(trial: Trial) -> None:
    created, ann = leaked(trial), Actor("ann", "Ann")
    head = trial.head()
    for sequence in (created, created + 1):
        propose_redaction(trial, ann, sequence, columns=["further"], reason="a name was typed")
        with pytest.raises(SignatureError, match="found one person twice"):
            confirm_redaction(trial, ann, sequence)
        confirm_redaction(trial, BOB, sequence)
    with trial.read() as reader:
        found = audit.verify(reader, head.head)
        assert found.redacted == (created, created + 1)
        bodies = str(list(audit.bodies(reader)))
        assert "Kowalski" not in bodies
        assert "[redacted]" in bodies
        actions = [row["action"] for row, _ in audit.bodies(reader)]
        assert actions.count("propose_redaction") == actions.count("confirm_redaction") == 2
        audit.verify_data(reader)


@pytest.mark.requirement(9)
def test_the_database_refuses_a_body_that_no_second_person_confirmed(trial: Trial) -> None:
    created = leaked(trial)
    propose_redaction(trial, BOB, created, columns=["further"], reason="a name was typed")
    statement = f"UPDATE audit_bodies SET body = (SELECT replacement FROM redactions) WHERE sequence = {created}"
    refused(trial, statement)
    confirm_redaction(trial, Actor("ann", "Ann"), created)
    refused(trial, f"UPDATE audit_bodies SET body = 'x' WHERE sequence = {created}")


@pytest.mark.requirement(9)
@pytest.mark.parametrize(
    ("columns", "reason", "message"),
    [
        (["sex"], "why", "the record's sex still holds the value; expected it corrected first"),
        (["weight_kg"], "why", r"holds further, sex.*; found \['weight_kg'\]|found \['weight_kg'\]"),
        (["further"], " ", "found no reason"),
    ],
)
def test_a_redaction_that_would_lose_current_data_is_refused(
    trial: Trial, columns: list[str], reason: str, message: str
) -> None:
    created = leaked(trial)
    with pytest.raises(InputError, match=message):
        propose_redaction(trial, BOB, created, columns=columns, reason=reason)


@pytest.mark.requirement(3)
@pytest.mark.requirement(9)
def test_a_redaction_that_the_trail_does_not_tell_of_excuses_no_alteration(trial: Trial) -> None:
    created = leaked(trial)
    columns = "record_id, record_version, target, replacement, proposed_by, confirmed_by"
    without_triggers(trial, f"INSERT INTO redactions ({columns}) VALUES (9999, 1, {created}, '{{}}', 'ann', 'bob')")
    without_triggers(trial, f"UPDATE audit_bodies SET body = '{{}}' WHERE sequence = {created}")
    with trial.read() as reader, pytest.raises(AuditError, match=f"audit row {created}: its body was altered"):
        audit.verify(reader)


@pytest.mark.requirement(9)
def test_a_confirmed_redaction_cannot_be_given_another_replacement(trial: Trial) -> None:
    created = leaked(trial)
    propose_redaction(trial, BOB, created, columns=["further"], reason="a name was typed")
    confirm_redaction(trial, Actor("ann", "Ann"), created)
    with trial.read() as reader:
        row = next(r["sequence"] for r, _ in audit.bodies(reader) if r["table_name"] == "redactions")
    with pytest.raises(InputError, match="belongs to a redaction"):
        propose_redaction(trial, BOB, row, columns=["replacement"], reason="x")
    changed = Update("redactions", {"target": created}, {"replacement": "{}"})
    trial.commit(Change("trick", [changed, Redact(created)]), BOB)
    with trial.read() as reader, pytest.raises(AuditError, match=f"audit row {created}: its body was altered"):
        audit.verify(reader)


EDITS = st.lists(
    st.tuples(
        st.sampled_from(["create", "update", "remove"]),
        st.integers(0, 3),
        st.fixed_dictionaries(
            {},
            optional={
                "weight_kg": st.none() | st.floats(30, 200, allow_nan=False),
                "sex": st.sampled_from(["female", "male", ""]),
                "age_years": st.integers(18, 99),
                "further": st.none() | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
            },
        ),
        st.booleans(),
    ),
    max_size=14,
)


def edited(number: int, kind: str, values: dict[str, Any]) -> Any:
    key = {"subject_id": f"DUO-{number:03d}"}
    made = {"create": subject(number, **values), "update": Update("subjects", key, values)}
    return made.get(kind, Remove("subjects", key))


@pytest.mark.requirement(1)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(EDITS)
def test_replaying_the_trail_rebuilds_every_state_the_database_ever_had(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, dict[str, Any], bool]]
) -> None:
    run_and_replay(tmp_path_factory.mktemp("replay") / "t", None, steps)


@pytest.mark.requirement(1)
def test_replaying_the_trail_rebuilds_every_state_on_postgresql(
    tmp_path: Path, postgresql_url: Callable[[], str]
) -> None:
    steps: list[tuple[str, int, dict[str, Any], bool]] = [
        ("create", 1, {"weight_kg": 70.25, "further": {"a": 1}}, True), ("create", 2, {"sex": "male"}, False),
        ("update", 1, {"weight_kg": None, "sex": "female"}, True), ("remove", 2, {}, True),
        ("create", 2, {"age_years": 44}, True), ("update", 2, {"further": None}, True),
    ]  # fmt: skip
    run_and_replay(tmp_path / "t", postgresql_url(), steps)


def run_and_replay(folder: Path, url: str | None, steps: list[tuple[str, int, dict[str, Any], bool]]) -> None:
    from datetime import UTC, datetime

    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    with Trial.create(folder, study=Study("X", "x"), url=url, demonstration=True, clock=clock) as trial:
        states: list[tuple[str, Any]] = []
        for kind, number, values, with_reason in steps:
            clock.advance(seconds=1)
            with contextlib.suppress(LutetiaError):  # when refused nothing may be stored, as the comparison shows
                trial.commit(Change(kind, [edited(number, kind, values)]), BOB, "why" if with_reason else None)
            with trial.read() as reader:
                states.append((reader.now, audit.stored_state(reader)))
        with trial.read() as reader:
            for moment, state in states:
                assert audit.replay(reader, moment) == state
            audit.verify(reader)
            audit.verify_data(reader)


@pytest.mark.requirement(1)
def test_a_record_can_be_followed_from_its_creation_to_its_end(trial: Trial, clock: ManualClock) -> None:
    fill(trial, 1)
    key = {"subject_id": "DUO-000"}
    trial.commit(Change("correct", [Update("subjects", key, {"weight_kg": 71})]), BOB, "scales")
    trial.commit(Change("withdraw", [Remove("subjects", key)]), BOB, "entered twice")
    with trial.read() as reader:
        rows = [(r["kind"], r["actor"], b["changes"].get("weight_kg"), b["reason"]) for r, b in of_subject(reader)]
    assert rows == [
        ("create", "bob", [None, 70.0], None),
        ("update", "bob", [70.0, 71.0], "scales"),
        ("remove", "bob", [71.0, None], "entered twice"),
    ]


def of_subject(reader: Reader) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(row, body) for row, body in audit.bodies(reader) if row["subject_id"] == "DUO-000"]


@pytest.mark.requirement(3)
def test_two_equal_entries_have_different_body_hashes_so_that_none_can_be_guessed(trial: Trial) -> None:
    trial.commit(Change("enter", [Create("vitals", {"subject_id": "A", "taken_on": "2026-01-01"})]), SYSTEM)
    with trial.read() as reader:
        salts = [body["salt"] for _, body in audit.bodies(reader)]
    assert len(set(salts)) == len(salts)
    assert all(re.fullmatch("[0-9a-f]{16}", salt) for salt in salts)


def test_sqlite_is_durable_and_lets_readers_read_while_writing(tmp_path: Path) -> None:
    with Trial.create(tmp_path / "t", study=Study("X", "x")) as trial:
        with trial.read() as reader:
            assert reader.connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert reader.connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        with trial.database.writing():
            with trial.read() as reader:
                assert reader.count("study") == 1
            other = sqlite3.connect(tmp_path / "t" / "trial.sqlite", timeout=0, isolation_level=None)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            other.close()
