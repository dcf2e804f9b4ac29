"""The site's identity list: who a pseudonym is, in a file of its own with a key of its own.

The trial's database, its exports and its backups hold no names; this file does, sealed row by row, together with the
whole-day date shift of each subject. It stays at the site. Every reading of a name leaves an audit row in the trial,
which says that it was read and by whom, not the name.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sqlalchemy import select

from lutetia.errors import DuplicateRecordError, InputError, MissingRecordError, StorageError
from lutetia.trial.keys import KeyRing, seal, unseal
from lutetia.trial.records import Actor, Change, Event
from lutetia.trial.schema import AUDIT
from lutetia.trial.store import Trial

FILE = "identities.sqlite"
_KEY = "identities"
#: Action of the trail under which a line was entered.
ENTERED = "enter_identity"
_TABLE = "CREATE TABLE IF NOT EXISTS identities (subject_id TEXT PRIMARY KEY, sealed TEXT NOT NULL)"
#: Largest date shift in days, back or forth (assumption: half a year hides season and weekday, order is kept).
LARGEST_SHIFT_DAYS = 182


@dataclass(frozen=True, slots=True)
class Identity:
    """What the site knows of a subject; `shift_days` is added to every date of the subject's files."""

    subject_id: str
    name: str
    birth_date: str
    local_number: str
    shift_days: int


def enter_identity(
    trial: Trial, actor: Actor, *, subject_id: str, name: str, birth_date: str = "", local_number: str = "",
    shift_days: int | None = None,
) -> Identity:  # fmt: skip
    """Write a subject's identity, with a random whole-day shift other than zero unless one is given.

    Raises
    ------
    DuplicateRecordError
        If the subject has one.
    """
    drawn = secrets.choice([-1, 1]) * (1 + secrets.randbelow(LARGEST_SHIFT_DAYS))
    shift = drawn if shift_days is None else shift_days
    identity = Identity(subject_id, name, birth_date, local_number, shift)
    sealed = _sealed(trial, identity)
    try:
        with closing(_open(trial.folder)) as file, file:
            file.execute("INSERT INTO identities VALUES (?, ?)", (subject_id, sealed))
            trial.commit(Change(ENTERED, [Event({"kind": "identity"}, subject_id=subject_id)]), actor)
    except sqlite3.IntegrityError as error:
        text = f"identity of {subject_id}: found one already; expected none; correct it instead"
        raise DuplicateRecordError(text) from error
    except sqlite3.Error as error:
        raise StorageError(f"identity list: {error}; nothing was stored") from error
    return identity


def correct_identity(
    trial: Trial, actor: Actor, subject_id: str, *, reason: str, values: Mapping[str, str]
) -> None:  # fmt: skip
    """Replace what is wrong in a subject's line; the date shift stays. The trail names the fields, never their text.

    Raises
    ------
    MissingRecordError
        If the list has no such subject.
    InputError
        If nothing differs.
    """
    found = _read(trial, subject_id)
    changed = {name: value for name, value in values.items() if value != getattr(found, name)}
    if not changed:
        raise InputError(f"identity of {subject_id}: found these values already; nothing was changed")
    event = Event({"kind": "identity", "corrected": ", ".join(sorted(changed))}, subject_id=subject_id)
    sealed = _sealed(trial, Identity(**{**asdict(found), **changed}))
    try:
        with closing(_open(trial.folder)) as file, file:
            file.execute("UPDATE identities SET sealed = ? WHERE subject_id = ?", (sealed, subject_id))
            trial.commit(Change("correct_identity", [event]), actor, reason)
    except sqlite3.Error as error:
        raise StorageError(f"identity list: {error}; nothing was changed") from error


def left_behind(trial: Trial, subject_id: str) -> str | None:
    """When a line was entered that this list does not hold, as after a restore without it; None otherwise."""
    if has_identity(trial, subject_id):
        return None
    entered = select(AUDIT.c.at).where(AUDIT.c.action == ENTERED, AUDIT.c.subject_id == subject_id)
    with trial.read() as reader:
        found: str | None = reader.value(entered.order_by(AUDIT.c.sequence.desc()).limit(1))
    return found


def read_identity(trial: Trial, actor: Actor, subject_id: str, *, reason: str) -> Identity:
    """The identity behind a pseudonym; the reading is recorded first.

    Raises
    ------
    MissingRecordError
        If the list has none.
    """
    event = Event({"kind": "identity"}, subject_id=subject_id)
    trial.commit(Change("read_identity", [event]), actor, reason)
    return _read(trial, subject_id)


def date_shift(trial: Trial, subject_id: str) -> int:
    """Days by which a subject's dates are shifted; for the machinery that files images, never shown.

    Raises
    ------
    MissingRecordError
        If the list has no such subject.
    """
    return _read(trial, subject_id).shift_days


def subjects_of_local_number(trial: Trial, number: str) -> tuple[str, ...]:
    """Subjects with this number in the hospital, blanks and case aside; for the machinery that files images."""
    wanted = "".join(number.split()).lower()
    with closing(_open(trial.folder)) as file:
        names = [str(row[0]) for row in file.execute("SELECT subject_id FROM identities ORDER BY subject_id")]
    return tuple(name for name in names if "".join(_read(trial, name).local_number.split()).lower() == wanted)


def has_identity(trial: Trial, subject_id: str) -> bool:
    """Whether the site's list knows the subject."""
    with closing(_open(trial.folder)) as file:
        return file.execute("SELECT 1 FROM identities WHERE subject_id = ?", (subject_id,)).fetchone() is not None


def _read(trial: Trial, subject_id: str) -> Identity:
    with closing(_open(trial.folder)) as file:
        row = file.execute("SELECT sealed FROM identities WHERE subject_id = ?", (subject_id,)).fetchone()
    if row is None:
        raise MissingRecordError(f"identity of {subject_id}: found none; expected one in the site's identity list")
    key = KeyRing(trial.folder / "keys").existing(_KEY)
    return Identity(*json.loads(unseal(key, row[0], context=subject_id)))


def _sealed(trial: Trial, identity: Identity) -> str:
    content = json.dumps([getattr(identity, field.name) for field in fields(identity)]).encode()
    return seal(_key(trial), content, context=identity.subject_id)


def _key(trial: Trial) -> bytes:
    return KeyRing(trial.folder / "keys").key(_KEY)


def _open(folder: Path) -> sqlite3.Connection:
    path = folder / FILE
    new = not path.exists()
    try:
        file = sqlite3.connect(path, timeout=30)
        file.execute(_TABLE)
        if new:
            path.chmod(0o600)
    except (sqlite3.Error, OSError) as error:
        raise StorageError(f"identity list {path.name}: {error}; check the folder's rights") from error
    return file
