"""T10: treatment-emergent adverse events by class and term: subjects, grade 3 or worse, and rates of first events."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
from scipy.special import chdtri

from lutetia.safety.adverse_events import DAYS_PER_MONTH
from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.statistics.results import LEVEL, NotEstimable, Result
from lutetia.safety.tables.building import TableBuilder

RATE = "first events per 100 person-months with the exact Poisson interval"
SUMMARY: tuple[tuple[str, str], ...] = (
    ("any", "Any adverse event"),
    ("related", "Related (possible, probable or definite)"),
    ("grade 3", "Grade 3 or worse"),
    ("serious", "Serious"),
    ("special interest", "Of special interest"),
    ("action", "With a change of treatment"),
    ("fatal", "Fatal (grade 5)"),
)
RATES: tuple[tuple[str, str], ...] = (("any", "any"), ("grade 3", "grade 3 or worse"), ("serious", "serious"))


def build(context: Context) -> SafetyTable:
    """The table of adverse events."""
    events = emergent_events(context)
    table = TableBuilder("T10", "Adverse events that began or worsened after the first infusion", "SAF")
    groups = _columns(table, context)
    for key, label in SUMMARY:
        _counts(table, table.row(key, label), chosen(events, key), groups)
    table.row("rates", "First events per 100 person-months")
    for key, label in RATES:
        row = table.row(f"rate / {key}", label, level=1)
        for column, subjects in groups.items():
            if "≥" not in column:
                _rate(table, (row, column), chosen(events, key), context.at_risk, subjects)
    for name in _by_frequency(events, "system_organ_class"):
        own = events[events["system_organ_class"] == name]
        _counts(table, table.row(name, name), own, groups)
        for term in _by_frequency(own, "term"):
            _counts(table, table.row(f"{name} / {term}", term, level=1), own[own["term"] == term], groups)
    table.footnotes += _footnotes(context, events)
    return table.build()


def emergent_events(context: Context) -> pd.DataFrame:
    """Events of treated subjects that began on or after the first infusion."""
    events = context.events
    return events[events["emergent"] & events["subject_id"].isin(context.sets.saf)]


def chosen(events: pd.DataFrame, key: str) -> pd.DataFrame:
    """The events of one line of the summary."""
    grade = events["grade"].fillna(0)
    where: Mapping[str, pd.Series] = {
        "any": grade >= 0, "related": events["related"], "grade 3": grade >= 3, "serious": events["serious"],
        "special interest": events["aesi"], "action": events["action"] != "none", "fatal": grade == 5,
    }  # fmt: skip
    return events[where[key]]


def first_event_rate(events: pd.DataFrame, at_risk: pd.DataFrame, subjects: tuple[str, ...]) -> Result | NotEstimable:
    """Subjects with an event per 100 person-months until their first one; x/T with the exact Poisson interval.

    References
    ----------
    Garwood F., Biometrika 1936;28:437–442.
    """
    own = at_risk[at_risk["subject_id"].isin(subjects)].set_index("subject_id")
    if own.empty:
        return NotEstimable("no subject at risk", 0, RATE)
    first = events[events["subject_id"].isin(own.index)].groupby("subject_id")["started_on"].min()
    days = ((first - own["first_day"].reindex(first.index)).dt.days + 1).clip(lower=1)
    months = own["months"].copy()
    months.loc[first.index] = (days / DAYS_PER_MONTH).clip(upper=months.loc[first.index])
    count, total = len(first), float(months.sum()) / 100.0
    tail = 0.5 - LEVEL / 2.0
    low = float(chdtri(2 * count, 1.0 - tail)) / 2.0 / total if count else 0.0
    high = float(chdtri(2 * count + 2, tail)) / 2.0 / total
    return Result("rate per 100 person-months", count / total, low, high, None, len(own), RATE, statistic=float(count))


def _rate(
    table: TableBuilder, place: tuple[str, str], events: pd.DataFrame, at_risk: pd.DataFrame, subjects: tuple[str, ...]
) -> None:
    """The rate with its number of first events, by which small numbers of an open report are recognised."""
    found = first_event_rate(events, at_risk, subjects)
    table.result(*place, found)
    if isinstance(found, Result) and found.statistic is not None:
        table.put(*place, n=found.n, events=int(found.statistic))


def _columns(table: TableBuilder, context: Context) -> dict[str, tuple[str, ...]]:
    groups = {}
    for arm in context.sets.arms:
        groups[arm] = context.sets.of("SAF", arm)
        table.column(arm, f"Arm {arm}", unit=f"n = {len(groups[arm])}", arm=arm)
        groups[f"{arm} ≥ G3"] = groups[arm]
        table.column(f"{arm} ≥ G3", "≥\u00a0G3", arm=arm)
    groups["all"] = context.sets.saf
    table.column("all", "All", unit=f"n = {len(context.sets.saf)}")
    groups["all ≥ G3"] = context.sets.saf
    table.column("all ≥ G3", "≥\u00a0G3")
    return groups


def _counts(table: TableBuilder, row: str, events: pd.DataFrame, groups: Mapping[str, tuple[str, ...]]) -> None:
    for column, subjects in groups.items():
        own = events[events["subject_id"].isin(subjects)]
        severe = "≥" in column
        own = own[own["grade"].fillna(0) >= 3] if severe else own
        count, rows = own["subject_id"].nunique(), {"adverse_events": [r for rs in own["rows"] for r in rs]}
        if severe:
            table.put(row, column, n=len(subjects), rows=rows, count=count)
        else:
            table.share(row, column, count, len(subjects), rows=rows, interval=False)


def _by_frequency(events: pd.DataFrame, column: str) -> list[str]:
    """Names by number of subjects, most frequent first, then by name."""
    counts = events.groupby(column)["subject_id"].nunique()
    return sorted((str(name) for name in counts.index), key=lambda name: (-int(counts[name]), name))


def _footnotes(context: Context, events: pd.DataFrame) -> list[str]:
    earlier = context.events[~context.events["emergent"]]
    coding = context.data.study.coding_version or "not stated"
    notes = [
        "Subjects with at least one event, each event at its worst grade; a partial date counts with its last "
        f"possible day. Coding: {coding}. {int(events['ongoing'].sum())} events were ongoing at the data cut.",
        "Rates: each subject is at risk until the first such event; exact Poisson interval of 95 %.",
    ]
    if len(earlier):
        notes.append(f"{len(earlier)} events began before the first infusion, or in subjects without one: not counted.")
    if ungraded := int(events["grade"].isna().sum()):
        notes.append(f"{ungraded} events have no grade and count in no line of a grade.")
    return notes
