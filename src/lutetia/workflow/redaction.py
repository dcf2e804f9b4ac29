"""Redaction of leaked personal data: the data manager or the administrator proposes, another of them confirms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lutetia.trial import Actor, Receipt, Trial, access, queries, redaction


@dataclass(frozen=True, slots=True)
class ProposeRedaction:
    """An audit row by the number that the person sees, and the columns whose values go.

    ``reason`` stands for the words given as reason.
    """

    sequence: int
    columns: Sequence[str]
    reason: str


def propose_redaction(trial: Trial, actor: Actor, command: ProposeRedaction) -> Receipt:
    """Prepare the replacement; nothing is removed before another person confirms it.

    Raises
    ------
    AccessDeniedError
        Unless a data manager or administrator asks.
    InputError
        Without a reason, or while the record still holds the value.
    """
    _require(actor)
    sequence = _stored(trial, actor, command.sequence)
    return redaction.propose_redaction(trial, actor, sequence, columns=list(command.columns), reason=command.reason)


def confirm_redaction(trial: Trial, actor: Actor, sequence: int) -> Receipt:
    """Replace the values by their hash; the chain still verifies and says that they were redacted.

    Raises
    ------
    AccessDeniedError
        Unless a data manager or administrator asks.
    SignatureError
        If it is the person who proposed it.
    """
    _require(actor)
    return redaction.confirm_redaction(trial, actor, _stored(trial, actor, sequence))


def _stored(trial: Trial, actor: Actor, sequence: int) -> int:
    with trial.read() as reader:
        return queries.stored_number(reader, actor, sequence)


def _require(actor: Actor) -> None:
    if not access.may(actor, "manage_users"):
        access.require(actor, "lock")
