"""Tables of cells as tables of a document: digits, intervals, reasons of what is not estimable, suppressed numbers.

Digits follow the row: every number of a row has the decimals that its largest middle value needs. Not here: what the
numbers are (`lutetia.safety.tables`), and which of them an open report may show (`lutetia.safety.suppression`).
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from lutetia.report.document import Column, Inline, Span, Table, plain, rich
from lutetia.report.numbers import THIN, decimals, fixed, known, typeset, unit
from lutetia.safety.cells import ALL, Cell, SafetyTable, TableColumn, TableRow, layout

SUPPRESSED = "suppressed: this number, or one from which it could be computed, is 1 to 4"
NOT_ESTIMABLE = "NE"
GRADES = ("grade_0", "grade_1", "grade_2", "grade_3", "grade_4")
WHOLE = frozenset({"count", "events", "deaths", "n", "subjects", "rows", "df", *GRADES})
PERCENT = frozenset({"percent"})
ENDS = frozenset({"low", "high", "q1", "q3", "minimum", "maximum"})
NBSP = "\u00a0"
PROBABILITIES = frozenset({"p", "p_adjusted", "probability"})
MIDDLE = frozenset({"median", "mean", "estimate", "value", "minimum", "maximum", "rate"})
# Printed only where they stand alone: they are in interim.json, and beside other numbers they are known from these.
BESIDE = frozenset({"events"})
# Characters of a table's line on A4, and room between columns, at the size of text in tables with levels (measured).
LINE, GAP, SHORTEST_NAME = 121.0, 1.9, 20
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


def printed_table(table: SafetyTable) -> Table:
    """The table as a block of a document; columns are as wide as their text needs."""
    reasons = Reasons()
    rows = tuple(_printed_row(table, row, reasons) for row in table.rows)
    heads = [Column(rich("")), *(_printed_column(column) for column in table.columns)]
    levels = tuple(row.level for row in table.rows)
    widths = column_widths(heads, rows, levels)
    columns = tuple(replace(head, width=width) for head, width in zip(heads, widths, strict=True))
    hidden = any(cell.reason == SUPPRESSED for cell in table.cells)
    notes = [rich(f"Analysis set: {table.analysis_set}.")] if table.analysis_set else []
    notes += [typeset(note) for note in table.footnotes]
    notes += [rich("s: ", SUPPRESSED, ".")] if hidden else []
    caption = rich(table.id, "\u2002", typeset(table.title))
    return Table(columns, rows, caption, (*notes, *reasons.notes()), levels=levels, many=len(rows) > 26)


def _printed_column(column: TableColumn) -> Column:
    return Column(typeset(_micro(column.label)), "".join(s.text for s in unit(column.unit)), "right")


def column_widths(
    heads: Sequence[Column], rows: Sequence[Sequence[Inline]], levels: Sequence[int]
) -> tuple[float, ...]:
    """Relative widths by the characters of the texts.

    Where all numbers fit on one line, columns are as wide as their longest text, else as their longest part without a
    place to break (before a bracket); names are broken first.
    """
    columns = [[plain(row[n]) for row in rows if any(row[1:])] for n in range(len(heads))]
    indents = [2 * level for row, level in zip(rows, levels, strict=True) if any(row[1:])]
    longest = max((len(text) + more for text, more in zip(columns[0], indents, strict=True)), default=1)
    least = [max(_longest_word(plain(head.title)), len(head.unit)) + 1 for head in heads[1:]]
    whole = _alike(heads, [max([*map(len, texts), few]) for texts, few in zip(columns[1:], least, strict=True)])
    parts = _alike(
        heads, [max([*map(_longest_part, texts), few]) for texts, few in zip(columns[1:], least, strict=True)]
    )
    room = LINE - GAP * len(heads)
    chosen = _widened(heads, parts, whole, room - sum(parts) - min(longest, SHORTEST_NAME))
    names = min(longest, max(room - sum(chosen), SHORTEST_NAME))
    spare = max(room - sum(chosen) - names, 0.0) / len(heads)
    return (names + GAP + spare, *(width + GAP + spare for width in chosen))


def _widened(heads: Sequence[Column], parts: Sequence[int], whole: Sequence[int], left: float) -> list[int]:
    """Widths for parts of texts, widened to whole texts where the room left allows, those that need least first."""
    chosen, groups = list(parts), [n for n, head in enumerate(heads[1:]) if _is_group(head)]
    units = [[n] for n in range(len(parts)) if n not in groups] + ([groups] if groups else [])
    for own in sorted(units, key=lambda each: (sum(whole[n] - parts[n] for n in each), each)):
        more = sum(whole[n] - parts[n] for n in own)
        if more <= left:
            left -= more
            for n in own:
                chosen[n] = whole[n]
    return chosen


def _is_group(head: Column) -> bool:
    return head.unit.startswith("n = ")


def _alike(heads: Sequence[Column], widths: Sequence[int]) -> list[int]:
    """Columns of groups (those that say their n) are equally wide."""
    of_groups = [_is_group(head) for head in heads[1:]]
    widest = max((width for width, group in zip(widths, of_groups, strict=True) if group), default=0)
    return [widest if group else width for width, group in zip(widths, of_groups, strict=True)]


def _longest_part(text: str) -> int:
    return max(len(part) for part in text.replace(" (", "\n(").replace("; ", "\n").split("\n"))


def _longest_word(text: str) -> int:
    return max((len(word) for word in text.split()), default=1)


def _micro(label: str) -> str:
    return label.replace("umol/L", "µmol/L")


def _printed_row(table: SafetyTable, row: TableRow, reasons: Reasons) -> tuple[Inline, ...]:
    found = [table.at(row.key, column.key) for column in table.columns]
    percent, alike = row.label.endswith("%"), any(column.arm != ALL for column in table.columns)
    common = row_places([cell for cells in found for cell in cells], percent=percent)
    places = [common if alike else row_places(cells, percent=percent) for cells in found]
    shown = (printed_place(cells, digits, reasons) for cells, digits in zip(found, places, strict=True))
    return (typeset(_micro(row.label)), *shown)


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
    more = [f"{_words(c.statistic)} {values[c.statistic]}" for c in cells if c.statistic not in used | BESIDE]
    return _bracketed("; ".join([_filled(pattern, cells, values), *more]))


def _bracketed(text: str) -> Inline:
    """The text with its bracket on one line."""
    head, _, rest = text.partition(" (")
    inside, close, tail = rest.partition(")")
    return rich(*typeset(f"{head} "), Span(f"({inside})", whole=True), *typeset(tail)) if close else typeset(text)


def _filled(pattern: str, cells: Sequence[Cell], values: Mapping[str, str]) -> str:
    """The pattern with its values: one value alone has no quartiles, and brackets are not broken over lines."""
    if pattern.startswith("{median}") and cells[0].n == 1:
        return values["median"]
    ends = [c.value for c in cells if c.statistic in ENDS and isinstance(c.value, int | float)]
    if ends and min(ends) >= 0:
        pattern = pattern.replace("} to {", "}–{")
    return pattern.format_map(values).replace(" to ", f"{NBSP}to{NBSP}").replace(" %; ", f"{NBSP}%;{NBSP}")


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


def row_places(cells: Sequence[Cell], *, percent: bool = False) -> int:
    """Decimals of a row: three significant digits of its median middle value, at most two; below 0.1 two digits.

    A value near zero has the digits that its interval needs. Percentages have two digits, at most one decimal.
    """
    found = [abs(v) for c in cells if c.statistic in MIDDLE and (v := known(c.value)) is not None]
    if not found or not max(found) > 0:
        return 1
    ends = [abs(v) for c in cells if c.statistic in ENDS and (v := known(c.value)) is not None]
    middle = max(median(found), median(ends) / 5.0 if ends else 0.0) or max(found)
    if percent:
        return decimals(middle, digits=2, most=1)
    return decimals(middle, digits=3, most=2) if middle >= 0.1 else decimals(middle, digits=2, most=4)


def _pattern(cells: Sequence[Cell]) -> str | None:
    found = {c.statistic for c in cells}
    own = next((pattern for names, pattern in LAYOUTS.items() if set(names) <= found), None)
    return own or layout(cells)


def _is_percent(cells: Sequence[Cell]) -> bool:
    return any(c.statistic in PERCENT for c in cells)


def _words(statistic: str) -> str:
    return {"p_adjusted": "adjusted p", "low": "from", "high": "to"}.get(statistic, statistic.replace("_", " "))
