"""T7: laboratory values: baseline, nadir of every cycle, last value, absolute and as change; tests of the course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pandas as pd

from lutetia.clinical.analytes import analytes
from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.course_change import change_between_arms, change_overall, change_within_arms
from lutetia.safety.nadir import HAEMATOLOGY
from lutetia.safety.statistics.groups import GroupComparison
from lutetia.safety.statistics.results import NotEstimable, Result, holm
from lutetia.safety.tables.building import TableBuilder, arm_columns, lab_analytes, label_of

CHEMISTRY = ("creatinine", "alt", "ast", "alp", "ggt", "bilirubin", "albumin", "inr")
NOTES = (
    "Median (quartiles); n of each line is in interim.json. Nadir: day 7 to the next infusion, or to day 84 after the "
    "last one; peak for analytes whose rise is the harm. The lowest of several values lies below the baseline even "
    "without an effect; a fall is therefore judged by the course: geometric mean of all values from day 7 on.",
    "Course: Hodges–Lehmann estimate with 95 % interval and p of the exact Wilcoxon signed-rank test, Holm-adjusted "
    "over arms. Arms compared: Kruskal–Wallis test, Holm-adjusted over analytes, effect size ε².",
)
Groups = Mapping[str, Sequence[str]]


@lru_cache(maxsize=2)
def course_tests(context: Context) -> dict[str, dict[str, Result | NotEstimable]]:
    """Change of the course by analyte and arm ("all" too): log ratios."""
    found = {}
    for analyte in lab_analytes(context, (*HAEMATOLOGY, *CHEMISTRY)):
        own = _of(context.course, analyte, context.sets.saf)
        found[analyte] = change_within_arms(own, context.arms) | {"all": change_overall(own)}
    return found


@lru_cache(maxsize=2)
def arm_comparisons(context: Context) -> dict[str, tuple[GroupComparison | NotEstimable, float | None]]:
    """Kruskal–Wallis test of the course by analyte, with its p adjusted by Holm over the analytes of its family."""
    found: dict[str, tuple[GroupComparison | NotEstimable, float | None]] = {}
    for family in (HAEMATOLOGY, CHEMISTRY):
        tests = {
            a: change_between_arms(
                _of(context.course, a, context.sets.saf), context.arms, seed=context.seed, resamples=context.resamples
            )
            for a in lab_analytes(context, family)
        }
        usable = {a: t.p for a, t in tests.items() if isinstance(t, GroupComparison)}
        adjusted = dict(zip(usable, holm(list(usable.values())), strict=True))
        found |= {a: (t, adjusted.get(a)) for a, t in tests.items()}
    return found


def build(context: Context) -> SafetyTable:
    """The table of laboratory values."""
    table = TableBuilder("T7", "Laboratory values and their change", "LAB (SAF with baseline and a later value)")
    groups = arm_columns(table, context)
    cycles = sorted(int(c) for c in context.nadirs["cycle"].unique())
    for analyte in lab_analytes(context, HAEMATOLOGY):
        _head(table, context, analyte, groups)
        for cycle in cycles:
            _nadir(table, context, analyte, cycle=cycle, groups=groups)
        _tail(table, context, analyte, groups)
    for analyte in lab_analytes(context, CHEMISTRY):
        _head(table, context, analyte, groups)
        _tail(table, context, analyte, groups)
    table.footnotes += NOTES
    return table.build()


def _head(table: TableBuilder, context: Context, analyte: str, groups: Groups) -> None:
    unit = analytes()[analyte].unit.replace("umol", "µmol")
    table.row(analyte, f"{label_of(analyte)}{', ' + unit if unit != '1' else ''}")
    row = table.row(f"{analyte} / baseline", "Baseline", level=1)
    for column, subjects in groups.items():
        own = _of(context.baseline, analyte, _lab(context, analyte, subjects))
        table.summary(row, column, own["value"].to_numpy(), rows={"labs": own["row"]})


def _nadir(table: TableBuilder, context: Context, analyte: str, *, cycle: int, groups: Groups) -> None:
    own = context.nadirs[context.nadirs["cycle"] == cycle]
    _pair(table, own, analyte, name=f"nadir {cycle}", label=f"Nadir of cycle {cycle}", groups=groups, context=context)


def _tail(table: TableBuilder, context: Context, analyte: str, groups: Groups) -> None:
    way = context.extremes.loc[context.extremes["analyte"] == analyte, "direction"]
    word = "Lowest" if way.empty or way.iloc[0] == "low" else "Highest"
    for name, label, frame in (("extreme", f"{word} value", context.extremes), ("last", "Last value", context.last)):
        _pair(table, frame, analyte, name=name, label=label, groups=groups, context=context)
    _course(table, context, analyte, groups)


def _pair(
    table: TableBuilder, frame: pd.DataFrame, analyte: str, *, name: str, label: str, groups: Groups, context: Context
) -> None:
    """A row of values and a row of their change from baseline."""
    value = table.row(f"{analyte} / {name}", label, level=1)
    moved = table.row(f"{analyte} / {name} change", "change from baseline, %", level=2)
    for column, subjects in groups.items():
        own = _of(frame, analyte, _lab(context, analyte, subjects))
        rows = {"labs": own["row"]}
        table.summary(value, column, own["value"].to_numpy(), rows=rows)
        both = {"labs": [*own["row"], *own["baseline_row"].dropna().astype(int)]}
        table.summary(moved, column, own["percent_change"].to_numpy(), rows=both)


def _course(table: TableBuilder, context: Context, analyte: str, groups: Groups) -> None:
    tests, row = course_tests(context)[analyte], table.row(f"{analyte} / course", "Course: change, %", level=1)
    tested = table.row(f"{analyte} / course p", "adjusted p", level=2)
    for column, subjects in groups.items():
        own, found = _of(context.course, analyte, subjects), as_percent(tests[column])
        rows = {"labs": [r for rs in own["rows"] for r in rs]}
        table.result(row, column, found, rows=rows, p=False)
        table.p_value(tested, column, found, rows=rows)
    compared, adjusted = arm_comparisons(context)[analyte]
    row = table.row(f"{analyte} / arms", "Arms compared: adjusted p", level=1)
    size = table.row(f"{analyte} / arms size", "effect size ε²", level=2)
    if isinstance(compared, NotEstimable):
        for name in (row, size):
            table.refuse(name, "all", compared.reason, n=compared.n)
        return
    own = _of(context.course, analyte, groups["all"])
    rows = {"labs": [r for rs in own["rows"] for r in rs]}
    table.put(row, "all", n=compared.n, rows=rows, p_adjusted=adjusted)
    table.put(size, "all", n=compared.n, rows=rows, estimate=compared.epsilon2, low=compared.low, high=compared.high)


def as_percent(found: Result | NotEstimable) -> Result | NotEstimable:
    """A log ratio with its interval as percent change."""
    if isinstance(found, NotEstimable):
        return found
    low, high = (None if v is None else 100.0 * float(np.expm1(v)) for v in (found.low, found.high))
    return replace(
        found, quantity="percent change", estimate=100.0 * float(np.expm1(found.estimate)), low=low, high=high
    )


def _lab(context: Context, analyte: str, subjects: Sequence[str]) -> set[str]:
    return set(subjects) & set(context.sets.lab.get(analyte, ()))


def _of(frame: pd.DataFrame, analyte: str, subjects: Sequence[str] | set[str]) -> pd.DataFrame:
    return frame[(frame["analyte"] == analyte) & frame["subject_id"].isin(list(subjects))]
