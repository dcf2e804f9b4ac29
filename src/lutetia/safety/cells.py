"""Tables of the interim report as cells: each number with its n, its statistic and the rows that it came from.

A table is a grid of rows and columns; a place of the grid holds one or more cells, one a statistic (``median``, ``q1``,
``q3``). `arm` of a row, column and cell is the arm that it reveals, or `ALL` where it reveals none, so that a report
without arms picks with `of_arms`.

Source rows are compressed without loss: ``labs:2-14,27`` names rows 2 to 14 and 27 of `labs.csv` of the locked
snapshot, counted like a spreadsheet does (the header is row 1, a row that spans lines counts once); `expand` undoes it.

Not here: how numbers are printed (`lutetia.report`), and suppression of small cells. To add a layout of several
statistics in one place: a row of `LAYOUTS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lutetia.errors import InputError

ALL = "all"
Value = float | int | str | None

LAYOUTS: Mapping[tuple[str, ...], str] = {
    ("count", "percent", "low", "high"): "{count} ({percent} %; {low} to {high})",
    ("count", "percent"): "{count} ({percent} %)",
    ("median", "q1", "q3", "minimum", "maximum"): "{median} ({q1} to {q3}; {minimum} to {maximum})",
    ("median", "q1", "q3"): "{median} ({q1} to {q3})",
    ("minimum", "maximum"): "{minimum} to {maximum}",
    ("estimate", "low", "high", "p"): "{estimate} ({low} to {high}), p {p}",
    ("estimate", "low", "high"): "{estimate} ({low} to {high})",
    ("mean", "sd"): "{mean} ± {sd}",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of one table.

    `value` None with a `reason` is "not estimable"; None without one is "not applicable". `n` is the number of units
    (subjects, decisions, values) behind it, the denominator of a percentage.
    """

    table: str
    row: str
    column: str
    statistic: str
    value: Value
    n: int | None = None
    source_rows: tuple[str, ...] = ()
    arm: str = ALL
    reason: str = ""


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row: `key` is its name in `interim.json`, `level` its indent; a heading row has no cells."""

    key: str
    label: str
    arm: str = ALL
    level: int = 0


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column; `unit` is printed with the label."""

    key: str
    label: str
    unit: str = ""
    arm: str = ALL


@dataclass(frozen=True, slots=True)
class SafetyTable:
    """One table of the report; `cells` refer to rows and columns by their keys."""

    id: str
    title: str
    analysis_set: str
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    cells: tuple[Cell, ...]
    footnotes: tuple[str, ...] = ()
    _places: dict[tuple[str, str], tuple[Cell, ...]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        rows, columns = {r.key for r in self.rows}, {c.key for c in self.columns}
        places: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.cells:
            if cell.row not in rows or cell.column not in columns:
                raise InputError(
                    f"table {self.id}: a cell at row {cell.row!r}, column {cell.column!r}; expected keys of the table"
                )
            places.setdefault((cell.row, cell.column), []).append(cell)
        self._places.update({place: tuple(cells) for place, cells in places.items()})

    def at(self, row: str, column: str) -> tuple[Cell, ...]:
        """All statistics of one place, in the order in which they were given."""
        return self._places.get((row, column), ())

    def value(self, row: str, column: str, statistic: str) -> Value:
        """One number; None where the table has none."""
        return next((c.value for c in self.at(row, column) if c.statistic == statistic), None)


def of_arms(table: SafetyTable, arms: Iterable[str]) -> SafetyTable:
    """The part of a table that reveals only the given arms; what reveals no arm is always kept."""
    kept = {ALL, *arms}
    rows = tuple(r for r in table.rows if r.arm in kept)
    columns = tuple(c for c in table.columns if c.arm in kept)
    keys = {r.key for r in rows}, {c.key for c in columns}
    cells = tuple(c for c in table.cells if c.arm in kept and c.row in keys[0] and c.column in keys[1])
    return replace(table, rows=rows, columns=columns, cells=cells)


def pooled(table: SafetyTable) -> SafetyTable:
    """The part of a table that reveals no arm."""
    return of_arms(table, ())


def layout(cells: Sequence[Cell]) -> str | None:
    """The pattern of `LAYOUTS` that fits the statistics of one place; None where each is printed alone."""
    found = {c.statistic for c in cells}
    return next((pattern for names, pattern in LAYOUTS.items() if set(names) <= found), None)


def source(**rows: Iterable[int]) -> tuple[str, ...]:
    """Row numbers by table as compressed source rows; tables without rows are left out.

    >>> source(labs=[2, 3, 4, 9], doses=[])
    ('labs:2-4,9',)
    """
    found = []
    for table, numbers in sorted(rows.items()):
        if ranges := _ranges(numbers):
            found.append(f"{table}:{ranges}")
    return tuple(found)


def expand(source_rows: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Row numbers by table of compressed source rows; the inverse of `source`."""
    found: dict[str, tuple[int, ...]] = {}
    for text in source_rows:
        table, _, ranges = text.partition(":")
        numbers: list[int] = []
        for part in ranges.split(","):
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
        found[table] = (*found.get(table, ()), *numbers)
    return found


def _ranges(numbers: Iterable[int]) -> str:
    rows = np.unique(np.fromiter((int(n) for n in numbers), dtype=np.int64))
    if not len(rows):
        return ""
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
