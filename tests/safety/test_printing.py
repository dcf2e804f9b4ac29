"""Cells as readers see them: digits, intervals, percentages, and why a number is missing."""

from __future__ import annotations

import pytest

from lutetia.report.document import Inline, plain
from lutetia.safety.cells import Cell, SafetyTable, TableColumn, TableRow
from lutetia.safety.printing import SUPPRESSED, Reasons, printed_p, printed_place, printed_table, row_places


def cell(statistic: str, value: float | int | str | None, **more: object) -> Cell:
    return Cell("T6", "r", "A", statistic, value, 14, **more)  # type: ignore[arg-type]


def place(*cells: Cell) -> str:
    return plain(printed_place(cells, row_places(cells), Reasons()))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"median": 29.1432, "q1": 25.25, "q3": 33.0}, "29.1 (25.2–33.0)"),
        ({"median": 0.7912, "q1": 0.60, "q3": 1.016}, "0.79 (0.60–1.02)"),
        ({"median": -0.004, "q1": -12.31, "q3": 3.0}, "0.00 (−12.31 to 3.00)"),
        ({"median": 203.4, "q1": 188.2, "q3": 260.9}, "203 (188–261)"),
        ({"count": 3, "percent": 21.43, "low": 4.66, "high": 50.8}, "3 (21 %; 5–51)"),
        ({"count": 0, "percent": 0.0, "low": 0.0, "high": 23.16}, "0 (0 %; 0–23)"),
        ({"count": 14}, "14"),
        ({"estimate": -0.412, "low": -0.61, "high": -0.17, "p": 0.00002}, "−0.41 (−0.61 to −0.17), p <\u202f0.001"),
    ],
)
def test_statistics_of_one_place_have_the_digits_of_their_row(values: dict[str, float], text: str) -> None:
    assert place(*(cell(name, value) for name, value in values.items())).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("p", "text"), [(0.0412, "0.041"), (0.00099, "<\u202f0.001"), (0.001, "0.001"), (1.0, "1.000")]
)
def test_p_values_have_three_decimals(p: float, text: str) -> None:
    assert printed_p(p) == text


def test_a_reason_stands_once_below_the_table_and_as_a_letter_in_place() -> None:
    cells = (
        Cell("T9", "x", "A", "estimate", None, 1, reason="arm A has 1 subject"),
        Cell("T9", "x", "B", "estimate", None, 2, reason="all values are equal"),
        Cell("T9", "y", "A", "estimate", None, 1, reason="arm A has 1 subject"),
        Cell("T9", "y", "B", "estimate", None, None),
    )
    rows, columns = (TableRow("x", "X"), TableRow("y", "Y")), (TableColumn("A", "A"), TableColumn("B", "B"))
    found = printed_table(SafetyTable("T9", "Title", "SAF", columns, rows, cells))
    texts = [[plain(c) for c in row] for row in found.rows]
    assert texts == [["X", "NEa", "NEb"], ["Y", "NEa", "–"]]
    assert plain(found.notes[-1]) == "NE: not estimable. a\u202farm A has 1 subject; b\u202fall values are equal"


def test_a_place_with_a_value_and_no_interval_says_why() -> None:
    reasons = Reasons()
    cells = [cell("estimate", 2.0), cell("low", None, reason="two subjects"), cell("high", None, reason="two subjects")]
    assert plain(printed_place(cells, 1, reasons)) == "2.0a"
    assert reasons.known == ["two subjects"]


def test_a_suppressed_place_is_an_s_with_a_note() -> None:
    hidden = Cell("T2", "r", "all", "count", None, None, reason=SUPPRESSED)
    found = printed_table(SafetyTable("T2", "t", "ITT", (TableColumn("all", "All"),), (TableRow("r", "R"),), (hidden,)))
    assert plain(found.rows[0][1]) == "s"
    assert any(SUPPRESSED in plain(note) for note in found.notes)


def test_nuclides_and_units_are_typeset() -> None:
    def raised(text: Inline) -> list[str]:
        return [s.text for s in text if s.raised]

    columns = (TableColumn("a", "Lu-177", unit="10^9/L"),)
    found = printed_table(SafetyTable("T3", "Y-90 given", "SAF", columns, (TableRow("r", "Lu-177"),), ()))
    assert raised(found.columns[1].title) == ["177"]
    assert raised(found.rows[0][0]) == ["177"]
    assert raised(found.caption) == ["90"]
    assert found.rows[0][1] == ()


def test_a_hundred_reasons_have_letters_of_their_own() -> None:
    reasons = Reasons()
    assert len({reasons.letter(f"reason {n}") for n in range(100)}) == 100


def test_a_single_subject_has_a_value_and_no_quartiles() -> None:
    cells = [Cell("T6", "r", "A", s, 4.94, 1) for s in ("median", "q1", "q3")]
    assert plain(printed_place(cells, 2, Reasons())) == "4.94"


def test_brackets_are_never_broken_over_lines() -> None:
    cells = [cell(name, value) for name, value in {"median": -20.7, "q1": -25.2, "q3": -15.1}.items()]
    bracket = [span for span in printed_place(cells, 1, Reasons()) if span.whole]
    assert [span.text.replace("\u00a0", " ") for span in bracket] == ["(−25.2 to −15.1)"]


def test_columns_of_groups_are_equally_wide_and_names_take_the_rest() -> None:
    columns = tuple(TableColumn(a, f"Arm {a}", "n = 14", a) for a in "ABCD")
    cells = tuple(
        Cell("T1", "a long name of a row", a, s, v, 14, arm=a)
        for a in "ABCD"
        for s, v in (("count", 7), ("percent", 50.0 if a == "A" else 100.0))
    )
    rows = (TableRow("a long name of a row", "a long name of a row"),)
    widths = [c.width for c in printed_table(SafetyTable("T1", "t", "ITT", columns, rows, cells)).columns]
    assert len(set(widths[1:])) == 1
    assert widths[0] > widths[1]


def test_columns_of_different_things_have_digits_of_their_own() -> None:
    columns = (TableColumn("x", "X"), TableColumn("y", "Y"))
    cells = (Cell("T3", "r", "x", "median", 7400.0, 14), Cell("T3", "r", "y", "median", 0.0148, 14))
    found = printed_table(SafetyTable("T3", "t", "SAF", columns, (TableRow("r", "R"),), cells))
    assert [plain(c).replace("\u202f", " ") for c in found.rows[0]] == ["R", "7 400", "0.015"]
