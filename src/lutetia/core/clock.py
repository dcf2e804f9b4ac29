"""Local times as instants, and hours between instants; naive timestamps need a time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lutetia.errors import InputError

Day = TypeVar("Day", bound=date)


def time_zone(name: str, *, where: str = "timezone") -> ZoneInfo:
    """IANA time zone by name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"{where}: found {name!r}; expected an IANA time zone such as 'Europe/Warsaw'"
        raise InputError(message) from error


def instants_of(moment: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """The instants that a naive local time names: none where clocks skip it, two where clocks go back over it."""
    possible = (moment.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    # A time that clocks skip comes back from UTC as another one.
    real = [m for m in possible if m.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) == moment]
    return tuple(real[:1] if len(real) == 2 and real[0].utcoffset() == real[1].utcoffset() else real)


def localise(moment: datetime, zone: ZoneInfo | None, *, where: str) -> datetime:
    """Give a naive time the case's zone; aware times are returned as they are.

    Raises
    ------
    InputError
        If the time has no offset and no zone is given, or if it does not exist or exists twice in the zone, because
        clocks change.
    """
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise InputError(f'{where}: found a time without offset; give the case\'s `timezone`, e.g. "Europe/Warsaw"')
    found = instants_of(moment.replace(fold=0), zone)
    if len(found) == 1:
        return found[0]
    text = f"{where}: found {moment.isoformat(timespec='minutes')}, which"
    if not found:
        raise InputError(f"{text} does not exist in {zone.key}: clocks skip it; write a time before or after")
    first, second = (m.isoformat(timespec="minutes") for m in found)
    raise InputError(f"{text} exists twice in {zone.key}: clocks go back; write {first} or {second}")


def within_years(found: Day) -> Day:
    """A date or time as it is, if its year can be meant in a trial: 1900 to 2199.

    Raises
    ------
    ValueError
        For another year, as for a date that does not exist.
    """
    if not 1900 <= found.year < 2200:
        raise ValueError(f"check the year {found.year}")
    return found


def first_instant(day: datetime, zone: ZoneInfo) -> datetime:
    """The first instant of a day given by its midnight, which may itself be skipped."""
    return day.replace(tzinfo=zone, fold=0)


def hours_between(start: datetime, end: datetime) -> float:
    """Elapsed hours, correct across daylight-saving changes; both times must be aware."""
    if start.tzinfo is None or end.tzinfo is None:
        raise InputError("time difference: found a time without offset; give both with offset or zone")
    return (end.timestamp() - start.timestamp()) / 3600.0
