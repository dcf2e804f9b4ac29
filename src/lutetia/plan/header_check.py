"""Headers of scans against the case: contradictions that would make every dose wrong, as first-line warnings.

The case counts, because headers are filled in by hand at the scanner; a person must look at each contradiction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from lutetia.core.chain import Doubt
from lutetia.core.clock import hours_between
from lutetia.imaging.header_facts import HeaderFacts
from lutetia.plan.case import Case, Cycle, start_times

MOST_ACTIVITY_DIFFERENCE = 0.10  # assumption: residual and decay to the start of infusion explain less
MOST_START_DIFFERENCE_H = 0.5  # assumption: entry to the minute, at start or end of the infusion, explains less


def header_doubts(case: Case, cycle: Cycle, headers: Mapping[int, HeaderFacts], nuclide: str) -> tuple[Doubt, ...]:
    """Contradictions between the headers of a cycle's scans and the case, each once with the scans that have it.

    Parameters
    ----------
    headers
        By number of the scan.
    nuclide
        The measured one, which the headers are about.
    """
    start = start_times(case, cycle).get(nuclide)
    scans: dict[tuple[str, str], list[int]] = {}
    for number, facts in headers.items():
        for found in _contradictions(case, cycle, facts, nuclide, start):
            scans.setdefault(found, []).append(number)
    return tuple(
        Doubt(code, message, f"cycle {cycle.number}, {_named(numbers)}", "first-line")
        for (code, message), numbers in scans.items()
    )


def _contradictions(
    case: Case, cycle: Cycle, facts: HeaderFacts, nuclide: str, start: datetime | None
) -> list[tuple[str, str]]:
    """Code and message of each."""
    found = []
    if facts.sex is not None and facts.sex != case.subject.sex:
        found.append(
            (
                "header-sex-differs",
                f"the DICOM header says {facts.sex}, the case {case.subject.sex}; check that the scan is this "
                "subject's, and the sex in the case",
            )
        )
    given = cycle.administered_MBq.get(nuclide)
    if facts.administered_MBq is not None and given is not None:
        difference = facts.administered_MBq / given - 1.0
        if abs(difference) > MOST_ACTIVITY_DIFFERENCE:
            found.append(
                (
                    "header-activity-differs",
                    f"the DICOM header says that {facts.administered_MBq:,.0f} MBq of {nuclide} were given, "
                    f"the case {given:,.0f} MBq ({difference:+.0%} of the case's); check administered_MBq",
                )
            )
    if facts.administered_at is not None and start is not None:
        late_h = hours_between(start, facts.administered_at)
        if abs(late_h) > MOST_START_DIFFERENCE_H:
            local = facts.administered_at.astimezone(start.tzinfo)
            found.append(
                (
                    "header-start-differs",
                    f"the DICOM header says that {nuclide} was given at {local:%Y-%m-%d %H:%M %z}, "
                    f"the case {start:%Y-%m-%d %H:%M %z}; check administered_at and the time zone",
                )
            )
    return found


def _named(numbers: list[int]) -> str:
    return f"scan {numbers[0]}" if len(numbers) == 1 else f"scans {', '.join(map(str, numbers))}"
