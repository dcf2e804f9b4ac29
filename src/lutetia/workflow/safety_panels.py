"""The two views of the safety dashboard out of a derived trial: by arm as the closed report, pooled as the open one.

The open view holds no arm; single subjects in it are for pages that show them to people who see every subject anyway.
Not here: how pictures (`safety_pictures`) and rows (`safety_rows`) are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lutetia.dataset.folder import Dataset
from lutetia.errors import LutetiaError
from lutetia.safety.context import Context, derive_context
from lutetia.safety.nadir import HAEMATOLOGY
from lutetia.safety.reading import read_trial
from lutetia.safety.suppression import SMALLEST_SHOWN
from lutetia.safety.tables.building import lab_analytes
from lutetia.workflow.safety_pictures import (
    Picture,
    association_spots,
    edish_spots,
    pooled_associations,
    pooled_edish,
    pooled_trajectory,
    report_pictures,
    with_spots,
)
from lutetia.workflow.safety_rows import (
    Fact,
    GradeRow,
    LiverRow,
    StopRow,
    WatchRow,
    grade_rows,
    key_facts,
    limits_watch,
    liver_rows,
    over_limits,
    quiet_terms,
    stop_rows,
    without_denominators,
)


@dataclass(frozen=True, slots=True)
class View:
    """All that a dashboard shows to one kind of reader."""

    facts: tuple[Fact, ...]
    trajectories: tuple[Picture, ...]
    associations: tuple[Picture, ...]
    edish: tuple[Picture, ...]
    doses: tuple[Picture, ...]
    stopping: tuple[Picture, ...]
    columns: tuple[tuple[str, int], ...]
    grades: tuple[GradeRow, ...]
    over: tuple[tuple[str, tuple[str, ...]], ...]
    watch: tuple[WatchRow, ...]
    more_watched: int
    stops: tuple[StopRow, ...]
    liver: tuple[LiverRow, ...]


@dataclass(frozen=True, slots=True)
class Views:
    """The dashboard by arm and pooled, and what the report would list as not used."""

    closed: View
    open: View
    ctcae: str
    resamples: int
    rows_listed: int
    quiet: tuple[str, ...]


def derive_views(dataset: Dataset, say: Callable[[str], None] = lambda step: None) -> Views:
    """Read, derive and draw; `say` is called with the step under way.

    Raises
    ------
    LutetiaError
        If the data or the study's description cannot be analysed.
    """
    say("checking and cutting the tables")
    data = read_trial(dataset)
    say("grading and summing doses")
    return make_views(derive_context(data), say)


def derive_apart(dataset: Dataset) -> Views | str:
    """The same as the work of another process: the views, or what is wrong with the data in words."""
    try:
        return derive_views(dataset)
    except LutetiaError as error:
        return str(error)


def make_views(context: Context, say: Callable[[str], None] = lambda step: None) -> Views:
    """Both views of a derived trial.

    Parameters
    ----------
    say
        Called with the step under way.
    """
    say("drawing the panels by arm")
    closed = _closed(context)
    say("drawing the pooled panels")
    pooled = _open(context)
    data = context.data
    listed = sum(count.listed for count in data.accounting.counts)
    return Views(closed, pooled, data.study.ctcae, context.resamples, listed, quiet_terms(context))


def _closed(context: Context) -> View:
    columns = tuple((arm, len(context.sets.of("SAF", arm))) for arm in context.arms)
    watch, more = limits_watch(context, arms=True)
    return View(
        facts=key_facts(context, pooled=False),
        trajectories=report_pictures(context, "F6"),
        associations=with_spots(report_pictures(context, "F7"), association_spots(context, context.arms)),
        edish=with_spots(report_pictures(context, "F9"), edish_spots(context, context.arms)),
        doses=report_pictures(context, "F4"),
        stopping=report_pictures(context, "F13"),
        columns=(*columns, ("all", len(context.sets.saf))),
        grades=grade_rows(context, [*context.arms, None], hide=False),
        over=over_limits(context, [*context.arms, None], hide=False),
        watch=watch,
        more_watched=more,
        stops=stop_rows(context),
        liver=liver_rows(context, arms=True),
    )


def _open(context: Context) -> View:
    watch, more = limits_watch(context, arms=False)
    untreated = len(context.sets.itt) - len(context.sets.saf)
    told = 0 < untreated < SMALLEST_SHOWN  # who was not treated could be counted from denominators
    grades = grade_rows(context, [None], hide=True)
    return View(
        facts=key_facts(context, pooled=True),
        trajectories=tuple(pooled_trajectory(context, a) for a in lab_analytes(context, HAEMATOLOGY)),
        associations=with_spots(pooled_associations(context), association_spots(context, None)),
        edish=with_spots(pooled_edish(context), edish_spots(context, None)),
        doses=(),
        stopping=(),
        columns=(("all", 0 if told else len(context.sets.saf)),),
        grades=tuple(without_denominators(g) for g in grades) if told else grades,
        over=tuple(
            (name, tuple(c.partition("/")[0] for c in cells)) for name, cells in over_limits(context, [None], hide=True)
        ),
        watch=watch,
        more_watched=more,
        stops=(),
        liver=liver_rows(context, arms=False),
    )
