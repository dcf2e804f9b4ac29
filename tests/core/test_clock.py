"""Hours between times: offsets, changes to summer time, times without offset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from lutetia.core.clock import first_instant, hours_between, instants_of, localise, time_zone
from lutetia.errors import InputError

WARSAW = time_zone("Europe/Warsaw")


def test_hours_count_across_the_start_and_the_end_of_summer_time() -> None:
    spring = datetime(2026, 3, 28, 12, tzinfo=WARSAW), datetime(2026, 3, 29, 12, tzinfo=WARSAW)
    autumn = datetime(2026, 10, 24, 12, tzinfo=WARSAW), datetime(2026, 10, 25, 12, tzinfo=WARSAW)
    assert hours_between(*spring) == 23.0
    assert hours_between(*autumn) == 25.0


def test_the_two_hours_of_the_night_of_the_change_are_told_apart() -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=WARSAW)
    assert hours_between(first, first.replace(fold=1)) == 1.0


def test_hours_do_not_depend_on_the_zone_in_which_a_time_is_written() -> None:
    start, end = datetime(2026, 5, 4, 9, tzinfo=WARSAW), datetime(2026, 5, 5, 9, tzinfo=WARSAW)
    assert hours_between(start.astimezone(UTC), end.astimezone(timezone(timedelta(hours=-7)))) == 24.0
    assert hours_between(end, start) == -24.0


def test_a_time_without_offset_takes_the_zone_of_the_case_and_others_keep_theirs() -> None:
    assert localise(datetime(2026, 7, 1, 12), WARSAW, where="x").utcoffset() == timedelta(hours=2)
    assert localise(datetime(2026, 1, 1, 12), WARSAW, where="x").utcoffset() == timedelta(hours=1)
    aware = datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert localise(aware, WARSAW, where="x") is aware


def test_times_without_any_offset_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match="cycle 1, start: found a time without offset; give the case's `timezone`"):
        localise(datetime(2026, 7, 1, 12), None, where="cycle 1, start")
    with pytest.raises(InputError, match="without offset"):
        hours_between(datetime(2026, 7, 1, 12), datetime(2026, 7, 2, 12, tzinfo=UTC))


def test_a_local_time_names_one_instant_none_or_two() -> None:
    def offsets(moment: datetime, zone: str = "Europe/Warsaw") -> list[float]:
        found = instants_of(moment, time_zone(zone))
        assert all(m.replace(tzinfo=None, fold=0) == moment for m in found)
        return [(m.utcoffset() or timedelta()) / timedelta(hours=1) for m in found]

    assert offsets(datetime(2026, 3, 29, 1, 59)) == [1.0]
    assert offsets(datetime(2026, 3, 29, 2)) == offsets(datetime(2026, 3, 29, 2, 59)) == []
    assert offsets(datetime(2026, 3, 29, 3)) == [2.0]
    assert offsets(datetime(2026, 10, 25, 1, 59)) == [2.0]
    assert offsets(datetime(2026, 10, 25, 2)) == offsets(datetime(2026, 10, 25, 2, 59)) == [2.0, 1.0]
    assert offsets(datetime(2026, 10, 25, 3)) == [1.0]
    assert offsets(datetime(2026, 4, 5, 1, 45), "Australia/Lord_Howe") == [11.0, 10.5]
    assert offsets(datetime(2026, 10, 4, 2, 15), "Australia/Lord_Howe") == []
    assert offsets(datetime(2026, 10, 25, 2, 30), "UTC") == [0.0]


@pytest.mark.parametrize("fold", [0, 1])
def test_a_time_that_clocks_skip_or_repeat_is_refused_with_what_to_write(fold: int) -> None:
    skipped = "x: found 2026-03-29T02:30, which does not exist in Europe/Warsaw: clocks skip it; write a time before"
    with pytest.raises(InputError, match=skipped):
        localise(datetime(2026, 3, 29, 2, 30, fold=fold), WARSAW, where="x")
    twice = r"twice in Europe/Warsaw.*write 2026-10-25T02:30\+02:00 or 2026-10-25T02:30\+01:00"
    with pytest.raises(InputError, match=twice):
        localise(datetime(2026, 10, 25, 2, 30, fold=fold), WARSAW, where="x")
    chosen = datetime.fromisoformat("2026-10-25T02:30+01:00")
    assert localise(chosen, WARSAW, where="x") == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)


def test_a_day_begins_at_its_first_instant_even_where_midnight_is_skipped() -> None:
    beirut = first_instant(datetime(2026, 3, 29), time_zone("Asia/Beirut"))  # 00:00 becomes 01:00
    assert beirut.astimezone(UTC) == datetime(2026, 3, 28, 22, tzinfo=UTC)
    assert first_instant(datetime(2026, 3, 29), WARSAW).utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize("name", ["Europe/Atlantis", "", "../etc/passwd", "Warsaw time"])
def test_an_unknown_zone_is_refused_with_an_example(name: str) -> None:
    with pytest.raises(InputError, match="expected an IANA time zone such as 'Europe/Warsaw'"):
        time_zone(name)
