"""What the overview asks of the trial: few statements, each bounded in rows, at the person's sites, masked.

What waits for a person is in `lutetia.workflow.tasks`; all other reading is in `lutetia.trial.queries`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, and_, func, select

from lutetia.trial import queries
from lutetia.trial.access import masked, visible_sites
from lutetia.trial.reader import Reader, Record
from lutetia.trial.records import Actor
from lutetia.trial.schema import DATA
from lutetia.workflow.tasks import OVER

_VISITS, _SUBJECTS, _QUERIES = DATA["visits"], DATA["subjects"], DATA["queries"]
_FORECASTS = DATA["forecasts"]


def due_visits(reader: Reader, actor: Actor, *, until: str, limit: int) -> list[Record]:
    """Planned visits that are due on a day (ISO) or were before, the oldest first."""
    statement = (
        select(_VISITS.c.subject_id, _VISITS.c.visit, _VISITS.c.cycle, _VISITS.c.due_on, _VISITS.c.window_to_on,
               _SUBJECTS.c.site)
        .join(_SUBJECTS, _SUBJECTS.c.subject_id == _VISITS.c.subject_id)
        .where(_VISITS.c.state == "PLANNED", _VISITS.c.due_on <= until, _SUBJECTS.c.state.not_in(OVER))
        .order_by(_VISITS.c.due_on, _VISITS.c.subject_id)
        .limit(limit)
    )  # fmt: skip
    return reader.rows(_at_sites(statement, actor))


def limits_watch(reader: Reader, actor: Actor, *, above: float, limit: int) -> list[Record]:
    """Latest forecasts to the end of the course with a high probability of exceeding a limit; none for the masked.

    Parameters
    ----------
    above
        Least probability that is shown, 0–1.
    """
    if masked(actor):
        return []
    latest = (
        select(_FORECASTS.c.subject_id, func.max(_FORECASTS.c.cycle * 1000 + _FORECASTS.c.version).label("last"))
        .where(_FORECASTS.c.horizon == "course")
        .group_by(_FORECASTS.c.subject_id)
        .subquery()
    )
    newest = and_(
        latest.c.subject_id == _FORECASTS.c.subject_id,
        latest.c.last == _FORECASTS.c.cycle * 1000 + _FORECASTS.c.version,
    )
    statement = (
        select(_FORECASTS.c.subject_id, _FORECASTS.c.cycle, _FORECASTS.c.region, _FORECASTS.c.absorbed_dose_Gy,
               _FORECASTS.c.p_over_limit, _SUBJECTS.c.site)
        .join(latest, newest)
        .join(_SUBJECTS, _SUBJECTS.c.subject_id == _FORECASTS.c.subject_id)
        .where(_FORECASTS.c.horizon == "course", _FORECASTS.c.p_over_limit >= above)
        .order_by(_FORECASTS.c.p_over_limit.desc(), _FORECASTS.c.subject_id)
        .limit(limit)
    )  # fmt: skip
    return reader.rows(_at_sites(statement, actor))


def query_counts(reader: Reader, actor: Actor) -> dict[str, int]:
    """Number of data queries by state at the person's sites."""
    statement = select(_QUERIES.c.state, func.count().label("n")).group_by(_QUERIES.c.state)
    statement = statement.where(queries.visible_pointers(actor, _QUERIES))
    sites = visible_sites(actor)
    if sites is not None:
        statement = statement.where(_QUERIES.c.site.in_(sorted(sites)))
    return {row["state"]: row["n"] for row in reader.rows(statement)}


def _at_sites(statement: Select[Any], actor: Actor) -> Select[Any]:
    sites = visible_sites(actor)
    return statement if sites is None else statement.where(_SUBJECTS.c.site.in_(sorted(sites)))
