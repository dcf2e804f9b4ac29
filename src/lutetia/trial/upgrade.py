"""Bringing an older database to the schema of this program, with a copy of the old file and a check afterwards.

Not here: the revisions themselves (`migrations/versions`).
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from lutetia.errors import SchemaVersionError, StorageError
from lutetia.trial import audit
from lutetia.trial.database import REVISIONS, Database, connect, schema_version
from lutetia.trial.records import SYSTEM, Change, Event
from lutetia.trial.store import Trial, database_url


@dataclass(frozen=True, slots=True)
class Upgraded:
    """From which revision to which, head of the trail afterwards, copy of the old file (SQLite)."""

    old: str
    new: str
    head: str
    copy: Path | None


def upgrade_trial(folder: Path) -> Upgraded:
    """Upgrade a trial's database in one transaction, verify trail and data, and record it in the trail.

    Raises
    ------
    SchemaVersionError
        If the database is newer than this program.
    AuditError
        If the trail does not verify; the copy beside the database is the one to keep.
    """
    folder = folder.absolute()
    with contextlib.closing(connect(database_url(folder))) as database:
        old = schema_version(database)
        if old not in REVISIONS:
            text = f"database: found schema {old}, newer than this program's {REVISIONS[-1]}; install the newer Lutetia"
            raise SchemaVersionError(text)
        copy = _copied(database, folder, old) if old != REVISIONS[-1] else None
        if old != REVISIONS[-1]:
            with database.writing() as connection:
                run_migrations(connection, REVISIONS[-1])
    with Trial.open(folder) as trial:
        with trial.read() as reader:
            head = audit.verify(reader).head
            audit.verify_data(reader)
        if old != REVISIONS[-1]:
            event = Event({"kind": "schema", "from": old, "to": REVISIONS[-1]})
            head = trial.commit(Change("upgrade", [event]), SYSTEM).head
    return Upgraded(old, REVISIONS[-1], head, copy)


def run_migrations(connection: Connection, revision: str) -> None:
    """Run Alembic up to a revision inside the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    configuration.set_main_option("path_separator", "os")
    configuration.attributes["connection"] = connection
    command.upgrade(configuration, revision)


def _copied(database: Database, folder: Path, old: str) -> Path | None:
    """Copy of an SQLite file through its backup interface; a PostgreSQL database is the administrator's to back up."""
    if database.kind != "sqlite":
        return None
    copy = folder / f"trial-before-{REVISIONS[-1]}-from-{old}.sqlite"
    try:
        copy.touch(mode=0o600)
        with (
            contextlib.closing(sqlite3.connect(folder / "trial.sqlite")) as source,
            contextlib.closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"{copy}: cannot be written ({error}); free space; nothing was upgraded") from error
    return copy
