"""The time that a trial writes: the server's UTC, or a clock set by hand in demonstration databases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from lutetia.core.clock import within_years
from lutetia.errors import InputError


class Clock(Protocol):
    """What tells the time; a substitute is accepted by demonstration databases only."""

    def now(self) -> datetime:
        """Aware instant in UTC."""
        ...


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The server's own time."""

    def now(self) -> datetime:
        """Aware instant in UTC."""
        return datetime.now(UTC)


@dataclass(slots=True)
class ManualClock:
    """A clock that stands until it is moved: for demonstrations and tests."""

    moment: datetime

    def now(self) -> datetime:
        """Aware instant in UTC."""
        return self.moment.astimezone(UTC)

    def advance(self, **duration: float) -> None:
        """Move on by keyword arguments of `datetime.timedelta`."""
        self.moment += timedelta(**duration)


def utc_text(moment: datetime) -> str:
    """ISO text of an aware instant in UTC; text order is time order.

    Raises
    ------
    InputError
        For an instant without offset.
    """
    if moment.tzinfo is None:
        raise InputError(f"found the time {moment.isoformat()} without offset; expected an aware time")
    return moment.astimezone(UTC).isoformat(timespec="microseconds" if moment.microsecond else "seconds")


def local_text(stored: str, zone_name: str) -> str:
    """A stored UTC instant as local time with its zone, such as ``2026-03-29 03:30 CEST``."""
    from lutetia.core.clock import time_zone

    local = datetime.fromisoformat(stored).astimezone(time_zone(zone_name))
    return local.strftime("%Y-%m-%d %H:%M %Z")


def instant(text: str, *, where: str) -> str:
    """Check an instant with offset (or a date alone, time unknown) and return it in UTC.

    Raises
    ------
    InputError
        For text that is neither.
    """
    try:
        if len(text) == 10:
            return within_years(date.fromisoformat(text)).isoformat()
        return utc_text(within_years(datetime.fromisoformat(text)))
    except (ValueError, OverflowError, InputError) as error:
        message = f"{where}: found {text!r}; expected a time with offset such as 2026-01-12T09:30:00+01:00"
        raise InputError(message + _hint(error)) from error


def day(text: str, *, where: str) -> str:
    """Check an ISO date; a year or a month alone is a partial date.

    Raises
    ------
    InputError
        For text that is no date.
    """
    try:
        if len(text) not in (4, 7, 10):
            raise ValueError(text)
        whole = text + "-01-01"[len(text) - 4 :]
        if within_years(date.fromisoformat(whole)).isoformat() != whole:
            raise ValueError(text)  # a week date, which would not sort among the others
    except ValueError as error:
        message = f"{where}: found {text!r}; expected a date such as 2026-05-31 (or 2026-05)"
        raise InputError(message + _hint(error)) from error
    return text


def _hint(error: Exception) -> str:
    return f"; {error}" if str(error).startswith("check") else ""
