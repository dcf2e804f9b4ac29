"""T6: cumulative dose of each limit's organ by arm, absorbed and BED, by nuclide, and the proportion over the limit.

A block for every arm and limit: all subjects of DOS, those by number of cycles given, those who were given every
planned cycle, the sensitivity with missing cycles filled in, and as treated where somebody crossed over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lutetia.safety.cells import ALL, SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.doses import limit_method
from lutetia.safety.study import DoseLimit
from lutetia.safety.tables.building import TableBuilder

NOTE = (
    "Median (quartiles) and range of the sum over the cycles given up to the data cut; a subject with a cycle without "
    "dose is missing, not zero. Over the limit: dose with that of prior therapy, exact (Clopper–Pearson) interval of "
    "95 %. Sensitivity: in missing cycles the last Gy/GBq of each nuclide times its activity ({imputed} subjects)."
)
PRIOR_NOTE = "{n} subjects had a dose of prior therapy, which counts against the limit and not in the dose columns."


@dataclass(frozen=True, slots=True)
class _Block:
    """One group of subjects against one limit."""

    key: str
    arm: str
    subjects: Collection[str]
    limit: DoseLimit
    method: str


def build(context: Context) -> SafetyTable:
    """The table of cumulative doses."""
    table = TableBuilder("T6", "Cumulative dose by arm, and over the limits", "DOS; sensitivity: SAF")
    table.column("subjects", "Subjects")
    table.column("absorbed_dose_Gy", "Absorbed dose", unit="Gy")
    table.column("range_Gy", "Range", unit="Gy")
    table.column("bed_Gy", "BED", unit="Gy")
    nuclides = sorted({n for arm in context.data.study.arms.values() for n in arm.base_MBq})
    for nuclide in nuclides:
        table.column(nuclide, f"of {nuclide}", unit="Gy")
    table.column("over_limit", "Over the limit")
    names = Counter(limit.region for limit in context.data.study.limits)
    for limit in context.data.study.limits:
        name = limit.region if names[limit.region] == 1 else limit.id
        for arm in (*context.arms, ALL):
            _arm(table, context, limit, arm, name)
    table.footnotes += _notes(context)
    return table.build()


def _arm(table: TableBuilder, context: Context, limit: DoseLimit, arm: str, name: str) -> None:
    key, planned, sets = f"{arm} / {name}", context.data.study.cycles, context.sets
    method = limit_method(context.data, limit)
    label = "All arms" if arm == ALL else f"Arm {arm}"
    table.row(key, f"{label}: {name} ({method or 'no method'}; limit {limit.limit_Gy:g} Gy, {limit.kind})", arm=arm)
    members = sets.of("DOS", None if arm == ALL else arm)
    block = _Block(key, arm, members, limit, method)
    _line(table, context, block)
    counts = context.infusions.groupby("subject_id").size()
    for cycles in sorted({int(counts[s]) for s in members}):
        own = [s for s in members if counts[s] == cycles]
        row = table.row(
            f"{key} / {cycles} cycles", f"{cycles} cycle{'s' if cycles > 1 else ''} given", level=1, arm=arm
        )
        _line(table, context, _Block(row, arm, own, limit, method))
    if planned is not None:
        own = [s for s in members if counts[s] >= planned]
        row = table.row(f"{key} / completers", f"Completers (all {planned} cycles)", level=1, arm=arm)
        _line(table, context, _Block(row, arm, own, limit, method))
    everyone = sets.of("SAF", None if arm == ALL else arm)
    _sensitivity(table, context, _Block(f"{key} / sensitivity", arm, everyone, limit, method))
    if sets.cross_overs and arm != ALL:
        treated = [s for s in sets.dos if sets.as_treated[s] == arm]
        row = table.row(f"{key} / as treated", "As treated", level=1, arm=arm)
        _line(table, context, _Block(row, arm, treated, limit, method))


def _line(table: TableBuilder, context: Context, block: _Block) -> None:
    own = context.cumulative[context.cumulative["subject_id"].isin(block.subjects)]
    own = own[(own["region"] == block.limit.region) & (own["method"] == block.method)]
    rows = {"doses": [r for p in own["rows"] for r in p]}
    table.put(block.key, "subjects", n=len(own), rows=rows, count=len(own))
    _quartiles(table, (block.key, "absorbed_dose_Gy"), own["absorbed_dose_Gy"], rows, "no subject with a dose")
    if (known := own["absorbed_dose_Gy"].dropna()).size:
        ends = float(known.min()), float(known.max())
        table.put(block.key, "range_Gy", n=len(known), rows=rows, minimum=ends[0], maximum=ends[1])
    _quartiles(table, (block.key, "bed_Gy"), own["bed_Gy"], rows, "no BED in the data")
    parts = context.by_nuclide[context.by_nuclide["subject_id"].isin(block.subjects)]
    parts = parts[(parts["region"] == block.limit.region) & (parts["method"] == block.method)]
    for nuclide, part in parts.groupby("nuclide", sort=True):
        if nuclide in {c.key for c in table.columns}:
            at = {"doses": [r for p in part["rows"] for r in p]}
            table.summary(block.key, str(nuclide), part["absorbed_dose_Gy"].to_numpy(), rows=at)
    against = context.limits[context.limits["subject_id"].isin(block.subjects)]
    against = against[(against["limit"] == block.limit.id) & against["over"].notna()]
    at = {"doses": [r for p in against["rows"] for r in p]}
    table.share(block.key, "over_limit", int(against["over"].sum()), len(against), rows=at)


def _sensitivity(table: TableBuilder, context: Context, block: _Block) -> None:
    """All treated subjects, missing cycles filled in; only where some are missing."""
    own = context.limits[
        context.limits["subject_id"].isin(block.subjects) & (context.limits["limit"] == block.limit.id)
    ]
    if own["complete"].all():
        return
    filled = own[_is_filled(own)]
    whose = "1 subject's" if len(filled) == 1 else f"{len(filled)} subjects'"
    label = f"Sensitivity: with {whose} missing cycles filled in"
    row = table.row(block.key, label, level=1, arm=block.arm)
    known = own[own["sensitivity_Gy"].notna()]
    rows = {"doses": [r for p in known["rows"] for r in p]}
    column = "absorbed_dose_Gy" if block.limit.metric == "absorbed_dose" else "bed_Gy"
    table.put(row, "subjects", n=len(known), rows=rows, count=len(known))
    _quartiles(table, (row, column), known["sensitivity_Gy"], rows, "no subject with a dose")
    judged = known[known["sensitivity_over"].notna()]
    table.share(row, "over_limit", int(judged["sensitivity_over"].sum()), len(judged), rows=rows)


def _is_filled(limits: pd.DataFrame) -> np.ndarray:
    """Whether cycles without a dose were filled in."""
    return np.array([isinstance(c, tuple) and len(c) > 0 for c in limits["imputed_cycles"]], dtype=bool)


def _quartiles(
    table: TableBuilder, place: tuple[str, str], values: pd.Series, rows: dict[str, list[int]], reason: str
) -> None:
    known = values.dropna()
    if known.empty:
        table.refuse(*place, reason, statistic="median")
        return
    q1, median, q3 = known.quantile([0.25, 0.5, 0.75])
    row, column = place
    table.put(row, column, n=len(known), rows=rows, median=float(median), q1=float(q1), q3=float(q3))


def _notes(context: Context) -> list[str]:
    limits = context.limits
    filled = limits[_is_filled(limits)]
    notes = [NOTE.format(imputed=filled["subject_id"].nunique())]
    if prior := limits.loc[limits["prior_Gy"] > 0, "subject_id"].nunique():
        notes.append(PRIOR_NOTE.format(n=prior))
    if context.sets.cross_overs:
        undecided = sum(not c.treated for c in context.sets.cross_overs)
        notes.append(f"{len(context.sets.cross_overs)} subjects crossed over, {undecided} of them to no one arm.")
    return notes
