"""T8: shift of CTCAE grades from baseline to the worst after the first infusion, on the scale of the limits of normal.

Grades on multiples of an abnormal baseline are another scale and never enter a shift; T9 holds them.
"""

from __future__ import annotations

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.nadir import HAEMATOLOGY
from lutetia.safety.tables.building import TableBuilder, arm_columns, label_of
from lutetia.safety.tables.t07_laboratory import CHEMISTRY

NOTE = (
    "Baseline grade → worst grade of any later value, unscheduled ones included, both against the limits of normal; "
    "only shifts that occurred. “?”: no grade, because the baseline, the value or its limit of normal is missing."
)


def build(context: Context) -> SafetyTable:
    """The table of shifts."""
    table = TableBuilder("T8", "Shift of CTCAE grade from baseline to worst", "SAF")
    groups = arm_columns(table, context)
    worst = context.worst[context.worst["subject_id"].isin(context.sets.saf)]
    for analyte, term in graded_terms(context):
        own = worst[worst["term"] == term]
        names = [_shift(b, w) for b, w in zip(own["baseline_grade"], own["worst_by_limit"], strict=True)]
        shifts = own.assign(shift=names)
        table.row(term, f"{term} ({label_of(analyte)})")
        for shift in sorted(shifts["shift"].unique()):
            row = table.row(f"{term} / {shift}", shift, level=1)
            for column, subjects in groups.items():
                among = shifts[shifts["subject_id"].isin(subjects)]
                found = among[among["shift"] == shift]
                rows = {"labs": [*_rows(found), *found["baseline_row"].dropna().astype(int)]}
                table.share(row, column, len(found), len(among), rows=rows, interval=False)
    table.footnotes += [f"CTCAE version {context.data.study.ctcae}. {NOTE}"]
    return table.build()


def graded_terms(context: Context) -> list[tuple[str, str]]:
    """(analyte, term) of every graded term in the order of the analytes of T7, then of others."""
    order = {name: n for n, name in enumerate((*HAEMATOLOGY, *CHEMISTRY))}
    pairs = context.worst[["analyte", "term"]].drop_duplicates().itertuples(index=False)
    return sorted(((str(a), str(t)) for a, t in pairs), key=lambda pair: (order.get(pair[0], len(order)), pair))


def _shift(before: float, after: float) -> str:
    return f"{_grade(before)} → {_grade(after)}"


def _grade(value: float) -> str:
    return "?" if pd.isna(value) else f"{value:.0f}"


def _rows(found: pd.DataFrame) -> list[int]:
    return [r for rows in found["rows"] for r in rows]
