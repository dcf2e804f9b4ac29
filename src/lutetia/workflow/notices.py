"""Messages to people: each marks for himself what he has seen; the trail keeps who saw what and when."""

from __future__ import annotations

from collections.abc import Sequence

from lutetia.errors import MissingRecordError
from lutetia.trial import Actor, Change, Reader, Receipt, Trial
from lutetia.trial.queries_notices import notices, seen_edits


def mark_seen(trial: Trial, actor: Actor, numbers: Sequence[int] | None = None) -> Receipt:
    """Note that a person saw these messages, or all that are addressed to him; `result` is how many are new.

    Raises
    ------
    MissingRecordError
        If a message is not addressed to the person or to a role that he holds.
    """

    def change(reader: Reader) -> Change:
        edits = seen_edits(reader, actor)
        if numbers is not None:
            own = {int(row["notice_id"]) for row in notices(reader, actor)}
            if strange := sorted(set(numbers) - own):
                raise MissingRecordError(f"notice {strange[0]}: found none of yours; expected one from your list")
            edits = {number: edit for number, edit in edits.items() if number in numbers}
        return Change("mark_seen", list(edits.values()), result=len(edits))

    return trial.commit(change, actor)
