"""Time between aware timestamps, in hours; naive timestamps need a time zone."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from lutetia.errors import InputError


def time_zone(name: str, *, where: str = "timezone") -> ZoneInfo:
    """IANA time zone by name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = f"{where}: found {name!r}; expected an IANA time zone such as 'Europe/Warsaw'"
        raise InputError(message) from error


def localise(moment: datetime, zone: ZoneInfo | None, *, where: str) -> datetime:
    """Give a naive time the case's zone; aware times are returned as they are.

    Raises
    ------
    InputError
        If the time has no offset and no zone is given.
    """
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise InputError(f'{where}: found a time without offset; give the case\'s `timezone`, e.g. "Europe/Warsaw"')
    return moment.replace(tzinfo=zone)


def hours_between(start: datetime, end: datetime) -> float:
    """Elapsed hours, correct across daylight-saving changes; both times must be aware."""
    if start.tzinfo is None or end.tzinfo is None:
        raise InputError("time difference: found a time without offset; give both with offset or zone")
    return (end.timestamp() - start.timestamp()) / 3600.0
