"""T9: worst treatment-emergent CTCAE grade of the laboratory values with exact intervals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.statistics.groups import adjust_holm
from lutetia.safety.statistics.proportions import freeman_halton
from lutetia.safety.statistics.results import NotEstimable, Result
from lutetia.safety.tables.building import TableBuilder, arm_columns, label_of
from lutetia.safety.tables.t08_shift import graded_terms

SEVERE = 3
NOTE = (
    "Worst grade after the first infusion that is worse than baseline; where the baseline is abnormal, criteria on "
    "multiples of it apply. Percentages of the subjects with a grade, exact (Clopper–Pearson) interval of 95 %. Arms "
    "compared: Fisher–Freeman–Halton test of grade 2 or worse, Holm-adjusted over terms."
)


def build(context: Context) -> SafetyTable:
    """The table of worst grades."""
    table = TableBuilder("T9", "Worst treatment-emergent CTCAE grade", "SAF with a graded value")
    groups = arm_columns(table, context)
    tests = grade_tests(context)
    for analyte, term in graded_terms(context):
        own = graded(context, term)
        table.row(term, f"{term} ({label_of(analyte)})")
        spread = table.row(f"{term} / grades", "Grades 0/1/2/3/4", level=1)
        for column, subjects in groups.items():
            among = own[own["subject_id"].isin(subjects)]
            counts = {f"grade_{g}": int((among["worst_emergent"] == g).sum()) for g in range(5)}
            table.put(spread, column, n=len(among), rows=_rows(among), **counts)
        for least in (2, SEVERE):
            row = table.row(f"{term} / grade {least}", f"Grade {least} or worse", level=1)
            for column, subjects in groups.items():
                among = own[own["subject_id"].isin(subjects)]
                table.share(row, column, int((among["worst_emergent"] >= least).sum()), len(among), rows=_rows(among))
        table.p_value(table.row(f"{term} / arms", "Arms: adjusted p", level=1), "all", tests[term])
    table.footnotes += [f"CTCAE version {context.data.study.ctcae}. {NOTE}"]
    return table.build()


def graded(context: Context, term: str) -> pd.DataFrame:
    """Treated subjects with a known worst emergent grade of a term."""
    worst = context.worst
    return worst[(worst["term"] == term) & worst["subject_id"].isin(context.sets.saf) & worst["worst_emergent"].notna()]


@lru_cache(maxsize=2)
def grade_tests(context: Context) -> Mapping[str, Result | NotEstimable]:
    """Whether grade 2 or worse differs between arms, for every term, adjusted over the terms."""
    return adjust_holm({term: _test(context, term) for _, term in graded_terms(context)})


def _test(context: Context, term: str) -> Result | NotEstimable:
    own = graded(context, term)
    hit = own["worst_emergent"] >= 2
    counts = [[int((hit & (own["arm"] == arm)).sum()), int((~hit & (own["arm"] == arm)).sum())] for arm in context.arms]
    return freeman_halton(counts, seed=context.seed)


def _rows(found: pd.DataFrame) -> dict[str, list[int]]:
    return {"labs": [r for rows in found["rows"] for r in rows]}
