"""Databases of earlier revisions become those of this program, with every record and the trail intact."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, inspect, select

from lutetia.errors import SchemaVersionError
from lutetia.trial import SYSTEM, Change, Create, Study, Trial, accounts, audit
from lutetia.trial.database import REVISIONS, connect
from lutetia.trial.store import build_folder
from lutetia.trial.upgrade import run_migrations, upgrade_trial

pytestmark = pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")


def old_trial(folder: Path, url: str | None, source: Trial) -> None:
    """A trial of revision 0001 with the rows of a present one."""
    build_folder(folder, None).close()
    (folder / "trial.sqlite").unlink()
    if url is not None:
        (folder / "trial.toml").write_text(f'database = "{url}"\n')
    opened = contextlib.closing(connect(url or f"sqlite:///{folder / 'trial.sqlite'}"))
    with opened as database, database.writing() as connection, source.database.engine.connect() as present:
        run_migrations(connection, "0001")
        old = MetaData()
        old.reflect(connection)
        for table in old.sorted_tables:
            if table.name != "alembic_version":
                rows = [dict(row) for row in present.execute(select(table)).mappings()]
                for row in sorted(rows, key=lambda r: r.get("sequence", 0)):
                    connection.execute(table.insert(), row)


def shape(engine: Engine) -> dict[str, Any]:
    """Columns, types, indexes and triggers of a database."""
    found = inspect(engine)
    tables = [name for name in sorted(found.get_table_names()) if name != "alembic_version"]
    columns = {t: {(c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(t)} for t in tables}
    indexes = {t: {(i["name"], bool(i["unique"])) for i in found.get_indexes(t)} for t in tables}
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            text = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' OR name LIKE 'uq%'"
        else:
            text = (
                "SELECT t.tgname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
                "WHERE NOT t.tgisinternal AND c.relnamespace = current_schema()::regnamespace"
            )
        triggers = {(name, normal(sql, engine)) for name, sql in connection.exec_driver_sql(text)}
    return {"columns": columns, "indexes": indexes, "triggers": triggers}


def normal(sql: str, engine: Engine) -> str:
    with engine.connect() as connection:
        schema = (
            ""
            if engine.dialect.name == "sqlite"
            else str(connection.exec_driver_sql("SELECT current_schema()").scalar())
        )
    return " ".join(sql.replace(f"{schema}.", "").split()) if schema else " ".join(sql.split())


@pytest.fixture
def source(tmp_path: Path) -> Any:
    """A trial to take rows from."""
    with Trial.create(tmp_path / "source", study=Study("X", "x")) as made:
        accounts.add_user(made, SYSTEM, user_id="ann", name="Ann", password="a long password")
        made.commit(Change("enrol", [Create("subjects", {"subject_id": "S1", "site": "01", "weight_kg": 70})]), SYSTEM)
        yield made


def test_an_old_database_is_upgraded_with_every_record_and_its_trail(
    tmp_path: Path, source: Trial, database: str | None
) -> None:
    folder = tmp_path / "old"
    old_trial(folder, database, source)
    words = (
        rf"found schema 0001 of an older Lutetia, expected \d+; run  lutetia trial {re.escape(str(folder))} --upgrade"
    )
    with pytest.raises(SchemaVersionError, match=words):
        Trial.open(folder)
    done = upgrade_trial(folder)
    assert (done.old, done.new) == ("0001", REVISIONS[-1])
    with Trial.open(folder) as trial, trial.read() as reader:
        assert audit.verify(reader, source.head().head).rows_after == 1
        assert audit.head(reader)[1] == done.head
        assert reader.record("subjects", {"subject_id": "S1"})["weight_kg"] == 70.0
        assert reader.record("users", {"user_id": "ann"})["totp_step"] is None
    again = upgrade_trial(folder)
    assert (again.old, again.head, again.copy) == (REVISIONS[-1], done.head, None)
    if database is None:
        assert done.copy is not None
        with contextlib.closing(sqlite3.connect(done.copy)) as copy:
            assert copy.execute("SELECT version_num FROM alembic_version").fetchall() == [("0001",)]


def test_the_upgraded_schema_is_that_of_a_new_trial(tmp_path: Path, database: str | None, request: Any) -> None:
    fresh = None if database is None else request.getfixturevalue("postgresql_url")()
    with contextlib.closing(connect(database or f"sqlite:///{tmp_path / 'old.sqlite'}")) as old:
        with old.writing() as connection:
            run_migrations(connection, "head")
        with contextlib.closing(build_folder(tmp_path / "new", fresh)) as new:
            assert shape(old.engine) == shape(new.engine)


def test_the_session_of_a_request_and_the_signatures_of_a_record_are_found_through_an_index(
    tmp_path: Path, source: Trial
) -> None:
    old_trial(tmp_path / "old", None, source)
    upgrade_trial(tmp_path / "old")
    asked = ("sessions WHERE token_hash = 'x'", "signature_records WHERE table_name = 'labs' AND record = 7",
             "visits WHERE state = 'PLANNED' AND due_on <= '2026-01-01'")  # fmt: skip
    for folder in (tmp_path / "old", source.folder):
        with contextlib.closing(sqlite3.connect(folder / "trial.sqlite")) as file:
            for question in asked:
                plan = str(file.execute(f"EXPLAIN QUERY PLAN SELECT * FROM {question}").fetchall())
                assert "USING INDEX ix_" in plan, (folder, question, plan)


def test_a_newer_database_is_not_touched_by_an_upgrade(tmp_path: Path) -> None:
    with Trial.create(tmp_path / "t", study=Study("X", "x")) as made, made.database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaVersionError, match="newer than this program"):
        upgrade_trial(tmp_path / "t")
