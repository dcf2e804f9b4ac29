"""The liver screens at, above and below their cuts, in decimals."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from lutetia.clinical.liver import Multiple, raised_together

DAY = date(2026, 2, 1)


def value(amount: str, reference: str, *, after: int = 0, key: int = 1) -> Multiple:
    return Multiple(DAY + timedelta(days=after), Decimal(amount), Decimal(reference), key)


@pytest.mark.parametrize(("alt", "found"), [("119.9", 0), ("120", 1), ("120.1", 1)])
def test_the_transaminase_begins_at_three_times(alt: str, found: int) -> None:
    assert len(raised_together([value(alt, "40")], [value("50", "20")])) == found


@pytest.mark.parametrize(("bilirubin", "found"), [("39.9", 0), ("40", 1), ("40.1", 1)])
def test_bilirubin_begins_at_twice(bilirubin: str, found: int) -> None:
    assert len(raised_together([value("200", "40")], [value(bilirubin, "20")])) == found


@pytest.mark.parametrize(("after", "found"), [(-1, 0), (0, 1), (14, 1), (15, 0)])
def test_bilirubin_must_follow_within_14_days(after: int, found: int) -> None:
    assert len(raised_together([value("200", "40")], [value("50", "20", after=after)])) == found


def test_a_multiple_that_binary_numbers_miss_is_reached() -> None:
    assert 3 * 1.1 > 3.3  # in binary the product is too large, and 3.3 would not reach it
    assert len(raised_together([value("3.3", "1.1")], [value("0.6", "0.3")])) == 1
