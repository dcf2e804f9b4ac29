"""T1: disposition: screened, randomised, treated, cycles given, how treatment and trial ended, analysis sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.exposure import ended_early
from lutetia.safety.tables.building import TableBuilder, arm_columns

Groups = Mapping[str, tuple[str, ...]]
_ENDS = (
    ("completed", "Completed the trial"), ("withdrew", "Withdrew"), ("lost", "Lost to follow-up"), ("died", "Died"),
    ("progressed", "Progressed"),
)  # fmt: skip
NOTE = (
    "Percentages of the randomised subjects; of screened subjects above the line of randomisation. Treatment ended "
    "early: ended with fewer cycles than planned. Events up to the data cut; one subject can stand in several lines."
)


def build(context: Context) -> SafetyTable:
    """The table of disposition."""
    table = TableBuilder("T1", "Disposition of subjects", "ITT")
    groups = arm_columns(table, context, "ITT")
    _screening(table, context)
    _everyone(table, "randomised", "Randomised", groups)
    _treatment(table, context, groups)
    _endings(table, context, groups)
    _analysis_sets(table, context, groups)
    table.footnotes.append(NOTE)
    return table.build()


def _screening(table: TableBuilder, context: Context) -> None:
    subjects, events = context.data["subjects"], context.data["disposition"]
    n = len(subjects)
    row = table.row("screened", "Screened")
    table.put(row, "all", n=n, rows={"subjects": subjects["row"]}, count=n)
    outside = subjects.loc[subjects["arm"] == "", "subject_id"]
    failed = _first(events[(events["event"] == "screen_failed") & events["subject_id"].isin(outside)])
    _pooled(table, "screen failed", "Screening failed", failed, n)
    for reason, own in failed.groupby(failed["reason"].replace("", "reason not recorded")):
        _pooled(table, f"screen failed / {reason}", str(reason), own, n, level=1)
    waiting = subjects[(subjects["arm"] == "") & ~subjects["subject_id"].isin(failed["subject_id"])]
    row = table.row("in screening", "In screening, not randomised")
    table.share(row, "all", len(waiting), n, rows={"subjects": waiting["row"]}, interval=False)


def _treatment(table: TableBuilder, context: Context, groups: Groups) -> None:
    infusions, planned = context.infusions, context.data.study.cycles
    counts = infusions.groupby("subject_id").size()
    rows = infusions.groupby("subject_id")["rows"].agg(lambda parts: tuple(r for part in parts for r in part))
    _line(table, "treated", "Treated (SAF: at least one administration)", groups, set(context.sets.saf), rows)
    for number in sorted(set(counts)):
        given = {str(s) for s in counts.index[counts == number]}
        label = f"{number} cycle{'s' if number > 1 else ''} given"
        _line(table, f"cycles given / {number}", label, groups, given, rows, level=1)
    if planned is not None:
        whole = {str(s) for s in counts.index[counts >= planned]}
        _line(table, "all cycles", f"All {planned} planned cycles given", groups, whole, rows)
    _early(table, context, groups, counts)


def _early(table: TableBuilder, context: Context, groups: Groups, counts: pd.Series) -> None:
    planned, events = context.data.study.cycles, context.data["disposition"]
    early = ended_early(context.data, context.infusions)
    _by_event(table, "ended early", "Treatment ended early", groups, early)
    for reason, own in early.groupby(early["reason"].replace("", "reason not recorded")):
        _by_event(table, f"ended early / {reason}", str(reason), groups, own, level=1)
    ends = ("treatment_ended", "died", "lost", "withdrew")
    over = set(events.loc[events["event"].isin(ends), "subject_id"])
    on = {s for s in context.sets.saf if s not in over and (planned is None or counts[s] < planned)}
    at = context.infusions.groupby("subject_id")["rows"].agg(lambda parts: tuple(r for part in parts for r in part))
    _line(table, "on treatment", "On treatment at the data cut", groups, on, at)


def _endings(table: TableBuilder, context: Context, groups: Groups) -> None:
    events = context.data["disposition"]
    for event, label in _ENDS:
        _by_event(table, event, label, groups, _first(events[events["event"] == event]))


def _analysis_sets(table: TableBuilder, context: Context, groups: Groups) -> None:
    sets = context.sets
    none: Mapping[str, Iterable[int]] = {}
    _line(table, "DOS", "DOS: every given cycle has its doses", groups, set(sets.dos), none)
    every = set(sets.saf).intersection(*sets.lab.values()) if sets.lab else set()
    _line(table, "LAB", "LAB: baseline and a later value of every analyte", groups, every, none)
    for analyte, members in sets.lab.items():
        if set(members) != every:
            _line(table, f"LAB / {analyte}", f"of {analyte}", groups, set(members), none, level=1)
    crossed = {c.subject_id: c.rows for c in sets.cross_overs}
    _line(table, "cross-over", "Given other nuclides than those of the arm", groups, set(crossed), crossed)


def _first(events: pd.DataFrame) -> pd.DataFrame:
    return events.sort_values(["on", "row"]).drop_duplicates("subject_id")


def _everyone(table: TableBuilder, key: str, label: str, groups: Groups) -> None:
    row = table.row(key, label)
    for column, subjects in groups.items():
        table.put(row, column, n=len(subjects), count=len(subjects))


def _pooled(table: TableBuilder, key: str, label: str, events: pd.DataFrame, n: int, *, level: int = 0) -> None:
    row = table.row(key, label, level=level)
    table.share(row, "all", len(events), n, rows={"disposition": events["row"]}, interval=False)


def _by_event(
    table: TableBuilder, key: str, label: str, groups: Groups, events: pd.DataFrame, *, level: int = 0
) -> None:
    row = table.row(key, label, level=level)
    for column, subjects in groups.items():
        own = events[events["subject_id"].isin(subjects)]
        table.share(row, column, len(own), len(subjects), rows={"disposition": own["row"]}, interval=False)


def _line(
    table: TableBuilder, key: str, label: str, groups: Groups, members: set[str],
    rows: Mapping[str, Iterable[int]] | pd.Series, *, level: int = 0,
) -> None:  # fmt: skip
    """Subjects of one kind by arm; `rows` are administrations by subject."""
    row = table.row(key, label, level=level)
    for column, subjects in groups.items():
        own = [s for s in subjects if s in members]
        at = [r for s in own if s in rows for r in rows[s]]
        table.share(row, column, len(own), len(subjects), rows={"administrations": at}, interval=False)
