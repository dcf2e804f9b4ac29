"""Cross and shift tables, and tests of symmetry."""

from __future__ import annotations

import pytest
from tests.support.interim_reference import r_numbers

from lutetia.errors import InputError
from lutetia.safety.statistics import categories as c
from lutetia.safety.statistics.results import NotEstimable, Result

GRADES = ("0", "1", "2", "3")


def test_a_cross_table_counts_every_pair_and_the_missing_ones() -> None:
    found = c.cross_table(
        ["A", "A", "B", None, "B"], ["x", "y", "y", "x", ""], rows=("A", "B"), columns=("x", "y", "z")
    )
    assert found.counts == ((1, 1, 0), (0, 1, 0))
    assert (found.row_totals, found.column_totals, found.n, found.missing) == ((2, 1), (1, 2, 0), 3, 2)


def test_a_shift_table_counts_who_got_worse() -> None:
    found = c.shift_table(["0", "0", "1", "2", "1"], ["2", "0", "3", "1", "1"], order=GRADES)
    assert (found.worse, found.same, found.better) == (2, 2, 1)


def test_bowker_is_that_of_r() -> None:
    found = c.symmetry_test([[10, 6, 4], [3, 8, 5], [1, 2, 9]])
    expected = r_numbers()["mcnemar"]
    assert isinstance(found, Result)
    assert (found.statistic, found.p) == pytest.approx((expected["bowker_chi2"], expected["bowker_p"]), rel=1e-9)


def test_two_categories_take_the_exact_test() -> None:
    found = c.symmetry_test([[20, 9], [2, 5]])
    assert isinstance(found, Result)
    assert found.p == pytest.approx(r_numbers()["mcnemar"]["exact_2_9"], rel=1e-12)


def test_nobody_moving_is_not_estimable() -> None:
    assert isinstance(c.symmetry_test([[4, 0], [0, 3]]), NotEstimable)


def test_an_unknown_category_and_a_table_that_is_not_square_are_refused() -> None:
    with pytest.raises(InputError, match="expected one of the rows"):
        c.cross_table(["Q"], ["x"], rows=("A",), columns=("x",))
    with pytest.raises(InputError, match="expected a square"):
        c.symmetry_test([[1, 2, 3], [1, 2, 3]])
    with pytest.raises(InputError, match="one of both a subject"):
        c.cross_table(["A"], [], rows=("A",), columns=("x",))
