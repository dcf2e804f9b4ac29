"""How a table of the report is put together: columns by arm, places with a count, a summary or a result.

Not here: which numbers a table holds (one file a table), and how they are printed (`lutetia.safety.printing`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lutetia.clinical.analytes import analytes
from lutetia.safety.cells import ALL, Cell, SafetyTable, TableColumn, TableRow, source
from lutetia.safety.context import Context
from lutetia.safety.statistics.proportions import clopper_pearson
from lutetia.safety.statistics.results import NotEstimable, Result

Rows = Mapping[str, Iterable[int]]
NO_ROWS: Rows = {}


@dataclass(slots=True)
class TableBuilder:
    """Collects columns, rows and cells of one table; `build` gives it."""

    id: str
    title: str
    analysis_set: str
    columns: list[TableColumn] = field(default_factory=list)
    rows: list[TableRow] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    footnotes: list[str] = field(default_factory=list)

    def column(self, key: str, label: str, *, unit: str = "", arm: str = ALL) -> None:
        """A further column at the right."""
        self.columns.append(TableColumn(key, label, unit, arm))

    def row(self, key: str, label: str, *, level: int = 0, arm: str = ALL) -> str:
        """A further row at the bottom; gives its key."""
        self.rows.append(TableRow(key, label, arm, level))
        return key

    def put(self, row: str, column: str, *, n: int | None, rows: Rows = NO_ROWS, **statistics: float | None) -> None:
        """Numbers of one place; a number that is None is not applicable."""
        origin, arm = source(**rows), self._arm(row, column)
        for name, value in statistics.items():
            self.cells.append(Cell(self.id, row, column, name, _plain(value), n, origin, arm))

    def refuse(self, row: str, column: str, reason: str, *, n: int | None = 0, statistic: str = "estimate") -> None:
        """A place that is not estimable, and why."""
        self.cells.append(Cell(self.id, row, column, statistic, None, n, (), self._arm(row, column), reason))

    def share(self, row: str, column: str, count: int, n: int, *, rows: Rows = NO_ROWS, interval: bool = True) -> None:
        """A count of `n` subjects with its percentage and exact interval."""
        found = clopper_pearson(count, n)
        if isinstance(found, NotEstimable):
            return self.refuse(row, column, found.reason, statistic="count")
        ends = {"low": 100.0 * (found.low or 0.0), "high": 100.0 * (found.high or 0.0)} if interval else {}
        return self.put(row, column, n=n, rows=rows, count=count, percent=100.0 * found.estimate, **ends)

    def summary(self, row: str, column: str, values: Sequence[float], *, rows: Rows = NO_ROWS) -> None:
        """Median and quartiles of the finite values."""
        found = np.asarray(values, dtype=float)
        found = found[np.isfinite(found)]
        if not len(found):
            return self.refuse(row, column, "no values", statistic="median")
        q1, median, q3 = np.percentile(found, [25.0, 50.0, 75.0])
        return self.put(row, column, n=len(found), rows=rows, median=float(median), q1=float(q1), q3=float(q3))

    def result(
        self, row: str, column: str, found: Result | NotEstimable, *, rows: Rows = NO_ROWS, p: bool = True
    ) -> None:
        """Estimate with its interval and p; the reason where it is not estimable, or has no interval."""
        if isinstance(found, NotEstimable):
            return self.refuse(row, column, found.reason, n=found.n)
        self.put(row, column, n=found.n, rows=rows, estimate=found.estimate)
        if found.low is None or found.high is None:
            why = found.warnings[-1] if found.warnings else "no interval"
            for end in ("low", "high"):
                self.refuse(row, column, why, n=found.n, statistic=end)
        else:
            self.put(row, column, n=found.n, rows=rows, low=found.low, high=found.high)
        return self.put(row, column, n=found.n, rows=rows, p=found.p) if p and found.p is not None else None

    def p_value(self, row: str, column: str, found: Result | NotEstimable, *, rows: Rows = NO_ROWS) -> None:
        """The adjusted p of a statistic alone; its own p where it has no family."""
        if isinstance(found, NotEstimable):
            return self.refuse(row, column, found.reason, n=found.n, statistic="p_adjusted")
        p = found.p if found.p_adjusted is None else found.p_adjusted
        return self.put(row, column, n=found.n, rows=rows, p_adjusted=p)

    def build(self) -> SafetyTable:
        """The table."""
        return SafetyTable(
            self.id, self.title, self.analysis_set, tuple(self.columns), tuple(self.rows), tuple(self.cells),
            tuple(self.footnotes),
        )  # fmt: skip

    def _arm(self, row: str, column: str) -> str:
        """The arm that a place reveals: its row's, or its column's."""
        own = next((r.arm for r in reversed(self.rows) if r.key == row), ALL)
        return own if own != ALL else next((c.arm for c in self.columns if c.key == column), ALL)


def arm_columns(table: TableBuilder, context: Context, members: str = "SAF") -> dict[str, tuple[str, ...]]:
    """A column for every arm and one for all, with the number of subjects; gives the subjects of each column."""
    groups = {arm: context.sets.of(members, arm) for arm in context.arms} | {"all": context.sets.of(members)}
    for key, subjects in groups.items():
        name = "All" if key == "all" else f"Arm {key}"
        table.column(key, name, unit=f"n = {len(subjects)}", arm=ALL if key == "all" else key)
    return groups


def lab_analytes(context: Context, names: Sequence[str]) -> list[str]:
    """Those of the named analytes that the trial has, in their order."""
    found = set(context.labs["analyte"])
    return [name for name in names if name in found]


def label_of(analyte: str) -> str:
    """An analyte as people write it, with its unit."""
    known = analytes()[analyte]
    return f"{known.label[0].upper()}{known.label[1:]}"


def _plain(value: float | None) -> float | int | None:
    if value is None or not np.isfinite(value):
        return None
    return int(value) if isinstance(value, int | np.integer) else float(value)
