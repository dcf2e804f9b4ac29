"""T13: marrow dose and fall of the blood counts: the arm-adjusted slope, rank correlations, and the dose to date."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.dose_effect import (
    Answer,
    Association,
    STEP_Gy,
    associations,
    exposures_to_date,
    marrow_method,
)
from lutetia.safety.statistics.association import ATTENUATION_NOTE, percent_change
from lutetia.safety.statistics.results import NotEstimable
from lutetia.safety.tables.building import TableBuilder, label_of

SLOPE = f"Change per {STEP_Gy:g} Gy, %"
# Row, label, level, what is estimated.
ROWS: tuple[tuple[str, str, Callable[[Association], Answer]], ...] = (
    ("primary / slope", SLOPE, lambda a: a.slope),
    ("primary / sensitivity", "without values after transfusion or growth factor, %", lambda a: a.sensitivity),
    ("primary / corrected", "corrected for errors of the dose, %", lambda a: corrected(a)),
    ("rank / all", "ρ of all subjects", lambda a: a.rank),
    ("rank / within", "ρ within arms", lambda a: a.rank_within),
)


def build(context: Context) -> SafetyTable:
    """The table of the dose–effect association."""
    table = TableBuilder("T13", "Marrow dose and nadir of blood counts", "SAF with dose and nadir")
    found = associations(context)
    for analyte in found:
        table.column(analyte, label_of(analyte))
    table.row("primary", "First cycle: dose and nadir (primary, adjusted for arm)")
    for key, label, answer in ROWS[:3]:
        _results(table, table.row(key, label, level=1), found, answer)
        if key == "primary / slope":
            _adjusted(table, "primary / p", found, lambda a: a.slope)
    _reliability(table, found)
    table.row("rank", "First cycle: Spearman's rank correlation")
    for key, label, answer in ROWS[3:]:
        _results(table, table.row(key, label, level=1), found, answer)
        if key == "rank / all":
            _adjusted(table, "rank / p", found, lambda a: a.rank)
    for arm in context.arms:
        row = table.row(f"rank / arm {arm}", f"ρ in arm {arm}", level=1, arm=arm)
        for analyte, association in found.items():
            own = association.pairs[association.pairs["arm"] == arm]
            rank = association.rank_by_arm.get(arm, NotEstimable("no subjects"))
            table.result(row, analyte, rank, rows=pair_rows(own), p=False)
    _to_date(table, context, found)
    table.footnotes += _notes(context, found)
    return table.build()


def corrected(found: Association) -> Answer:
    """The slope per true dose as percent change per step."""
    if isinstance(found.corrected, NotEstimable):
        return found.corrected
    return percent_change(found.corrected.corrected, STEP_Gy)


def _results(
    table: TableBuilder, row: str, found: Mapping[str, Association], answer: Callable[[Association], Answer]
) -> None:
    for analyte, association in found.items():
        table.result(row, analyte, answer(association), rows=pair_rows(association.pairs), p=False)


def _adjusted(
    table: TableBuilder, row: str, found: Mapping[str, Association], answer: Callable[[Association], Answer]
) -> None:
    own, adjusted = table.row(row, "p", level=2), table.row(f"{row} adjusted", "adjusted p", level=2)
    for analyte, association in found.items():
        tested, rows = answer(association), pair_rows(association.pairs)
        plain = tested if isinstance(tested, NotEstimable) else replace(tested, p_adjusted=None)
        table.p_value(own, analyte, plain, rows=rows)
        table.p_value(adjusted, analyte, tested, rows=rows)


def _reliability(table: TableBuilder, found: Mapping[str, Association]) -> None:
    row = table.row("primary / reliability", "reliability of the dose", level=2)
    for analyte, association in found.items():
        known = association.corrected
        if isinstance(known, NotEstimable):
            table.refuse(row, analyte, known.reason, n=known.n)
        else:
            table.put(row, analyte, n=known.n, rows=pair_rows(association.pairs), estimate=known.reliability)


def _to_date(table: TableBuilder, context: Context, found: Mapping[str, Association]) -> None:
    table.row("to date", "Dose of the cycles begun before the nadir (secondary)")
    slope = table.row("to date / slope", f"{SLOPE[:-3]}, all nadirs, %", level=1)
    rank = table.row("to date / rank", "ρ at the lowest nadir", level=1)
    for analyte, association in found.items():
        rows = {"labs": exposures_to_date(context, analyte)["row"]}
        table.result(slope, analyte, association.to_date_slope, rows=rows, p=False)
        table.result(rank, analyte, association.to_date_rank, rows=rows, p=False)


def pair_rows(pairs: pd.DataFrame) -> dict[str, list[int]]:
    """Source rows of the complete pairs."""
    own = pairs[pairs["dose_Gy"].notna() & pairs["log_change"].notna()]
    labs = [*own["row"].astype(int), *own["baseline_row"].astype(int)]
    return {"labs": labs, "doses": [int(r) for r in own["dose_row"] if r]}


def _notes(context: Context, found: Mapping[str, Association]) -> list[str]:
    sizes = ", ".join(
        f"{label_of(a)} {int((f.pairs['dose_Gy'].notna() & f.pairs['log_change'].notna()).sum())}"
        for a, f in found.items()
    )
    return [
        f"Marrow method: {marrow_method(context) or 'none'}. Subjects with dose and nadir of the first cycle: {sizes}. "
        f"95 % intervals; p adjusted by Holm over analytes; {context.resamples} bootstrap resamples.",
        ATTENUATION_NOTE,
        "Total dose against the worst nadir would be biased, because toxicity shortens treatment; a dose given after a "
        "sample never enters.",
    ]
