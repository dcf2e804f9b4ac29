"""Connections of a trial: SQLite in WAL mode, or PostgreSQL; reading transactions and the single-writer transaction.

Here: engine and pool, write lock, schema creation and version, translation of the driver's errors. Not here: what is
written (`gateway`).
On both databases writers follow one another: SQLite by BEGIN IMMEDIATE, PostgreSQL by an advisory lock that is taken as
a statement of its own, so that every later statement of the transaction sees what the previous writer committed.
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError

from lutetia.errors import InputError, SchemaVersionError, StorageError, TrialError
from lutetia.trial import triggers
from lutetia.trial.schema import VERSION, metadata

#: Schema revisions in order; the last one is what this program reads and writes.
REVISIONS: tuple[str, ...] = ("0001", "0002", "0003", "0004")
BUSY_SECONDS = 30
_LOCK = "SELECT pg_advisory_xact_lock(727364, hashtext(current_schema()))"


@dataclass(slots=True)
class Turn:
    """This process's turn to write: one thread at a time, and never the same thread twice."""

    lock: Any = field(default_factory=threading.Lock)
    holder: int | None = None

    def __enter__(self) -> None:
        if self.holder == threading.get_ident():
            raise TrialError("commit: found one inside another; expected edits of one change; put them together")
        self.lock.acquire()
        self.holder = threading.get_ident()

    def __exit__(self, *exception: object) -> None:
        self.holder = None
        self.lock.release()


@dataclass(frozen=True, slots=True)
class Database:
    """An engine with its one pool of connections, and this process's turn to write."""

    engine: Engine
    turn: Turn = field(default_factory=Turn)

    @property
    def kind(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.engine.dialect.name

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent state of the database; writing through this connection fails."""
        with _translated(), self.engine.connect() as connection:
            if self.kind == "sqlite":
                connection.exec_driver_sql("PRAGMA query_only = ON")
                try:
                    yield connection
                finally:
                    connection.exec_driver_sql("PRAGMA query_only = OFF")
                    connection.rollback()
            else:
                yield connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """The single writer's transaction: committed at the end of the block, rolled back on any error."""
        with self.turn, _translated(), self.engine.connect() as connection:
            writer = connection.execution_options(lutetia_writing=True)
            with writer.begin():
                if self.kind != "sqlite":
                    writer.exec_driver_sql(f"SET LOCAL lock_timeout = {int(1000 * BUSY_SECONDS)}")
                    writer.exec_driver_sql(_LOCK)
                yield writer

    def wipe(self, tables: Iterable[str]) -> None:
        """Take removed values out of the files too, which hold them on for a while; after a redaction.

        SQLite overwrites what is removed, and its log is emptied here (as far as no reader holds it); PostgreSQL
        rewrites the tables. Copies, archives and earlier backups are the keeper's to destroy.
        """
        with _translated(), self.engine.connect() as connection:
            free = connection.execution_options(isolation_level="AUTOCOMMIT")
            if self.kind == "sqlite":
                free.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            else:
                for table in tables:
                    free.exec_driver_sql(f"VACUUM FULL {table}")

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()


def connect(url: str | URL) -> Database:
    """Open the pool of a database URL, ``sqlite:///…`` or ``postgresql+psycopg://…``.

    Raises
    ------
    InputError
        For another kind of database, or a missing driver.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
            raise ArgumentError(parsed.drivername)
        options: dict[str, Any] = {"pool_size": 16, "max_overflow": 16, "pool_timeout": BUSY_SECONDS}
        if parsed.drivername == "sqlite":
            options["connect_args"] = {"timeout": BUSY_SECONDS, "check_same_thread": False}
        engine = create_engine(parsed, **options)
    except ArgumentError as error:
        message = "database URL: expected sqlite:///FILE or postgresql://USER@HOST/NAME; found another form"
        raise InputError(message) from error
    except ModuleNotFoundError as error:
        raise InputError("database URL: the PostgreSQL driver is missing; pip install 'lutetia[postgresql]'") from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    return Database(engine)


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # transactions begin where `began` says so, not where the driver guesses
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def began(connection: Connection) -> None:
        writing = connection.get_execution_options().get("lutetia_writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def create_schema(database: Database) -> None:
    """All tables and triggers at the newest revision, in an empty database.

    Raises
    ------
    StorageError
        If the database holds tables already.
    """
    with database.writing() as connection:
        if inspect(connection).get_table_names():
            raise StorageError("database: found tables in it; expected an empty one; give another URL or folder")
        metadata.create_all(connection)
        triggers.install(connection)
        connection.execute(VERSION.insert().values(version_num=REVISIONS[-1]))


def check_version(database: Database, folder: Path) -> None:
    """Refuse a database whose schema is not the program's; `folder` is the trial's, named in what to do.

    Raises
    ------
    SchemaVersionError
        If it is newer or older.
    StorageError
        If it is no database of a trial.
    """
    found = schema_version(database)
    if found == REVISIONS[-1]:
        return
    if found in REVISIONS:
        command = f"lutetia trial {shlex.quote(str(folder))} --upgrade"
        text = f"database: found schema {found} of an older Lutetia, expected {REVISIONS[-1]}; run  {command}"
        raise SchemaVersionError(text)
    text = f"database: found schema {found}, newer than this program's {REVISIONS[-1]}; install the newer Lutetia"
    raise SchemaVersionError(text)


def schema_version(database: Database) -> str:
    """Revision that the database says it has.

    Raises
    ------
    StorageError
        If it is no database of a trial.
    """
    with database.reading() as connection:
        if not inspect(connection).has_table(VERSION.name):
            raise StorageError("database: found no trial in it; expected one; name another, or restore the last backup")
        return str(connection.execute(select(VERSION.c.version_num)).scalar())


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except (OperationalError, DBAPIError) as error:
        raise StorageError(_storage_text(str(error.orig))) from error


def _storage_text(found: str) -> str:
    first = found.strip().splitlines()[0] if found.strip() else "no answer"
    lower = found.lower()
    if "full" in lower or "no space" in lower or "could not extend" in lower:
        return f"database: {first}; nothing was stored; free space on the disk and repeat the action"
    if "locked" in lower or "busy" in lower or "lock timeout" in lower:
        return f"database: {first} for {BUSY_SECONDS} s; nothing was stored; end the program that holds it and repeat"
    if "malformed" in lower or "not a database" in lower:
        return f"database: {first}; the file is damaged; keep it, and restore the last backup into another folder"
    if "disk i/o error" in lower:
        return f"database: {first}; nothing was stored; free space on the disk, check the disk, and repeat the action"
    if "readonly" in lower or "read-only" in lower:
        return f"database: {first}; expected to write; open it for writing and check the file's rights"
    return f"database: {first}; nothing was stored; check that the database runs and is reachable"
