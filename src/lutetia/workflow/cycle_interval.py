"""The protocol's interval between two infusions, and what it means to plan a cycle outside of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from lutetia.errors import ReasonRequiredError
from lutetia.trial.reader import Reader
from lutetia.trial.store import Trial
from lutetia.workflow.course_records import given_cycles, infusion_day, protocol_of, study_of, window_of

# Assumptions: a deviation of the interval is minor up to so many days outside of the window and major beyond;
# it is critical where less than this part of the interval has passed since the previous infusion.
MINOR_DAYS, CRITICAL_PART = 14, 0.5


@dataclass(frozen=True, slots=True)
class Interval:
    """Days (`first` to `last`) on which the next cycle is due: `weeks` after `cycle`, which was given `on`."""

    cycle: int
    on: str
    weeks: float
    first: str
    last: str

    def days_off(self, day: str) -> int:
        """Days between a day and the window: negative before it, 0 within, positive after it."""
        before, after = _days_from(self.first, day), _days_from(self.last, day)
        return min(before, 0) + max(after, 0)

    def severity(self, day: str) -> str:
        """How severe a deviation it is to plan a day outside of the window: minor, major or critical."""
        if _days_from(self.on, day) < CRITICAL_PART * 7.0 * self.weeks:
            return "critical"
        return "minor" if abs(self.days_off(day)) <= MINOR_DAYS else "major"

    def words(self, day: str) -> str:
        """Where a day outside of the window lies, in words."""
        off, apart = self.days_off(day), _days_from(self.on, day)
        return (
            f"planned {_days(apart)} after cycle {self.cycle} (given on {self.on}), {_days(abs(off))} too "
            f"{'early' if off < 0 else 'late'}; expected {self.first} to {self.last} ({self.weeks:g} weeks)"
        )


def interval_of(trial: Trial, reader: Reader, subject_id: str) -> Interval | None:
    """When the cycle after the last one given is due; None before the first, or where the protocol has no interval."""
    weeks = protocol_of(trial, reader).interval_weeks
    given = given_cycles(reader, subject_id)
    if not given or weeks is None:
        return None
    on = infusion_day(reader, subject_id, given[-1])
    due = date.fromisoformat(on) + timedelta(weeks=weeks)
    first, last = window_of({"planned_on": due.isoformat()}, study_of(reader)["settings"] or {})
    return Interval(given[-1].cycle, on, weeks, first, last)


def interval_deviations(
    trial: Trial, reader: Reader, subject_id: str, *, day: str, reason: str
) -> list[tuple[str, str, str]]:
    """The deviation (kind, severity, description) of a day outside of the interval's window, with its reason.

    Raises
    ------
    ReasonRequiredError
        If the day lies outside and no reason is given.
    """
    due = interval_of(trial, reader, subject_id)
    if due is None or due.days_off(day) == 0:
        return []
    words = due.words(day)
    if not reason.strip():
        raise ReasonRequiredError(f"reason: {words}; choose a day of this window, or say why it is another one")
    return [("window", due.severity(day), f"{words}; {reason.strip()}")]


def _days_from(first: str, day: str) -> int:
    return (date.fromisoformat(day) - date.fromisoformat(first)).days


def _days(number: int) -> str:
    return f"{number} day" if number == 1 else f"{number} days"
