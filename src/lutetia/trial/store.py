"""A trial as a folder: `Trial.create`, `Trial.open`, `read` and `commit`, the one write gateway.

Folder: `trial.toml` (where the database is), `trial.sqlite` unless it is a PostgreSQL database, `files/` (blobs by
SHA-256), `keys/` (key files), `identities.sqlite` (the site's identity list, with a key of its own).
Not here: what a change does to tables and trail (`gateway`), who may make it (`access`, asked by `workflow`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, select
from sqlalchemy.exc import IntegrityError

from lutetia.errors import DuplicateRecordError, InputError, StorageError, TrialError
from lutetia.trial import audit, gateway
from lutetia.trial.clock import Clock, SystemClock, utc_text
from lutetia.trial.database import Database, check_version, connect, create_schema
from lutetia.trial.files import FileStore
from lutetia.trial.reader import ChangeSource, Reader
from lutetia.trial.records import SYSTEM, Actor, Change, Create, Receipt
from lutetia.trial.schema import ACTIVITY, AUDIT

CONFIGURATION = "trial.toml"
LOCAL_FILE = "trial.sqlite"
_LOCAL = "sqlite"


@dataclass(frozen=True, slots=True)
class Study:
    """What a trial is: name, title, protocol, and its files by name (`study.toml`, the protocol) as bytes."""

    study_id: str
    title: str
    protocol_name: str = ""
    protocol_version: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trial:
    """An open trial. Safe to share between threads; close it, or use it as a context manager."""

    folder: Path
    database: Database
    clock: Clock
    authenticator: Any
    files: FileStore
    demonstration: bool

    @staticmethod
    def create(
        folder: Path, *, study: Study, url: str | None = None, demonstration: bool = False, clock: Clock | None = None,
        authenticator: Any = None,
    ) -> Trial:  # fmt: skip
        """Make a new trial in a new or empty folder.

        Parameters
        ----------
        url
            Database URL of an empty PostgreSQL database; None makes an SQLite file in the folder. ``env:NAME`` reads
            the URL from an environment variable at every start.
        demonstration
            Mark the database for ever as demonstration data; only then `clock` and `authenticator` may be substitutes.

        Raises
        ------
        StorageError
            If the folder or database is not empty, or cannot be written.
        TrialError
            If a substitute is given for a database without the mark.
        """
        _refuse_substitutes(clock, authenticator, demonstration=demonstration)
        folder = folder.absolute()
        with emptied_on_failure(folder):
            database = build_folder(folder, url)
            try:
                trial = _assembled(folder, database, clock, authenticator, demonstration=demonstration)
                trial.commit(_study_change(trial, study), SYSTEM)
            except BaseException:
                database.close()
                raise
        return trial

    @staticmethod
    def open(folder: Path, *, clock: Clock | None = None, authenticator: Any = None) -> Trial:
        """Open an existing trial.

        Raises
        ------
        StorageError
            If there is none, or its database cannot be reached.
        SchemaVersionError
            If its database is newer than this program, or needs an upgrade.
        TrialError
            If a substitute clock or authenticator is given for a database that is not marked as demonstration.
        """
        folder = folder.absolute()
        database = connect(_present(database_url(folder)))
        try:
            with _named(folder):
                check_version(database, folder)
            trial = _assembled(folder, database, SystemClock(), None, demonstration=False)
            with trial.read() as reader:
                found = reader.records("study")
            demonstration = bool(found) and found[0]["demonstration"] == "yes"
            _refuse_substitutes(clock, authenticator, demonstration=demonstration)
        except BaseException:
            database.close()
            raise
        return _assembled(folder, database, clock, authenticator, demonstration=demonstration)

    @contextmanager
    def read(self, *, keep: bool = False) -> Iterator[Reader]:
        """A reader on one consistent state; nothing can be written through it.

        Parameters
        ----------
        keep
            Whether records are kept while it is open, so that asking again costs nothing; for a short reading.
        """
        with self.database.reading() as connection:
            yield Reader(connection, utc_text(self.clock.now()), {} if keep else None)

    def commit(self, change: ChangeSource, actor: Actor, reason: str | None = None) -> Receipt:
        """Write a change and its audit rows in one transaction: the one way into the database.

        Parameters
        ----------
        change
            A `Change`, or a function that reads inside the write lock and returns one; between its reading and the
            writing nobody else writes.
        reason
            Demanded when a saved value changes or a record goes.

        Raises
        ------
        TrialError
            Stale, duplicate, missing or locked record, missing reason, full or unreachable database. Nothing is stored.
        """
        made: Change | None = None
        try:
            with self.database.writing() as connection:
                at = self._instant(connection)
                reader = Reader(connection, at)
                made = change(reader) if callable(change) else change
                return gateway.apply(reader, made, actor, reason=reason, at=at)
        except IntegrityError as error:
            raise self._collision(made, error) from error

    def touch(self, key: str) -> None:
        """Note a sign of life (a session's use, a worker's heartbeat); no audit row goes with it, nor with a try."""
        with self.database.writing() as connection:
            _note(connection, key, utc_text(self.clock.now()))

    def count_try(self, key: str, *, tries: int, seconds: float = 60.0) -> float:
        """Count a try and return 0, or return the seconds to wait where `tries` in `seconds` are used up.

        Counted in the database, so that all processes of a server count together. Of each key one instant is kept, at
        which all its tries are back (generic cell rate algorithm: the same answers as a bucket of tokens). The key is
        kept as a hash only, since people type passwords where their name belongs.
        """
        name, now = "tries " + hashlib.sha256(key.encode()).hexdigest(), self.clock.now()
        most, step = timedelta(seconds=seconds), timedelta(seconds=seconds / tries)

        def after(connection: Connection) -> datetime:
            stored = connection.execute(select(ACTIVITY.c.at).where(ACTIVITY.c.key == name)).scalar()
            back = now if stored is None else max(now, datetime.fromisoformat(stored))
            return (now if back > now + most else back) + step  # a clock that was set back locks nobody out

        def too_soon(connection: Connection) -> float:
            return max(0.0, (after(connection) - now - most).total_seconds())

        with self.database.reading() as connection:  # a flood of refused tries takes no turn to write
            if wait := too_soon(connection):
                return wait
        with self.database.writing() as connection:
            if wait := too_soon(connection):  # of two at once only one passes
                return wait
            over = ACTIVITY.c.key.startswith("tries ") & (ACTIVITY.c.at < utc_text(now))
            connection.execute(ACTIVITY.delete().where(over))
            _note(connection, name, utc_text(after(connection)))
        return 0.0

    def head(self) -> Receipt:
        """Where the audit trail ends now: printed on signed documents, snapshots and backups."""
        with self.read() as reader:
            sequence, last = audit.head(reader)
            return Receipt(sequence, last, reader.now)

    def close(self) -> None:
        """Give all database connections back."""
        self.database.close()

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _instant(self, connection: Connection) -> str:
        """The clock's time, but never before the last row: a server clock that is set back does not bend the trail.

        In a demonstration the clock is taken as it is, since its past is written there.
        """
        now = utc_text(self.clock.now())
        if self.demonstration:
            return now
        return max(
            now, connection.execute(select(AUDIT.c.at).order_by(AUDIT.c.sequence.desc()).limit(1)).scalar() or ""
        )

    def _collision(self, change: Change | None, error: IntegrityError) -> TrialError:
        with self.read() as reader:
            named = None if change is None else gateway.colliding_key(reader, change)
        if named is not None:
            return DuplicateRecordError(f"{named}: found such a record already; expected a new key; open that record")
        return TrialError(f"database: refused the change ({str(error.orig).splitlines()[0]}); nothing was stored")


def _note(connection: Connection, key: str, at: str) -> None:
    if not connection.execute(ACTIVITY.update().where(ACTIVITY.c.key == key).values(at=at)).rowcount:
        connection.execute(ACTIVITY.insert().values(key=key, at=at))


def build_folder(folder: Path, url: str | None) -> Database:
    """Folders, configuration and empty tables of a new trial; the caller closes the database.

    Raises
    ------
    StorageError
        If the folder or database is not empty, or cannot be written.
    """
    folder = folder.absolute()
    with emptied_on_failure(folder):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (folder / "keys").mkdir(mode=0o700)
            (folder / "files").mkdir()
            _write_configuration(folder, url)
            if url is None:  # SQLite gives its log the rights of the file, so that other accounts read neither
                (folder / LOCAL_FILE).touch(mode=0o600)
        except OSError as error:
            raise StorageError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from error
        database = connect(database_url(folder))
        try:
            create_schema(database)
        except BaseException:
            database.close()
            raise
    return database


@contextmanager
def emptied_on_failure(folder: Path) -> Iterator[None]:
    """A new or empty folder for the block, which is new or empty again if the block fails.

    Raises
    ------
    StorageError
        If the folder holds something; it is left alone.
    """
    require_empty(folder)
    mode = stat.S_IMODE(folder.stat().st_mode) if folder.exists() else None
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if mode is not None:
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(mode)  # what only its owner could read stays so
        raise


def require_empty(folder: Path) -> None:
    """Refuse a folder that holds something.

    Raises
    ------
    StorageError
        If it does, or is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{folder}: is not an empty folder; expected a new one; choose another folder")


