"""Received images as series: one statement that counts, at the person's sites, nothing for the masked.

All other reading is in `lutetia.trial.queries`.
"""

from __future__ import annotations

from sqlalchemy import func, select

from lutetia.trial.access import masked, visible_sites
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.schema import DATA

_OBJECTS, _SUBJECTS = DATA["dicom_objects"], DATA["subjects"]


def received_series(
    reader: Reader, actor: Actor, *, subject_id: str = "", cycle: int | None = None, limit: int = 500
) -> list[Record]:
    """Series by subject and cycle with their number of objects, those without a cycle first, then the newest.

    Parameters
    ----------
    subject_id, cycle
        Only of this subject or cycle.
    limit
        Most series that are returned.
    """
    if masked(actor):
        return []
    table, named = _OBJECTS.c, (_OBJECTS.c.series_uid, _OBJECTS.c.subject_id, _OBJECTS.c.cycle, _OBJECTS.c.modality)
    received = func.max(table.received_at).label("received_at")
    statement = (
        select(*named, received, func.min(table.taken_at).label("taken_at"),
               func.min(table.description).label("description"), func.count().label("objects"))
        .join(_SUBJECTS, _SUBJECTS.c.subject_id == table.subject_id)
        .group_by(*named)
        .order_by(table.cycle.is_not(None), received.desc(), table.series_uid)
        .limit(limit)
    )  # fmt: skip
    if (sites := visible_sites(actor)) is not None:
        statement = statement.where(_SUBJECTS.c.site.in_(sorted(sites)))
    if subject_id:
        statement = statement.where(table.subject_id == subject_id)
    if cycle is not None:
        statement = statement.where(table.cycle == cycle)
    return reader.rows(statement)
