"""T6b: cumulative doses compared between arms: medians with intervals, Kruskal–Wallis, pairs by Dunn with Holm."""

from __future__ import annotations

from lutetia.report.numbers import given_number
from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.dose_findings import DoseComparison, complete_doses, dose_comparisons
from lutetia.safety.statistics.groups import GroupComparison
from lutetia.safety.statistics.results import NotEstimable
from lutetia.safety.tables.building import TableBuilder

NOTE = (
    "Medians with percentile bootstrap intervals. Pairs: Hodges–Lehmann shift (first less second) with its interval, p "
    "of Dunn's test adjusted by Holm over the pairs. Subjects with a complete dose; incomplete courses count as given."
)


def build(context: Context) -> SafetyTable:
    """The table of comparisons."""
    table = TableBuilder("T6b", "Cumulative doses compared between arms", "DOS")
    table.column("estimate", "Estimate (95 % CI)", unit="Gy")
    table.column("adjusted", "Adjusted p")
    for limit in context.data.study.limits:
        found = dose_comparisons(context)[limit.id]
        what = "BED" if limit.metric == "bed" else "absorbed dose"
        table.row(limit.id, f"{limit.region.capitalize()}, {what} (limit {given_number(limit.limit_Gy)} Gy)")
        _medians(table, context, found)
        _compared(table, context, found)
    table.footnotes.append(NOTE)
    return table.build()


def _rows(context: Context, limit: str, arms: tuple[str, ...] = ()) -> dict[str, list[int]]:
    own = complete_doses(context, limit)
    own = own[own["arm"].isin(arms)] if arms else own
    return {"doses": [r for rows in own["rows"] for r in rows]}


def _medians(table: TableBuilder, context: Context, found: DoseComparison) -> None:
    for arm, median in found.medians.items():
        row = table.row(f"{found.limit} / {arm}", f"Arm {arm}: median", level=1, arm=arm)
        table.result(row, "estimate", median, rows=_rows(context, found.limit, (arm,)))


def _compared(table: TableBuilder, context: Context, found: DoseComparison) -> None:
    row, rows = table.row(f"{found.limit} / arms", "Arms: ε² and p", level=1), _rows(context, found.limit)
    test = found.compared
    if isinstance(test, GroupComparison):
        ends = {"low": test.low, "high": test.high} if test.low is not None else {}
        table.put(row, "estimate", n=test.n, rows=rows, estimate=test.epsilon2, **ends)
        table.put(row, "adjusted", n=test.n, rows=rows, p=test.p)
    else:
        table.refuse(row, "estimate", test.reason, n=test.n)
    if isinstance(found.pairs, NotEstimable):
        table.refuse(table.row(f"{found.limit} / pairs", "Pairs", level=1), "estimate", found.pairs.reason)
        return
    for pair in found.pairs:
        row = table.row(f"{found.limit} / {pair.first} - {pair.second}", f"{pair.first} − {pair.second}", level=2)
        own = _rows(context, found.limit, (pair.first, pair.second))
        table.result(row, "estimate", pair.shift, rows=own, p=False)
        table.put(row, "adjusted", n=pair.n, rows=own, p_adjusted=pair.p_adjusted)