def _assembled(
    folder: Path, database: Database, clock: Clock | None, authenticator: Any, *, demonstration: bool
) -> Trial:
    time = SystemClock() if clock is None else clock
    return Trial(folder, database, time, authenticator, FileStore(folder / "files"), demonstration)


def _refuse_substitutes(clock: Clock | None, authenticator: Any, *, demonstration: bool) -> None:
    for name, found in (("clock", clock), ("authenticator", authenticator)):
        if found is not None and not isinstance(found, SystemClock) and not demonstration:
            text = (
                f"{name}: found a substitute; expected the server's own, because this is not a demonstration database"
            )
            raise TrialError(text)


def _write_configuration(folder: Path, url: str | None) -> None:
    path = folder / CONFIGURATION
    text = f'schema = "lutetia.trial/1"\ndatabase = {json.dumps(_LOCAL if url is None else url)}\n'
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _present(url: str | URL) -> str | URL:
    """The URL, if the file of a local database is there: opening it would make an empty one."""
    if isinstance(url, URL) and url.database and not _holds_something(Path(url.database)):
        text = f"{url.database}: is missing or empty; expected the database of the trial that {CONFIGURATION} describes"
        raise StorageError(f"{text}; restore the last backup into another folder")
    return url


def _holds_something(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


@contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Say of which trial a refusal of the database speaks."""
    try:
        yield
    except StorageError as error:
        raise StorageError(f"{folder}: {error}") from error


def database_url(folder: Path) -> str | URL:
    """Where a trial's database is, from its `trial.toml`.

    Raises
    ------
    StorageError
        If the folder holds no trial.
    InputError
        If the file cannot be read, or names an environment variable that is not set.
    """
    try:
        found = tomllib.loads((folder / CONFIGURATION).read_text(encoding="utf-8"))["database"]
    except OSError as error:
        text = (
            f"{folder}: found no trial there ({error.strerror}: {CONFIGURATION}); create one with  lutetia trial DATA"
        )
        raise StorageError(text) from error
    except (KeyError, ValueError) as error:
        text = f'{folder / CONFIGURATION}: cannot be read ({error}); expected a line  database = "sqlite"  or a URL'
        raise InputError(text) from error
    if found == _LOCAL:
        return URL.create("sqlite", database=str(folder / LOCAL_FILE))
    if found.startswith("env:"):
        variable = found.removeprefix("env:")
        with contextlib.suppress(KeyError):
            return os.environ[variable]
        raise InputError(
            f"environment variable {variable}: is not set; expected the database URL that trial.toml names"
        )
    return str(found)


def _study_change(trial: Trial, study: Study) -> Change:
    for name in study.files:
        if name in ("", "..") or name != Path(name).name or "\\" in name:
            raise InputError(f"study: found the file name {name!r}; expected a plain name, such as protocol.toml")
    at = utc_text(trial.clock.now())
    stored = {name: trial.files.put(content) for name, content in study.files.items()}
    values = {
        "study_id": study.study_id, "title": study.title, "protocol_name": study.protocol_name,
        "protocol_version": study.protocol_version, "demonstration": trial.demonstration,
        "settings": dict(study.settings), "created_at": at, "files": stored, "state": "open",
    }  # fmt: skip
    kept = {hashlib.sha256(content).hexdigest(): (name, content) for name, content in study.files.items()}
    files = [
        Create("files", {"sha256": sha, "size": len(content), "name": name, "added_by": "system", "added_at": at})
        for sha, (name, content) in kept.items()
    ]
    return Change("create_trial", [Create("study", values), *files])
