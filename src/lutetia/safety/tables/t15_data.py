"""T15: data: every row accounted for, deviations, overrides, missing doses and doubts about data that are used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import pandas as pd

from lutetia.safety.cells import SafetyTable
from lutetia.safety.context import Context
from lutetia.safety.tables.building import TableBuilder, arm_columns

Groups = Mapping[str, tuple[str, ...]]
NOTE = (
    "Rows read = rows used + rows listed with a reason, table by table. The listing of the closed report names each "
    "row that is not used. Deviations, overrides and missing doses: numbers of rows in randomised subjects."
)
NOT_ANALYSED_NOTE = "The table of simulated truth is no part of an analysis and is not read."


def build(context: Context) -> SafetyTable:
    """The table of data, deviations and missing values."""
    table = TableBuilder("T15", "Data, deviations, overrides and missing values", "")
    for key, label in (("read", "Rows read"), ("used", "Rows used"), ("listed", "Rows listed")):
        table.column(key, label)
    groups = arm_columns(table, context, "ITT")
    _accounting(table, context)
    _deviations(table, context, groups)
    _overrides(table, context, groups)
    _missing_doses(table, context, groups)
    _laboratory(table, context, groups)
    _others(table, context, groups)
    _findings(table, context)
    table.footnotes.append(NOTE)
    if context.data.study.simulated:
        table.footnotes.append(NOT_ANALYSED_NOTE)
    return table.build()


def _accounting(table: TableBuilder, context: Context) -> None:
    account = context.data.accounting
    listed = Counter((item.table, item.reason) for item in account.listed)
    for count in account.counts:
        row = table.row(f"rows / {count.table}", f"{count.table}.csv")
        for name, value in (("read", count.read), ("used", count.used), ("listed", count.listed)):
            at = [i.row for i in account.listed if i.table == count.table] if name == "listed" else ()
            table.put(row, name, n=count.read, rows={count.table: at}, count=value)
        for (name, reason), value in sorted(listed.items()):
            if name == count.table:
                at = [i.row for i in account.listed if i.table == name and i.reason == reason]
                line = table.row(f"rows / {name} / {reason}", reason.capitalize(), level=1)
                table.put(line, "listed", n=count.read, rows={name: at}, count=value)


def _deviations(table: TableBuilder, context: Context, groups: Groups) -> None:
    rows = context.data["deviations"]
    head = table.row("deviations", "Deviations")
    _count(table, head, groups, rows, "deviations")
    for kind, own in rows.groupby(rows["kind"].replace("", "kind not recorded"), sort=True):
        line = table.row(f"deviations / {kind}", str(kind).capitalize(), level=1)
        _count(table, line, groups, own, "deviations")


def _overrides(table: TableBuilder, context: Context, groups: Groups) -> None:
    prescriptions = context.data["prescriptions"]
    own = prescriptions[prescriptions["override_by"] != ""].drop_duplicates(["subject_id", "cycle", "version"])
    line = table.row("overrides", "Prescriptions released by override of a limit")
    _count(table, line, groups, own, "prescriptions")


def _missing_doses(table: TableBuilder, context: Context, groups: Groups) -> None:
    doses = context.cycle_doses
    table.row("missing doses", "Cycles given without a dose")
    for limit in context.data.study.limits:
        method = context.limits.loc[context.limits["limit"] == limit.id, "method"].max()
        own = doses[(doses["region"] == limit.region) & (doses["method"] == method) & (doses["basis"] == "missing")]
        line = table.row(f"missing doses / {limit.id}", f"{limit.region.capitalize()} ({method})", level=1)
        _count(table, line, groups, own, "doses")


def _laboratory(table: TableBuilder, context: Context, groups: Groups) -> None:
    grades = context.grades[context.grades["on_treatment"]]
    ungraded = grades[grades["grade"].isna()].drop_duplicates("row")
    _count(table, table.row("no grade", "Values without a CTCAE grade (no limit of normal)"), groups, ungraded, "labs")
    changed = context.labs[context.labs["on_treatment"] & (context.labs["affected"] != "")]
    label = "Values within 7 days after a transfusion or growth factor"
    _count(table, table.row("affected", label), groups, changed, "labs")
    low = context.labs[context.labs["below_loq"]]
    _count(
        table,
        table.row("below LLOQ", "Values below the limit of quantification (half of it used)"),
        groups,
        low,
        "labs",
    )
    bare = context.grades[context.grades["on_treatment"] & ~context.grades["has_baseline"]]
    bare = bare[bare["table"] == "labs"].drop_duplicates("row")
    _count(table, table.row("no baseline", "Values of analytes without a baseline"), groups, bare, "labs")


def _others(table: TableBuilder, context: Context, groups: Groups) -> None:
    subjects = context.data["subjects"]
    wrong = subjects[
        (subjects["arm"] != "") & (subjects["stratum_true"] != "")
        & (subjects["stratum_entered"] != subjects["stratum_true"])
    ]  # fmt: skip
    _count(table, table.row("stratum", "Randomised in another stratum than the true one"), groups, wrong, "subjects")
    crossed = pd.DataFrame(
        [{"subject_id": c.subject_id, "row": row} for c in context.sets.cross_overs for row in c.rows[:1]],
        columns=["subject_id", "row"],
    )
    _count(
        table, table.row("cross-over", "Given other nuclides than those of the arm"), groups, crossed, "administrations"
    )


def _findings(table: TableBuilder, context: Context) -> None:
    account = context.data.accounting
    head = table.row("findings", "Doubts about data that are used, and missing files or columns")
    table.put(head, "all", n=len(account.findings), count=len(account.findings))
    for kind in sorted({finding.kind for finding in account.findings}):
        own = [finding for finding in account.findings if finding.kind == kind]
        at: dict[str, list[int]] = {}
        for finding in own:
            at.setdefault(finding.table, []).extend(finding.rows)
        line = table.row(f"findings / {kind}", kind.capitalize(), level=1)
        table.put(line, "all", n=len(own), rows=at, count=len(own))


def _count(table: TableBuilder, row: str, groups: Groups, rows: pd.DataFrame, origin: str) -> None:
    for column, subjects in groups.items():
        own = rows[rows["subject_id"].isin(subjects)]
        table.put(row, column, n=len(subjects), rows={origin: _known(own["row"])}, count=len(own))


def _known(rows: Iterable[int]) -> list[int]:
    """Row numbers; 0 stands for a row that the table does not have."""
    return [int(row) for row in rows if row]
