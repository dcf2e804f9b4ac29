"""T14: blood counts by category of activity modification, described, tested within arms, and from the landmark on."""

from __future__ import annotations

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.modification import ORDER, CategoryEffect, categories, category_effects
from lutetia.safety.statistics.groups import GroupComparison
from lutetia.safety.statistics.modification import CategoryAnalysis
from lutetia.safety.tables.building import TableBuilder, label_of

NOTES = (
    "Median with exact interval of 95 % (from six subjects on). Category of the course: prescribed activity of the "
    "variable nuclide over base, summed over the decided cycles from 2 on (tolerance of the study). Landmark: category "
    "of cycle 2 against the lowest later value, relative to the last value before cycle 2.",
    "Pooled, a category mirrors arm and dose: with a true effect of the dose a pooled test rejects in about a fifth of "
    "trials without any effect of the category itself. The rank correlation within arms is free of that; its p is "
    "adjusted by Holm over analytes. ρ: reduced, unchanged, increased scored 1, 2, 3.",
)


def build(context: Context) -> SafetyTable:
    """The table by modification category."""
    table = TableBuilder("T14", "Blood counts by category of modification", "SAF of arms with a variable nuclide")
    for name in ORDER:
        table.column(name, name.capitalize())
    table.column("pooled", "Pooled p")
    table.column("within", "ρ within arms")
    table.column("adjusted", "Adjusted p")
    _subjects(table, context)
    effects = category_effects(context)
    for part, title in (("course", "Change at the lowest value, %"), ("landmark", "Landmark: change after cycle 2, %")):
        table.row(part, title)
        for analyte, effect in effects.items():
            _analyte(table, table.row(f"{part} / {analyte}", label_of(analyte), level=1), effect, part)
    table.footnotes += NOTES
    return table.build()


def _subjects(table: TableBuilder, context: Context) -> None:
    own = categories(context)
    table.row("subjects", "Subjects")
    for arm in (*context.arms, "all"):
        among = own if arm == "all" else own[own["arm"] == arm]
        if among.empty and arm != "all":
            continue
        label, owner = ("all arms", "all") if arm == "all" else (f"arm {arm}", arm)
        row = table.row(f"subjects / {arm}", label, level=1, arm=owner)
        for name in ORDER:
            found = among[among["category"] == name]
            rows = {"prescriptions": [r for rs in found["rows"] for r in rs]}
            table.share(row, name, len(found), len(among), rows=rows, interval=False)


def _analyte(table: TableBuilder, row: str, effect: CategoryEffect, part: str) -> None:
    analysis: CategoryAnalysis = getattr(effect, part)
    frame = effect.rows if part == "course" else effect.landmark_rows
    for summary in analysis.summaries:
        table.result(row, summary.category, summary.median, rows=_rows(frame[frame["category"] == summary.category]))
    rows = _rows(frame)
    if isinstance(analysis.pooled, GroupComparison):
        table.put(row, "pooled", n=analysis.pooled.n, rows=rows, p=analysis.pooled.p)
    else:
        table.refuse(row, "pooled", analysis.pooled.reason, n=analysis.pooled.n, statistic="p")
    table.result(row, "within", analysis.within_arm, rows=rows, p=False)
    adjusted = effect.adjusted if part == "course" else effect.landmark_adjusted
    if adjusted is None:
        table.refuse(row, "adjusted", "no test", statistic="p_adjusted")
    else:
        table.put(row, "adjusted", n=analysis.n, rows=rows, p_adjusted=adjusted)


def _rows(frame: pd.DataFrame) -> dict[str, list[int]]:
    labs = [int(r) for r in frame["row"].dropna()]
    return {"labs": labs, "prescriptions": [r for rs in frame["prescriptions"] for r in rs]}
