"""Messages to a person, or to everybody with a role, as that person may read them; who has seen what.

A message to a role is seen by each person for himself: `further.seen` holds the instant by account.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import or_, select

from lutetia.trial.access import masked
from lutetia.trial.masked_view import seen_records
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor, Update
from lutetia.trial.schema import DATA


def notices(reader: Reader, actor: Actor, *, unseen: bool = False) -> list[Record]:
    """Messages to this person or to a role held, newest first and unseen ones before the others.

    `seen_at` is when this person saw it, None where that is still to come.

    Parameters
    ----------
    unseen
        Only those that this person has not seen.
    """
    rows = [shown | {"seen_at": _seen(row, actor)} for row, shown in _own(reader, actor)]
    kept = [{n: v for n, v in row.items() if n != "further"} for row in rows if not (unseen and row["seen_at"])]
    return sorted(kept, key=lambda row: (row["seen_at"] is not None, -int(row["notice_id"])))


def seen_edits(reader: Reader, actor: Actor) -> dict[int, Update]:
    """For every message that this person has not seen, by its number, the edit that notes that it was seen now."""
    found = {}
    for row, shown in _own(reader, actor):
        if _seen(row, actor) is None:
            further: dict[str, Any] = row["further"] or {}
            values = {"further": further | {"seen": further.get("seen", {}) | {actor.user_id: reader.now}}}
            found[int(shown["notice_id"])] = Update("notices", int(row["record_id"]), values)
    return found


def _own(reader: Reader, actor: Actor) -> list[tuple[Record, Record]]:
    """Messages to the actor as they are stored, each with what the actor sees of it."""
    table = DATA["notices"]
    mine = or_(table.c.user_id == actor.user_id, table.c.role.in_(sorted(actor.roles)))
    rows = reader.rows(select(table).where(mine).order_by(table.c.notice_id))
    mine_here = [row for row in rows if row["site"] is None or row["user_id"] or _holds_at(actor, row)]
    hide = masked(actor, "read_audit")
    return [(row, shown) for row in mine_here for shown in seen_records(reader, "notices", [row], masked=hide)]


def _holds_at(actor: Actor, notice: Record) -> bool:
    return any(g.role == notice["role"] and g.site in (None, notice["site"]) for g in actor.grants)


def _seen(row: Record, actor: Actor) -> str | None:
    seen: dict[str, str] = (row["further"] or {}).get("seen", {})
    return seen.get(actor.user_id)
