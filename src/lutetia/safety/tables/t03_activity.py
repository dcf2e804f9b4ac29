"""T3: planned, prescribed and administered activity by arm, cycle and nuclide, and their sums over the course."""

from __future__ import annotations

import pandas as pd

from lutetia.safety.cells import ALL, SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.tables.building import TableBuilder

COLUMNS = (
    ("planned_MBq", "Planned", "MBq"), ("prescribed_MBq", "Prescribed", "MBq"),
    ("administered_MBq", "Administered", "MBq"), ("administered_to_prescribed", "Administered / prescribed", "%"),
)  # fmt: skip
NOTE = (
    "Median (quartiles) of the administrations up to the data cut. Planned: base activity of the protocol. Course: sum "
    "over the cycles that were given, one value a subject."
)


def build(context: Context) -> SafetyTable:
    """The table of activities."""
    table = TableBuilder("T3", "Planned, prescribed and administered activity", "SAF")
    table.column("subjects", "Subjects")
    for key, label, unit in COLUMNS:
        table.column(key, label, unit=unit)
    given = context.exposure[context.exposure["subject_id"].isin(context.sets.saf)]
    given = given[given["administered_MBq"] > 0]
    given = given.assign(administered_to_prescribed=100.0 * given["administered_to_prescribed"])
    for arm in (*context.arms, ALL):
        own = given if arm == ALL else given[given["arm"] == arm]
        table.row(arm, "All arms" if arm == ALL else f"Arm {arm}", arm=arm)
        for nuclide in sorted(set(own["nuclide"])):
            part = own[own["nuclide"] == nuclide]
            table.row(f"{arm} / {nuclide}", nuclide, level=1, arm=arm)
            for cycle in sorted(set(part["cycle"])):
                key = f"{arm} / {nuclide} / cycle {cycle}"
                _line(table, table.row(key, f"Cycle {cycle}", level=2, arm=arm), part[part["cycle"] == cycle])
            _line(table, table.row(f"{arm} / {nuclide} / course", "Course", level=2, arm=arm), _course(part))
    table.footnotes.append(NOTE)
    return table.build()


def _line(table: TableBuilder, row: str, given: pd.DataFrame) -> None:
    """One line from one value a subject."""
    parts = given["rows"] if "rows" in given else ((r,) for r in given["row"])
    rows = {"administrations": [r for part in parts for r in part]}
    table.put(row, "subjects", n=len(given), rows=rows, count=len(given))
    for column, _, _ in COLUMNS:
        table.summary(row, column, given[column].to_numpy(dtype=float), rows=rows)


def _course(given: pd.DataFrame) -> pd.DataFrame:
    """Sums of each subject; a sum with a missing part is missing."""
    whole = given.groupby("subject_id").agg(
        planned_MBq=("planned_MBq", lambda v: v.sum(skipna=False)),
        prescribed_MBq=("prescribed_MBq", lambda v: v.sum(skipna=False)),
        administered_MBq=("administered_MBq", "sum"),
        rows=("row", tuple),
    )
    whole["administered_to_prescribed"] = (
        100.0 * whole["administered_MBq"] / whole["prescribed_MBq"].where(lambda v: v > 0)
    )
    return whole
