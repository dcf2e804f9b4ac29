"""Tables of cells as tables of a document: digits, intervals, reasons of what is not estimable, suppressed numbers.

Digits follow the row: every number of a row has the decimals that its largest middle value needs. Not here: what the
numbers are (`lutetia.safety.tables`), and which of them an open report may show (`lutetia.safety.suppression`).
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lutetia.report.document import Column, Inline, Span, Table, rich
from lutetia.report.numbers import THIN, decimals, fixed, known, typeset, unit
from lutetia.safety.cells import Cell, SafetyTable, TableRow, layout

SUPPRESSED = "suppressed: this number, or one from which it could be computed, is 1 to 4"
NOT_ESTIMABLE = "NE"
GRADES = ("grade_0", "grade_1", "grade_2", "grade_3", "grade_4")
WHOLE = frozenset({"count", "events", "n", "subjects", "rows", "df", *GRADES})
PERCENT = frozenset({"percent"})
PROBABILITIES = frozenset({"p", "p_adjusted", "probability"})
MIDDLE = frozenset({"median", "mean", "estimate", "value", "minimum", "maximum", "rate"})
# Beside those of `lutetia.safety.cells`.
LAYOUTS: Mapping[tuple[str, ...], str] = {GRADES: " / ".join(f"{{{name}}}" for name in GRADES)}


@dataclass(slots=True)
class Reasons:
    """Reasons of one table in the order in which they occur; each gets a letter."""

    known: list[str] = field(default_factory=list)

    def letter(self, reason: str) -> str:
        """The letter of a reason: a, b, …, aa, ab, …"""
        if reason not in self.known:
            self.known.append(reason)
        place, letters = self.known.index(reason), string.ascii_lowercase
        return letters[place] if place < 26 else letters[place // 26 - 1] + letters[place % 26]

    def notes(self) -> tuple[Inline, ...]:
        """One line with all reasons; empty where everything was estimable."""
        if not self.known:
            return ()
        words = "; ".join(f"{self.letter(reason)}{THIN}{reason}" for reason in self.known)
        return (rich("NE: not estimable. ", typeset(words)),)


def printed_table(table: SafetyTable, *, widths: Sequence[float] = ()) -> Table:
    """The table as a block of a document; `widths` are relative widths of all columns, the names' first."""
    reasons = Reasons()
    rows = tuple(_printed_row(table, row, reasons) for row in table.rows)
    share = tuple(widths) or (0.0,) * (len(table.columns) + 1)
    columns = (
        Column(rich(""), width=share[0]),
        *(
            Column(typeset(c.label), "".join(s.text for s in unit(c.unit)), "right", width)
            for c, width in zip(table.columns, share[1:], strict=True)
        ),
    )
    hidden = any(cell.reason == SUPPRESSED for cell in table.cells)
    notes = [rich(f"Analysis set: {table.analysis_set}.")] if table.analysis_set else []
    notes += [typeset(note) for note in table.footnotes]
    notes += [rich("s: ", SUPPRESSED, ".")] if hidden else []
    caption = rich(table.id, "\u2002", typeset(table.title))
    levels = tuple(row.level for row in table.rows)
    return Table(columns, rows, caption, (*notes, *reasons.notes()), levels=levels, many=len(rows) > 26)


def _printed_row(table: SafetyTable, row: TableRow, reasons: Reasons) -> tuple[Inline, ...]:
    found = [table.at(row.key, column.key) for column in table.columns]
    places = row_places([cell for cells in found for cell in cells], most=1 if row.label.endswith("%") else 2)
    return (typeset(row.label), *(printed_place(cells, places, reasons) for cells in found))


def printed_place(cells: Sequence[Cell], places: int, reasons: Reasons) -> Inline:
    """All statistics of one place of a table as text."""
    if not cells:
        return ()
    if all(c.value is None for c in cells):
        if cells[0].reason == SUPPRESSED:
            return (Span("s", muted=True),)
        first = next((c.reason for c in cells if c.reason), "")
        if not first:
            return rich("–")
        return rich(NOT_ESTIMABLE, Span(reasons.letter(first), raised=True))
    pattern = _pattern(cells)
    values = {c.statistic: printed_value(c, places, percent=_is_percent(cells)) for c in cells}
    if pattern is None:
        return typeset("; ".join(values[c.statistic] for c in cells if c.value is not None))
    used = {name for _, name, _, _ in string.Formatter().parse(pattern) if name}
    if any(c.value is None for c in cells if c.statistic in used):
        return _partly(cells, values, reasons)
    more = [f"{_words(c.statistic)} {values[c.statistic]}" for c in cells if c.statistic not in used]
    return typeset("; ".join([pattern.format_map(values), *more]))


def _partly(cells: Sequence[Cell], values: dict[str, str], reasons: Reasons) -> Inline:
    """A place in which some statistics are missing: those that exist, and why the others do not."""
    shown = [values[c.statistic] for c in cells if c.value is not None and c.statistic not in ("low", "high", "p")]
    reason = next((c.reason for c in cells if c.value is None and c.reason), "")
    text = typeset(" ".join(shown) or "–")
    return rich(text, Span(reasons.letter(reason), raised=True)) if reason else text


def printed_value(cell: Cell, places: int, *, percent: bool = False) -> str:
    """One number with its digits; text as it is."""
    value = cell.value
    if value is None or isinstance(value, str):
        return value if value is not None else "–"
    if cell.statistic in PROBABILITIES:
        return printed_p(float(value))
    if cell.statistic in WHOLE:
        return fixed(float(value), 0)
    if cell.statistic in PERCENT or (percent and cell.statistic in ("low", "high")):
        return fixed(float(value), 0)
    return fixed(float(value), places) if known(float(value)) is not None else "–"


def printed_p(p: float) -> str:
    """A p-value: three decimals, as a bound below 0.001."""
    return f"<{THIN}0.001" if p < 0.001 else fixed(p, 3)


def row_places(cells: Sequence[Cell], *, most: int = 2) -> int:
    """Decimals of a row: three significant digits of its largest middle value, at most two; one in percentages."""
    found = [abs(v) for c in cells if c.statistic in MIDDLE and (v := known(c.value)) is not None]
    return decimals(max(found), digits=3, most=most) if found and max(found) > 0 else 1


def _pattern(cells: Sequence[Cell]) -> str | None:
    found = {c.statistic for c in cells}
    own = next((pattern for names, pattern in LAYOUTS.items() if set(names) <= found), None)
    return own or layout(cells)


def _is_percent(cells: Sequence[Cell]) -> bool:
    return any(c.statistic in PERCENT for c in cells)


def _words(statistic: str) -> str:
    return {"p_adjusted": "adjusted p", "low": "from", "high": "to"}.get(statistic, statistic.replace("_", " "))
