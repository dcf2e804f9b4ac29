"""Small numbers of the open report cannot be read, nor computed from what is shown."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutetia.safety.cells import Cell, SafetyTable, TableColumn, TableRow
from lutetia.safety.printing import SUPPRESSED
from lutetia.safety.suppression import SMALLEST_SHOWN, suppress_small, without_denominator, without_rows_a_nuclide

COLUMN = TableColumn("all", "All")


def table(rows: list[tuple[str, int, int | None]], n: int = 56) -> SafetyTable:
    """Rows as (key, level, count)."""
    cells = tuple(
        cell
        for key, _, count in rows
        if count is not None
        for cell in (Cell("T1", key, "all", "count", count, n), Cell("T1", key, "all", "percent", 100.0 * count / n, n))
    )
    names = tuple(TableRow(key, key, level=level) for key, level, _ in rows)
    return SafetyTable("T1", "Title", "SAF", (COLUMN,), names, cells)


def shown(found: SafetyTable) -> dict[str, int]:
    return {c.row: int(c.value) for c in found.cells if c.statistic == "count" and isinstance(c.value, int)}


@pytest.mark.requirement(47)
def test_small_cells_of_the_open_report_are_suppressed_with_their_percentages() -> None:
    found = suppress_small(table([("sex", 0, None), ("female", 1, 3), ("male", 1, 30), ("unknown", 1, 23)]))
    assert shown(found) == {"male": 30}
    assert all(c.value is None and c.reason == SUPPRESSED and c.n is None for c in found.cells if c.row == "female")


@pytest.mark.parametrize(("count", "visible"), [(0, True), (1, False), (4, False), (5, True), (51, True), (52, False)])
def test_the_boundary_of_what_is_shown(count: int, visible: bool) -> None:
    rest = 56 - count
    found = suppress_small(table([("yes", 0, count), ("no", 0, rest)]))
    assert ("yes" in shown(found)) is visible


def test_everybody_is_shown_because_nobody_is_left_out() -> None:
    assert shown(suppress_small(table([("yes", 0, 56)]))) == {"yes": 56}


def test_one_hidden_number_takes_the_next_smallest_with_it() -> None:
    found = suppress_small(table([("total", 0, 40), ("a", 1, 2), ("b", 1, 9), ("c", 1, 29)]))
    assert shown(found) == {"total": 40, "c": 29}


def test_two_hidden_ones_are_not_enough() -> None:
    found = suppress_small(table([("total", 0, 40), ("a", 1, 1), ("b", 1, 1), ("c", 1, 9), ("d", 1, 29)]))
    assert shown(found) == {"total": 40, "d": 29}


def test_a_number_is_hidden_where_few_are_left_of_a_larger_one() -> None:
    found = suppress_small(table([("any", 0, 45), ("related", 0, 42), ("gut", 0, 20), ("nausea", 1, 17)], n=70))
    assert shown(found) == {"any": 45}  # 3 unrelated; 3 in the gut without nausea, so that gut would tell nausea


def test_severe_events_are_hidden_where_few_were_not_severe() -> None:
    severe = TableColumn("all ≥ G3", "≥ G3")
    first = table([("gut", 0, 9), ("skin", 0, 20), ("eye", 0, 8)])
    more = [Cell("T1", key, severe.key, "count", n, 56) for key, n in (("gut", 7), ("skin", 9), ("eye", 8))]
    found = suppress_small(replace(first, columns=(COLUMN, severe), cells=(*first.cells, *more)))
    values = {c.row: c.value for c in found.cells if c.column == severe.key}
    assert values["gut"] is None
    assert shown(replace(found, cells=tuple(c for c in found.cells if c.column == "all"))) == {
        "gut": 9, "skin": 20, "eye": 8,
    }  # fmt: skip


def test_an_only_child_hides_its_parent() -> None:
    found = suppress_small(table([("gut", 0, 3), ("nausea", 1, 3), ("blood", 0, 20), ("skin", 0, 9)]))
    assert "gut" not in shown(found)
    assert "nausea" not in shown(found)
    assert "skin" not in shown(found)


def test_a_hidden_parent_is_not_the_sum_of_children_that_are_shown() -> None:
    found = suppress_small(table([("findings", 0, 1), ("deviations", 0, 6), ("missing dose", 1, 6), ("other", 0, 30)]))
    assert shown(found) == {"other": 30}


def test_single_subjects_and_quartiles_of_few_are_never_shown() -> None:
    cells = [Cell("T2", "age", "all", s, 60.0, n) for n in (56,) for s in ("median", "q1", "q3", "minimum", "maximum")]
    cells += [Cell("T2", "weight", "all", s, 60.0, 4) for s in ("median", "q1", "q3")]
    rows = (TableRow("age", "Age"), TableRow("weight", "Weight"))
    found = suppress_small(SafetyTable("T2", "Title", "ITT", (COLUMN,), rows, tuple(cells)))
    assert [c.statistic for c in found.cells if c.row == "age"] == ["median", "q1", "q3"]
    assert all(c.value is None for c in found.cells if c.row == "weight")


def test_a_table_without_denominator_tells_no_number_of_subjects() -> None:
    found = table([("any", 0, 30), ("severe", 0, 20)])
    bare = without_denominator(replace(found, columns=(replace(COLUMN, unit="n = 56"),)))
    assert [c.unit for c in bare.columns] == [""]
    assert {c.statistic for c in bare.cells} == {"count"}
    assert all(c.n is None for c in bare.cells)


def test_numbers_of_rows_that_there_are_one_a_nuclide_are_left_out() -> None:
    """Two reports, before and after one subject was treated, would tell by their difference what it got."""
    rows: list[tuple[str, int, int | None]] = [
        ("rows / subjects", 0, 56), ("rows / administrations", 0, 80), ("rows / administrations / no time", 1, 7),
        ("rows / doses", 0, 400), ("rows / labs", 0, 900),
    ]  # fmt: skip
    found = without_rows_a_nuclide(table(rows))
    assert [row.key for row in found.rows] == ["rows / subjects", "rows / labs"]
    assert set(shown(found)) == {"rows / subjects", "rows / labs"}


def test_counts_in_footnotes_are_hidden_too() -> None:
    found = table([("yes", 0, 30), ("no", 0, 26)])
    noted = replace(found, footnotes=("3 events were ongoing; 41 events ended; grade 3 or worse; day 4.",))
    assert suppress_small(noted).footnotes == ("s events were ongoing; 41 events ended; grade 3 or worse; day 4.",)


def possible(found: SafetyTable, true: list[int], total: int) -> list[set[int]]:
    """Values that each hidden child can have, for someone who knows the total and what is shown."""
    visible = shown(found)
    keys = [f"c{n}" for n in range(len(true))]
    hidden = [k for k in keys if k not in visible]
    rest = total - sum(v for k, v in visible.items() if k in keys)
    values: list[set[int]] = [set() for _ in hidden]
    for guess in itertools.product(range(rest + 1), repeat=max(len(hidden) - 1, 0)):
        last = rest - sum(guess)
        if hidden and last >= 0 and all(v >= 1 for v in (*guess, last)):
            for place, value in enumerate((*guess, last)):
                values[place].add(value)
    return values


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=2, max_size=4))
def test_a_reader_who_knows_the_total_cannot_compute_a_hidden_number(counts: list[int]) -> None:
    total = sum(counts)
    rows = [("total", 0, total), *((f"c{n}", 1, count) for n, count in enumerate(counts)), ("other", 0, 100)]
    found = suppress_small(table(rows, n=1000))
    small = [f"c{n}" for n, count in enumerate(counts) if 0 < count < SMALLEST_SHOWN]
    assert not set(small) & set(shown(found))
    # A hidden zero would be ruled out by a reader who takes hidden numbers for at least 1: it only adds doubt.
    hidden_zero = any(count == 0 and f"c{n}" not in shown(found) for n, count in enumerate(counts))
    if small and "total" in shown(found) and not hidden_zero:
        assert all(len(values) > 1 for values in possible(found, counts, total))
