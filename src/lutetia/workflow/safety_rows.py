"""Rows of the safety dashboard: key figures, worst grades, limits, stopping rules, liver screens, as printed words.

Pooled rows hide counts of 1 to 4 and counts that leave 1 to 4 (`HIDDEN`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lutetia.report.numbers import number, percent, probability
from lutetia.safety.context import Context
from lutetia.safety.monitoring import monitored
from lutetia.safety.suppression import SMALLEST_SHOWN
from lutetia.safety.tables.building import label_of
from lutetia.safety.tables.t08_shift import graded_terms
from lutetia.safety.tables.t09_worst_grade import graded

HIDDEN = "s"
#: Cumulative doses are watched from this share of a limit (assumption: display only, no rule uses it).
WATCHED_SHARE = 0.75
WATCHED_ROWS = 15


@dataclass(frozen=True, slots=True)
class Count:
    """How many subjects of how many, printed; `level` 0 to 3 is for shading."""

    words: str
    share: str
    level: int


@dataclass(frozen=True, slots=True)
class GradeRow:
    """A CTCAE term with one pair of counts (grade 2 or worse, grade 3 or worse) for each column."""

    term: str
    analyte: str
    cells: tuple[tuple[Count, Count], ...]


@dataclass(frozen=True, slots=True)
class WatchRow:
    """A subject near or over a cumulative limit; `arm` is empty in the pooled view."""

    subject_id: str
    arm: str
    limit: str
    dose: str
    share: str
    cycles: int
    over: bool
    incomplete: bool


@dataclass(frozen=True, slots=True)
class StopRow:
    """Where an arm stands against a stopping rule."""

    rule: str
    event: str
    arm: str
    events: str
    stop_at: str
    posterior: str
    crossed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class LiverRow:
    """A subject whom a liver screen found, with the pair of values."""

    subject_id: str
    arm: str
    screen: str
    transaminase: str
    bilirubin: str
    alp: str
    day: str


@dataclass(frozen=True, slots=True)
class Fact:
    """A key figure: key of its words, value, detail."""

    key: str
    value: str
    detail: str = ""


def key_facts(context: Context, *, pooled: bool) -> tuple[Fact, ...]:
    """The strip of key figures."""
    sets, events = context.sets, context.data["disposition"]
    died = events[(events["event"] == "died") & events["subject_id"].isin(sets.itt)]["subject_id"].nunique()
    cycles = len(context.infusions[context.infusions["subject_id"].isin(sets.saf)])
    show = _suppressed if pooled else (lambda count, of: str(count))
    by_arm = "" if pooled else ", ".join(f"{arm} {len(sets.of('SAF', arm))}" for arm in context.arms)
    return (
        Fact("randomised", show(len(sets.itt), len(context.data["subjects"]))),
        Fact("treated", show(len(sets.saf), len(sets.itt)), by_arm),
        Fact("cycles", str(cycles) if cycles == 0 or len(sets.saf) >= SMALLEST_SHOWN or not pooled else HIDDEN),
        Fact("deaths", show(died, len(sets.itt))),
    )


def _suppressed(count: int, of: int) -> str:
    small = 0 < count < SMALLEST_SHOWN or 0 < of - count < SMALLEST_SHOWN
    return HIDDEN if small else str(count)


def grade_rows(context: Context, arms: Sequence[str | None], *, hide: bool) -> tuple[GradeRow, ...]:
    """Terms of which some subject has grade 2 or worse."""
    rows = []
    for analyte, term in graded_terms(context):
        own = graded(context, term)
        if not (own["worst_emergent"] >= 2).any():
            continue
        cells = tuple(_pair(own if arm is None else own[own["arm"] == arm], hide=hide) for arm in arms)
        rows.append(GradeRow(term, label_of(analyte), cells))
    return tuple(rows)


def quiet_terms(context: Context) -> tuple[str, ...]:
    """Graded terms without any grade 2 or worse."""
    terms = (term for _, term in graded_terms(context))
    return tuple(term for term in terms if not (graded(context, term)["worst_emergent"] >= 2).any())


def _pair(own: pd.DataFrame, *, hide: bool) -> tuple[Count, Count]:
    n = len(own)
    two, three = (int((own["worst_emergent"] >= least).sum()) for least in (2, 3))
    if not hide:
        return _count(two, n), _count(three, n)
    first, second = _hidden(two, n), _hidden(three, n)
    between = 0 < two - three < SMALLEST_SHOWN  # how many have exactly grade 2 could be computed
    return (_count(two, n) if not first else _SECRET), (_count(three, n) if not (second or between) else _SECRET)


def without_denominators(row: GradeRow) -> GradeRow:
    """The row without numbers from which untreated subjects could be counted."""
    cells = tuple((_bare(two), _bare(three)) for two, three in row.cells)
    return GradeRow(row.term, row.analyte, cells)


def _bare(count: Count) -> Count:
    return Count(count.words.partition("/")[0], "", count.level)


def _hidden(count: int, n: int) -> bool:
    return 0 < n < SMALLEST_SHOWN or 0 < count < SMALLEST_SHOWN or 0 < n - count < SMALLEST_SHOWN


_SECRET = Count(HIDDEN, "", 0)


def _count(count: int, n: int) -> Count:
    if n == 0:
        return Count("–", "", 0)
    share = count / n
    return Count(f"{count}/{n}", percent(share), 0 if count == 0 else 1 if share < 0.1 else 2 if share < 0.3 else 3)


def over_limits(
    context: Context, arms: Sequence[str | None], *, hide: bool
) -> tuple[tuple[str, tuple[str, ...]], ...]:  # fmt: skip
    """Subjects over each limit among those whose sum is known, by column."""
    rows = []
    for limit in context.data.study.limits:
        own = context.limits[
            (context.limits["limit"] == limit.id) & context.limits["subject_id"].isin(context.sets.saf)
        ]
        own = own[own["over"].notna()]
        cells = []
        for arm in arms:
            among = own if arm is None else own[own["arm"] == arm]
            count, n = int(among["over"].astype(bool).sum()), len(among)
            cells.append(HIDDEN if hide and _hidden(count, n) else _count(count, n).words)
        rows.append((limit_words(limit), tuple(cells)))
    return tuple(rows)


def limit_words(limit: Any) -> str:
    """A limit as people say it."""
    what = " BED" if limit.metric == "bed" else ""
    return f"{limit.region}{what}, {number(limit.limit_Gy, most=1).removesuffix('.0')} Gy"


def limits_watch(context: Context, *, arms: bool) -> tuple[tuple[WatchRow, ...], int]:
    """Subjects from `WATCHED_SHARE` of a limit on, the nearest first, and how many more there are."""
    own = context.limits[context.limits["subject_id"].isin(context.sets.saf)]
    dose = own["total_Gy"].where(own["total_Gy"].notna(), own["sensitivity_Gy"] + own["prior_Gy"])
    own = own.assign(shown=dose, share=dose / own["limit_Gy"])
    own = own[own["share"] >= WATCHED_SHARE].sort_values(["share", "subject_id"], ascending=[False, True])
    limits = {limit.id: limit_words(limit) for limit in context.data.study.limits}
    rows = tuple(
        WatchRow(r.subject_id, r.arm if arms else "", limits[r.limit], number(float(r.shown)), percent(float(r.share)),
                 int(r.cycles_given), float(r.share) > 1.0, not r.complete)
        for r in own.head(WATCHED_ROWS).itertuples()
    )  # fmt: skip
    return rows, max(len(own) - WATCHED_ROWS, 0)


def stop_rows(context: Context) -> tuple[StopRow, ...]:
    """Where every arm stands against every stopping rule."""
    rows = []
    for found in monitored(context):
        monitor = found.monitor
        event = f"{monitor.event}, within {monitor.within_days} days"
        if found.rule is None:
            rows.append(StopRow(monitor.id, event, "", "", "", "", False, found.reason))
            continue
        for arm, s in found.status.items():
            stop = "–" if s.stop_at is None else str(s.stop_at)
            words = f"{s.events}/{s.n}"
            rows.append(StopRow(monitor.id, event, arm, words, stop, probability(s.posterior), s.crossed, ""))
    return tuple(rows)


def liver_rows(context: Context, *, arms: bool) -> tuple[LiverRow, ...]:
    """The first pair of each subject and screen."""
    own = context.candidates[context.candidates["subject_id"].isin(context.sets.saf)]
    own = own.sort_values(["screen", "subject_id", "transaminase_day"]).drop_duplicates(["screen", "subject_id"])
    return tuple(
        LiverRow(r.subject_id, r.arm if arms else "", r.screen,
                 f"{str(r.transaminase).upper()} {number(float(r.transaminase_multiple), most=1)} ×",
                 f"{number(float(r.bilirubin_multiple), most=1)} ×",
                 "–" if pd.isna(r.alp_x_uln) else f"{number(float(r.alp_x_uln), most=1)} ×",
                 r.transaminase_day.date().isoformat())
        for r in own.itertuples()
    )  # fmt: skip
