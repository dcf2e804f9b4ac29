"""The site's identity list: enter and read who a subject is. Names stay in the site's own sealed file.

Nothing entered here reaches the trial's database, its trail or an export; the trail says only that and by whom the list
was used.
"""

from __future__ import annotations

from dataclasses import dataclass

from lutetia.errors import InputError
from lutetia.trial import Actor, Trial, identities
from lutetia.trial.identities import Identity
from lutetia.workflow.edits import allowed_subject, required_text


@dataclass(frozen=True, slots=True)
class EnterIdentity:
    """Who a subject is; `birth_date` and `local_number` (of the hospital) help to find files.

    `lost` says why a line is entered again that this list does not hold any more: the new one has another date shift.
    """

    subject_id: str
    name: str
    birth_date: str = ""
    local_number: str = ""
    lost: str = ""


@dataclass(frozen=True, slots=True)
class CorrectIdentity:
    """What is wrong in a line, and why; what is left empty stays. The reason is in the trail: no names in it."""

    subject_id: str
    reason: str
    name: str = ""
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
    InputError
        If a line was entered before that stayed behind, as after a restore, and nothing says that it is lost.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)
    if not command.lost.strip() and (entered := identities.left_behind(trial, command.subject_id)):
        raise InputError(
            f"identity of {command.subject_id}: was entered at {entered}, but this list does not hold it; bring back "
            "identities.sqlite and keys/identities.key from the site's own backup, or say why the list is lost"
        )
    identities.enter_identity(
        trial, actor, subject_id=command.subject_id, name=required_text(command.name, "name"),
        birth_date=command.birth_date, local_number=command.local_number,
    )  # fmt: skip


def correct_identity(trial: Trial, actor: Actor, command: CorrectIdentity) -> None:
    """Correct a line of the site's list; its date shift stays.

    Raises
    ------
    AccessDeniedError
        Unless a person who enters data at the subject's site asks.
    InputError
        Without a reason, or if nothing differs.
    MissingRecordError
        If the list has no such line.
    """
    allowed_subject(trial, actor, "enter_data", command.subject_id)
    given = {"name": command.name, "birth_date": command.birth_date, "local_number": command.local_number}
    values = {name: value.strip() for name, value in given.items() if value.strip()}
    reason = required_text(command.reason, "reason of the correction")
    if said := [value for value in values.values() if value.lower() in reason.lower()]:
        raise InputError(
            f"reason: found what identifies the subject ({len(said)} value); leave it out, the trail keeps it"
        )
    identities.correct_identity(trial, actor, command.subject_id, reason=reason, values=values)


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
