"""Cells of the report's tables: places, arms, layouts and source rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lutetia.errors import InputError
from lutetia.safety.cells import (
    ALL,
    Cell,
    SafetyTable,
    TableColumn,
    TableRow,
    expand,
    layout,
    of_arms,
    pooled,
    source,
)


def table() -> SafetyTable:
    columns = (TableColumn("all", "all"), TableColumn("A", "arm A", arm="A"), TableColumn("B", "arm B", arm="B"))
    rows = (TableRow("age", "age"),)
    cells = tuple(Cell("T2", "age", c.key, "median", 60.0 + i, 5, arm=c.arm) for i, c in enumerate(columns))
    return SafetyTable("T2", "baseline", "ITT", columns, rows, cells)


@given(st.sets(st.integers(min_value=2, max_value=400)))
def test_compressed_source_rows_give_back_every_row(rows: set[int]) -> None:
    assert expand(source(labs=rows)) == ({"labs": tuple(sorted(rows))} if rows else {})


def test_source_rows_name_their_table_and_are_the_same_in_any_order() -> None:
    assert source(labs=[9, 3, 2, 4, 3], doses=[7], vitals=[]) == ("doses:7", "labs:2-4,9")


def test_the_pooled_part_of_a_table_reveals_no_arm() -> None:
    part = pooled(table())
    assert [c.key for c in part.columns] == ["all"]
    assert [c.arm for c in part.cells] == [ALL]


def test_chosen_arms_keep_their_cells() -> None:
    part = of_arms(table(), ("B",))
    assert part.value("age", "B", "median") == 62.0
    assert part.at("age", "A") == ()


def test_a_cell_outside_the_grid_is_refused() -> None:
    with pytest.raises(InputError, match="row 'weight', column 'all'"):
        SafetyTable("T2", "", "ITT", (TableColumn("all", ""),), (), (Cell("T2", "weight", "all", "median", 1.0),))


def test_the_layout_follows_the_statistics_of_a_place() -> None:
    cells = [Cell("T6", "r", "c", s, 1.0) for s in ("median", "q1", "q3")]
    assert layout(cells) == "{median} ({q1} to {q3})"
    assert layout(cells[:1]) is None
