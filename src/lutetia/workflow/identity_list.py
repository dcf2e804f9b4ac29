"""The site's identity list: enter and read who a subject is. Names stay in the site's own sealed file.

Nothing entered here reaches the trial's database, its trail or an export; the trail says only that and by whom the list
was used.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutetia.trial import Actor, Trial, identities
from lutetia.trial.identities import Identity
from lutetia.workflow.edits import allowed_subject, required_text


@dataclass(frozen=True, slots=True)
class EnterIdentity:
    """Who a subject is; `birth_date` and `local_number` (of the hospital) help to find files."""

    subject_id: str
    name: str
    birth_date: str = ""
    local_number: str = ""


def enter_identity(trial: Trial, actor: Actor, command: EnterIdentity) -> None:
    """Write a line of the site's list, with the subject's own whole-day date shift.

    Raises
    ------
    AccessDeniedError
        Unless a person who enters data at the subject's site asks.
    DuplicateRecordError
        If the subject has a line.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)
    identities.enter_identity(
        trial, actor, subject_id=command.subject_id, name=required_text(command.name, "name"),
        birth_date=command.birth_date, local_number=command.local_number,
    )  # fmt: skip


def read_identity(trial: Trial, actor: Actor, subject_id: str, *, reason: str) -> Identity:
    """Read a line of the site's list; who, when and why go into the trail first.

    Raises
    ------
    AccessDeniedError
        Unless a person who enters data at the subject's site asks.
    MissingRecordError
        If the list has no such line.
    """
    allowed_subject(trial, actor, "enter_data", subject_id)
    return identities.read_identity(trial, actor, subject_id, reason=required_text(reason, "reason"))
