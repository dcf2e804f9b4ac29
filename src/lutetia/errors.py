"""Every exception that Lutetia raises on purpose.

::

    LutetiaError              base; its text says what was found, what was expected, what to do (exit code 2)
    ├── InputError            a file, table or number that the user gave cannot be used
    │   ├── CaseError         case.toml or one of its tables: missing, contradictory or unknown keys
    │   ├── ImageError        a DICOM or NIfTI object that cannot be read or placed in space or time
    │   ├── UnitError         a unit that is not the expected one, or is not stated
    │   └── IdentityError     two objects that should belong to one subject do not
    ├── UnknownNameError      a name that no table holds; the known ones are listed
    ├── PhysicsError          arrays outside the domain of a formula (negative mass, NaN, grid mismatch)
    ├── FitError              a time–activity curve that cannot be fitted by any offered model
    ├── TransitionError       a change of state that the trial's state machines do not permit
    ├── ProtocolError         a protocol file that contradicts itself or is asked for what it does not hold
    ├── OutputError           a result cannot be written
    ├── TrialError            the trial's store refuses; nothing was stored
    │   ├── StaleRecordError      the record was changed by somebody else since it was read
    │   ├── DuplicateRecordError  a record with this key exists
    │   ├── MissingRecordError    no record has this key
    │   ├── ReasonRequiredError   a saved value would change without a reason
    │   ├── LockedRecordError     the form, subject or study is locked
    │   ├── StorageError          the database or disk cannot take the change (full, busy, unreachable, read-only)
    │   └── SchemaVersionError    the database is newer or older than the program
    ├── AuditError            the audit trail does not verify; the text names the row
    └── AccessError           who is asking may not
        ├── AccessDeniedError     the role does not have the right at this site
        ├── SignInError           account, password, code or session is not accepted
        └── SignatureError        a signature cannot be given, or two people are needed

A doubt that does not stop the work is not an exception but a `lutetia.core.chain.Doubt`, stored with the result.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LutetiaError(Exception):
    """Base of all errors meant for the user; the command line prints its text and ends with exit code 2."""


class InputError(LutetiaError):
    """A file, table or number that the user gave cannot be used."""


class CaseError(InputError):
    """`case.toml` or one of its tables has missing, contradictory or unknown entries."""


class ImageError(InputError):
    """An image object cannot be read, or placed in space or time."""


class UnitError(InputError):
    """A unit is missing or is not the expected one."""


class IdentityError(InputError):
    """Two objects that should belong to one subject do not. The text never holds a name or identifier."""


class PhysicsError(LutetiaError):
    """Arrays outside the domain of a formula."""


class FitError(LutetiaError):
    """No offered model can describe a time–activity curve."""


class TransitionError(LutetiaError):
    """A subject, cycle or prescription cannot go from its state to the one asked for."""


class ProtocolError(LutetiaError):
    """A protocol contradicts itself, or lacks what was asked of it."""


class OutputError(LutetiaError):
    """A result cannot be written."""


class TrialError(LutetiaError):
    """The trial's store refuses a change; nothing was stored."""


class StaleRecordError(TrialError):
    """A record was changed by somebody else since it was read."""


class DuplicateRecordError(TrialError):
    """A record with this key exists already."""


class MissingRecordError(TrialError):
    """No record has this key."""


class ReasonRequiredError(TrialError):
    """A saved value would change, or a record go, without a reason."""


class LockedRecordError(TrialError):
    """The form, subject or study is locked."""


class StorageError(TrialError):
    """The database or the disk cannot take the change: full, busy, unreachable or read-only."""


class SchemaVersionError(TrialError):
    """The database was written by a newer program, or needs an upgrade."""


class AuditError(LutetiaError):
    """The audit trail does not verify; the text names the row."""


class AccessError(LutetiaError):
    """The person who asks may not do this."""


class AccessDeniedError(AccessError):
    """No role of the person has the right at this site."""


class SignInError(AccessError):
    """An account, password, one-time code or session is not accepted."""


class SignatureError(AccessError):
    """A signature cannot be given: components are missing, or two different people are needed."""


class UnknownNameError(LutetiaError):
    """A name that no table holds. The text lists close names, or all known ones when none is close."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "") -> None:
        super().__init__(kind, name)
        self._kind, self._name, self._known, self._where = kind, name, sorted(set(known)), where

    def __str__(self) -> str:
        # Close names are sought when somebody reads the text: callers that try a name and go on do not wait for them.
        close = difflib.get_close_matches(self._name.lower(), [n.lower() for n in self._known], n=4, cutoff=0.5)
        nearest = [n for n in self._known if n.lower() in close]
        place = f"{self._where}: " if self._where else ""
        hint = f"did you mean {', '.join(nearest)}?" if nearest else f"known: {', '.join(self._known)}"
        return f"{place}unknown {self._kind} {self._name!r}; {hint}"
