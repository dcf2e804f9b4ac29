"""T4: modifications of the variable nuclide's activity by arm and cycle, against base and previous, with reasons."""

from __future__ import annotations

import pandas as pd

from lutetia.safety.cells import ALL, SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.exposure import CATEGORIES
from lutetia.safety.tables.building import TableBuilder

REASONS = ("kidney", "marrow", "toxicity", "logistics", "patient", "other")
AGAINST_PREVIOUS = ("reduced", "unchanged", "increased")
FIRST_CYCLE = 2
NOTE = (
    "Decisions about cycles 2 and later, variable nuclide only, as prescribed. Reduced and increased: more than "
    "{share} % below or above the reference. Reasons: those recorded for decisions that are not unchanged against "
    "base. Arms of fixed activity ({fixed}) have no decisions."
)


def build(context: Context) -> SafetyTable:
    """The table of modifications."""
    table = TableBuilder("T4", "Modifications of activity", "SAF")
    table.column("decisions", "Decisions")
    for name in CATEGORIES:
        table.column(name, f"{name.capitalize()} against base")
    for name in AGAINST_PREVIOUS:
        table.column(f"previous {name}", f"{name.capitalize()} against previous")
    for name in REASONS:
        table.column(f"reason {name}", f"Reason: {name}")
    table.column("override", "Released by override")
    decided = decisions(context)
    for arm in (*context.arms, ALL):
        own = decided if arm == ALL else decided[decided["arm"] == arm]
        if arm != ALL and context.data.study.arms[arm].variable is None:
            continue
        name = "All arms" if arm == ALL else f"Arm {arm}, {context.data.study.arms[arm].variable}"
        _line(table, table.row(arm, name, arm=arm), own)
        for cycle in sorted(set(own["cycle"])):
            key = f"{arm} / cycle {cycle}"
            _line(table, table.row(key, f"Cycle {cycle}", level=1, arm=arm), own[own["cycle"] == cycle])
    fixed = [name for name, arm in context.data.study.arms.items() if arm.variable is None]
    share = f"{100.0 * context.data.study.tolerance:g}"
    table.footnotes.append(NOTE.format(share=share, fixed=", ".join(fixed) or "none"))
    return table.build()


def decisions(context: Context) -> pd.DataFrame:
    """Decisions that count: of treated subjects, for cycles 2 and later."""
    found = context.decisions
    return found[(found["cycle"] >= FIRST_CYCLE) & found["subject_id"].isin(context.sets.saf)]


def _line(table: TableBuilder, row: str, own: pd.DataFrame) -> None:
    n = len(own)
    table.put(row, "decisions", n=n, rows={"prescriptions": own["row"]}, count=n)
    changed = own[own["category"] != "unchanged"]
    known = own[own["against_previous"].notna()]
    for name in CATEGORIES:
        _share(table, (row, name), own[own["category"] == name], n)
    for name in AGAINST_PREVIOUS:
        _share(table, (row, f"previous {name}"), known[known["against_previous"] == name], len(known))
    for name in REASONS:
        _share(table, (row, f"reason {name}"), changed[changed["reason"] == name], len(changed))
    _share(table, (row, "override"), own[own["override"]], n)


def _share(table: TableBuilder, place: tuple[str, str], hits: pd.DataFrame, n: int) -> None:
    if n:
        table.share(*place, len(hits), n, rows={"prescriptions": hits["row"]}, interval=False)
    else:
        table.refuse(*place, "no decisions", statistic="count")
