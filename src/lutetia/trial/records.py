"""Who acts and what changes: the values that the write gateway takes and gives.

Here: actors with their grants, edits, changes, receipts. Not here: how they are applied (`gateway`) or
judged (`access`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: A record is named by its number or by the values of its key columns.
Key = int | Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Grant:
    """A role at one site, or at all sites where `site` is None."""

    role: str
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """A signed-in person, or a program acting under its own name.

    `second_factor` is False where the account needs a one-time code and the session was opened without one.
    """

    user_id: str
    name: str
    grants: tuple[Grant, ...] = ()
    session_id: str | None = None
    second_factor: bool = True

    @property
    def roles(self) -> frozenset[str]:
        """Names of the roles held anywhere."""
        return frozenset(grant.role for grant in self.grants)


#: The program itself: creating a trial, importing it, ending idle sessions. Holds no right that `access` asks for.
SYSTEM = Actor("system", "Lutetia")


@dataclass(frozen=True, slots=True)
class Create:
    """A new record; `values` holds its key columns, further columns and, if wanted, `further` (a JSON object)."""

    table: str
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Update:
    """New values of an existing record.

    `version` is the `record_version` that the person saw; None skips the check and is for changes that read the record
    inside the same write lock.
    """

    table: str
    key: Key
    values: Mapping[str, Any]
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """A record goes; its trail stays. Refused for tables whose rows are kept."""

    table: str
    key: Key
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened without changing a record: an export, an unblinded view, a failed sign-in."""

    values: Mapping[str, Any] = field(default_factory=dict)
    subject_id: str | None = None
    site: str | None = None


@dataclass(frozen=True, slots=True)
class Sign:
    """A signature over records as they stand after the edits before it; `confirmed` comes from `signatures.confirm`."""

    covers: tuple[tuple[str, Key], ...]
    meaning: str
    confirmed: Any


@dataclass(frozen=True, slots=True)
class Touch:
    """Nothing changes but the record must still have this version: for forms that depend on another record."""

    table: str
    key: Key
    version: int


@dataclass(frozen=True, slots=True)
class Redact:
    """The body of an audit row gives way to the replacement that its confirmed redaction holds; see `redaction`."""

    sequence: int


Edit = Create | Update | Remove | Event | Sign | Touch | Redact


@dataclass(frozen=True, slots=True)
class Change:
    """All edits of one action of a person; stored together or not at all. `result` is handed back in the receipt."""

    action: str
    edits: tuple[Edit, ...] | list[Edit]
    result: Any = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a commit wrote: last sequence number and head hash of the trail, instant, record numbers by edit.

    `records[i]` is the record number of edit i (None for events); `result` is the change's own.
    """

    sequence: int
    head: str
    at: str
    records: tuple[int | None, ...] = ()
    result: Any = None
