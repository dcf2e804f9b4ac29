"""Small numbers of an open report: counts of 1 to 4 are not shown, nor what would give them away.

A table of an open report is read as a tree by the levels of its rows, and every parent as the sum of its children; rows
of the first level, and rows below a heading without a number, as parts of the column's number of subjects. A hidden
number is safe where its family leaves at least two possible values for it. Rows that do not add up are treated alike:
too much is hidden rather than too little.

Hidden are: counts of 1 to 4; counts whose rest to the denominator, or to a larger number that counts them too (the row
above, any event, all grades beside the severe ones), is 1 to 4; the next smallest of the family where one
hidden number alone, or hidden numbers that must all be 1, could be computed; every statistic of such a place; quartiles
of fewer than five; counts of 1 to 4 in footnotes; and smallest and largest values always, since they are single
subjects.

References
----------
Hundepool A. et al., Statistical Disclosure Control, Wiley 2012 (primary and secondary suppression).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lutetia.safety.cells import Cell, SafetyTable
from lutetia.safety.printing import SUPPRESSED

SMALLEST_SHOWN = 5
COUNTS = ("count", "events", "subjects", "rows")
SINGLE_SUBJECTS = ("minimum", "maximum")
ANY_EVENT, SEVERE = "any", " ≥ G3"  # the row that counts every row of the first level, and columns that are parts
#: Rows of T15 about tables with a row a nuclide.
_A_NUCLIDE = tuple(f"rows / {name}" for name in ("administrations", "doses", "prescriptions", "forecasts", "truth"))
_COUNTED = re.compile(r"\b[1-4]\b(?= (?:subject|event|row|value|cycle|prescription)s?\b)")


@dataclass(frozen=True, slots=True)
class Family:
    """Rows that are taken to add up to `parent`, or where it is None to `total`."""

    parent: str | None
    children: tuple[str, ...]


def suppress_small(table: SafetyTable) -> SafetyTable:
    """The table as an open report may show it: hidden cells have no value and the reason `SUPPRESSED`."""
    families = families_of(table)
    hidden = {(row, column.key) for column in table.columns for row in _hidden_rows(table, column.key, families)}
    kept = [c for c in table.cells if c.statistic not in SINGLE_SUBJECTS]
    cells = tuple(_hide(c) if (c.row, c.column) in hidden else c for c in kept)
    return replace(table, cells=cells, footnotes=tuple(_COUNTED.sub("s", note) for note in table.footnotes))


def without_denominator(table: SafetyTable) -> SafetyTable:
    """The table without its number of subjects and without percentages, from which that number could be computed."""
    shares = {(c.row, c.column) for c in table.cells if c.statistic == "percent"}
    of_shares = ("percent", "low", "high")
    kept = [c for c in table.cells if not (c.statistic in of_shares and (c.row, c.column) in shares)]
    cells = tuple(replace(c, n=None) for c in kept)
    return replace(table, columns=tuple(replace(c, unit="") for c in table.columns), cells=cells)


def without_rows_a_nuclide(table: SafetyTable) -> SafetyTable:
    """The table without numbers of rows of tables that have one a nuclide.

    The difference between two reports would tell how many nuclides the subject got who was treated in between.
    """
    kept = tuple(row for row in table.rows if not row.key.startswith(_A_NUCLIDE))
    keys = {row.key for row in kept}
    return replace(table, rows=kept, cells=tuple(cell for cell in table.cells if cell.row in keys))


def families_of(table: SafetyTable) -> tuple[Family, ...]:
    """Families by the levels of the rows: every row with those below it, and the rows of the first level."""
    children: dict[str | None, list[str]] = {None: []}
    path: list[tuple[int, str]] = []
    for row in table.rows:
        while path and path[-1][0] >= row.level:
            path.pop()
        children.setdefault(path[-1][1] if path else None, []).append(row.key)
        path.append((row.level, row.key))
    return tuple(Family(parent, tuple(keys)) for parent, keys in children.items() if keys)


def _hidden_rows(table: SafetyTable, column: str, families: Sequence[Family]) -> set[str]:
    counts = {row.key: _count(table.at(row.key, column)) for row in table.rows}
    hidden = {row.key for row in table.rows if _is_small(table.at(row.key, column))}
    hidden |= {key for key, rest in _rests(table, column, counts, families) if 0 < rest < SMALLEST_SHOWN}
    while added := _complement(counts, hidden, families):
        hidden |= added
    return hidden


def _rests(
    table: SafetyTable, column: str, counts: Mapping[str, int | None], families: Sequence[Family]
) -> list[tuple[str, int]]:
    """Rows whose number is part of a larger one, and what is left of that one."""
    whole = column.removesuffix(SEVERE)
    pairs = [(row.key, _count(table.at(row.key, whole))) for row in table.rows] if whole != column else []
    for family in families:
        parent = family.parent or ANY_EVENT
        pairs += [(key, counts.get(parent)) for key in family.children if key != parent]
    own = ((key, of, counts[key]) for key, of in pairs)
    return [(key, of - count) for key, of, count in own if of is not None and count]


def _is_small(cells: Sequence[Cell]) -> bool:
    """Whether a place must not be shown, whatever stands beside it."""
    found = [(int(c.value), c.n) for c in cells if c.statistic in COUNTS and isinstance(c.value, int | float)]
    if any(0 < value < SMALLEST_SHOWN for value, _ in found):
        return True
    if any(n is not None and 0 < n - value < SMALLEST_SHOWN for value, n in found):
        return True
    return any(c.n is not None and 0 < c.n < SMALLEST_SHOWN and c.value is not None for c in cells)


def _count(cells: Sequence[Cell]) -> int | None:
    return next((int(c.value) for c in cells if c.statistic in COUNTS and isinstance(c.value, int | float)), None)


def _complement(counts: Mapping[str, int | None], hidden: set[str], families: Sequence[Family]) -> set[str]:
    """What else has to be hidden so that nothing hidden can be computed; one step.

    A hidden parent needs a hidden child, else it is the sum of those that are shown.
    """
    for family in families:
        known = [key for key in family.children if counts[key] is not None]
        secret = [key for key in known if key in hidden]
        summed = family.parent is not None and counts[family.parent] is not None
        parent_hidden = summed and family.parent in hidden
        told = not secret if parent_hidden else bool(secret) and _exposed([counts[key] or 0 for key in secret])
        if not known or not told:
            continue
        shown = sorted((counts[key] == 0, counts[key] or 0, n, key) for n, key in enumerate(known) if key not in hidden)
        if shown:
            return {shown[0][3]}
        if family.parent is not None and summed and not parent_hidden:
            return {family.parent}
    return set()


def _exposed(values: Sequence[int]) -> bool:
    """Whether numbers of a known sum can be told: one alone, or all 1."""
    return len(values) == 1 or sum(values) <= len(values)


def _hide(cell: Cell) -> Cell:
    return replace(cell, value=None, n=None, source_rows=(), reason=SUPPRESSED)
